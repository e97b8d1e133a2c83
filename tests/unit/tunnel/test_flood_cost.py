"""This file is what a flood costs the end that it comes to: little, for as long as it lasts.

The attacked end is a process of its own, so that its share of a processor is the system's to tell. A machine that has
much else to do lowers that share and never raises it.
"""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

from gateway.tunnel import engine, frames
from gateway.tunnel.acceptor import Lobby
from gateway.tunnel.dataline import dial_data
from gateway.tunnel.frames import DATA, SYN
from gateway.tunnel.limits import KIB, SMALL_FRAME
from gateway.tunnel.roads import DialError
from gateway.tunnel.stream import block
from tests.fakes.ends import Ends
from tests.unit.tunnel.model import Pair
from tests.unit.tunnel.rawclient import REQUEST, raw_client
from tests.unit.tunnel.sessions import console, echo, joined, read_to_end
from tests.unit.tunnel.test_floods import empty_data, pings, rapid_resets, window_updates

pytestmark = pytest.mark.attack(17)

ROOT = Path(__file__).parents[3]
LASTS = 3.0
AT_ONCE = 3000
AGAIN = 0.1
"""Seconds after which the attacker calls again when it was cut: it has time for nothing else."""


def crumbs() -> Iterator[bytes]:
    yield frames.pack(DATA, SYN, 1, 4) + block(b"ok")
    yield from repeat(frames.pack(DATA, 0, 1, 1) + b"x")


@dataclass
class Attacked:
    """A console in another process."""

    process: "subprocess.Popen[str]"
    port: int
    tls: ssl.SSLContext

    @property
    def cpu(self) -> float:
        """Seconds of a processor that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def drown(self, flood: Callable[[], Iterator[bytes]]) -> int:
        """Pour a flood in for LASTS seconds, calling again when cut; return how often it was called."""
        until, calls = time.monotonic() + LASTS, 0
        while time.monotonic() < until:
            calls += 1
            try:
                self._once(flood(), until)
            except OSError:
                time.sleep(AGAIN)
        return calls

    def _once(self, flood: Iterator[bytes], until: float) -> None:
        with (
            socket.create_connection(("127.0.0.1", self.port)) as plain,
            self.tls.wrap_socket(plain, server_hostname="127.0.0.1") as evil,
        ):
            evil.sendall(REQUEST.encode())
            while time.monotonic() < until:
                evil.settimeout(1.0)
                evil.sendall(Frame(Opcode.BINARY, b"".join(islice(flood, AT_ONCE))).serialize(mask=True))
                self._take_answers(evil)

    def _take_answers(self, evil: ssl.SSLSocket) -> None:
        evil.settimeout(0.0)
        try:
            while evil.recv(65536):
                pass
        except ssl.SSLWantReadError:
            return
        raise ConnectionResetError


@contextmanager
def attacked(directory: Path) -> Iterator[Attacked]:
    command = [sys.executable, "-m", "tests.unit.tunnel.attacked", str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Attacked(process, port, _careless(directory))
        finally:
            process.kill()


def _careless(directory: Path) -> ssl.SSLContext:
    """Who attacks does not ask whom; it has a certificate of an appliance."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.load_cert_chain(directory / "client.pem", directory / "client.key")
    return tls


@pytest.mark.parametrize("flood", [pings, window_updates, rapid_resets, empty_data])
def test_a_flood_is_cut_and_takes_less_than_a_fifth_of_a_processor(
    tmp_path: Path, flood: Callable[[], Iterator[bytes]]
) -> None:
    with attacked(tmp_path / "ends") as end:
        before = end.cpu
        assert end.drown(flood) > 1
        assert (end.cpu - before) / LASTS < 0.2


def test_data_in_crumbs_is_read_slowly_and_takes_little(tmp_path: Path) -> None:
    """It breaks no rule, so nobody is cut; unhindered it would take a whole processor."""
    with attacked(tmp_path / "ends") as end:
        before = end.cpu
        end.drown(crumbs)
        assert (end.cpu - before) / LASTS < 0.4


