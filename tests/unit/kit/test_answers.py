"""This file is the promises of reading an HTTP answer, from a real server on loopback."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from gateway.kit.answers import AnswerTooLargeError, read_whole

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answered(answer: Answer) -> AsyncIterator[aiohttp.ClientResponse]:
    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with aiohttp.ClientSession() as session, session.get(site_url(runner)) as response:
            yield response
    finally:
        await runner.cleanup()


def site_url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}/"


def in_pieces(*pieces: bytes, length: int | None = None) -> Answer:
    """Return what answers in several packets; a `length` that is not reached is a cut."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = length
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0.002)
        if length is not None and request.transport is not None:
            request.transport.abort()
        return response

    return answer


async def test_an_answer_in_many_pieces_is_read_whole() -> None:
    async with answered(in_pieces(*[bytes([n]) * 100 for n in range(10)])) as response:
        assert await read_whole(response, limit=1000) == b"".join(bytes([n]) * 100 for n in range(10))


async def test_an_empty_answer_is_empty() -> None:
    async with answered(in_pieces()) as response:
        assert await read_whole(response, limit=10) == b""


async def test_an_answer_over_the_limit_is_refused_by_name() -> None:
    async with answered(in_pieces(b"x" * 500, b"x" * 501)) as response:
        with pytest.raises(AnswerTooLargeError, match=r"127\.0\.0\.1 is over 1000 bytes"):
            await read_whole(response, limit=1000)


async def test_an_answer_without_end_is_left() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with answered(endless) as response:
        with pytest.raises(AnswerTooLargeError):
            async with asyncio.timeout(20):
                await read_whole(response, limit=1_000_000)


async def test_what_is_unpacked_counts_not_what_was_sent() -> None:
    async def packed(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(bytes(1_000_000)), headers={"Content-Encoding": "gzip"})

    async with answered(packed) as response:
        with pytest.raises(AnswerTooLargeError):
            await read_whole(response, limit=100_000)


async def test_an_answer_that_is_cut_is_not_taken_for_a_whole_one() -> None:
    async with answered(in_pieces(b"half", length=8)) as response:
        with pytest.raises(aiohttp.ClientError):
            await read_whole(response, limit=1000)
