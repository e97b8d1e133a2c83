"""This file is the promises of the straight road."""

import asyncio
import gc
import socket
from collections.abc import Iterator

import pytest

from gateway.tunnel.answers import retry_after, retry_after_close
from gateway.tunnel.roads import NOT_SENT, UNACKNOWLEDGED, DialError, Direct


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def test_the_socket_is_connected_does_not_block_and_is_tuned(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with await Direct().connect("localhost", port) as connected:
        assert connected.getpeername()[1] == port
        assert connected.getblocking() is False
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == NOT_SENT
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNACKNOWLEDGED


async def test_the_kernel_goes_on_to_tune_the_send_buffer_itself(listener: socket.socket) -> None:
    """A buffer that was set stays as it is; one that was not grows with what is on its way."""
    with await Direct().connect("127.0.0.1", listener.getsockname()[1]) as connected:
        with socket.socket() as plain:
            untouched = plain.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) != 2 * 256 * 1024
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= untouched


async def test_an_address_that_refuses_does_not_keep_from_the_next(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = listener.getsockname()[1]
    kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")

    async def two_addresses(*_: object, **__: object) -> list[object]:
        return [(*kind, ("127.0.0.2", 1)), (*kind, ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two_addresses)
    with await Direct().connect("console.example", port) as connected:
        assert connected.getpeername() == ("127.0.0.1", port)


async def test_nobody_listening_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DialError, match=f"127.0.0.1 port {port} cannot be reached"):
        await Direct().connect("127.0.0.1", port)


async def test_a_name_that_nobody_knows_is_said_in_a_sentence() -> None:
    with pytest.raises(DialError, match="cannot be resolved"):
        await Direct().connect("console.invalid", 8444)


@pytest.mark.parametrize("host", ["", "a" * 64 + ".example", "\ud800"])
async def test_what_is_no_name_is_a_dial_error_too(host: str) -> None:
    with pytest.raises(DialError):
        (await Direct().connect(host, 1)).close()


async def test_an_address_that_never_answers_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    with pytest.raises(DialError, match="does not answer"):
        await Direct(limit=0.05).connect("127.0.0.1", 1)
    gc.collect()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("17", 17), (" 5 ", 5), ("0", 0), ("99999", 3600), ("-1", None), ("1.5", None), ("", None), (None, None),
     ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("9" * 400, None), ("\u0661\u0667", None)],
)  # fmt: skip
def test_retry_after_is_whole_seconds_and_an_hour_at_most(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [("the console is busy; retry-after=20", 20), ("retry-after=999999", 3600), ("retry-after=x", None), ("", None)],
)
def test_the_reason_of_a_close_may_name_a_pause(reason: str, seconds: float | None) -> None:
    assert retry_after_close(reason) == seconds
