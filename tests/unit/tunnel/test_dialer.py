"""This file is the promises of calling out: what is refused on the way there, and what each refusal is called."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.http11 import Request, Response

from gateway.identity import tls
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel import acceptor
from gateway.tunnel.acceptor import Lobby, accepting
from gateway.tunnel.channel import SUBPROTOCOL, Channel, ChannelClosedError, ChannelRefusedError
from gateway.tunnel.dialer import CertificateRefusedError, ConsoleNotTrustedError, DialError, dial
from gateway.tunnel.proxies import ProxyRefusedError, through
from tests.fakes.ends import Ends
from tests.fakes.proxies import CONNECTED, Connect, Socks, Wire, listening, proxy, saying

LIMIT = 64 * 1024


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    return Ends(tmp_path)


async def echo(channel: Channel) -> None:
    with suppress(ChannelClosedError):
        while True:
            await channel.send(await channel.receive())


@asynccontextmanager
async def console(
    ends: Ends,
    on_channel: Callable[[Channel], Awaitable[None]] = echo,
    *,
    lobby: Lobby | None = None,
) -> AsyncIterator[str]:
    async with accepting(
        "127.0.0.1",
        0,
        tls=ends.server,
        on_channel=on_channel,
        message_limit=LIMIT,
        lobby=lobby,
    ) as port:
        yield f"wss://127.0.0.1:{port}/"


@asynccontextmanager
async def stranger(
    ends: Ends,
    answer: Callable[[ServerConnection, Request], Response | None] | None = None,
    *,
    subprotocols: list[str] | None = None,
    encrypted: bool = True,
) -> AsyncIterator[int]:
    """A WebSocket server that is no console of ours."""

    async def served(connection: ServerConnection) -> None:
        await connection.wait_closed()

    context = ends.open_server if encrypted else None
    offered = subprotocols  # type: ignore[assignment]
    async with serve(
        served, "127.0.0.1", 0, ssl=context, subprotocols=offered, process_request=answer, close_timeout=0.1
    ) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@asynccontextmanager
async def channel_over(ends: Ends, wire: Wire) -> AsyncIterator[Channel]:
    async with (
        console(ends) as url,
        proxy(wire=wire) as address,
        dial(url, tls=ends.client, message_limit=LIMIT, road=through(address)) as channel,
    ):
        yield channel


async def dialled(ends: Ends, url: str, **how: object) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        async with dial(url, tls=ends.client, message_limit=LIMIT, **how) as channel:  # type: ignore[arg-type]
            await channel.receive()
    return caught.value


@pytest.mark.attack(9)
async def test_a_console_that_agrees_on_no_subprotocol_is_not_spoken_to(ends: Ends) -> None:
    async with stranger(ends) as port:
        fault = await dialled(ends, f"wss://127.0.0.1:{port}/")
    assert isinstance(fault, DialError)
    assert SUBPROTOCOL in str(fault)


@pytest.mark.attack(9)
@pytest.mark.parametrize("offered", [None, ["pcg.commands.v0"], ["chat", "PCG.COMMANDS.V1"]])
async def test_who_offers_no_subprotocol_of_ours_is_not_let_in(ends: Ends, offered: list[str] | None) -> None:
    async with console(ends) as url:
        with pytest.raises(InvalidHandshake):
            await connect(url, ssl=ends.client, subprotocols=offered, proxy=None)  # type: ignore[arg-type]


@pytest.mark.attack(9)
@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1/", "http://127.0.0.1:1/", "wss://", "", "wss://user:pw@127.0.0.1:1/"]
)
async def test_an_address_that_is_not_encrypted_or_no_address_is_not_called(ends: Ends, url: str) -> None:
    fault = await dialled(ends, url)
    assert isinstance(fault, DialError)


@pytest.mark.attack(9)
async def test_the_clear_is_not_even_tried(ends: Ends) -> None:
    class NoRoad:
        async def connect(self, host: str, port: int) -> socket.socket:
            raise AssertionError("somebody was called")

    assert "not encrypted" in str(await dialled(ends, "ws://127.0.0.1:1/", road=NoRoad()))


@pytest.mark.attack(9)
async def test_a_console_that_speaks_in_the_clear_is_not_spoken_to(ends: Ends) -> None:
    async with stranger(ends, subprotocols=[SUBPROTOCOL], encrypted=False) as port:
        fault = await dialled(ends, f"wss://127.0.0.1:{port}/")
    assert isinstance(fault, DialError)


@pytest.mark.attack(9)
async def test_a_caller_in_the_clear_gets_no_answer(ends: Ends) -> None:
    async with console(ends) as url:
        with pytest.raises((OSError, InvalidHandshake)):
            await connect(url.replace("wss:", "ws:"), proxy=None)


@pytest.mark.attack(9)
async def test_tls_of_yesterday_is_not_taken_from_a_caller(ends: Ends) -> None:
    old = ends.client
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with console(ends) as url:
        with pytest.raises(OSError):  # noqa: PT011 - what the caller sees of it is the system's own
            await connect(url, ssl=old, subprotocols=[SUBPROTOCOL], proxy=None)  # type: ignore[list-item]


@pytest.mark.attack(9)
async def test_tls_of_yesterday_is_not_taken_from_a_console(ends: Ends) -> None:
    async def served(connection: ServerConnection) -> None:
        await connection.wait_closed()

    old = ends.open_server
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serve(served, "127.0.0.1", 0, ssl=old, close_timeout=0.1) as server:
        fault = await dialled(ends, f"wss://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/")
    assert isinstance(fault, DialError)


@pytest.mark.attack(9)
@pytest.mark.parametrize("shown", ["none", "another authority's"])
async def test_who_shows_no_certificate_of_the_consoles_is_not_let_in(ends: Ends, tmp_path: Path, shown: str) -> None:
    other, served = Ends(tmp_path / "other").directory, False
    certificate = {} if shown == "none" else {"certificate": other / "client.pem", "key": other / "client.key"}

    async def serve_it(channel: Channel) -> None:
        nonlocal served
        served = True

    async with console(ends, serve_it) as url:
        with pytest.raises(DialError):
            async with dial(url, tls=tls.client(ends.authority.root, **certificate), message_limit=LIMIT) as channel:
                await channel.receive()
    assert not served


async def test_a_certificate_that_is_refused_with_an_alert_is_for_the_operator(ends: Ends, tmp_path: Path) -> None:
    """The console's own server sends none, but a load balancer that asks for certificates does."""
    other = Ends(tmp_path / "other").directory
    foreign = tls.client(ends.authority.root, certificate=other / "client.pem", key=other / "client.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            call, _ = listener.accept()
            with ends.server.wrap_socket(call, server_side=True, do_handshake_on_connect=False) as refusing:
                with suppress(ssl.SSLError):
                    refusing.do_handshake()
                while os.read(refusing.fileno(), 65536):  # to close with something unread would overtake the alert
                    pass

        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(refuse))
            with pytest.raises(CertificateRefusedError, match="does not take this appliance's certificate") as caught:
                async with dial(f"wss://127.0.0.1:{listener.getsockname()[1]}/", tls=foreign, message_limit=LIMIT):
                    pass
    assert caught.value.remedy is Remedy.OPERATOR


