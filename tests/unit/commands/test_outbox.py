"""This file is the promises of the outbox: no report is ever larger than a message may be."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commands.executor import RESULT_LIMIT
from gateway.commands.journal import Journal
from gateway.commands.outbox import BATCH_BYTES, Outbox
from gateway.contract.events import CommandEnded, CommandOutcome, Event, EventBody, StepFailed, StepProgress
from gateway.contract.inventory import Inventory
from gateway.contract.messages import MESSAGE_LIMIT, REPORT_EVENTS, ReportEvents
from gateway.contract.problems import Problem
from gateway.kit.errors import Remedy
from tests.fakes.clock import HandClock
from tests.fakes.wishes import an_apply

LETTERS = st.sampled_from(["x", "ž", "漢", "😀", '"', "\\", "\x01", "\x7f"])
"""Wide in UTF-8, or written longer in JSON than they are."""


@st.composite
def bodies(draw: st.DrawFn) -> EventBody:
    text = draw(LETTERS) * draw(st.integers(0, 2000))
    match draw(st.integers(0, 3)):
        case 0:
            problem = Problem(code="test.broken", message=text, remedy=Remedy.RETRY, facts={"a": text, "b": text})
            return StepFailed(step="s", problem=problem)
        case 1:
            return the_largest_result(draw(LETTERS))
        case _:
            return StepProgress(step="s", message=text)


def the_largest_result(letter: str) -> CommandEnded:
    """Return a result that is as large as the executor lets pass."""

    def of(count: int) -> CommandEnded:
        return CommandEnded(outcome=CommandOutcome.SUCCEEDED, inventory=Inventory(product=letter * count))

    empty = len(of(0).model_dump_json().encode())
    width = len(of(1).model_dump_json().encode()) - empty
    return of((RESULT_LIMIT - empty) // width)


async def batches(directory: Path, said: list[EventBody]) -> list[list[Event]]:
    command, found = an_apply(), []
    async with Journal.open(directory / "journal.db", clock=HandClock()) as journal:
        await journal.accept(command)
        await journal.write([], [(command.id, body) for body in said])
        outbox = Outbox(journal, after=0)
        while not found or found[-1][-1].number < len(said):
            found.append(await outbox.next_batch())
    return found


@settings(max_examples=30, deadline=None)
@given(said=st.lists(bodies(), min_size=1, max_size=40))
def test_no_report_is_larger_than_a_message_and_no_event_is_left_out(said: list[EventBody]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(batches(Path(directory), said))
    assert [event.number for batch in found for event in batch] == list(range(1, len(said) + 1))
    for batch in found:
        assert len(ReportEvents(events=batch).model_dump_json().encode()) <= MESSAGE_LIMIT


async def test_a_batch_counts_bytes_and_not_letters(tmp_path: Path) -> None:
    found = await batches(tmp_path, [StepProgress(step="s", message="漢" * 2000)] * 20)
    assert max(sum(len(one.model_dump_json().encode()) for one in batch) for batch in found) <= BATCH_BYTES


async def test_an_event_larger_than_a_batch_goes_alone(tmp_path: Path) -> None:
    small = StepProgress(step="s", message="x")
    found = await batches(tmp_path, [small, the_largest_result("漢"), small])
    assert [[one.number for one in batch] for batch in found] == [[1], [2], [3]]


async def test_a_batch_holds_no_more_events_than_a_report_may(tmp_path: Path) -> None:
    found = await batches(tmp_path, [StepProgress(step="s", message="")] * (REPORT_EVENTS + 1))
    assert [len(batch) for batch in found] == [REPORT_EVENTS, 1]