async def test_whose_session_broke_the_protocol_is_not_let_in_again_for_a_moment(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "GOODBYE_LIMIT", 0.3)
    async with asyncio.timeout(30), console(ends, on_stream=echo) as end:
        async with raw_client(ends, end.port) as evil:
            evil.message(b"".join(islice(pings(), 300)))
            assert await evil.closed_with() == 1002
        with pytest.raises(DialError):
            async with dial_data(end.url, tls=ends.client):
                raise AssertionError("it was let in")


def test_who_was_barred_is_let_in_when_the_moment_is_over_and_nobody_else_is_kept_out() -> None:
    lobby = Lobby(barred_for=10.0)
    lobby.bars(b"evil", 100.0)
    caller = object()
    assert not lobby.enters(caller, b"evil", 109.9)  # type: ignore[arg-type] # any object will do
    assert lobby.enters(caller, b"other", 100.0)  # type: ignore[arg-type]
    assert lobby.enters(caller, b"evil", 110.1)  # type: ignore[arg-type]
    lobby.bars(b"third", 200.0)
    assert list(lobby._barred) == [b"third"]


def test_a_hundred_shells_with_sixty_keys_a_second_each_are_never_read_slowly() -> None:
    """Every key is a frame of its own in a message of its own, in both directions: the shell shows what was typed."""
    pair = Pair()
    shells = [pair.dialler.open(0.0) for _ in range(100)]
    for shell in shells:
        pair.dialler.send(shell, 20, 0.0)
    pair.exchange()
    for _ in range(60 * 3):
        for shell in shells:
            pair.now += 1 / 6000
            pair.dialler.send(shell, 1, pair.now)
            pair.exchange()
            pair.acceptor.send(shell, 1, pair.now)
            pair.exchange()
            assert [end.mux.rest for end in pair.ends] == [0.0, 0.0]


@pytest.mark.parametrize("size", [1, SMALL_FRAME - 1])
def test_whoever_sends_more_in_crumbs_is_read_slowly_and_not_cut(size: int) -> None:
    pair = Pair()
    stream = pair.dialler.open(0.0)
    rested = 0.0
    for _ in range(30_000):
        pair.now += 1 / 40_000
        pair.dialler.send(stream, size, pair.now)
        for end in pair.ends:
            pair.take(end)
            pair.deliver(end)
        pair.acceptor.read_all(pair.now)
        rested = max(rested, pair.acceptor.mux.rest)
    assert 0.1 < rested < 1.5


def test_whole_frames_are_never_read_slowly() -> None:
    pair = Pair()
    stream = pair.dialler.open(0.0)
    for _ in range(40_000):
        pair.dialler.send(stream, SMALL_FRAME, 0.0)
        pair.take(pair.dialler)
        pair.deliver(pair.dialler)
        pair.acceptor.read_all(0.0)
        assert pair.acceptor.mux.rest == 0.0
        pair.take(pair.acceptor)
        pair.deliver(pair.acceptor)


async def test_what_is_read_slowly_arrives_whole_and_in_order(ends: Ends) -> None:
    async with asyncio.timeout(60), joined(ends, on_stream=echo) as (session, other):
        other.mux._smalls_allowed._rate = 2000.0
        other.mux._smalls_allowed._tokens = 0.0
        stream, _reply = await session.open(b"")
        sent = bytes(number % 251 for number in range(2000))

        async def type_it() -> None:
            for byte in sent:
                await stream.write(bytes([byte]))
                await asyncio.sleep(0)
            stream.end()

        async with asyncio.TaskGroup() as group:
            group.create_task(type_it())
            came = group.create_task(read_to_end(stream))
        assert came.result() == sent


async def test_an_end_that_cuts_a_flood_takes_no_more_of_it_off_the_network(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "GOODBYE_LIMIT", 30.0)
    async with asyncio.timeout(20), console(ends, on_stream=echo) as end, raw_client(ends, end.port) as evil:
        session = await end.sessions.get()
        evil.message(b"".join(islice(pings(), 300)))

        async def pour() -> None:
            while True:
                evil.message(b"x" * 60 * KIB)
                await evil._writer.drain()

        with pytest.raises(TimeoutError):  # nothing is taken any more, and so what is poured in backs up
            await _within(2.0, pour())
        session.carrier.abort()


async def _within(seconds: float, waited_for: Awaitable[None]) -> None:
    async with asyncio.timeout(seconds):
        await waited_for
