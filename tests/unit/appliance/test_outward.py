"""This file is the promises of the appliance's roads to its console, with a whole console and proxies between."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.appliance import daemon, outward, pairing
from gateway.appliance.identity import Identity
from gateway.appliance.outward import Choice, FirstRoads, OuterTrustUnreadableError, Way
from gateway.appliance.pairing import TlsOpenedError
from gateway.appliance.settings import ApplianceSettings
from gateway.contract.messages import MESSAGE_LIMIT
from gateway.identity import pinned, tls, tokens
from gateway.kit import files
from gateway.kit.errors import GatewayError
from gateway.tunnel.calling import ConsoleNotTrustedError
from gateway.tunnel.channel import Channel
from gateway.tunnel.dialer import dial
from gateway.tunnel.nested import Nested
from gateway.tunnel.proxies import Credentials, ProxyAuthenticationError, ProxySettingError, ProxyUnreachableError
from gateway.tunnel.roads import DialError, Direct
from tests.fakes.console import Console, running_console, token
from tests.fakes.ends import Ends
from tests.fakes.proxies import Connect, Reader, Socks, Writer, listening, proxy
from tests.fakes.roads import Diverted

US = Credentials("us", "open sesame")


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


def identity_in(directory: Path) -> Identity:
    return Identity.open(files.make_private_directory(directory))


def settings_in(directory: Path, **chosen: object) -> ApplianceSettings:
    return ApplianceSettings(state=directory / "state", **chosen)  # type: ignore[arg-type]


def credentials_file(directory: Path, text: str = "us:open sesame\n") -> Path:
    path = directory / "proxy-credentials"
    path.write_text(text)
    return path


# -- which way


def test_a_console_that_is_not_trusted_is_called_inside_a_websocket_next() -> None:
    choice = Choice(direct_worked=True)
    choice.failed(Way.DIRECT, ConsoleNotTrustedError())
    assert choice.way is Way.NESTED


def test_a_port_that_was_never_reached_is_gone_around() -> None:
    choice = Choice()
    choice.failed(Way.DIRECT, DialError())
    assert choice.way is Way.NESTED
    choice.failed(Way.NESTED, DialError())
    assert choice.way is Way.DIRECT


@pytest.mark.parametrize(
    ("choice", "fault"),
    [
        (Choice(direct_worked=True), DialError()),
        (Choice(), DialError(retry_after=7.0)),
        (Choice(), ProxyUnreachableError()),
        (Choice(), ProxyAuthenticationError()),
        (Choice(fixed=Way.DIRECT), ConsoleNotTrustedError()),
    ],
    ids=["it worked before", "the console answered", "no proxy", "unknown to the proxy", "so the setting says"],
)
def test_what_a_detour_would_not_mend_is_no_reason_for_one(choice: Choice, fault: GatewayError) -> None:
    choice.failed(Way.DIRECT, fault)
    assert choice.way is Way.DIRECT


def test_the_way_that_has_worked_stays_until_it_fails() -> None:
    choice = Choice()
    choice.failed(Way.DIRECT, DialError())
    choice.worked(Way.NESTED)
    assert choice.way is Way.NESTED
    choice.failed(Way.DIRECT, DialError())  # somebody's attempt from before
    assert choice.way is Way.NESTED
    choice.failed(Way.NESTED, DialError())
    choice.worked(Way.DIRECT)
    choice.failed(Way.DIRECT, DialError())
    assert choice.way is Way.DIRECT


def test_a_setting_that_says_nested_is_kept_to() -> None:
    choice = Choice(fixed=Way.NESTED)
    choice.failed(Way.NESTED, DialError())
    assert choice.way is Way.NESTED


# -- settings


def test_without_settings_the_road_is_straight(tmp_path: Path) -> None:
    assert outward.first_road(settings_in(tmp_path)) == Direct()


def test_credentials_are_read_from_their_file_and_shown_nowhere(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, proxy="http://proxy:3128", proxy_credentials_file=credentials_file(tmp_path))
    road = outward.first_road(settings)
    assert road.address.credentials == US  # type: ignore[attr-defined]
    assert US.password not in repr(road) + repr(settings)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"proxy": "http://us:hunter2@proxy:3128"}, "proxy_credentials_file"),
        ({"proxy": "proxy:3128"}, "HOST:PORT"),
        ({"proxy_credentials_file": "here"}, "no proxy"),
    ],
)
def test_a_setting_that_is_wrong_is_refused_in_a_sentence(tmp_path: Path, chosen: dict[str, str], said: str) -> None:
    with pytest.raises(ProxySettingError, match=said) as caught:
        outward.first_road(settings_in(tmp_path, **chosen))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_of_trust_that_holds_none_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "corporate.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OuterTrustUnreadableError, match=str(path)):
        outward.outer_tls(settings_in(tmp_path, outer_trust=path))


# -- through proxies


@pytest.mark.parametrize("greets", [Connect(US), Socks(US)], ids=["http", "socks5"])
async def test_pairing_and_tunnel_go_through_a_proxy_that_knows_us(
    tmp_path: Path, console: Console, greets: Connect | Socks
) -> None:
    """The console's name is known to the proxy alone, so nothing can have gone another way."""
    parsed = tokens.parse(await token(console))
    text = replace(parsed, url=parsed.url.replace("localhost", "127.0.0.1")).text()
    identity = identity_in(tmp_path / "state")
    async with proxy(greets) as address:
        settings = settings_in(tmp_path, proxy=str(address), proxy_credentials_file=credentials_file(tmp_path))
        roads = outward.first_roads(settings)
        with capture_logs() as said:
            paired = await pairing.pair(identity, text, roads=roads)
            seen = len(greets.requests)
            async with dial(
                paired.tunnel, tls=identity.tls(), message_limit=MESSAGE_LIMIT, road=roads.straight
            ) as channel:
                await channel.close()
    assert seen >= 2
    assert len(greets.requests) == seen + 1
    assert US.password not in str(said)


