"""This file is the promises of the roads through proxies: honest ones lead there, all others are named and bounded."""

import asyncio
import gc
import shutil
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.tunnel.proxies import (
    Credentials,
    HttpProxy,
    ProxyAddress,
    ProxyAuthenticationError,
    ProxyBrokenError,
    ProxyError,
    ProxyFailedError,
    ProxyRefusedError,
    ProxySettingError,
    ProxyUnreachableError,
    Socks5,
    through,
)
from gateway.tunnel.roads import Road
from tests.fakes.proxies import Connect, Reader, Socks, Writer, listening, proxy, saying

SECRET = "correct horse: battery"
US = Credentials("us", SECRET)
KINDS: list[Callable[[Credentials | None], Connect | Socks]] = [Connect, Socks]


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    async def serve(reader: Reader, writer: Writer) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        await reader.read()

    async with listening(serve) as port:
        yield port


async def said_back(connected: socket.socket, words: bytes = b"hello") -> bytes:
    loop = asyncio.get_running_loop()
    assert connected.getblocking() is False
    with connected:
        await loop.sock_sendall(connected, words)
        return await loop.sock_recv(connected, len(words))


async def refused(road: Road, port: int = 8444) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        async with asyncio.timeout(10):
            (await road.connect("console.example", port)).close()
    assert SECRET not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("greets", KINDS)
async def test_a_proxy_leads_to_a_host_that_only_it_can_name(greets: Callable[..., Connect | Socks]) -> None:
    honest = greets(None)
    async with echo() as port, proxy(honest, names={"console.invalid": "127.0.0.1"}) as address:
        assert await said_back(await through(address).connect("console.invalid", port)) == b"hello"
    assert "console.invalid" in honest.requests[0]


@pytest.mark.parametrize("greets", KINDS)
async def test_a_proxy_that_knows_us_leads_there(greets: Callable[..., Connect | Socks]) -> None:
    async with echo() as port, proxy(greets(US), credentials=US) as address:
        assert await said_back(await through(address).connect("127.0.0.1", port)) == b"hello"


@pytest.mark.parametrize("greets", KINDS)
@pytest.mark.parametrize("brought", [None, Credentials("us", "wrong")])
async def test_a_proxy_that_does_not_know_us_is_asked_once(
    greets: Callable[..., Connect | Socks], brought: Credentials | None
) -> None:
    strict = greets(US)
    async with echo() as port, proxy(strict, credentials=brought) as address:
        fault = await refused(through(address), port)
    assert isinstance(fault, ProxyAuthenticationError)
    assert ("wrong" in fault.message) == (brought is not None)
    assert ("proxy_credentials_file" in fault.message) == (brought is None)
    assert len(strict.requests) <= 1


async def test_a_proxy_that_takes_no_basic_is_told_apart() -> None:
    async with proxy(Connect(Credentials("we", "too"), scheme="Negotiate"), credentials=US) as address:
        fault = await refused(through(address))
    assert isinstance(fault, ProxyAuthenticationError)
    assert "only Basic" in fault.message
    assert "Negotiate" in fault.message


@pytest.mark.attack(35)
async def test_a_proxy_that_never_has_enough_of_asking_who_we_are_is_asked_once() -> None:
    loops = b"HTTP/1.1 407 Again\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
    async with saying(loops) as (address, asked):
        assert isinstance(await refused(HttpProxy(replace(address, credentials=US))), ProxyAuthenticationError)
    assert len(asked) == 1


