"""This file is the promises of the echo: it answers anybody, and costs the console little whoever asks."""

import aiohttp
import pytest
from aiohttp import WSMsgType

from gateway.console.api import echo
from gateway.console.api.echoes import AT_ONCE, AT_ONCE_EACH, Echoes, TooManyEchoesError
from gateway.console.limits import TooOftenError
from tests.fakes.console import Console


async def test_bytes_come_back_as_they_were_sent(console: Console) -> None:
    async with console.http.ws_connect(echo.PATH, protocols=[echo.SUBPROTOCOL]) as socket:
        assert socket.protocol == echo.SUBPROTOCOL
        for size in (1, 1400, 9000, 65536):
            await socket.send_bytes(b"x" * size)
            assert await socket.receive_bytes() == b"x" * size


async def test_it_sends_as_much_as_was_asked_for(console: Console) -> None:
    async with console.http.ws_connect(echo.PATH, protocols=[echo.SUBPROTOCOL]) as socket:
        await socket.send_str("down 200001")
        came = 0
        while came < 200_001:
            came += len(await socket.receive_bytes())
    assert came == 200_001


async def test_it_counts_what_it_takes(console: Console) -> None:
    async with console.http.ws_connect(echo.PATH, protocols=[echo.SUBPROTOCOL]) as socket:
        await socket.send_str("up 100000")
        for _ in range(2):
            await socket.send_bytes(bytes(50_000))
        assert await socket.receive_str() == "took 100000"


@pytest.mark.parametrize(
    "wish", ["down 999999999", "down -1", "down 0", "up ٣", "down 1 ", "rm -rf", "", "down 33554433"]
)
async def test_what_is_no_wish_within_the_budget_ends_the_echo(console: Console, wish: str) -> None:
    async with console.http.ws_connect(echo.PATH, protocols=[echo.SUBPROTOCOL]) as socket:
        await socket.send_str(wish)
        assert (await socket.receive()).type is WSMsgType.CLOSE
        assert socket.close_code == 1008


async def test_no_echo_moves_more_than_its_budget(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo._Echo.__init__, "__defaults__", (100_000, 0, 0))
    async with console.http.ws_connect(echo.PATH, protocols=[echo.SUBPROTOCOL]) as socket:
        await socket.send_bytes(bytes(40_000))
        assert len(await socket.receive_bytes()) == 40_000
        await socket.send_bytes(bytes(40_000))
        assert (await socket.receive()).type is WSMsgType.CLOSE


async def test_a_message_over_the_limit_ends_the_echo(console: Console) -> None:
    async with console.http.ws_connect(echo.PATH, protocols=[echo.SUBPROTOCOL]) as socket:
        await socket.send_bytes(bytes(echo.MESSAGE_LIMIT + 1))
        assert (await socket.receive()).type in {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR}


async def test_who_asks_for_no_websocket_is_told_so(console: Console) -> None:
    said = await console.ask("GET", echo.PATH, key="")
    assert (said.status, said.body["code"]) == (426, "request.upgrade_missing")


async def test_one_address_has_a_few_at_once_and_gets_a_place_back(console: Console) -> None:
    sockets = [await console.http.ws_connect(echo.PATH) for _ in range(AT_ONCE_EACH)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await console.http.ws_connect(echo.PATH)
    assert caught.value.status == 503
    for socket in sockets:
        await socket.close()
    async with console.http.ws_connect(echo.PATH) as socket:
        await socket.send_bytes(b"again")
        assert await socket.receive_bytes() == b"again"


def test_all_addresses_together_have_so_many_and_no_more() -> None:
    echoes = Echoes()
    seats = [echoes.seat(f"10.0.0.{number}", now=0.0) for number in range(AT_ONCE)]
    for seat in seats:
        seat.__enter__()
    with pytest.raises(TooManyEchoesError), echoes.seat("10.9.9.9", now=0.0):
        pass
    for seat in seats:
        seat.__exit__(None, None, None)
    assert not echoes._open


def test_one_address_does_not_get_new_ones_all_the_time() -> None:
    echoes = Echoes()
    for _ in range(8):
        with echoes.seat("10.0.0.1", now=0.0):
            pass
    with pytest.raises(TooOftenError), echoes.seat("10.0.0.1", now=0.0):
        pass
    with echoes.seat("10.0.0.2", now=0.0):
        pass