async def test_who_the_proxy_does_not_know_is_told_so_when_pairing(tmp_path: Path, console: Console) -> None:
    text = await token(console)
    async with proxy(Connect(US)) as address:
        roads = outward.first_roads(settings_in(tmp_path, proxy=str(address)))
        with pytest.raises(ProxyAuthenticationError, match="proxy_credentials_file"):
            await pairing.pair(identity_in(tmp_path / "state"), text, roads=roads)


async def test_a_console_that_is_not_there_is_told_as_without_a_road(tmp_path: Path, console: Console) -> None:
    parsed = replace(tokens.parse(await token(console)), url="https://127.0.0.1:1")
    with pytest.raises(pinned.ConsoleUnreachableError, match="cannot be reached"):
        await pairing.pair(identity_in(tmp_path / "state"), parsed.text())


# -- inside a WebSocket


@dataclass
class Inspecting:
    """A company that opens TLS on the way to the console's API and looks at what is inside."""

    url: str
    trust: str
    seen: bytearray


@asynccontextmanager
async def inspecting(directory: Path, console: Console) -> AsyncIterator[Inspecting]:
    company, seen = Ends(directory), bytearray()
    far = ssl.create_default_context(cadata=(console.settings.state / "authority" / "authority.pem").read_text())
    port = int(console.reached.api.rpartition(":")[2])

    async def serve(reader: Reader, writer: Writer) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port, ssl=far, server_hostname="localhost")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(copy(reader, far_writer, seen))
                group.create_task(copy(far_reader, writer, seen))
        finally:
            far_writer.transport.abort()

    async with listening(serve, tls=company.open_server) as here:
        yield Inspecting(f"https://127.0.0.1:{here}", company.authority.root, seen)


async def copy(source: Reader, sink: Writer, seen: bytearray) -> None:
    with suppress(OSError):
        while piece := await source.read(65536):
            seen.extend(piece)
            sink.write(piece)
            await sink.drain()
    sink.close()


def corporate(directory: Path, trust: str) -> Path:
    path = directory / "corporate.pem"
    path.write_text(trust)
    return path


async def open_channel(stack: AsyncExitStack, roads: outward.Outward, url: str, context: ssl.SSLContext) -> Channel:
    with roads.noting() as road:
        return await stack.enter_async_context(dial(url, tls=context, message_limit=MESSAGE_LIMIT, road=road))


