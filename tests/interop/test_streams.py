"""This file is that streams between hashicorp/yamux and ours carry every byte, whoever dials and whoever opens."""

import asyncio
import json
from collections.abc import Coroutine
from typing import TypeVar

from tests.interop.conftest import Pair
from tests.interop.material import PIECE, Received, asking, digest

BULK = 8 * 1024 * 1024
WINDOW = 256 * 1024
MANY = 100
Answer = TypeVar("Answer")


async def together(*asked: Coroutine[None, None, Answer]) -> list[Answer]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in asked]
    return [task.result() for task in tasks]


async def told(pair: Pair, stream: int) -> Received:
    """Read what a sink says about what it has received."""
    return Received(**json.loads(await pair.opener.read_text(stream)))


async def test_a_stream_opens_with_preamble_and_reply(pair: Pair) -> None:
    _, reply = await pair.opener.open(asking("echo"))
    assert reply == "ok echo"


async def test_ids_say_who_has_opened_odd_the_dialler_even_the_acceptor(pair: Pair) -> None:
    ids = [(await pair.opener.open(asking("echo")))[0] for _ in range(3)]
    first = 1 if pair.opener is pair.appliance else 2
    assert ids == [first, first + 2, first + 4]


async def test_bulk_goes_to_the_other_end_whole(pair: Pair) -> None:
    stream, _ = await pair.opener.open(asking("sink"))
    await pair.opener.send(stream, BULK)
    await pair.opener.finish(stream)
    assert await told(pair, stream) == Received.whole(BULK)


async def test_bulk_comes_from_the_other_end_whole(pair: Pair) -> None:
    stream, _ = await pair.opener.open(asking("source", bytes=BULK))
    assert await pair.opener.receive(stream) == Received.whole(BULK)


async def test_bulk_both_ways_on_one_stream_at_once_does_not_lock_up(pair: Pair) -> None:
    stream, _ = await pair.opener.open(asking("echo"))

    async def pushed() -> None:
        await pair.opener.send(stream, BULK)
        await pair.opener.finish(stream)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(pushed())
        back = group.create_task(pair.opener.receive(stream))
    assert back.result() == Received.whole(BULK)


async def test_what_the_opener_has_finished_can_still_be_answered(pair: Pair) -> None:
    stream, _ = await pair.opener.open(asking("sink"))
    await pair.opener.finish(stream)
    assert await told(pair, stream) == Received.whole(0)


async def test_what_the_other_has_finished_can_still_be_written_to(pair: Pair) -> None:
    stream, _ = await pair.opener.open(asking("farewell", bytes=1000))
    assert await pair.opener.receive(stream) == Received.whole(1000)
    await pair.opener.send(stream, 3 * WINDOW)  # more than a window: the other end reads on
    await pair.opener.finish(stream)


async def test_a_slow_reader_holds_its_own_stream_back_and_no_other(pair: Pair) -> None:
    slow, _ = await pair.opener.open(asking("slow"))

    async def pushed() -> None:
        await pair.opener.send(slow, 20 * WINDOW)
        await pair.opener.finish(slow)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        pushing = group.create_task(pushed())
        quick, _ = await pair.opener.open(asking("source", bytes=BULK))
        assert await pair.opener.receive(quick) == Received.whole(BULK)
        assert not pushing.done(), "more than any window was taken though nobody reads"
        await pair.other.let_read()
    assert await told(pair, slow) == Received.whole(20 * WINDOW)


async def test_many_streams_at_once_do_not_mix(pair: Pair) -> None:
    async def one(size: int) -> Received:
        stream, _ = await pair.opener.open(asking("echo"))
        await pair.opener.send(stream, size)
        await pair.opener.finish(stream)
        return await pair.opener.receive(stream)

    sizes = [1000 + 997 * number for number in range(MANY)]
    assert await together(*(one(size) for size in sizes)) == [Received.whole(size) for size in sizes]


async def test_small_pieces_are_joined_without_loss(pair: Pair) -> None:
    stream, _ = await pair.opener.open(asking("sink"))
    await pair.opener.send(stream, 20_000, piece=7)
    await pair.opener.finish(stream)
    assert (await told(pair, stream)).sha256 == digest(20_000)


async def test_a_stream_that_both_have_finished_is_forgotten(pair: Pair) -> None:
    for _ in range(3):
        stream, _ = await pair.opener.open(asking("echo"))
        await pair.opener.send(stream, PIECE)
        await pair.opener.finish(stream)
        await pair.opener.receive(stream)
    for end in (pair.opener, pair.other):
        async with asyncio.timeout(10):
            while await end.streams() > 0:  # noqa: ASYNC110 - the other process can only be asked
                await asyncio.sleep(0.01)
