"""This file is what watching events promises: no gap, nothing twice, across any cut."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from gateway.console.api import watchers
from gateway.console.api.watchers import TooManyWatchersError, Watchers
from gateway.console.bells import Bells
from gateway.console.store import events
from gateway.console.store.database import StoreUnavailableError
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, EventBody, StepBegan
from gateway.kit.connector import Connector
from tests.fakes.console import Appliance, Console, cluster, paired_appliance, running_console, trust

EVENTS = "/api/v1/projects/default/events"


class Watch:
    """An open event stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> dict[str, Any]:
        """Wait for the next event; comments are passed over."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            while True:
                line = (await self.answer.content.readline()).decode()
                if not line:
                    raise EOFError
                name, _, value = line.rstrip("\n").partition(": ")
                if line == "\n" and "data" in fields:
                    data: dict[str, Any] = json.loads(fields["data"])
                    assert (fields["id"], fields["event"]) == (str(data["position"]), data["body"]["type"])
                    return data
                fields[name] = value


@asynccontextmanager
async def watching(
    console: Console, path: str = EVENTS, *, key: str | None = None, last: str | None = None, **query: str
) -> AsyncIterator[Watch]:
    headers = {"Authorization": f"Bearer {key or console.key}"} | ({"Last-Event-ID": last} if last else {})
    async with console.http.get(path, headers=headers, params=query) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"] == "text/event-stream"
        yield Watch(answer)


async def steps(appliance: Appliance, *names: str) -> UUID:
    """Have an appliance take the next command and report steps of these names."""
    async with appliance.connected() as line:
        command = await line.take()
        await line.report(command.id, *(StepBegan(step=name, title=name) for name in names))
    return command.id


async def test_a_watcher_sees_what_happens_as_it_happens(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with watching(console) as watch, appliance.connected() as line:
        command = await line.take()
        bodies: list[EventBody] = [CommandBegan(attempt=1), CommandEnded(outcome=CommandOutcome.SUCCEEDED)]
        for body in bodies:
            await line.report(command.id, body)
            seen = await watch.next()
            assert (seen["body"]["type"], seen["cluster"], seen["command_id"]) == (body.type, "demo", str(command.id))


async def test_a_watcher_that_comes_back_misses_nothing_and_sees_nothing_twice(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    await steps(appliance, *(f"s{number}" for number in range(30)))

    seen: list[str] = []
    last = "0"
    while len(seen) < 30:
        async with watching(console, last=last) as watch:
            for _ in range(7):
                event = await watch.next()
                seen.append(event["body"]["step"])
                last = str(event["position"])
                if len(seen) == 30:
                    break

    assert seen == [f"s{number}" for number in range(30)]


async def test_a_long_history_is_streamed_whole(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster())
    async with appliance.connected() as line:
        command = await line.take()
        for batch in range(4):
            bodies = [StepBegan(step=f"s{batch * 90 + number}", title="x") for number in range(90)]
            await line.report(command.id, *bodies)

    async with watching(console, after="50") as watch:
        seen = [(await watch.next())["body"]["step"] for _ in range(310)]

    assert seen == [f"s{number}" for number in range(50, 360)]


async def test_a_watch_can_be_narrowed_to_a_cluster_or_a_command(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.put(cluster("one"))
    await steps(appliance, "a")
    await console.put(cluster("two"))
    command = await steps(appliance, "b")

    for narrowed in ({"cluster": "two"}, {"command": str(command)}):
        async with watching(console, **narrowed) as watch:
            assert (await watch.next())["body"]["step"] == "b"


async def test_a_watcher_learns_that_a_wish_was_replaced(console: Console) -> None:
    await paired_appliance(console)
    first = (await console.put(cluster())).body["command"]["id"]

    async with watching(console, command=first) as watch:
        await console.put(cluster(workers=5))
        seen = await watch.next()

    assert (seen["body"]["outcome"], seen["number"]) == ("cancelled", None)


async def test_a_watcher_of_another_tenant_sees_nothing(console: Console) -> None:
    appliance = await paired_appliance(console)
    stranger = await console.add_tenant("stranger")
    theirs = await paired_appliance(console, "dc9", key=stranger)
    await console.put(cluster())
    await console.put(cluster(gateway="dc9"), key=stranger)
    async with watching(console, key=stranger) as watch:
        await steps(appliance, "ours")
        await steps(theirs, "theirs")

        assert (await watch.next())["body"]["step"] == "theirs"


async def test_inventory_events_are_seen_by_the_whole_tenant_only(console: Console) -> None:
    appliance = await paired_appliance(console)
    await console.ask("POST", "/api/v1/gateways/dc1/inventory", {"account": "main"})
    await steps(appliance, "reading")
    await console.put(cluster())
    await steps(appliance, "cloning")

    async with watching(console) as watch:
        assert (await watch.next())["body"]["step"] == "cloning"
    async with watching(console, "/api/v1/events") as watch:
        assert (await watch.next())["body"]["step"] == "reading"


async def test_a_stopping_console_sends_its_watchers_home_at_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as running:
        console = await running.enter_async_context(running_console(tmp_path / "console"))
        connector = Connector(trust(console.settings))
        async with (
            aiohttp.ClientSession(console.reached.api, connector=connector) as http,
            watching(replace(console, http=http)) as watch,
        ):
            async with asyncio.timeout(3):
                await running.aclose()
            with pytest.raises(EOFError):
                await watch.next()


async def test_a_quiet_stream_is_kept_alive_by_comments(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "HEARTBEAT", 0.05)
    async with watching(console) as watch:
        lines = [(await watch.answer.content.readline()).decode() for _ in range(4)]

    assert lines == [": watching\n", "\n", ": still here\n", "\n"]


async def test_a_stream_is_kept_alive_though_bells_ring_for_what_it_does_not_show(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "HEARTBEAT", 0.3)
    appliance = await paired_appliance(console)

    async with (
        watching(console, cluster="nobody") as watch,
        appliance.connected() as line,
        asyncio.TaskGroup() as group,
    ):
        waiting = group.create_task(beaten(watch))
        async with asyncio.timeout(10):
            while not waiting.done():
                await line.settle()

    assert waiting.result()


async def beaten(watch: Watch) -> bool:
    while line := await watch.answer.content.readline():
        if line == b": still here\n":
            return True
    return False


@pytest.mark.parametrize("fault", [RuntimeError("a defect"), StoreUnavailableError("too much to do")], ids=repr)
async def test_a_stream_that_meets_an_error_is_cut_and_never_answered_twice(
    console: Console, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    async with watching(console) as watch:
        assert await watch.answer.content.readline() == b": watching\n"

        async def fail(*_arguments: object, **_more: object) -> None:
            raise fault

        monkeypatch.setattr(events, "last_position", fail)
        await paired_appliance(console)
        appliance_rings = console.ask("POST", "/api/v1/gateways/dc1/inventory", {"account": "main"})
        assert (await appliance_rings).status == 202
        async with asyncio.timeout(10):
            with pytest.raises(aiohttp.ClientError):
                await watch.answer.content.read()


async def test_watchers_beyond_the_limit_are_told_to_come_later() -> None:
    hall = Watchers(Bells(), most=1)

    with hall.seat(), pytest.raises(TooManyWatchersError), hall.seat():
        pass
    with hall.seat():
        pass