@pytest.mark.attack(35)
@pytest.mark.parametrize(
    ("answer", "kind", "hint"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n<html>welcome", ProxyBrokenError, "plain HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 400 Bad\r\n\r\n", ProxyBrokenError, "plain HTTP"),
        (b"HTTP/1.1 403 No\x1b[31m\r\nContent-Length: 0\r\n\r\n", ProxyRefusedError, "No?[31m"),
        (b"HTTP/1.1 403 Not that port\r\nContent-Length: 0\r\n\r\n", ProxyRefusedError, "Not that port"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/login\r\n\r\n", ProxyRefusedError, "elsewhere"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nwrong", ProxyFailedError, "502"),
        (b"HTTP/2 200\r\n\r\n", ProxyBrokenError, "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ProxyBrokenError, "HTTP"),
        (b"\x00\xff\xfe" * 100, ProxyBrokenError, "HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n", ProxyBrokenError, "HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5000, ProxyBrokenError, "no answer"),
    ],
)
async def test_an_answer_that_is_no_connection_is_named(answer: bytes, kind: type[ProxyError], hint: str) -> None:
    async with saying(answer) as (address, asked):
        fault = await refused(HttpProxy(address))
    assert type(fault) is kind
    assert hint in fault.message
    assert fault.message.isprintable()
    assert len(asked) == 1


async def test_a_busy_proxy_says_when_to_come_back() -> None:
    async with saying(b"HTTP/1.1 503 Busy\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n") as (address, _):
        assert (await refused(HttpProxy(address))).facts["retry_after"] == 17


@pytest.mark.attack(35)
async def test_a_header_without_end_is_not_read_to_its_end() -> None:
    async with saying(b"HTTP/1.1 200 OK\r\n", endless=True) as (address, _):
        await refused(HttpProxy(address))  # whatever is imported at first use is there
        gc.collect()
        tracemalloc.start()
        try:
            assert isinstance(await refused(HttpProxy(address)), ProxyBrokenError)
            assert tracemalloc.get_traced_memory()[1] < 2 * 1024 * 1024
        finally:
            tracemalloc.stop()


@pytest.mark.attack(35)
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: "])
async def test_silence_ends_in_time(answer: bytes) -> None:
    async with saying(answer) as (address, _):
        fault = await refused(HttpProxy(address, limit=0.1))
    assert isinstance(fault, ProxyBrokenError)
    assert "does not answer" in fault.message


@pytest.mark.attack(35)
async def test_a_slow_drip_does_not_stretch_the_limit() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 100_000:
            writer.write(bytes([letter]))
            await asyncio.sleep(0.01)

    async with listening(serve) as port:
        fault = await refused(HttpProxy(ProxyAddress("http", "127.0.0.1", port), limit=0.3))
    assert "does not answer" in fault.message


async def test_a_proxy_that_hangs_up_is_named() -> None:
    async with saying(b"", end=True) as (address, _):
        assert isinstance(await refused(HttpProxy(address)), ProxyBrokenError)


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_proxy_that_is_not_there_is_told_apart_from_the_console(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fault = await refused(through(ProxyAddress.parse(f"{kind}://127.0.0.1:{port}")))
    assert isinstance(fault, ProxyUnreachableError)
    assert f"{kind}://127.0.0.1:{port}" in fault.message


@pytest.mark.parametrize(
    ("reply", "kind"), [(1, ProxyFailedError), (2, ProxyRefusedError), (5, ProxyFailedError), (7, ProxyBrokenError)]
)
async def test_what_a_socks_proxy_answers_is_named(reply: int, kind: type[ProxyError]) -> None:
    async with proxy(Socks(reply=reply)) as address:
        assert type(await refused(through(address))) is kind


@pytest.mark.attack(35)
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad\r\n\r\n", b"\x05", b"\x05\x00\x05\x00\x01", b"\x05\x77"])
async def test_what_is_no_socks_proxy_is_named_in_time(answer: bytes) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await reader.readexactly(3)
        writer.write(answer)
        await reader.read()

    async with listening(serve) as port:
        fault = await refused(Socks5(ProxyAddress("socks5", "127.0.0.1", port), limit=0.2))
    assert isinstance(fault, ProxyBrokenError)


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_who_stops_waiting_for_a_proxy_leaves_no_socket(kind: str) -> None:
    """Warnings are errors: a socket that is left open fails this test."""
    reached = asyncio.Event()

    async def serve(reader: Reader, _writer: Writer) -> None:
        await reader.readexactly(3)
        reached.set()
        await reader.read()

    async with listening(serve) as port, asyncio.TaskGroup() as group:
        road = through(ProxyAddress.parse(f"{kind}://127.0.0.1:{port}"))
        task = group.create_task(road.connect("console.example", 8444))
        await reached.wait()
        task.cancel()
    gc.collect()


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("http://proxy.corp.example:3128", "proxy.corp.example", 3128, "http://proxy.corp.example:3128"),
        ("http://Proxy:8080/", "proxy", 8080, "http://proxy:8080"),
        ("socks5://[fd00::1]:1080", "fd00::1", 1080, "socks5://[fd00::1]:1080"),
    ],
)
def test_an_address_is_a_kind_a_host_and_a_port(text: str, host: str, port: int, shown: str) -> None:
    address = ProxyAddress.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, shown)


@pytest.mark.parametrize(
    "text",
    ["", "proxy:3128", "https://proxy:3128", "http://proxy", "http://proxy:0", "http://proxy:99999", "socks4://p:1",
     "http://proxy:3128/path", "http://proxy:31 28", "http://pro\nxy:3128", "http://prox%79:3128"],
)  # fmt: skip
def test_what_is_no_proxys_address_is_refused(text: str) -> None:
    with pytest.raises(ProxySettingError, match="HOST:PORT"):
        ProxyAddress.parse(text)


def test_credentials_in_the_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(ProxySettingError, match="proxy_credentials_file") as caught:
        ProxyAddress.parse("http://us:hunter2@proxy:3128")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("line", ["", "nocolon", ":nouser", "nopassword:", "a:b\nc:d", "a:b\r", "a:\x00"])
def test_a_file_without_user_and_password_is_refused_and_not_repeated(line: str) -> None:
    with pytest.raises(ProxySettingError) as caught:
        Credentials.parse(line)
    assert not line or line not in str(caught.value)


def test_a_password_may_hold_colons_and_nothing_shows_it() -> None:
    known = Credentials.parse(f"us:{SECRET}")
    assert known == US
    assert SECRET not in repr(ProxyAddress("http", "proxy", 3128, known))


@pytest.mark.parametrize("password", ["é", "x" * 256])
def test_a_socks_password_that_cannot_be_said_is_refused_at_the_start(password: str) -> None:
    with pytest.raises(ProxySettingError, match="ASCII") as caught:
        ProxyAddress.parse("socks5://proxy:1080", Credentials("us", password))
    assert password not in str(caught.value)


@pytest.mark.skipif(shutil.which("tinyproxy") is None, reason="tinyproxy is not installed")
@pytest.mark.parametrize("brought", [Credentials("us", "battery"), None])
async def test_a_real_proxy_leads_there_for_who_it_knows(tmp_path: Path, brought: Credentials | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = tmp_path / "tinyproxy.conf"
    settings.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 10\nBasicAuth us battery\n")
    program = await asyncio.create_subprocess_exec("tinyproxy", "-d", "-c", str(settings), stdout=-3, stderr=-3)
    road = HttpProxy(ProxyAddress("http", "127.0.0.1", port, brought))
    try:
        await _answering(port)
        async with echo() as behind:
            if brought is None:
                assert isinstance(await refused(road, behind), ProxyAuthenticationError)
            else:
                assert await said_back(await road.connect("127.0.0.1", behind)) == b"hello"
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


async def _answering(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return
