"""This file is the promises of the connector, against a peer that never says good-bye: nothing stays open."""

import asyncio
import os
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from gateway.identity import keys, tls
from gateway.identity.authority import Authority
from gateway.kit import files
from gateway.kit.connector import Connector

NOW = datetime.now(UTC)  # noqa: TID251 - the TLS library uses the machine's clock
LAST = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
MUCH = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + bytes(2_000_000)


@dataclass
class Peer:
    """Takes calls over TLS, answers each with the same bytes, and from then on neither reads, writes nor closes."""

    listener: socket.socket
    context: ssl.SSLContext
    trust: ssl.SSLContext
    answer: bytes = b""
    sockets: set[int] = field(default_factory=set)
    called: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.getsockname()[1]}/"

    def serve(self) -> None:
        with ExitStack() as held, suppress(OSError):
            while True:
                taken = held.enter_context(self.listener.accept()[0])
                self.sockets.add(os.fstat(taken.fileno()).st_ino)
                call = held.enter_context(self.context.wrap_socket(taken, server_side=True))
                self.called.set()
                if self.answer:
                    call.recv(65536)
                    with suppress(OSError):
                        call.sendall(self.answer)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    authority = Authority.open(files.make_private_directory(tmp_path / "authority"), now=NOW)
    key = keys.keep(tmp_path / "key")
    (tmp_path / "pem").write_text(authority.sign_server(key.public_key(), ["127.0.0.1"], now=NOW).pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = Peer(listener, tls.server(tmp_path / "pem", tmp_path / "key"), tls.client(authority.root))
        thread = threading.Thread(target=peer.serve)
        thread.start()
        yield peer
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def sockets_open() -> set[int]:
    """Return the inodes of all sockets that this process holds."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            about = one.stat()
            if stat.S_ISSOCK(about.st_mode):
                found.add(about.st_ino)
    return found


async def ask(http: aiohttp.ClientSession, peer: Peer) -> None:
    async with http.get(peer.url) as answer:
        await answer.read()


async def test_a_request_that_was_cancelled_leaves_no_socket(peer: Peer) -> None:
    before = sockets_open()
    async with aiohttp.ClientSession(connector=Connector(peer.trust)) as http, asyncio.TaskGroup() as group:
        asking = group.create_task(ask(http, peer))
        assert await asyncio.to_thread(peer.called.wait, 30)
        asking.cancel()
    assert sockets_open() - before <= peer.sockets
    assert peer.sockets


async def test_an_answer_that_ends_its_connection_leaves_no_socket(peer: Peer) -> None:
    peer.answer = LAST
    before = sockets_open()
    async with aiohttp.ClientSession(connector=Connector(peer.trust)) as http:
        await ask(http, peer)
    assert sockets_open() - before <= peer.sockets
    assert peer.sockets


async def test_another_certificate_than_the_one_meant_leaves_no_socket(peer: Peer) -> None:
    before = sockets_open()
    async with aiohttp.ClientSession(connector=Connector(aiohttp.Fingerprint(bytes(32)))) as http:
        with pytest.raises(aiohttp.ServerFingerprintMismatch):
            await ask(http, peer)
    assert sockets_open() - before <= peer.sockets
    assert peer.sockets


async def test_an_answer_that_nobody_reads_to_its_end_leaves_no_socket(peer: Peer) -> None:
    peer.answer = MUCH
    before = sockets_open()
    async with aiohttp.ClientSession(connector=Connector(peer.trust)) as http, http.get(peer.url) as answer:
        await answer.content.readexactly(10)
    assert sockets_open() - before <= peer.sockets
    assert peer.sockets


async def test_a_connection_that_is_kept_is_used_again_and_closed_at_the_end() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer)
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    calls: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        before = sockets_open()
        async with aiohttp.ClientSession(connector=Connector()) as http:
            for _ in range(3):
                async with http.get(url) as said:
                    assert said.status == 200
        [call] = calls
        async with asyncio.timeout(10):
            await call.wait_closed()
        assert sockets_open() == before
