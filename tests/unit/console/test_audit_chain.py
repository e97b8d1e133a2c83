"""This file is the promises of the console's audit log: a chain for each tenant, signed, and nothing in it altered."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import judging, roots
from gateway.audit.judging import Finding
from gateway.audit.lines import parsed
from gateway.audit.roots import Root
from gateway.console.attesting import Notary, opened
from gateway.console.errors import KeyUnknownError
from gateway.console.store import audit
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
from gateway.console.store.tables import audit as table
from tests.fakes.clock import HandClock
from tests.fakes.console import Console, tenant_scope, token


async def noted(store: Store, scope: Scope, now: datetime, count: int = 1, **facts: str) -> None:
    for number in range(count):
        async with store.writing(scope) as rows:
            await audit.note(rows, "gateway.confirm", actor="ada", now=now, gateway="dc1", number=number, **facts)


async def judged(store: Store, scope: Scope, beside: list[Root] | None = None) -> Finding:
    async with store.reading(scope) as rows:
        found = await audit.links(rows, after=0, limit=1000)
    lines = [(f"line {one.number}", one.line.encode()) for one in found]
    differs = [one.number for one in found if one.differs]
    return judging.with_rows(judging.judge(lambda: lines, beside or ()), differs)


@pytest.fixture
async def scope(store: Store, now: datetime) -> Scope:
    return await tenant_scope(store, "default", now)


async def test_what_is_written_is_a_chain_for_each_tenant(store: Store, scope: Scope, now: datetime) -> None:
    other = await tenant_scope(store, "other", now)
    for one in (scope, other, scope):
        await noted(store, one, now, 2)
    assert [(await judged(store, one)).chain.last for one in (scope, other)] == [4, 2]
    assert (await judged(store, scope)).broken is None


async def test_writers_at_the_same_time_make_one_chain(store: Store, scope: Scope, now: datetime) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(noted(store, scope, now, 2))
    found = await judged(store, scope)
    assert (found.broken, found.chain.last) == (None, 40)


async def test_an_entry_that_is_undone_leaves_no_gap(store: Store, scope: Scope, now: datetime) -> None:
    await noted(store, scope, now)
    with pytest.raises(KeyUnknownError):
        await _noted_in_vain(store, scope, now)
    await noted(store, scope, now)
    assert (await judged(store, scope)).chain.last == 2


async def _noted_in_vain(store: Store, scope: Scope, now: datetime) -> None:
    async with store.writing(scope) as rows:
        await audit.note(rows, "gateway.confirm", actor="ada", now=now)
        raise KeyUnknownError


@pytest.mark.parametrize(
    "change",
    [{"actor": "eve"}, {"outcome": "refused"}, {"gateway": None}, {"facts": {"number": 7}}, {"action": "gateway.x"}],
    ids=lambda change: next(iter(change)),
)
async def test_a_row_that_was_altered_is_told_from_its_line(
    store: Store, scope: Scope, now: datetime, change: dict[str, Any]
) -> None:
    await noted(store, scope, now, 3)
    async with store.writing(scope) as rows:
        await rows.run(rows.update(table).where(table.c.number == 2).values(**change))
    found = await judged(store, scope)
    assert found.broken is not None
    assert "line 2" in found.broken


async def test_a_row_that_was_removed_breaks_the_chain(store: Store, scope: Scope, now: datetime) -> None:
    await noted(store, scope, now, 3)
    async with store.writing(scope) as rows:
        await rows.run(rows.delete(table).where(table.c.number == 2))
    assert (await judged(store, scope)).broken is not None


async def test_rows_from_before_the_chain_are_counted_in_its_first_line(
    store: Store, scope: Scope, now: datetime
) -> None:
    await noted(store, scope, now, 3)
    async with store.writing(scope) as rows:
        await rows.run(rows.update(table).values(number=None, line=None))
    await noted(store, scope, now)
    async with store.reading(scope) as rows:
        first, *_ = await audit.links(rows, after=0, limit=10)
    entry = parsed(first.line.encode())
    assert entry is not None
    assert (entry.act.action, entry.act.facts["earlier"]) == (audit.CHAIN_BEGAN, 3)
    assert (await judged(store, scope)).broken is None


async def test_it_is_signed_once_a_day_and_at_the_end(tmp_path: Path, store: Store, scope: Scope) -> None:
    clock = HandClock()
    async with opened(store, tmp_path, clock=clock) as notary:
        await noted(store, scope, clock.now())
        await notary._each("day")
        await notary._each("day")
        clock.seconds += 86400
        await noted(store, scope, clock.now())
        await notary._each("day")
        await noted(store, scope, clock.now())
    found = await Notary(store, tmp_path, clock=clock).sign(scope.tenant, "export")
    assert [one.why for one in found.roots] == ["day", "day", "stop"]
    assert all(one.public_pem == found.key and roots.is_signed(one) for one in found.roots)
    assert (await judged(store, scope, list(found.roots))).proven == 5


async def test_lines_taken_off_the_end_are_missed_by_the_root_beside(
    tmp_path: Path, store: Store, scope: Scope, now: datetime
) -> None:
    await noted(store, scope, now, 4)
    found = await Notary(store, tmp_path, clock=HandClock()).sign(scope.tenant, "export")
    async with store.writing(scope) as rows:
        await rows.run(rows.delete(table).where(table.c.number > 2))
    broken = (await judged(store, scope, list(found.roots))).broken
    assert broken is not None
    assert "removed from its end" in broken


async def test_of_another_tenant_nothing_is_seen_or_signed(console: Console) -> None:
    await token(console)
    stranger = await console.add_tenant("stranger")
    assert (await console.ask("GET", "/api/v1/audit/lines", key=stranger)).body == {"items": []}
    signed = (await console.ask("POST", "/api/v1/audit/roots", key=stranger)).body
    own = (await console.ask("POST", "/api/v1/audit/roots")).body
    assert signed["roots"] == []
    assert signed["log"] != own["log"] == own["roots"][0]["log"]


async def test_pages_of_lines_follow_each_other(console: Console) -> None:
    for number in range(5):
        await token(console, f"dc{number}")
    seen = list(await numbers(console))
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) >= 5


async def numbers(console: Console) -> Iterator[int]:
    seen: list[int] = []
    while page := (await console.ask("GET", f"/api/v1/audit/lines?limit=2&after={seen[-1] if seen else 0}")).body[
        "items"
    ]:
        seen += [one["number"] for one in page]
    return iter(seen)


@pytest.mark.attack(23)
@pytest.mark.parametrize(
    "text", ["a\r\nb", "\x1b[31mred", "\x1b]52;c;AAAA\x07", "\u202eexe.gpj", "nul\x00", "\u2028", "\x9b2J", "\x7f"]
)
async def test_whatever_somebody_is_called_a_line_stays_one_line_of_plain_ascii(
    store: Store, scope: Scope, now: datetime, text: str
) -> None:
    await noted(store, scope, now, 1, reason=text)
    async with store.reading(scope) as rows:
        (found,) = await audit.links(rows, after=0, limit=10)
    assert found.line.isascii()
    assert found.line.isprintable()
    assert not found.differs
    entry = parsed(found.line.encode())
    assert entry is not None
    assert entry.act.facts["reason"] == text
