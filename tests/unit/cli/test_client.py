"""This file is the promises of the client: what is lost on the way is asked for again, and nothing is seen twice."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.cli import client as client_module
from gateway.cli.client import CertificateOutOfTimeError, Client, ConsoleNotTrustedError
from gateway.cli.exits import AnsweredError
from gateway.cli.session import Session
from gateway.cli.stream import LIMIT, Events, NotAConsoleError
from gateway.console.api.models import Health, WatchedEvent
from gateway.contract.events import CommandBegan
from gateway.contract.problems import Problem
from gateway.identity import keys, tls
from gateway.identity.authority import Authority
from gateway.identity.pinned import ConsoleUnreachableError
from gateway.kit.clock import SystemClock
from gateway.kit.errors import Remedy
from tests.unit.cli import samples

ONE = uuid4()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Script:
    """A console that answers each request with the next of its answers, and remembers what it was asked."""

    answers: list[Handler]
    asked: list[web.Request] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return await self.answers[min(len(self.asked), len(self.answers)) - 1](request)


@asynccontextmanager
async def serving(script: Script, *, secured: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    runner = web.ServerRunner(web.Server(script.answer), shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=secured)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def talking(*answers: Handler) -> AsyncIterator[tuple[Client, Script]]:
    script = Script(list(answers))
    async with serving(script) as port:
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(url) as http:
            yield Client(http, url=url, project="default"), script


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(random, "random", lambda: 0.0)


def framed(*positions: int) -> bytes:
    events = [samples.event(CommandBegan(attempt=1), of=ONE, position=one) for one in positions]
    return b"".join(f"id: {one.position}\ndata: {one.model_dump_json()}\n\n".encode() for one in events)


def streams(content: bytes, *, at_once: int = 1 << 20, cut: bool = False) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for start in range(0, len(content), at_once):
            await response.write(content[start : start + at_once])
            await asyncio.sleep(0)
        if cut and request.transport is not None:
            request.transport.abort()
        return response

    return answer


def says(status: int, text: str = "", **headers: str) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers)

    return answer


async def positions(client: Client, upto: int) -> list[int]:
    seen = []
    async with asyncio.timeout(20):
        async for event in client.watch(cluster="demo"):
            if isinstance(event, WatchedEvent):
                seen.append(event.position)
                if event.position >= upto:
                    return seen
    raise AssertionError


async def test_a_stream_that_arrives_byte_by_byte_is_read() -> None:
    async with talking(streams(framed(1, 2), at_once=1)) as (client, _):
        assert await positions(client, 2) == [1, 2]


async def test_a_cut_stream_goes_on_after_the_last_event_seen() -> None:
    first = streams(framed(1, 2) + framed(3)[:40], cut=True)
    async with talking(first, streams(framed(3))) as (client, script):
        assert await positions(client, 3) == [1, 2, 3]
        assert [one.query["after"] for one in script.asked] == ["0", "2"]


async def test_an_event_that_comes_twice_is_seen_once() -> None:
    async with talking(streams(framed(1, 2)), streams(framed(2, 3))) as (client, _):
        assert await positions(client, 3) == [1, 2, 3]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
async def test_a_console_that_cannot_answer_now_is_asked_again(status: int) -> None:
    async with talking(says(status, "<html>", **{"Retry-After": "0"}), streams(framed(1))) as (client, _):
        assert await positions(client, 1) == [1]


async def test_somebody_waiting_is_told_that_the_console_does_not_answer() -> None:
    async with talking(says(503), streams(framed(1))) as (client, _):
        first = await anext(client.watch())
        assert isinstance(first, ConsoleUnreachableError)


@pytest.mark.parametrize(
    ("said", "seconds"), [("", 0), ("7", 7), ("86400", 60), ("Fri, 31 Dec 1999", 0), ("-1", 0), ("٣", 0), ("9" * 99, 0)]
)
def test_how_long_the_console_asks_to_wait_is_kept_within_reason(said: str, seconds: float) -> None:
    assert client_module.retry_after(said) == seconds


async def test_no_is_not_asked_again() -> None:
    problem = Problem(code="project.unknown", message="no", remedy=Remedy.CALLER)
    async with talking(says(404, problem.model_dump_json())) as (client, script):
        with pytest.raises(AnsweredError, match="no"):
            await anext(client.watch())
        assert len(script.asked) == 1


@pytest.mark.parametrize("content", [b"data: {}\n\n", b"data: \xff\n\n", b"data: [\ndata: ]\n\n"])
async def test_an_unreadable_event_is_named(content: bytes) -> None:
    async with talking(streams(content)) as (client, _):
        with pytest.raises(NotAConsoleError, match="event cannot be read"):
            await anext(client.watch())


@pytest.mark.parametrize("status", [200, 302, 404])
async def test_who_is_no_console_is_named(status: int) -> None:
    async with talking(says(status, "<html>hello</html>", Location="https://evil/")) as (client, script):
        with pytest.raises(NotAConsoleError):
            await client.ask("GET", "/whoami", Health)
        assert len(script.asked) == 1


async def test_a_slow_answer_in_pieces_is_read_whole() -> None:
    answer = streams(Health(status="ok", version="é" * 3000).model_dump_json().encode(), at_once=999)
    async with talking(answer) as (client, _):
        assert (await client.ask("GET", "/healthz", Health)).version == "é" * 3000


async def test_a_console_that_is_away_is_named() -> None:
    async with aiohttp.ClientSession("http://127.0.0.1:1") as http:
        with pytest.raises(ConsoleUnreachableError, match=r"127\.0\.0\.1:1"):
            await Client(http, url="http://127.0.0.1:1", project="default").tell("DELETE", "/x")


@asynccontextmanager
async def securely(
    tmp_path: Path, *hosts: str, trust: str | None = None, ahead: timedelta = timedelta()
) -> AsyncIterator[Client]:
    now = SystemClock().now() + ahead
    authority = Authority.open(tmp_path, now=now)
    key = keys.new_key()
    issued = authority.sign_server(key.public_key(), list(hosts), now=now)
    (tmp_path / "server.pem").write_text(issued.pem)
    keys.write(tmp_path / "server.key", key)
    secured = tls.server(tmp_path / "server.pem", tmp_path / "server.key")
    answer = says(200, Health(status="ok", version="1").model_dump_json())
    async with serving(Script([answer]), secured=secured) as port:
        session = Session(
            url=f"https://127.0.0.1:{port}",
            trust=trust or authority.root,
            project="default",
            key=SecretStr("pcgkey1_x"),
        )
        async with Client.open(session) as client:
            yield client


async def test_the_console_one_signed_in_to_is_trusted(tmp_path: Path) -> None:
    async with securely(tmp_path, "127.0.0.1") as client:
        assert (await client.ask("GET", "/healthz", Health)).status == "ok"


async def test_another_console_is_not_trusted_and_the_way_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    other = Authority.open(tmp_path / "other", now=SystemClock().now()).root
    async with securely(tmp_path, "127.0.0.1", trust=other) as client:
        with pytest.raises(ConsoleNotTrustedError, match="compare the pin"):
            await client.ask("GET", "/healthz", Health)
        with pytest.raises(ConsoleNotTrustedError, match="compare the pin"):
            await anext(client.watch())


@pytest.mark.parametrize(("days", "state"), [(60, "has not begun yet"), (-60, "has ended")])
async def test_a_wrong_clock_is_not_taken_for_another_console(days: int, state: str, tmp_path: Path) -> None:
    async with securely(tmp_path, "127.0.0.1", ahead=timedelta(days=days)) as client:
        year = SystemClock().now().year
        with pytest.raises(CertificateOutOfTimeError, match=rf"clock \({year}-.* UTC\) .* {state}: set the clock"):
            await client.ask("GET", "/healthz", Health)
        with pytest.raises(CertificateOutOfTimeError, match=state):
            await anext(client.watch())


@pytest.mark.parametrize("host", ["console", "10.0.0.1"])
async def test_a_certificate_for_another_host_names_the_consoles_hosts(host: str, tmp_path: Path) -> None:
    async with securely(tmp_path, host) as client:
        with pytest.raises(ConsoleNotTrustedError, match="--hosts"):
            await client.ask("GET", "/healthz", Health)


@given(st.lists(st.integers(1, 400), max_size=20), st.booleans())
def test_events_are_cut_out_alike_however_the_bytes_arrive(cuts: list[int], returns: bool) -> None:
    whole = b": hello\n\n" + framed(1, 2) + b"event: x\ndata: a\ndata: b\n\ndata: cut"
    content = whole.replace(b"\n", b"\r\n") if returns else whole
    events, found, start = Events(), [], 0
    for cut in [*cuts, len(content)]:
        found += events.take(content[start : start + cut])
        start += cut
    assert found == Events().take(whole)
    assert len(found) == 3
    assert found[-1] == b"a\nb"


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 60_000 + b"\n", b"x" * 60_000])
def test_an_endless_event_is_refused(piece: bytes) -> None:
    events = Events()
    with pytest.raises(NotAConsoleError):
        list(map(events.take, [piece] * (LIMIT // 60_000 + 2)))
