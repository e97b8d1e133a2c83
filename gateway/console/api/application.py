"""This file is the HTTP application: the table of routes made alive, and every error made a problem."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.console.api import door, openapi, problems
from gateway.console.api.models import Nothing
from gateway.console.api.problems import (
    MethodUnknownError,
    RequestInvalidError,
    RouteUnknownError,
)
from gateway.console.api.routes import Call, Rooms, Route, address_of, peer_of
from gateway.console.api.table import TABLE
from gateway.console.records import Caller, Project
from gateway.console.store.scope import Scope
from gateway.contract.problems import Fault
from gateway.kit.errors import GatewayError
from gateway.kit.strictjson import NotStrictJsonError, parse_strict_json

BODY_LIMIT = 1024 * 1024
DEPTH = 24
"""Objects and lists that may be open at once in a body: more than any has."""
"""Bytes of the largest request body."""
PUBLIC_LIMIT = 64 * 1024
"""The same where no key is asked for."""

log = structlog.get_logger(__name__)
M = TypeVar("M", bound=BaseModel)
AiohttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(rooms: Rooms) -> web.Application:
    """Return the application that serves the table."""
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_as_problems])
    document = openapi.document(TABLE)

    async def describe(_request: web.Request) -> web.Response:
        return web.json_response(document)

    async def close(_app: web.Application) -> None:
        rooms.watchers.close()
        await rooms.echoes.close()
        await rooms.tunnels.close()
        await rooms.nested.close()

    app.router.add_route("GET", openapi.SELF, describe, expect_handler=door.expected)
    for route in TABLE:
        app.router.add_route(route.method, route.path, _served(route, rooms), expect_handler=door.expected)
    app.on_shutdown.append(close)
    return app


def _served(route: Route, rooms: Rooms) -> AiohttpHandler:
    shape = route.shape

    async def serve(request: web.Request) -> web.StreamResponse:
        caller = None if route.public else await _caller(request, rooms)
        path = _parsed(shape.path, dict(request.match_info), part="path")
        query = _parsed(shape.query, _single(request), part="query")
        project = await _project(rooms, caller, path) if shape.names_project else None
        body = Nothing() if shape.body is Nothing else await _asked(route, request, rooms)
        answer = await route.handler(Call(rooms, request, path, query, body, caller, project))
        if isinstance(answer, BaseModel):
            text = answer.model_dump_json()
            return web.Response(text=text, status=route.status, content_type="application/json")
        return answer if answer is not None else web.Response(status=route.status)

    return serve


async def _caller(request: web.Request, rooms: Rooms) -> Caller:
    caller = await rooms.doorkeeper.caller(request.headers.get("Authorization"), address=address_of(request, rooms))
    rooms.nested.proves(peer_of(request))
    return caller


async def _asked(route: Route, request: web.Request, rooms: Rooms) -> BaseModel:
    if route.public:
        # Before anything of the body is taken: it is sent by anybody.
        rooms.pairing.knock(address_of(request, rooms))
    limit = PUBLIC_LIMIT if route.public else BODY_LIMIT
    return await _body(route.shape.body, request, limit=limit)


async def _project(rooms: Rooms, caller: Caller | None, path: BaseModel) -> Project | None:
    if caller is None:
        return None
    name: str = getattr(path, "project")  # noqa: B009 - the model is known to have it, the type checker cannot see it
    return await rooms.fleet.project(Scope(caller.tenant), name)


async def _body(model: type[M], request: web.Request, *, limit: int) -> M:
    raw = await door.body(request, limit=limit)
    try:
        parse_strict_json(raw, limit=limit, depth=DEPTH)
        return model.model_validate_json(raw)
    except NotStrictJsonError as fault:
        raise RequestInvalidError(f"the body is not valid: {fault.message}", ()) from None
    except ValidationError as fault:
        raise problems.invalid(fault, part="body") from None


def _parsed(model: type[M], values: dict[str, str], *, part: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as fault:
        raise problems.invalid(fault, part=part) from None


def _single(request: web.Request) -> dict[str, str]:
    repeated = sorted({key for key in request.query if len(request.query.getall(key)) > 1})
    if repeated:
        faults = tuple(Fault(where=[key], message="it is given more than once") for key in repeated)
        raise RequestInvalidError(f"the query is not valid: {repeated[0]}: it is given more than once", faults)
    return dict(request.query)


@web.middleware
async def _as_problems(request: web.Request, handler: AiohttpHandler) -> web.StreamResponse:
    try:
        return await handler(request)
    except GatewayError as error:
        if problems.status_of(type(error)) >= 500:
            log.warning("request failed", path=request.path, code=error.code, error=error.message)
        return problems.answer(error)
    except web.HTTPNotFound:
        return problems.answer(RouteUnknownError(f"the API has no path {request.path!r}: see {openapi.SELF}"))
    except web.HTTPMethodNotAllowed as fault:
        allowed = ", ".join(sorted(fault.allowed_methods))
        answer = problems.answer(MethodUnknownError(f"{request.method} is not for this path, it takes {allowed}"))
        answer.headers["Allow"] = allowed
        return answer
    except ConnectionError:
        raise
    except Exception:
        log.exception("request met a defect", path=request.path)
        return problems.answer(GatewayError("the console has met a defect of its own: its log says more"))
