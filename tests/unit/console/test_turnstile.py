"""This file is the promises to everybody else when one key floods: little is written, nothing goes untold."""

import asyncio
from typing import Any

import pytest

from gateway.console import turnstile
from gateway.console.turnstile import OpenedTooOftenError, Turnstile
from gateway.contract import streams as contract
from tests.fakes.console import Console, paired_appliance
from tests.fakes.targets import data_of, exchanged, reach, tunnel
from tests.unit.console.reaching import OF_STREAMS


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "AT_ONCE", 3)
    monkeypatch.setattr(turnstile, "PER_MINUTE", 1)


async def entries(console: Console) -> list[dict[str, Any]]:
    """Return the audit log's entries of streams, the oldest first."""
    found: list[dict[str, Any]] = (await console.ask("GET", f"/api/v1/audit{OF_STREAMS}")).body["items"]
    return found[::-1]


@pytest.mark.attack(16)
@pytest.mark.usefixtures("narrow")
async def test_a_flood_of_streams_is_refused_in_a_few_entries_that_count_all_of_it(console: Console) -> None:
    async with tunnel(console) as session:
        codes = [(await reach(session, "nowhere"))[1].code for _ in range(40)]
    async with asyncio.timeout(10):
        while sum(1 + one["facts"].get("untold", 0) for one in await entries(console)) < 40:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    assert codes == ["gateway.unknown"] * 3 + ["stream.too_often"] * 37
    written = await entries(console)
    assert len(written) < 12
    assert {one["facts"]["code"] for one in written[3:]} == {"stream.too_often"}
    assert {(one["actor"], one["facts"]["address"]) for one in written} == {("admin", "127.0.0.1")}


@pytest.mark.attack(16)
@pytest.mark.usefixtures("narrow")
async def test_a_flood_of_one_key_is_not_felt_by_anothers(console: Console) -> None:
    data = await data_of(await paired_appliance(console))
    stranger = await console.add_tenant("stranger")
    async with data.open(), tunnel(console, key=stranger) as flood, tunnel(console) as session:
        for _ in range(6):
            await reach(flood)
        stream, _ = await reach(session)
        assert await exchanged(stream, b"x") == b"x"


@pytest.mark.attack(19)
@pytest.mark.parametrize("target", ["web@10.0.0.5:22", "../web", "web\u202e", "web\\n2026-11-21 ok"])
async def test_a_name_that_smuggles_is_refused_and_written_down_harmlessly(console: Console, target: str) -> None:
    async with tunnel(console) as session:
        _, said = await session.open(f'{{"gateway":"dc1","target":"{target}","v":1}}'.encode())

    assert contract.read_reply(said).code == "stream.not_understood"
    (entry,) = await entries(console)
    assert (entry["outcome"], entry["actor"], entry["gateway"], entry["target"]) == ("refused", "admin", None, None)
    facts = entry["facts"]
    assert (facts["code"], facts["address"], len(facts["key"])) == ("stream.not_understood", "127.0.0.1", 16)
    assert '"gateway":"dc1"' in facts["said"]
    assert facts["said"].isascii()
    assert facts["said"].isprintable()


@pytest.mark.attack(16)
async def test_a_flood_that_nobody_understands_is_no_flood_of_entries(console: Console) -> None:
    async with tunnel(console) as session:
        for _ in range(20):
            await session.open(b"\xff" * 4000)

    written = await entries(console)
    assert len(written) < 8
    assert all(len(one["facts"]["said"]) <= 100 for one in written if "said" in one["facts"])


def test_a_key_gets_its_streams_back_in_time_and_no_other_key_pays() -> None:
    gate = Turnstile()
    for _ in range(turnstile.AT_ONCE):
        gate.enter("a", now=0.0)
    with pytest.raises(OpenedTooOftenError):
        gate.enter("a", now=0.0)
    gate.enter("b", now=0.0)
    for _ in range(20):
        gate.enter("a", now=1.0)
    with pytest.raises(OpenedTooOftenError):
        gate.enter("a", now=1.0)


def test_what_is_not_told_at_once_is_counted_in_the_next_entry_and_only_once() -> None:
    gate = Turnstile()
    told = [gate.turned_away("a", now=0.0) for _ in range(8)]
    assert told == [0] * 5 + [None] * 3
    assert gate.turned_away("a", now=10.0) == 3
    assert gate.untold("a") == 0
