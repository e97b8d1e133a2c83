"""This file is what a console endures of a gateway that means harm, and of JSON that may mean two things."""

import asyncio
import gc
import json
import tracemalloc
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from gateway.console.hearing import DEPTH, PeerBrokeProtocolError, parsed
from gateway.console.relay import BROKEN
from gateway.contract.events import StepBegan
from gateway.contract.messages import MESSAGE_LIMIT, Acknowledge, Hello, Offers, ReportEvents
from gateway.contract.signing import Halt
from gateway.kit.strictjson import NotStrictJsonError, parse_strict_json
from gateway.tunnel.channel import ChannelClosedError
from tests.fakes.console import Appliance, Console, Line, cluster, paired_appliance
from tests.fakes.wishes import WHEN

DEEP = "[" * 100_000
NESTED = '{"a":' * 5_000 + "1" + "}" * 5_000
ODD = {
    "too deep": DEEP,
    "too deep, and closed": NESTED,
    "a key twice": '{"type":"accepted","type":"leaving"}',
    "a key twice, spelled in two ways": '{"type":"accepted","t\\u0079pe":"leaving"}',
    "an infinite number": '{"type":"report","events":[{"number":1e400}]}',
    "not a number": '{"type":"report","events":[{"number":NaN}]}',
    "half of a pair of surrogates": '{"type":"\\ud800"}',
    "half of a pair in a key": '{"\\udc00":1}',
    "a huge integer": '{"type":"acknowledge","number":' + "9" * 4000 + "}",
    "an integer no double holds": '{"type":"acknowledge","number":9007199254740993}',
    "a string without an end": '"' + '\\"' * 100_000,
    "no JSON": "{",
    "a key of Python's": '{"__proto__":{"x":1},"__class__":"x"}',
    "nothing": "",
}


async def closing(line: Line) -> int:
    """Wait until the console hangs up and return its code."""
    try:
        async with asyncio.timeout(20):
            while True:
                await line.channel.receive()
    except ChannelClosedError as fault:
        return int(fault.facts["close_code"] or 0)


async def shown(console: Console) -> dict[str, object]:
    found: dict[str, object] = (await console.ask("GET", "/api/v1/gateways/dc1")).body
    return found


@pytest.mark.attack(19)
@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_what_could_be_read_in_two_ways_is_no_message_and_costs_no_memory(text: str) -> None:
    with pytest.raises(PeerBrokeProtocolError):
        parsed(text)  # what is imported and compiled once counts for nobody
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(3):
            with pytest.raises(PeerBrokeProtocolError):
                parsed(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MESSAGE_LIMIT


@pytest.mark.attack(19)
def test_a_message_that_is_too_large_is_not_read_at_all() -> None:
    with pytest.raises(PeerBrokeProtocolError):
        parsed(json.dumps({"type": "leaving", "more": "x" * MESSAGE_LIMIT}))


def test_as_much_depth_as_messages_have_is_read() -> None:
    assert parse_strict_json(b"[" * DEPTH + b"]" * DEPTH, limit=100, depth=DEPTH)
    with pytest.raises(NotStrictJsonError):
        parse_strict_json(b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), limit=100, depth=DEPTH)
    assert parse_strict_json(b'"[[[[[[[["', limit=100, depth=1) == "[[[[[[[["
    assert parse_strict_json(b'["\\"[[[[",[]]', limit=100, depth=2) == ['"[[[[', []]


@pytest.mark.attack(19)
@pytest.mark.attack(32)
@pytest.mark.parametrize("name", ["too deep", "a key twice", "an infinite number", "a huge integer", "no JSON"])
async def test_a_gateway_that_says_it_is_cut_and_nobody_else_is(console: Console, name: str) -> None:
    hostile, good = await paired_appliance(console), await paired_appliance(console, "dc2")
    async with good.connected() as other, hostile.connected() as line:
        await line.channel.send(ODD[name])
        assert await closing(line) == BROKEN
        await other.settle()


@pytest.mark.attack(19)
@pytest.mark.parametrize("name", ODD)
async def test_the_api_takes_no_body_that_could_be_read_in_two_ways(console: Console, name: str) -> None:
    said = await console.ask("PUT", "/api/v1/projects/default/clusters/demo", raw=ODD[name].encode())
    assert said.status in {400, 422}, said
    assert str(said.body["code"]).startswith("request.")
    assert (await console.ask("GET", "/api/v1/projects/default/clusters/demo")).status == 404


@pytest.mark.attack(19)
async def test_the_api_takes_no_giant_body(console: Console) -> None:
    said = await console.ask("PUT", "/api/v1/projects/default/clusters/demo", raw=b" " * (2 * 1024 * 1024))
    assert said.status == 413


def hello(appliance: Appliance, **said: object) -> Hello:
    base = Hello(protocol=3, software="9", boot_id=appliance.boot_id, next_event=1)
    return base.model_copy(update=said)


