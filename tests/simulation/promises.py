"""This file is the promises that every run is held to, read from what is on the two disks in the end."""

import json
import zlib
from collections.abc import Iterator
from uuid import UUID

from gateway.contract.commands import CancelCommand, Command, PauseCommands, ResumeCommands
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, Event, StepDone
from tests.simulation.console import Kept
from tests.simulation.disk import SimulatedDisk


def fingerprint(text: str) -> int:
    return zlib.crc32(text.encode())


def broken(kept: Kept, disk: SimulatedDisk, *, accepted: set[UUID]) -> list[str]:
    """Return every promise that was broken, in words."""
    events = kept.events
    commands = [one.command for one in kept.commands.values()]
    return [
        *_gaps(events),
        *_told_otherwise(events, disk),
        *_lost(accepted, events),
        *_ended_twice(events),
        *_out_of_order(commands, events),
        *_begun_while_paused(commands, events),
        *_said_after_the_end(events),
        *_cancelled_and_carried_out(commands, events),
        *_steps_done_twice(events),
    ]


def _gaps(events: list[Event]) -> Iterator[str]:
    numbers = [one.number for one in events]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"the console's events have gaps or doubles: {numbers}"


def _told_otherwise(events: list[Event], disk: SimulatedDisk) -> Iterator[str]:
    for event in events:
        row = disk.content.events.get(event.number)
        if row is not None and (row.command_id != event.command_id or json.loads(row.body)["type"] != event.body.type):
            yield f"event {event.number} is another at the console than on the appliance's disk"


def _lost(accepted: set[UUID], events: list[Event]) -> Iterator[str]:
    ended = {one.command_id for one in events if isinstance(one.body, CommandEnded)}
    for command in sorted(accepted - ended):
        yield f"command {command} was accepted, and is lost"


def _ended_twice(events: list[Event]) -> Iterator[str]:
    ended: set[UUID] = set()
    for event in events:
        if isinstance(event.body, CommandEnded):
            if event.command_id in ended:
                yield f"command {event.command_id} ended twice"
            ended.add(event.command_id)


def _out_of_order(commands: list[Command], events: list[Event]) -> Iterator[str]:
    """On one resource commands begin in the order in which they were wished for, and one after the other."""
    rank = {command.id: (command.task.resource, index) for index, command in enumerate(commands)}
    last: dict[str, int] = {}
    running: dict[str, UUID] = {}
    for event in events:
        if event.command_id not in rank:
            continue
        resource, index = rank[event.command_id]
        if isinstance(event.body, CommandBegan):
            if running.setdefault(resource, event.command_id) != event.command_id:
                yield f"command {event.command_id} began while {running[resource]} had not ended"
            if index < last.get(resource, -1):
                yield f"command {event.command_id} began after a later one on {resource}"
            last[resource] = index
        elif isinstance(event.body, CommandEnded) and running.get(resource) == event.command_id:
            del running[resource]


def _begun_while_paused(commands: list[Command], events: list[Event]) -> Iterator[str]:
    tasks = {command.id: command.task for command in commands}
    paused: set[str | None] = set()
    for event in events:
        task = tasks.get(event.command_id)
        if isinstance(event.body, CommandEnded) and isinstance(task, PauseCommands):
            paused.add(task.on)
        elif isinstance(event.body, CommandEnded) and isinstance(task, ResumeCommands):
            paused = paused - {task.on} if task.on else set()
        elif task is not None and _is_first_begin(event) and paused & {None, task.resource}:
            yield f"command {event.command_id} began while its resource was paused"


def _said_after_the_end(events: list[Event]) -> Iterator[str]:
    ended: set[UUID] = set()
    for event in events:
        if event.command_id in ended and not isinstance(event.body, CommandEnded):
            yield f"{event.body.type} of command {event.command_id} was told after its end"
        if isinstance(event.body, CommandEnded):
            ended.add(event.command_id)


def _cancelled_and_carried_out(commands: list[Command], events: list[Event]) -> Iterator[str]:
    """What a cancel met before it began never begins; no command begins after it was cancelled well."""
    cancels = {one.id: one.task.command_id for one in commands if isinstance(one.task, CancelCommand)}
    off: set[UUID] = set()
    for event in events:
        if event.command_id in cancels and _is_success(event):
            off.add(cancels[event.command_id])
        if isinstance(event.body, CommandBegan) and event.command_id in off:
            yield f"command {event.command_id} began after it was cancelled"


def _steps_done_twice(events: list[Event]) -> Iterator[str]:
    done: set[tuple[UUID, str]] = set()
    for event in events:
        if isinstance(event.body, StepDone):
            place = (event.command_id, event.body.step)
            if place in done:
                yield f"step {place} was done twice"
            done.add(place)


def _is_first_begin(event: Event) -> bool:
    return isinstance(event.body, CommandBegan) and event.body.attempt == 1


def _is_success(event: Event) -> bool:
    return isinstance(event.body, CommandEnded) and event.body.outcome is CommandOutcome.SUCCEEDED