async def test_a_console_that_is_busy_says_when_to_call_again(ends: Ends) -> None:
    def busy(connection: ServerConnection, _request: Request) -> Response:
        response = connection.respond(503, "busy")  # type: ignore[arg-type]
        response.headers["Retry-After"] = "7"
        return response

    async with stranger(ends, busy) as port:
        fault = await dialled(ends, f"wss://127.0.0.1:{port}/")
    assert isinstance(fault, DialError)
    assert fault.facts == {"status": 503, "retry_after": 7.0}


async def test_a_redirect_is_not_followed(ends: Ends) -> None:
    asked: list[str] = []

    def elsewhere(connection: ServerConnection, request: Request) -> Response:
        asked.append(request.path)
        response = connection.respond(302, "there")  # type: ignore[arg-type]
        response.headers["Location"] = "/there"
        return response

    async with stranger(ends, elsewhere) as port:
        assert isinstance(await dialled(ends, f"wss://127.0.0.1:{port}/"), DialError)
    assert asked == ["/"]


async def test_a_console_with_too_many_waiting_sends_the_next_one_away(ends: Ends) -> None:
    go_on = asyncio.Event()

    async def slow(channel: Channel) -> None:
        await go_on.wait()
        await channel.send("welcome")
        await echo(channel)

    async with console(ends, slow, lobby=Lobby(1)) as url, dial(url, tls=ends.client, message_limit=LIMIT) as first:
        fault = await dialled(ends, url)
        assert isinstance(fault, DialError)
        assert acceptor.SOONEST <= float(fault.facts["retry_after"] or 0) <= acceptor.LATEST
        go_on.set()
        assert await first.receive() == "welcome"
        async with dial(url, tls=ends.client, message_limit=LIMIT) as second:  # who is served waits no more
            assert await second.receive() == "welcome"


async def test_a_console_that_drains_keeps_who_is_there_and_sends_others_away(ends: Ends) -> None:
    lobby = Lobby()
    async with console(ends, lobby=lobby) as url, dial(url, tls=ends.client, message_limit=LIMIT) as first:
        lobby.draining.set()
        fault = await dialled(ends, url)
        assert fault.facts["status"] == 503
        await first.send("still here")
        assert await first.receive() == "still here"


@pytest.mark.parametrize(
    ("code", "reason", "kind", "wait"),
    [
        (4000, "relay.refused: removed", ChannelRefusedError, None),
        (1013, "busy; retry-after=30", ChannelClosedError, 30),
        (1001, "", ChannelClosedError, None),
    ],
)
async def test_how_a_console_closes_says_when_to_come_back(
    ends: Ends, code: int, reason: str, kind: type[ChannelClosedError], wait: float | None
) -> None:
    async def closes(channel: Channel) -> None:
        await channel.close(code=code, reason=reason)

    async with console(ends, closes) as url:
        fault = await dialled(ends, url)
    assert type(fault) is kind
    assert fault.facts["retry_after"] == wait
    assert fault.facts["close_code"] == code


