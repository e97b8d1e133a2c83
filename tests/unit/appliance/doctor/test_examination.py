"""This file is what the doctor finds on real roads: a console as it should be, and each thing that may be wrong."""

import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from gateway.appliance.doctor import measures, subject
from gateway.appliance.doctor.examination import Examination
from gateway.appliance.doctor.findings import Check, Verdict
from gateway.appliance.doctor.subject import Place, Subject
from gateway.appliance.doctor.verdicts import Ended
from gateway.console.api import echo as consoles_echo
from gateway.console.api.echoes import AT_ONCE_EACH
from gateway.identity import tls, tokens
from gateway.kit.clock import SystemClock
from gateway.tunnel.proxies import Credentials, HttpProxy, through
from gateway.tunnel.roads import Direct
from tests.fakes.console import Appliance, Console, running_console, token
from tests.fakes.ends import Ends
from tests.fakes.proxies import Connect, Socks, Wire, proxy, saying
from tests.unit.appliance.doctor.consoles import (
    QUICK,
    answering,
    elsewhere,
    examined,
    found,
    inspecting,
    paired,
    settings,
)


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


def test_both_ends_of_the_echo_mean_the_same() -> None:
    assert (measures.PATH, measures.SUBPROTOCOL) == (consoles_echo.PATH, consoles_echo.SUBPROTOCOL)
    assert 2 * sum(measures.AMOUNTS) < consoles_echo.BUDGET
    assert max(measures.SIZES) <= consoles_echo.MESSAGE_LIMIT


async def test_a_road_as_it_should_be_is_found_well_from_end_to_end(console: Console, tmp_path: Path) -> None:
    results, examination = await examined(await paired(console, tmp_path))
    said = found(results)
    assert said.pop("tcp") in {"tcp.open", "tcp.some_addresses"}  # localhost may also be ::1
    assert said == {
        "dns": "dns.resolved",
        "proxy": "proxy.none",
        "credentials": "credentials.no_proxy",
        "tls": "tls.console",
        "certificate": "certificate.accepted",
        "websocket": "websocket.open",
        "hold": "hold.survived",
        "clock": "clock.right",
        "mtu": "mtu.whole",
        "throughput": "throughput.measured",
    }
    assert not examination.nested


async def test_the_running_appliances_session_is_not_disturbed(console: Console, tmp_path: Path) -> None:
    one = await paired(console, tmp_path)
    assert one.identity is not None
    known = one.identity.paired()
    running = Appliance(console, known, one.identity.tls())  # type: ignore[arg-type] # of it only the address is used
    async with running.connected() as line:
        results, _ = await examined(one)
        await line.settle()
    assert found(results)["certificate"] == "certificate.accepted"


async def test_a_name_that_does_not_resolve_stops_everything_that_needs_it(tmp_path: Path) -> None:
    results, _ = await examined(subject.unpaired(settings(tmp_path), "https://console.invalid:8443"))
    said = found(results)
    assert said.pop("dns") in {"dns.unknown_name", "dns.no_answer"}
    assert {check for check, finding in said.items() if finding == "any.not_reached"} == {
        "tcp", "tls", "certificate", "websocket", "hold", "clock", "mtu", "throughput"
    }  # fmt: skip


async def test_a_port_where_nothing_listens_is_told_apart(console: Console, tmp_path: Path) -> None:
    one = elsewhere(await paired(console, tmp_path), closed_port())
    results, _ = await examined(replace(one, tunnel=None))
    assert found(results)["tcp"] == "tcp.refused"
    assert results[Check.TLS].verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("mode", "finding", "verdict"),
    [("direct", "tcp.tunnel_port_closed", "failed"), ("auto", "tcp.tunnel_port_nested", "warning")],
)
async def test_a_closed_tunnel_port_is_a_failure_unless_the_way_around_is_allowed(
    console: Console, tmp_path: Path, mode: str, finding: str, verdict: str
) -> None:
    one = on_loopback(await paired(console, tmp_path, tunnel=mode))
    assert one.tunnel is not None
    results, _ = await examined(replace(one, tunnel=replace(one.tunnel, port=closed_port())))
    assert (results[Check.TCP].finding, results[Check.TCP].verdict) == (finding, verdict)
    if mode == "auto":
        assert results[Check.CERTIFICATE].finding == "certificate.accepted"
        assert "nested" in results[Check.CERTIFICATE].seen


