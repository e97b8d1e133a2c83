"""This file is the OpenAPI 3.1 document, made from the table of routes and the pydantic models behind it."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway import __version__
from gateway.console import auth, errors
from gateway.console.api import problems, watchers
from gateway.console.api.models import Nothing, WatchedEvent
from gateway.console.api.routes import Route
from gateway.console.store import database, reading
from gateway.contract.problems import Problem
from gateway.kit.errors import GatewayError

Json = dict[str, Any]
"""A piece of the document; it is foreign to us and leaves at once."""

REFERENCE = "#/components/schemas/{model}"
SELF = "/api/v1/openapi.json"


def document(routes: Iterable[Route]) -> Json:
    """Return the document for these routes and for itself."""
    table = tuple(routes)
    paths: defaultdict[str, Json] = defaultdict(dict)
    for route in table:
        paths[route.path][route.method.lower()] = _operation(route)
    paths[SELF]["get"] = {
        "operationId": "openapi",
        "summary": "This document",
        "security": [],
        "responses": {"200": {"description": "the document", "content": _json({"type": "object"})}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "private cloud gateway: console",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"apiKey": []}],
        "paths": dict(paths),
        "components": {
            "schemas": _schemas(table),
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "description": "an API key, pcgkey1_…"}},
        },
    }


def _operation(route: Route) -> Json:
    shape = route.shape
    operation: Json = {"operationId": route.operation, "summary": route.summary}
    if route.public:
        operation["security"] = []
    parameters = [*_parameters(shape.path, "path"), *_parameters(shape.query, "query")]
    if shape.answer is web.StreamResponse:
        parameters.append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "description": "the id of the last event that was seen; the stream goes on after it",
                "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
            }
        )
    if parameters:
        operation["parameters"] = parameters
    if shape.body is not Nothing:
        operation["requestBody"] = {"required": True, "content": _json(_reference(shape.body))}
    operation["responses"] = _responses(route)
    return operation


def _responses(route: Route) -> Json:
    shape = route.shape
    answers: Json = {str(route.status): _success(shape.answer)}
    by_status: defaultdict[int, list[type[GatewayError]]] = defaultdict(list)
    for kind in (*route.errors, *_always(route)):
        by_status[problems.status_of(kind)].append(kind)
    for status, kinds in sorted(by_status.items()):
        answers[str(status)] = _problem("; ".join(f"`{kind.code}`: {_first_line(kind)}" for kind in kinds))
    answers["default"] = _problem("any other problem")
    return answers


def _always(route: Route) -> Iterable[type[GatewayError]]:
    shape = route.shape
    if not route.public:
        yield auth.NotSignedInError
    if shape.names_project:
        yield errors.ProjectUnknownError
    if shape.body is not Nothing:
        yield problems.RequestTooLargeError
        yield problems.EncodingUnknownError
    if shape.answer is web.StreamResponse:
        yield watchers.TooManyWatchersError
    if not route.public or shape.body is not Nothing:
        yield database.StoreUnavailableError
        yield reading.RecordUnreadableError
        if route.method != "GET":
            yield database.StoreConflictError
    yield problems.RequestUnreadableError
    yield problems.RequestInvalidError


def _success(answer: type[BaseModel] | type[web.StreamResponse] | type[None]) -> Json:
    if issubclass(answer, BaseModel):
        return {"description": _first_line(answer), "content": _json(_reference(answer))}
    if answer is web.Response:
        return {"description": "PEM", "content": {"application/x-pem-file": {"schema": {"type": "string"}}}}
    if issubclass(answer, web.WebSocketResponse):
        return {"description": "a WebSocket"}
    if answer is web.StreamResponse:
        said = "server-sent events: id is a position, event the type, data a WatchedEvent as JSON"
        return {"description": said, "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    return {"description": "done"}


def _problem(said: str) -> Json:
    return {"description": said, "content": {problems.CONTENT_TYPE: {"schema": _reference(Problem)}}}


def _parameters(model: type[BaseModel], place: str) -> list[Json]:
    schema = model.model_json_schema(ref_template=REFERENCE)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": place,
            "required": name in required,
            "description": part.pop("description", ""),
            "schema": part,
        }
        for name, part in schema.get("properties", {}).items()
    ]


def _schemas(routes: Iterable[Route]) -> Json:
    wanted: dict[type[BaseModel], str] = {Problem: "serialization", WatchedEvent: "serialization"}
    for route in routes:
        if route.shape.body is not Nothing:
            wanted[route.shape.body] = "validation"
        if issubclass(route.shape.answer, BaseModel):
            wanted[route.shape.answer] = "serialization"
    # One schema a model: both modes would split a model that is asked for and shown into two.
    _, definitions = models_json_schema([(model, "validation") for model in wanted], ref_template=REFERENCE)
    schemas: Json = definitions["$defs"]
    return schemas


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _first_line(documented: type) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0].rstrip(".")