@pytest.mark.attack(32)
@pytest.mark.parametrize(
    "said",
    [
        {"software": "x" * 200},
        {"accounts": ["a"] * 1001},
        {"open_commands": [UUID(int=number) for number in range(1001)]},
        {"accounts": ["x" * 300] * 1000},
        {"next_event": 2**53},
        {"last_seq": 2**50},
        {"last_seq": -1},
        {"next_event": 0},
    ],
    ids=lambda said: f"{next(iter(said))}",
)
async def test_a_giant_hello_is_not_taken(console: Console, said: dict[str, object]) -> None:
    appliance = await paired_appliance(console)
    async with appliance.dialled() as channel:
        line = Line(appliance, channel)
        text = hello(appliance, **said).model_dump_json(warnings=False)
        try:
            await line.channel.send(text)
        except ChannelClosedError:
            return
        code = await closing(line)
    assert code in {BROKEN, 1009}
    assert (await shown(console))["status"] != "connected"


@pytest.mark.attack(32)
async def test_forged_event_numbers_change_nothing(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=3) as line:
        await line.report(uuid4(), StepBegan(step="a", title="a"), StepBegan(step="b", title="b"))
    for number in (4, 10**6, 2**52):  # two are there: the next is the third
        appliance.last_event = 2
        async with appliance.connected(protocol=3) as line:
            event = line.event(uuid4(), StepBegan(step="c", title="c")).model_copy(update={"number": number})
            await line.say(ReportEvents(events=[event]))
            await closing(line)
    appliance.last_event = 2
    async with appliance.connected(protocol=3) as line:
        assert line.welcome is not None
        assert line.welcome.acknowledged == 2
        assert await line.report(uuid4(), StepBegan(step="c", title="c")) == 3


@pytest.mark.attack(32)
async def test_numbers_that_a_gateway_claims_were_acknowledged_are_its_own_loss_alone(console: Console) -> None:
    hostile, good = await paired_appliance(console), await paired_appliance(console, "dc2")
    async with good.connected(protocol=3) as other, hostile.connected(protocol=3, acknowledged=10**9) as line:
        event = line.event(uuid4(), StepBegan(step="a", title="a")).model_copy(update={"number": 10**9})
        await line.say(ReportEvents(events=[event]))
        await other.settle()
        assert await other.report(uuid4(), StepBegan(step="a", title="a")) == 2


@pytest.mark.attack(32)
async def test_a_flood_of_events_is_answered_one_after_the_other_and_others_are_served_meanwhile(
    console: Console,
) -> None:
    hostile, good = await paired_appliance(console), await paired_appliance(console, "dc2")
    async with good.connected(protocol=3) as other, hostile.connected(protocol=3) as line:
        for _ in range(20):
            bodies = [line.event(uuid4(), StepBegan(step="s" * 50, title="t" * 100)) for _ in range(100)]
            await line.say(ReportEvents(events=bodies))
        async with asyncio.timeout(10):
            await other.settle()


@pytest.mark.attack(32)
async def test_a_gateway_speaks_of_nobody_elses_commands(console: Console) -> None:
    hostile, good = await paired_appliance(console), await paired_appliance(console, "dc2")
    wished = (await console.put(cluster("theirs", gateway="dc2"))).body["command"]["id"]
    async with good.connected(), hostile.connected(protocol=3) as line:
        await line.report(UUID(wished), StepBegan(step="x", title="mine now"))
    state = (await console.ask("GET", f"/api/v1/commands/{wished}")).body["state"]
    assert state == "pending"


@pytest.mark.attack(32)
async def test_scripts_and_escape_sequences_in_what_a_gateway_offers_arrive_as_text(console: Console) -> None:
    appliance = await paired_appliance(console)
    script = "<script>alert(1)</script>\x1b]52;c;x\x07"
    async with appliance.connected(protocol=3) as line:
        await line.say(Offers(accounts=[script], targets=[]))
        await line.settle()
        said = await console.ask("GET", "/api/v1/gateways/dc1")
    assert said.headers["Content-Type"].startswith("application/json")
    (account,) = said.body["accounts"]
    assert account.startswith("<script>")  # as it is: whoever shows it in a page escapes it there
    assert not any(ord(letter) < 32 or ord(letter) == 127 for letter in account)


@pytest.mark.attack(32)
async def test_a_gateways_lies_about_time_move_nothing_but_its_own_words(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=3) as line:
        assert line.welcome is not None
        for years in (-50, 900):
            event = line.event(uuid4(), StepBegan(step="a", title="a"))
            await line.say(ReportEvents(events=[event.model_copy(update={"at": WHEN + timedelta(days=365 * years)})]))
            await line.hear(Acknowledge)
        halt = Halt(id=uuid4(), since=WHEN - timedelta(days=365 * 900), reasons=["\x1b[2Jit lies"])
        await line.say(Offers(accounts=[], targets=[], halted=halt))
        await line.settle()
        found = await shown(console)
    assert found["status"] == "connected"
    (condition,) = found["conditions"]  # type: ignore[misc]
    assert condition["type"] == "console-behind"
    assert "\x1b" not in condition["message"]
    assert condition["since"] > "2026"  # the console's own time


@pytest.mark.attack(32)
async def test_a_gateway_that_halts_under_ever_new_names_fills_no_log(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=3) as line:
        for _ in range(30):
            halt = Halt(id=uuid4(), since=WHEN, reasons=["x" * 300] * 4)
            await line.say(Offers(accounts=[], targets=[], halted=halt))
        await line.settle()
        entries = (await console.ask("GET", "/api/v1/audit")).body["items"]
    assert sum(one["action"] == "gateway.console-behind" for one in entries) == 1
