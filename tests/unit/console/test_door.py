"""This file is what anybody who reaches the port may send, and that a problem is all it makes."""

import asyncio
import json
import logging
import ssl

import pytest

from tests.fakes.console import Console, trust

START = "/api/v1/pairing/start"


async def sent(console: Console, raw: bytes, *, more: bytes = b"") -> tuple[int, dict[str, str]]:
    """Send bytes as they are and return status and problem."""
    port = int(console.reached.api.rpartition(":")[2])
    context: ssl.SSLContext = trust(console.settings)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        writer.write(raw + more)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert "content-type: application/problem+json" in head, head
        length = int(head.partition("content-length: ")[2].split()[0])
        body = json.loads(await reader.readexactly(length))
        writer.transport.abort()
    return int(head.split()[1]), body


def post(*headers: str, path: str = START, body: bytes = b"{}") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: console", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (post("Content-Encoding: gzip", body=b"junk"), 415, "request.encoding_unknown"),
        (post("Content-Encoding: deflate", body=b"junk"), 415, "request.encoding_unknown"),
        (post("Content-Encoding: br", body=b"junk"), 415, "request.encoding_unknown"),
        (post("Expect: the spanish inquisition"), 417, "request.expectation_unknown"),
        (post("X: " + "a" * 9000), 400, "request.unreadable"),
        (post(path="/" + "a" * 9000), 400, "request.unreadable"),
        (post("Content-Length: 7"), 400, "request.unreadable"),
        (b"nonsense\r\n\r\n", 400, "request.unreadable"),
        (
            b"POST " + START.encode() + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            400,
            "request.unreadable",
        ),
        (post(body=b" " * (64 * 1024 + 1)), 413, "request.too_large"),
        (post(body=b"{"), 422, "request.invalid"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_junk_from_anybody_is_a_problem_of_theirs(
    console: Console, caplog: pytest.LogCaptureFixture, raw: bytes, status: int, code: str
) -> None:
    with caplog.at_level(logging.WARNING):
        said, problem = await sent(console, raw)

    assert (said, problem["code"]) == (status, code)
    assert [one.message for one in caplog.records] == []


async def test_a_client_that_asks_first_whether_to_send_its_body_is_told_to(console: Console) -> None:
    port = int(console.reached.api.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("localhost", port, ssl=trust(console.settings))
    async with asyncio.timeout(10):
        writer.write(post("Expect: 100-continue", body=b"").replace(b"Content-Length: 0", b"Content-Length: 2"))
        assert (await reader.readline()) == b"HTTP/1.1 100 Continue\r\n"
        writer.write(b"{}")
        await reader.readline()
        assert (await reader.readline()).split()[1] == b"422"
    writer.transport.abort()


async def test_who_asks_too_often_is_turned_away_before_anything_is_read(console: Console) -> None:
    for _ in range(30):
        await console.ask("POST", START, raw=b"{", key="")

    # The body never comes: an answer before it is one that has not waited for it.
    begun = post(body=b"").replace(b"Content-Length: 0", b"Content-Length: 100")
    status, problem = await sent(console, begun)

    assert (status, problem["code"]) == (429, "console.too_often")