@pytest.mark.parametrize("greets", [Connect(), Socks()], ids=["http", "socks5"])
async def test_a_channel_goes_through_a_proxy_that_alone_knows_the_name(ends: Ends, greets: Connect | Socks) -> None:
    async with console(ends) as url, proxy(greets, names={"console.example": "127.0.0.1"}) as address:
        named = url.replace("127.0.0.1", "console.example")
        async with dial(named, tls=ends.client, message_limit=LIMIT, road=through(address)) as channel:
            await channel.send("x" * 60_000)
            assert await channel.receive() == "x" * 60_000


@pytest.mark.attack(35)
async def test_a_proxy_that_says_connected_and_speaks_http_then_is_found_out(ends: Ends) -> None:
    """The words come a moment later, as an answer to our TLS."""

    async def serve_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CONNECTED)
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with listening(serve_page) as port, saying(b"") as (address, _):
        lying = type(address)("http", "127.0.0.1", port)
        fault = await dialled(ends, "wss://127.0.0.1:8444/", road=through(lying))
    assert isinstance(fault, DialError)
    assert "does not speak TLS" in str(fault)


async def test_a_proxy_that_leads_to_somebody_else_leads_nowhere(ends: Ends, tmp_path: Path) -> None:
    other = Ends(tmp_path / "other")
    async with stranger(other, subprotocols=[SUBPROTOCOL]) as port, proxy() as address:
        fault = await dialled(ends, f"wss://127.0.0.1:{port}/", road=through(address))
    assert isinstance(fault, ConsoleNotTrustedError)


async def test_a_proxys_refusal_comes_out_as_it_is(ends: Ends) -> None:
    async with saying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (address, _):
        assert isinstance(await dialled(ends, "wss://console.example/", road=through(address)), ProxyRefusedError)


@pytest.mark.attack(31)
async def test_a_proxy_that_cuts_what_is_idle_never_finds_us_idle(ends: Ends) -> None:
    """Scaled by 200: the proxy cuts after 60 s without a byte, we ask after 15 s of silence."""
    async with channel_over(ends, Wire(idle=0.3)) as channel:
        watchful = Channel(channel._connection, quiet=0.075, dead=2.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await watchful.receive()
        await channel.send("still here")
        assert await watchful.receive() == "still here"


@pytest.mark.attack(31)
async def test_a_proxy_that_cuts_everything_is_noticed_at_once_and_called_again(ends: Ends) -> None:
    wire = Wire()
    async with console(ends) as url, proxy(wire=wire) as address:
        for _ in range(2):
            async with dial(url, tls=ends.client, message_limit=LIMIT, road=through(address)) as channel:
                wire.cuts.set()
                with pytest.raises(ChannelClosedError, match="cut"):
                    async with asyncio.timeout(5):
                        await channel.receive()
            wire.cuts.clear()


@pytest.mark.attack(31)
async def test_a_road_that_drops_one_way_without_a_word_is_given_up_in_time(ends: Ends) -> None:
    """Scaled by 100: what we say still gets there, nothing comes back."""
    wire, loop = Wire(), asyncio.get_running_loop()
    async with channel_over(ends, wire) as channel:
        watchful = Channel(channel._connection, quiet=0.15, dead=0.45)
        await channel.send("hello")
        assert await watchful.receive() == "hello"
        wire.swallows.set()
        began = loop.time()
        with pytest.raises(ChannelClosedError, match="silent"):
            async with asyncio.timeout(5):
                await watchful.receive()
    assert 0.4 <= loop.time() - began < 1.5


@pytest.mark.attack(31)
async def test_a_proxy_that_hoards_and_passes_on_slowly_is_no_dead_peer(ends: Ends) -> None:
    """It takes in 4 MB at once and passes them on at its own pace; what the console answers keeps us patient."""
    wire, count = Wire(hoard=4 * 1024 * 1024, pause=0.05), 32
    async with channel_over(ends, wire) as channel:
        watchful = Channel(channel._connection, quiet=0.3, dead=0.9)
        async with asyncio.TaskGroup() as group:
            group.create_task(_say(channel, count))
            for _ in range(count):
                assert len(await watchful.receive()) == 60_000


async def _say(channel: Channel, count: int) -> None:
    for _ in range(count):
        await channel.send("x" * 60_000)


async def test_who_is_cancelled_while_dialling_leaves_no_socket(ends: Ends) -> None:
    async def call(url: str) -> None:
        with suppress(ConnectionClosed):
            async with dial(url, tls=ends.client, message_limit=LIMIT) as channel:
                await channel.receive()

    async with console(ends) as url:
        for turns in range(0, 60, 4):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(call(url))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