async def test_where_tls_is_opened_pairing_and_tunnel_go_inside_and_nobody_reads_along(
    tmp_path: Path, console: Console
) -> None:
    identity, parsed = identity_in(tmp_path / "state"), tokens.parse(await token(console))
    text = replace(parsed, url=parsed.url.replace("localhost", "127.0.0.1")).text()  # the name the company knows
    async with inspecting(tmp_path / "company", console) as company:
        settings = settings_in(tmp_path, outer_trust=corporate(tmp_path, company.trust))
        roads_there = replace(outward.first_roads(settings), straight=Diverted(company.url))
        paired = await pairing.pair(identity, text, roads=roads_there)
        assert b"pairing/finish" not in company.seen  # they saw the public authority, and a WebSocket of bytes
        assert b"/api/v1/nested" in company.seen
        async with outward.opened(settings, company.url, trust=identity.trust()) as roads, AsyncExitStack() as stack:
            # The tunnel's port is opened on the way as well, by the same company.
            stranger = company.url.replace("https:", "wss:")
            with pytest.raises(ConsoleNotTrustedError):
                await open_channel(stack, roads, stranger, identity.tls())
            channel = await open_channel(stack, roads, paired.tunnel, identity.tls())
            assert isinstance(roads.road, Nested)
            assert channel.peer_certificate


async def test_where_tls_is_opened_by_who_is_not_trusted_pairing_says_who_it_is(
    tmp_path: Path, console: Console
) -> None:
    identity, text = identity_in(tmp_path / "state"), await token(console)
    async with inspecting(tmp_path / "company", console) as company:
        with pytest.raises(TlsOpenedError, match=r"certificate authority.*outer_trust"):
            await pairing.pair(identity, text, roads=FirstRoads(straight=Diverted(company.url)))
    assert identity.paired() is None


async def test_a_setting_that_forbids_the_detour_is_kept_to(tmp_path: Path, console: Console) -> None:
    identity, text = identity_in(tmp_path / "state"), await token(console)
    async with inspecting(tmp_path / "company", console) as company:
        roads = FirstRoads(Diverted(company.url), Way.DIRECT, tls.outward(company.trust))
        with pytest.raises(TlsOpenedError, match="forbids"):
            await pairing.pair(identity, text, roads=roads)
        assert b"nested" not in company.seen


async def test_without_an_open_tunnel_port_the_channel_is_opened_inside_the_api(
    tmp_path: Path, console: Console
) -> None:
    """Nobody opens TLS here; the firewall knows one port only."""
    identity = identity_in(tmp_path / "state")
    paired = await pairing.pair(identity, await token(console))
    settings = settings_in(tmp_path)
    async with outward.opened(settings, paired.console, trust=identity.trust()) as roads, AsyncExitStack() as stack:
        with pytest.raises(DialError):
            await open_channel(stack, roads, "wss://127.0.0.1:1/", identity.tls())
        await open_channel(stack, roads, paired.tunnel, identity.tls())
        assert isinstance(roads.road, Nested)


async def test_pairing_may_be_nested_from_the_start(tmp_path: Path, console: Console) -> None:
    identity, text = identity_in(tmp_path / "state"), await token(console)
    trust = (console.settings.state / "authority" / "authority.pem").read_text()
    settings = settings_in(tmp_path, tunnel="nested", outer_trust=corporate(tmp_path, trust))
    paired = await pairing.pair(identity, text, roads=outward.first_roads(settings))
    assert paired.gateway_name == "dc1"


async def test_an_appliance_behind_a_proxy_pairs_and_connects(tmp_path: Path, console: Console) -> None:
    path, greets = tmp_path / "token", Connect(US)
    path.write_text(await token(console))
    async with proxy(greets) as address, asyncio.TaskGroup() as group:
        settings = settings_in(
            tmp_path,
            artifacts=tmp_path,
            token_file=path,
            proxy=str(address),
            proxy_credentials_file=credentials_file(tmp_path),
        )
        running = group.create_task(daemon.run(settings))
        async with asyncio.timeout(20):
            while not await connected(console):  # noqa: ASYNC110 - it happens at the console
                await asyncio.sleep(0.05)
        running.cancel()
    assert {one.split()[1].rpartition(":")[2] for one in greets.requests} == {
        url.rstrip("/").rpartition(":")[2] for url in (console.reached.api, console.reached.tunnel)
    }


async def connected(console: Console) -> bool:
    found = (await console.ask("GET", "/api/v1/gateways")).body["items"]
    return bool(found) and found[0]["status"] == "connected"