@pytest.mark.parametrize(
    ("mode", "known", "finding"),
    [
        ("direct", False, "tls.opened"),
        ("auto", False, "tls.opener_unknown"),
        ("auto", True, "tls.opened_nested"),
        ("nested", True, "tls.opened_nested"),
    ],
)
async def test_who_opens_tls_is_named_and_the_way_through_is_known(
    console: Console, tmp_path: Path, mode: str, known: bool, finding: str
) -> None:
    company = Ends(tmp_path / "company")
    (tmp_path / "company.pem").write_text(company.authority.root)
    chosen: dict[str, object] = {"tunnel": mode} | ({"outer_trust": tmp_path / "company.pem"} if known else {})
    one = on_loopback(await paired(console, tmp_path, **chosen))
    assert one.tunnel is not None
    tunnel, api = one.tunnel, one.api
    async with (
        inspecting(company.open_server, lambda: api.port) as api_port,
        inspecting(company.open_server, lambda: tunnel.port) as tunnel_port,
    ):
        opened = replace(elsewhere(one, api_port), tunnel=replace(tunnel, port=tunnel_port))
        results, examination = await examined(opened)
    tls = results[Check.TLS]
    assert tls.finding == finding
    assert str(tls.facts["issuer"]).startswith("CN=pcg certificate authority ")
    assert results[Check.WEBSOCKET].finding == "websocket.open"
    assert examination.nested == known
    assert (results[Check.CERTIFICATE].finding == "certificate.accepted") == known


async def test_what_opens_tls_and_speaks_only_its_older_version_is_gone_through_too(
    console: Console, tmp_path: Path
) -> None:
    company = Ends(tmp_path / "company")
    (tmp_path / "company.pem").write_text(company.authority.root)
    older = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    older.load_cert_chain(company.directory / "server.pem", company.directory / "server.key")
    one = replace(on_loopback(await paired(console, tmp_path, outer_trust=tmp_path / "company.pem")), tunnel=None)
    async with inspecting(older, lambda: one.api.port) as port:
        results, _ = await examined(elsewhere(one, port))
    assert results[Check.TLS].finding == "tls.opened_nested", results[Check.TLS].seen
    assert results[Check.WEBSOCKET].finding == "websocket.open"


async def test_a_token_tells_the_right_console_from_another(console: Console, tmp_path: Path) -> None:
    parsed = tokens.parse(await token(console))
    right, _ = await examined(subject.unpaired(settings(tmp_path), parsed.url, parsed))
    assert found(right)["tls"] == "tls.console"
    assert found(right)["certificate"] == "certificate.not_paired"

    forged = replace(parsed, pins=(bytes(32),))
    other, _ = await examined(subject.unpaired(settings(tmp_path), parsed.url, forged), QUICK)
    assert found(other)["tls"] == "tls.other_authority"


async def test_without_a_token_nobody_is_believed_and_the_pin_is_shown(console: Console, tmp_path: Path) -> None:
    results, _ = await examined(subject.unpaired(settings(tmp_path), console.reached.api))
    assert results[Check.TLS].finding == "tls.unjudged"
    assert console.reached.pin in results[Check.TLS].seen


ME = Credentials("me", "hunter2")


@pytest.mark.parametrize("kind", [Connect, Socks])
@pytest.mark.parametrize(
    ("given", "finding"),
    [
        (None, "credentials.missing"),
        (Credentials("me", "wrong-one"), "credentials.wrong"),
        (ME, "credentials.accepted"),
    ],
)
async def test_a_proxy_that_asks_who_calls(
    console: Console, tmp_path: Path, kind: type[Connect | Socks], given: Credentials | None, finding: str
) -> None:
    one = await paired(console, tmp_path)
    async with proxy(kind(credentials=ME), credentials=given) as address:
        results, _ = await examined(replace(one, road=through(address)))
    assert results[Check.CREDENTIALS].finding == finding
    passes = given == ME
    assert (results[Check.TLS].finding == "tls.console") == passes
    assert (results[Check.CERTIFICATE].finding == "certificate.accepted") == passes
    told = " ".join(result.model_dump_json() for result in results.values())
    assert "hunter2" not in told
    assert "wrong-one" not in told


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "proxy.refused"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "proxy.refused"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "proxy.broken"),
    ],
)
async def test_a_proxy_that_does_not_connect(console: Console, tmp_path: Path, answer: bytes, finding: str) -> None:
    one = await paired(console, tmp_path)
    async with saying(answer, end=True) as (address, _):
        results, _ = await examined(replace(one, road=HttpProxy(address)))
    assert results[Check.PROXY].finding == finding
    assert results[Check.CREDENTIALS].finding == "any.not_reached"
    assert results[Check.TLS].verdict is Verdict.SKIPPED


