"""This file is the promises of forwarding: every line arrives, in order; nobody who is away holds anybody up."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.appliance import forwarding
from gateway.appliance.forwarding import Place, Send
from gateway.audit import syslog
from gateway.audit.lines import Act, parsed
from gateway.identity.authority import Authority
from gateway.identity.keys import keep
from gateway.kit import supervise
from gateway.kit.clock import SystemClock
from tests.unit.audit.logs import a_log, an_act, entries

LIMIT = 30


class Collector:
    """Takes what it is sent, as long as it is open."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.away = False
        self.opened = 0
        self.moved = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        self.opened += 1

        async def send(lines: Sequence[bytes]) -> int:
            if self.away:
                raise forwarding.PlaceAwayError("away")
            self.lines += lines
            self.moved.set()
            return 0

        yield send

    def numbers(self) -> list[int]:
        return [entry.number for line in self.lines if (entry := parsed(line))]


class Quick(SystemClock):
    """Waits a hundredth of what it is asked to."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 100)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not is_so():  # noqa: ASYNC110 - files have no events
            await asyncio.sleep(0.005)


async def test_every_line_goes_out_in_order_also_those_written_meanwhile(tmp_path: Path) -> None:
    log, collector = a_log(tmp_path, 3), Collector()
    async with supervise.running(
        one=forwarding.keep_forwarding(tmp_path, log, Place("x", collector.open), clock=Quick())
    ):
        await until(lambda: len(collector.lines) == 3)
        log.append([an_act(number) for number in range(500)])
        await until(lambda: len(collector.lines) == 503)
    assert collector.numbers() == list(range(1, 504))


async def test_lines_follow_each_other_over_closed_files(tmp_path: Path) -> None:
    log, collector = a_log(tmp_path, segment=2000), Collector()
    async with supervise.running(
        one=forwarding.keep_forwarding(tmp_path, log, Place("x", collector.open), clock=Quick())
    ):
        for number in range(60):
            log.append([an_act(number)])
            await asyncio.sleep(0)
        await until(lambda: len(collector.lines) == 60)
    assert log.closed() > 1
    assert collector.numbers() == list(range(1, 61))


async def test_a_place_that_was_away_gets_what_it_has_missed_and_nothing_waits_for_it(tmp_path: Path) -> None:
    log, collector = a_log(tmp_path, 2), Collector()
    async with supervise.running(
        one=forwarding.keep_forwarding(tmp_path, log, Place("x", collector.open), clock=Quick())
    ):
        await until(lambda: len(collector.lines) == 2)
        collector.away = True
        log.append([an_act(2)])
        await until(lambda: collector.opened > 2)
        log.append([an_act(3)])
        collector.away = False
        await until(lambda: len(collector.lines) == 4)
    assert collector.numbers() == [1, 2, 3, 4]


async def test_after_a_restart_it_goes_on_where_it_was(tmp_path: Path) -> None:
    log = a_log(tmp_path, 4)
    for expected in ([1, 2, 3, 4], [5]):
        collector = Collector()
        async with supervise.running(
            one=forwarding.keep_forwarding(tmp_path, log, Place("x", collector.open), clock=Quick())
        ):
            await until(lambda c=collector: bool(c.lines))
            await until(lambda e=expected: forwarding._sent(tmp_path / "audit.sent.x") == e[-1])
        assert collector.numbers() == expected
        log.append([an_act()])


async def test_lines_that_went_before_they_could_be_sent_are_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.appliance.audit.KEPT", 2)
    log, collector = a_log(tmp_path, 2, segment=1000), Collector()
    (tmp_path / "audit.sent.x").write_text("2\n")
    for number in range(60):
        log.append([an_act(number)])
    oldest = entries(log)[0].number
    async with supervise.running(
        one=forwarding.keep_forwarding(tmp_path, log, Place("x", collector.open), clock=Quick())
    ):
        await until(lambda: any(b"audit.dropped" in line for line in collector.lines))
    dropped = entries(log)[-1].act
    assert dropped == Act("audit.dropped", "failed", {"place": "x", "lines": oldest - 3})


async def test_a_log_that_was_begun_anew_is_sent_from_its_beginning(tmp_path: Path) -> None:
    log, collector = a_log(tmp_path, 2), Collector()
    (tmp_path / "audit.sent.x").write_text("900\n")
    async with supervise.running(
        one=forwarding.keep_forwarding(tmp_path, log, Place("x", collector.open), clock=Quick())
    ):
        await until(lambda: len(collector.lines) == 2)
    assert collector.numbers() == [1, 2]


async def test_a_torn_line_is_sent_as_what_it_is(tmp_path: Path) -> None:
    log, collector = a_log(tmp_path, 1), Collector()
    with (tmp_path / "audit.log").open("ab") as file:
        file.write(b"\x1b]52;c;AAAA\x07")
    log.append([an_act(1)])
    async with supervise.running(
        one=forwarding.keep_forwarding(tmp_path, log, Place("x", collector.open), clock=Quick())
    ):
        await until(lambda: len(collector.lines) == 4)
    shown = syslog.message(collector.lines[1], host="gw")
    assert shown.endswith(b'{"torn":"1b5d35323b633b4141414107"}')


async def test_a_file_takes_lines_and_may_be_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "copy.jsonl"
    async with forwarding.to_file(path) as send:
        await send([b'{"a":1}'])
        path.rename(tmp_path / "old.jsonl")
        await send(log_lines(tmp_path))
    assert path.read_bytes() == b"".join(line + b"\n" for line in log_lines(tmp_path))
    assert path.stat().st_mode & 0o777 == 0o600


def log_lines(state: Path) -> list[bytes]:
    log = a_log(state) if (state / "audit.log").exists() else a_log(state, 2)
    return [line for _, line in log.lines()]


async def test_a_file_that_cannot_be_written_is_a_place_that_is_away(tmp_path: Path) -> None:
    async with forwarding.to_file(tmp_path / "no" / "such") as send:
        with pytest.raises(forwarding.PlaceAwayError):
            await send([b"{}"])


async def received_by_a_server(
    lines: list[bytes], *, trust: Path | None = None, context: ssl.SSLContext | None = None
) -> bytes:
    got = bytearray()
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(4096):
            got.extend(chunk)
        writer.close()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        transport = "tls" if context else "tcp"
        async with forwarding.to_syslog(syslog.Address(transport, "localhost", port), trust=trust, host="gw") as send:
            assert await send(lines) == 0
        async with asyncio.timeout(LIMIT):
            await done.wait()
    return bytes(got)


async def test_over_tcp_each_message_has_its_length_before_it(tmp_path: Path) -> None:
    lines = log_lines(tmp_path)
    got = await received_by_a_server(lines)
    for line in lines:
        length, _, rest = got.partition(b" ")
        message, got = rest[: int(length)], rest[int(length) :]
        assert message == syslog.message(line, host="gw")
    assert got == b""


async def test_over_tls_the_collector_has_to_be_vouched_for(tmp_path: Path) -> None:
    clock = SystemClock()
    authority = Authority.open(tmp_path / "authority", now=clock.now())
    key = keep(tmp_path / "server.key")
    (tmp_path / "root.pem").write_text(authority.root)
    (tmp_path / "server.pem").write_text(authority.sign_server(key.public_key(), ["localhost"], now=clock.now()).pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    lines = log_lines(tmp_path)
    assert await received_by_a_server(lines, trust=tmp_path / "root.pem", context=context)
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        where = syslog.Address("tls", "localhost", server.sockets[0].getsockname()[1])
        with pytest.raises(forwarding.PlaceAwayError):
            async with forwarding.to_syslog(where, trust=None, host="gw"):
                pytest.fail("a stranger was trusted")


async def test_over_udp_each_line_is_one_datagram(tmp_path: Path) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    class Ends(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            got.put_nowait(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Ends, local_addr=("127.0.0.1", 0))
    where = syslog.Address("udp", "127.0.0.1", transport.get_extra_info("sockname")[1])
    lines = log_lines(tmp_path)
    async with forwarding.to_syslog(where, trust=None, host="gw") as send:
        assert await send([*lines, b"x" * 70_000]) == 1, "what fits in no datagram is counted"
        async with asyncio.timeout(LIMIT):
            assert [await got.get() for _ in lines] == [syslog.message(line, host="gw") for line in lines]
    transport.close()


async def test_a_collector_that_refuses_is_away() -> None:
    where = syslog.Address("tcp", "127.0.0.1", 1)
    with pytest.raises(forwarding.PlaceAwayError):
        async with forwarding.to_syslog(where, trust=None, host="gw"):
            pytest.fail("nobody listens there")


def test_a_message_is_what_the_rfc_says() -> None:
    log = (
        b'{"action":"stream.refused","at":"2026-11-21T12:00:00+00:00","facts":{},"number":1,'
        b'"outcome":"refused","previous":"0"}'
    )
    assert syslog.message(log, host="gw 1") == (
        b"<108>1 2026-11-21T12:00:00+00:00 gw?1 pcg-appliance - stream.refused - " + log
    )
    assert json.loads(log)


@pytest.mark.parametrize(
    "text", ["", "host", "http://h", "udp://", "tcp://h:99999", "tls://h:0", "tcp://u@h", "tcp://h/x", "tls://h?x"]
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write udp|[Pp]ort"):
        syslog.address(text)


@pytest.mark.parametrize(("text", "port"), [("udp://h", 514), ("tcp://[::1]", 601), ("tls://h:7", 7)])
def test_an_address_has_the_usual_port(text: str, port: int) -> None:
    assert syslog.address(text).port == port


SPACED = b'{"action":"a","at":"t","facts":{},\r"number":1,"outcome":"ok","previous":"\x7f"}'
"""An entry as we would never write it: JSON allows for the one between words, and for the other within them."""


@pytest.mark.attack(23)
@pytest.mark.parametrize(
    "line",
    [b"x\r\n<13>1 forged", b"\x1b[2J", "\u202egpj.exe".encode(), b'{"action":"a\nb"}', b"\x00", b"\xff\xfe", SPACED],
)
def test_nothing_in_a_line_begins_another_message(line: bytes) -> None:
    message = syslog.message(line, host="gw\r\n<13>1")
    assert message.isascii()
    assert not syslog.CONTROL.search(message)
