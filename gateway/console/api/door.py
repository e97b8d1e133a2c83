"""This file is the API's door: what is no readable request is answered as a problem too, and fills no log.

aiohttp would answer such things as plain text and log each with a traceback, for anybody who can reach the port.
"""

import asyncio

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from gateway.console.api import problems
from gateway.console.api.problems import (
    EncodingUnknownError,
    ExpectationUnknownError,
    RequestTooLargeError,
    RequestUnreadableError,
)

HANDSHAKE_LIMIT = 10.0
"""Seconds that TLS may take to come about."""
UNREADABLE = (aiohttp.ClientPayloadError, web.RequestPayloadError, HttpProcessingError)


async def body(request: web.Request, *, limit: int) -> bytes:
    """Return the request's body.

    Raises RequestTooLargeError beyond `limit` bytes, EncodingUnknownError or RequestUnreadableError.
    """
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise EncodingUnknownError("bodies are taken as they are: send no Content-Encoding")
    taken = bytearray()
    try:
        async for piece in request.content.iter_any():
            taken += piece
            if len(taken) > limit:
                raise RequestTooLargeError(f"the body is larger than {limit} bytes: send less", limit=limit)
    except UNREADABLE as fault:
        raise RequestUnreadableError("the body is not sent as HTTP would have it") from fault
    return bytes(taken)


async def expected(request: web.Request) -> web.StreamResponse | None:
    """Answer an Expect header before the body comes (RFC 9110, 10.1.1)."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        error = ExpectationUnknownError("no expectation but 100-continue is known: send no other Expect header")
        answer = problems.answer(error)
        answer.force_close()
        return answer
    if request.version >= aiohttp.HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What aiohttp's own handler does: the answer proper has not begun.
        request.writer.output_size = 0
    return None


class Runner(web.AppRunner):
    """Runs an application behind the door."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout, auto_decompress=False)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Door(made.request_handler, request_factory=made.request_factory, **made._kwargs)  # noqa: SLF001


class Site(web.SockSite):
    """Listens where callers are given up that are slow to open TLS."""

    __slots__ = ()

    async def start(self) -> None:
        """Listen from now on."""
        # What aiohttp's own does, which knows of no such limit.
        await super(web.SockSite, self).start()
        assert self._runner.server is not None  # noqa: S101 - the runner is set up
        self._server = await asyncio.get_running_loop().create_server(
            self._runner.server,
            sock=self._sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=HANDSHAKE_LIMIT,
        )


class _Door(web.Server):
    def __call__(self) -> RequestHandler:
        return _Conversation(self, loop=self._loop, **self._kwargs)


class _Conversation(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, there can be no other")
        answer = problems.answer(RequestUnreadableError("this is no HTTP request that can be read, or it is too long"))
        answer.force_close()
        return answer
