"""This file is what every disk of a journal promises: the real one, and the one that simulations run on."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gateway.commands.disk import Batch, Disk, Ending, EntryRow, EventRow, Move
from gateway.commands.sqlitedisk import SqliteDisk
from tests.simulation.disk import SimulatedDisk
from tests.simulation.power import Power

ONE, TWO = uuid4(), uuid4()
Opened = Callable[[], AbstractAsyncContextManager[Disk]]


@pytest.fixture(params=["sqlite", "simulated"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Return what opens one and the same disk, again and again."""
    kept = SimulatedDisk(random.Random(1), Power())

    @asynccontextmanager
    async def simulated() -> AsyncIterator[Disk]:
        yield kept

    @asynccontextmanager
    async def real() -> AsyncIterator[Disk]:
        async with SqliteDisk.open(tmp_path / "journal.db") as disk:
            yield disk

    return simulated if request.param == "simulated" else real


def entry(command: UUID, kind: str = "Accepted", body: str = "{}") -> EntryRow:
    return EntryRow(1.0, command, kind, body)


def event(number: int, command: UUID = ONE) -> EventRow:
    return EventRow(number, 1.0, command, f'{{"n": {number}}}')


def batch(*rows: EntryRow | EventRow | Ending, at: float = 1.0, acknowledged: int | None = None) -> Batch:
    made = Batch(at, acknowledged=acknowledged)
    for row in rows:
        match row:
            case EntryRow():
                made.entries.append(row)
            case EventRow():
                made.events.append(row)
            case Ending():
                made.endings.append(row)
    return made


async def test_a_new_disk_is_empty(opened: Opened) -> None:
    async with opened() as disk:
        loaded = await disk.load()
        assert (loaded.entries, loaded.endings, loaded.last_event, loaded.acknowledged) == ([], {}, 0, 0)
        assert await disk.events_after(0, limit=10) == []
        assert await disk.find(ONE) is None


async def test_what_was_written_is_there_in_its_order_after_it_is_opened_again(opened: Opened) -> None:
    rows = [entry(ONE, body='{"a": 1}'), entry(TWO), entry(ONE, "Began"), entry(TWO, "Began")]
    async with opened() as disk:
        await disk.load()
        await disk.append(batch(*rows[:3], event(1), event(2)))
        await disk.append(batch(rows[3], event(3, TWO), acknowledged=2))
    async with opened() as disk:
        loaded = await disk.load()
        assert (loaded.entries, loaded.last_event, loaded.acknowledged) == (rows, 3, 2)
        assert await disk.events_after(1, limit=10) == [event(2), event(3, TWO)]
        assert await disk.events_after(0, limit=2) == [event(1), event(2)]
        assert await disk.find(ONE) == '{"a": 1}'


async def test_what_has_ended_is_loaded_until_the_console_knows_and_found_for_longer(opened: Opened) -> None:
    async with opened() as disk:
        await disk.load()
        await disk.append(batch(entry(ONE), entry(ONE, "Ended"), event(1), Ending(ONE, 1, loose=False)))
        await disk.append(batch(entry(TWO), entry(TWO, "Ended"), event(2, TWO), Ending(TWO, 2, loose=False)))
        await disk.append(batch(acknowledged=1))
    async with opened() as disk:
        loaded = await disk.load()
        assert ({one.command_id for one in loaded.entries}, loaded.endings) == ({TWO}, {TWO: 2})
        assert await disk.find(ONE) == "{}"
        assert await disk.events_after(0, limit=10) == [event(1), event(2, TWO)]


async def test_an_end_whose_effects_may_still_come_is_loaded_although_the_console_knows(opened: Opened) -> None:
    async with opened() as disk:
        await disk.load()
        await disk.append(batch(entry(ONE), entry(ONE, "Ended"), event(1), Ending(ONE, 1, loose=True)))
        await disk.append(batch(acknowledged=1))
    async with opened() as disk:
        loaded = await disk.load()
        assert (len(loaded.entries), loaded.endings) == (2, {ONE: 1})


async def test_a_pause_is_loaded_however_long_its_command_is_over(opened: Opened) -> None:
    paused = entry(ONE, "PauseSet", '{"paused": true}')
    async with opened() as disk:
        await disk.load()
        await disk.append(batch(entry(ONE), paused, entry(ONE, "Ended"), event(1), Ending(ONE, 1, loose=False)))
        await disk.append(batch(acknowledged=1))
    async with opened() as disk:
        assert (await disk.load()).entries == [paused]


async def test_only_what_the_console_has_known_long_enough_is_deleted_a_piece_at_a_time(opened: Opened) -> None:
    many = [UUID(int=number) for number in range(1, 8)]
    kept = many[0]
    async with opened() as disk:
        await disk.load()
        for number, one in enumerate(many, 1):
            await disk.append(batch(entry(one), event(number, one), Ending(one, number, loose=False)))
        await disk.append(batch(at=100.0, acknowledged=5))
        await disk.append(batch(at=200.0, acknowledged=6))
        assert await disk.delete(100.0, keep=[kept], limit=10) == []
        gone = await disk.delete(150.0, keep=[kept], limit=3)
        gone += await disk.delete(150.0, keep=[kept], limit=3)
        assert sorted(gone) == many[1:5]
        assert await disk.delete(150.0, keep=[kept], limit=3) == []
        assert await disk.find(many[1]) is None
    async with opened() as disk:
        assert [one.number for one in await disk.events_after(0, limit=10)] == [1, 6, 7]
        assert (await disk.load()).last_event == 7


async def test_events_are_moved_behind_what_the_console_has(opened: Opened) -> None:
    async with opened() as disk:
        await disk.load()
        await disk.append(batch(entry(ONE), event(1), event(2), event(3), Ending(ONE, 3, loose=False)))
        await disk.append(batch(acknowledged=1))
        moved = batch(event(43))
        moved.move = Move(above=1, by=39)
        await disk.append(moved)
    async with opened() as disk:
        loaded = await disk.load()
        assert (loaded.endings, loaded.last_event, loaded.acknowledged) == ({ONE: 42}, 43, 40)
        assert [one.number for one in await disk.events_after(0, limit=10)] == [1, 41, 42, 43]


async def test_an_empty_disk_is_moved_too(opened: Opened) -> None:
    async with opened() as disk:
        await disk.load()
        moved = batch()
        moved.move = Move(above=0, by=7)
        await disk.append(moved)
    async with opened() as disk:
        loaded = await disk.load()
        assert (loaded.last_event, loaded.acknowledged) == (7, 7)


async def test_there_is_room(opened: Opened) -> None:
    async with opened() as disk:
        assert await disk.free_bytes() > 0
