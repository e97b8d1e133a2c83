"""This file is the promises of the event loop: what a caller does to itself is no error of ours."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.identity import keys, tls
from gateway.identity.authority import Authority
from gateway.kit import files, loops
from gateway.kit.clock import SystemClock
from gateway.kit.loops import Loop

Caller = Callable[[socket.socket], None]


def leaves(sock: socket.socket) -> None:
    sock.close()


def speaks_no_tls(sock: socket.socket) -> None:
    sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
    sock.close()


def does_not_trust(sock: socket.socket) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(sock, server_hostname="127.0.0.1")


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    ours = Authority.open(files.make_private_directory(tmp_path / "ca"), now=SystemClock().now())
    key = keys.keep(tmp_path / "key")
    issued = ours.sign_server(key.public_key(), ["127.0.0.1"], now=SystemClock().now())
    (tmp_path / "certificate").write_text(issued.pem)
    return tls.server(tmp_path / "certificate", tmp_path / "key")


def installed() -> Iterator[Loop]:
    for kind in Loop:
        try:
            loops.factory(kind)
        except ImportError:
            continue
        yield kind


async def called(server: ssl.SSLContext, caller: Caller) -> None:
    """Have somebody call, and wait until the loop is rid of them: of two callers the second is met after the first."""
    met = asyncio.Event()

    async def meet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        met.set()

    listening = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=server)
    async with listening:
        address = listening.sockets[0].getsockname()
        await asyncio.to_thread(lambda: caller(socket.create_connection(address)))
        _, writer = await asyncio.open_connection(*address[:2], ssl=tls.unchecked())
        async with asyncio.timeout(20):
            await met.wait()
        writer.close()


@pytest.mark.parametrize("kind", list(installed()))
@pytest.mark.parametrize("caller", [leaves, speaks_no_tls, does_not_trust])
def test_a_caller_that_does_not_open_tls_is_no_error(
    kind: Loop, caller: Caller, server: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logged:
        loops.run(called(server, caller), kind=kind)
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
    assert {(one["log_level"], one["address"]) for one in logged} <= {("info", "127.0.0.1")}


def test_a_caller_that_was_cut_is_one_line_with_its_address() -> None:
    ours, other = socket.socketpair()

    async def one() -> None:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        # As aiofastnet tells it: the class in the place of the error.
        context = {"message": "SSL handshake failed", "exception": ConnectionResetError, "transport": transport}
        asyncio.get_running_loop().call_exception_handler(context)
        transport.close()

    with other, capture_logs() as logged:
        loops.run(one())
    assert [(one["log_level"], one["reason"], "\n" in str(one)) for one in logged] == [
        ("info", "ConnectionResetError", False)
    ]


def test_what_is_a_defect_of_ours_is_still_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def one() -> None:
        context = {"message": "SSL handshake failed", "exception": ValueError("ours")}
        asyncio.get_running_loop().call_exception_handler(context)

    loops.run(one())
    assert [one.levelno for one in caplog.records] == [logging.ERROR]
