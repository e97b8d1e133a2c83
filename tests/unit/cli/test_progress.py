"""This file is the promises of progress: it shows what is under way now, and nothing of what was cut before."""

from uuid import UUID, uuid4

from gateway.cli import progress
from gateway.cli.progress import ClusterProgress, Progress
from gateway.contract.clusters import MachinePhase
from gateway.contract.events import (
    CommandBegan,
    CommandEnded,
    CommandOutcome,
    EventBody,
    MachineSeen,
    StepBegan,
    StepDone,
    StepFailed,
    StepProgress,
)
from tests.unit.cli import samples

ONE, TWO = uuid4(), uuid4()
BEGAN = CommandBegan(attempt=1)
CANCELLED = CommandEnded(outcome=CommandOutcome.CANCELLED)


def step(name: str) -> StepBegan:
    return StepBegan(step=name, title=name)


def of_one(*bodies: EventBody) -> Progress:
    known = Progress()
    for position, body in enumerate(bodies, start=1):
        known = progress.after(known, samples.event(body, of=ONE, position=position))
    return known


def of_cluster(*told: tuple[UUID, EventBody]) -> ClusterProgress:
    known = ClusterProgress()
    for position, (command, body) in enumerate(told, start=1):
        known = progress.after_any(known, samples.event(body, of=command, position=position))
    return known


def test_a_step_is_under_way_until_it_is_done_or_has_failed() -> None:
    known = of_one(BEGAN, step("a"), step("b"), step("c"), StepDone(step="a"))
    assert list(known.under_way) == ["b", "c"]
    known = of_one(BEGAN, step("b"), step("c"), StepFailed(step="b", problem=samples.problem()))
    assert list(known.under_way) == ["c"]


def test_a_step_shows_what_it_said_last() -> None:
    known = of_one(BEGAN, step("a"), StepProgress(step="a", message="half"))
    assert known.under_way["a"].message == "half"


def test_a_step_heard_of_in_its_middle_is_shown() -> None:
    assert of_one(StepProgress(step="a", message="half")).under_way["a"].title == "a"


def test_nothing_is_under_way_once_the_command_has_ended_however_its_steps_were_cut() -> None:
    known = of_one(BEGAN, step("a"), CANCELLED)
    assert known.under_way == {}
    assert known.ended == CANCELLED


def test_a_command_taken_up_again_begins_with_no_steps() -> None:
    known = of_one(BEGAN, step("a"), CommandBegan(attempt=2), step("b"))
    assert list(known.under_way) == ["b"]
    assert known.attempt == 2


def test_a_machine_that_was_removed_is_gone() -> None:
    machine = samples.machine()
    removed = machine.model_copy(update={"phase": MachinePhase.REMOVED})
    assert list(of_one(MachineSeen(machine=machine)).machines) == [machine.name]
    assert of_one(MachineSeen(machine=machine), MachineSeen(machine=removed)).machines == {}


def test_steps_of_a_command_that_was_cancelled_are_forgotten_and_machines_stay() -> None:
    machine = samples.machine()
    known = of_cluster((ONE, BEGAN), (ONE, step("a")), (ONE, MachineSeen(machine=machine)), (ONE, CANCELLED))
    assert known.under_way == {}
    assert list(known.machines) == [machine.name]


def test_a_command_that_begins_leaves_nothing_of_the_one_before() -> None:
    known = of_cluster((ONE, BEGAN), (ONE, step("a")), (TWO, BEGAN), (TWO, step("b")))
    assert list(known.under_way) == ["b"]


def test_the_end_of_a_command_that_waited_ends_no_other() -> None:
    known = of_cluster((ONE, BEGAN), (ONE, step("a")), (TWO, CANCELLED))
    assert list(known.under_way) == ["a"]


def test_the_line_of_a_bad_end_names_the_reason() -> None:
    ended = CommandEnded(outcome=CommandOutcome.FAILED, problem=samples.problem("the disk is full"))
    assert progress.line(samples.event(ended, of=ONE)).endswith("demo failed: the disk is full [some.code]")


def test_every_event_but_a_machine_is_one_line() -> None:
    bodies: list[EventBody] = [BEGAN, CommandBegan(attempt=2), step("a"), StepProgress(step="a", message="m")]
    bodies += [StepDone(step="a", message="m", seconds=1.5), StepFailed(step="a", problem=samples.problem("p"))]
    lines = [progress.line(samples.event(body, of=ONE)).split(" ", 1)[1] for body in bodies]
    assert lines == [
        *("demo began", "demo taken up again, attempt 2", "demo a: a", "demo a: m"),
        *("demo a: done in 1.5 s; m", "demo a: failed: p [some.code]"),
    ]
    assert progress.line(samples.event(MachineSeen(machine=samples.machine()), of=ONE)) == ""