async def test_what_cuts_a_quiet_connection_is_named_and_after_how_long(console: Console, tmp_path: Path) -> None:
    one = await paired(console, tmp_path)
    async with proxy(wire=Wire(idle=0.3)) as address:
        road = through(address)
        examination = Examination(replace(one, road=road), SystemClock(), replace(QUICK, hold=20.0))
        seen = await examination._hold()
    assert seen.finding.code == "hold.cut_early"
    assert str(address) in seen.seen
    assert 0.3 <= float(seen.facts["after_seconds"] or 0) < 15


async def test_a_quiet_connection_that_was_forgotten_is_found(console: Console, tmp_path: Path) -> None:
    one, wire = await paired(console, tmp_path), Wire()
    async with (
        proxy(wire=wire) as address,
        measures.echoing(through(address), one.api, tls.client(one.trust or "")) as echo,
    ):
        wire.swallows.set()
        ended, _ = await measures.hold(echo, seconds=0.1, answer=0.3, clock=SystemClock())
    assert ended is Ended.DEAD


async def test_a_console_with_another_time_is_found(console: Console, tmp_path: Path) -> None:
    one = on_loopback(await paired(console, tmp_path))
    answer = b"HTTP/1.1 400 Bad Request\r\nDate: Sat, 01 Jan 2022 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
    state = console.settings.state
    async with answering(tls.server(state / "server.pem", state / "server.key"), answer) as port:
        results, _ = await examined(elsewhere(one, port))
    assert results[Check.CLOCK].finding == "clock.wrong"
    assert results[Check.WEBSOCKET].finding == "websocket.refused"
    assert results[Check.HOLD].finding == "any.not_reached"


async def test_a_certificate_that_the_console_does_not_know_is_found(console: Console, tmp_path: Path) -> None:
    one = await paired(console, tmp_path)
    stranger = Ends(tmp_path / "stranger")
    assert one.identity is not None
    for mine, theirs in (("tls.pem", "client.pem"), ("tls.key", "client.key")):
        (one.identity.directory / "certificates" / "1" / mine).write_bytes((stranger.directory / theirs).read_bytes())
    results, _ = await examined(one)
    # Python's TLS server ends a handshake it does not like without sending the alert.
    assert results[Check.CERTIFICATE].finding in {"certificate.refused", "certificate.cut"}


async def test_sizes_from_which_nothing_comes_back_are_found(tmp_path: Path) -> None:
    ends = Ends(tmp_path)

    async def loses_large(connection: ServerConnection) -> None:
        async for message in connection:
            if len(message) <= 1500:
                await connection.send(message)

    subprotocols = [measures.SUBPROTOCOL]
    async with serve(loses_large, "127.0.0.1", 0, ssl=ends.open_server, subprotocols=subprotocols) as server:  # type: ignore[arg-type]
        place = Place("127.0.0.1", next(iter(server.sockets)).getsockname()[1])
        async with measures.echoing(Direct(), place, tls.client(ends.authority.root)) as echo:
            sizes = await measures.sizes(echo, answer=1.0)
            assert (measures.kernel_mtu(echo) or 0) >= 1500
    assert sizes == measures.Sizes([1, 1400, 1500], 9000)


async def test_a_busy_echo_leaves_the_measurements_out_and_is_no_failure(console: Console, tmp_path: Path) -> None:
    one = await paired(console, tmp_path)
    sockets = [await console.http.ws_connect(measures.PATH) for _ in range(AT_ONCE_EACH)]
    results, _ = await examined(one)
    for socket_ in sockets:
        await socket_.close()
    assert {found(results)[name] for name in ("websocket", "hold", "mtu", "throughput")} == {"any.no_echo"}
    assert all(result.verdict is not Verdict.FAILED for result in results.values())


def on_loopback(one: Subject) -> Subject:
    assert one.tunnel is not None
    return replace(elsewhere(one, one.api.port), tunnel=replace(one.tunnel, host="127.0.0.1"))


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
