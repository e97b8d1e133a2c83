"""This file is what a session spends on streams that nobody waits for any more."""

import asyncio

from gateway.tunnel import session as sessions
from gateway.tunnel.frames import Reset
from gateway.tunnel.limits import Limits
from gateway.tunnel.session import StreamRefusedError
from gateway.tunnel.stream import Stream
from tests.fakes.wire import Wire, wired


async def test_a_stream_cut_before_it_was_answered_is_served_no_longer() -> None:
    serving, let_go = asyncio.Event(), asyncio.Event()

    async def for_ever(_stream: Stream, _preamble: bytes) -> None:
        serving.set()
        try:
            await asyncio.Event().wait()
        finally:
            let_go.set()

    async with asyncio.timeout(20), wired(for_ever) as console:
        try:
            async with asyncio.timeout(0.1):
                await console.open(b"?")
        except TimeoutError:
            pass
        assert serving.is_set()
        await let_go.wait()


async def test_a_stream_cut_after_it_was_answered_is_its_servers_to_end() -> None:
    cancelled, ended = False, asyncio.Event()

    async def linger(stream: Stream, _preamble: bytes) -> None:
        nonlocal cancelled
        stream.answer(b"ok")
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            ended.set()

    async with asyncio.timeout(20), wired(linger) as console:
        stream, _ = await console.open(b"?")
        stream.reset(Reset.CANCELLED)
        await ended.wait()
    assert not cancelled


async def test_streams_opened_and_reset_in_one_breath_do_not_pile_up() -> None:
    """Whoever serves them may take its time to let go; then new ones are refused."""
    let_go, serving = asyncio.Event(), 0

    async def slow_to_let_go(stream: Stream, _preamble: bytes) -> None:
        nonlocal serving
        serving += 1
        stream.answer(b"ok")
        await let_go.wait()

    here, there = Wire(), Wire()
    here.far, there.far = there, here
    limits = Limits(streams=4, unanswered=2)
    refused: list[Reset] = []
    async with (
        asyncio.timeout(20),
        sessions.running(there, dialler=True, on_stream=slow_to_let_go, limits=limits),
        sessions.running(here, dialler=False) as console,
    ):
        for _ in range(20):
            try:
                stream, _ = await console.open(b"?")
                stream.reset(Reset.CANCELLED)
            except StreamRefusedError as fault:
                refused.append(fault.reason)
        let_go.set()
    assert (serving, refused) == (6, [Reset.BUSY] * 14)
