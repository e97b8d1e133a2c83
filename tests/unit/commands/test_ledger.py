"""This file is the promises of the ledger, also against a model and any order of events."""

from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from gateway.commands.ledger import (
    Accepted,
    Began,
    CancelAsked,
    CommandChangedError,
    CommandState,
    Decision,
    Ended,
    Entry,
    Ledger,
    StepBegan,
    StepDone,
    StepKind,
    StepNoted,
    UnknownCommandError,
)
from gateway.contract.commands import Command
from gateway.contract.events import CommandOutcome
from tests.fakes.wishes import a_cluster, a_delete, an_apply


def take(ledger: Ledger, *entries: Entry) -> None:
    for entry in entries:
        ledger.apply(entry)


def accepted(ledger: Ledger, command: Command) -> Command:
    take(ledger, *ledger.accept(command).entries)
    return command


def test_a_command_sent_twice_is_written_once() -> None:
    ledger = Ledger()
    command = accepted(ledger, an_apply())
    assert ledger.accept(command) == Decision()


def test_the_same_id_with_other_content_is_refused() -> None:
    ledger = Ledger()
    command = accepted(ledger, an_apply())
    other = command.model_copy(update={"author": "mallory"})
    with pytest.raises(CommandChangedError):
        ledger.accept(other)


def test_commands_on_one_cluster_run_in_the_order_in_which_they_were_accepted() -> None:
    ledger, cluster = Ledger(), uuid4()
    first, second = accepted(ledger, an_apply(cluster)), accepted(ledger, an_apply(cluster))
    assert ledger.runnable() == [first]
    take(ledger, Began(first.id), Ended(first.id, CommandOutcome.SUCCEEDED))
    assert ledger.runnable() == [second]


def test_commands_on_different_clusters_may_run_side_by_side() -> None:
    ledger = Ledger()
    both = [accepted(ledger, an_apply()), accepted(ledger, an_apply())]
    assert ledger.runnable() == both


def test_a_command_cut_while_running_is_runnable_again() -> None:
    ledger = Ledger()
    command = accepted(ledger, an_apply())
    take(ledger, Began(command.id), Began(command.id))
    assert ledger.runnable() == [command]
    assert ledger.record(command.id).attempts == 2


def test_a_delete_takes_the_place_of_what_it_would_undo() -> None:
    ledger, cluster = Ledger(), uuid4()
    doomed, elsewhere = accepted(ledger, an_apply(cluster)), accepted(ledger, an_apply())
    delete = a_delete(cluster)
    take(ledger, Began(doomed.id))
    assert ledger.accept(delete).entries == [Accepted(delete), CancelAsked(doomed.id, delete.id)]
    assert ledger.record(elsewhere.id).cancelled_by is None


def test_an_apply_takes_nobodys_place() -> None:
    ledger, cluster = Ledger(), uuid4()
    accepted(ledger, an_apply(cluster))
    later = an_apply(cluster, a_cluster(workers=5))
    assert ledger.accept(later) == Decision([Accepted(later)])


def test_only_a_step_that_changes_something_counts_as_a_change() -> None:
    ledger = Ledger()
    command = accepted(ledger, an_apply())
    take(ledger, Began(command.id), StepBegan(command.id, "check", StepKind.READ))
    assert not ledger.record(command.id).has_changed_something
    take(ledger, StepBegan(command.id, "clone", StepKind.KEYED))
    assert ledger.record(command.id).has_changed_something


def test_what_began_and_was_never_done_is_found_by_the_next_command_on_the_resource() -> None:
    ledger, cluster = Ledger(), uuid4()
    apply = accepted(ledger, an_apply(cluster))
    for step in ("a/clone", "b/clone", "c/clone"):
        take(ledger, StepBegan(apply.id, step, StepKind.KEYED))
    take(ledger, StepBegan(apply.id, "check", StepKind.READ))
    take(ledger, StepNoted(apply.id, "a/clone", "task-1"), StepNoted(apply.id, "b/clone", "task-2"))
    take(ledger, StepDone(apply.id, "a/clone"), Ended(apply.id, CommandOutcome.CANCELLED))
    assert [(name, step.note) for name, step in ledger.loose_steps(apply.task.resource)] == [
        ("b/clone", "task-2"),
        ("c/clone", None),
    ]


def test_an_entry_about_an_unknown_command_is_damage() -> None:
    with pytest.raises(UnknownCommandError):
        Ledger().apply(Began(uuid4()))


class AnyOrder(RuleBasedStateMachine):
    """Few clusters, many commands: lives overlap."""

    commands = Bundle("commands")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.ended: set[UUID] = set()
        self.order: list[Command] = []

    @rule(target=commands, cluster=st.integers(1, 2), kind=st.sampled_from(["apply", "apply", "delete"]))
    def accept(self, cluster: int, kind: str) -> Command:
        resource = UUID(int=cluster)
        command = an_apply(resource) if kind == "apply" else a_delete(resource)
        entries = self.ledger.accept(command).entries
        take(self.ledger, *entries)
        self.ended |= {one.command_id for one in entries if isinstance(one, Ended)}
        self.order.append(command)
        return command

    @rule(command=commands)
    def accept_again(self, command: Command) -> None:
        assert self.ledger.accept(command) == Decision()

    @rule()
    def begin(self) -> None:
        for command in self.ledger.runnable():
            take(self.ledger, Began(command.id))

    @rule(outcome=st.sampled_from(CommandOutcome))
    def end(self, outcome: CommandOutcome) -> None:
        for command in self.ledger.runnable()[:1]:
            if self.ledger.record(command.id).state is CommandState.RUNNING:
                take(self.ledger, Ended(command.id, outcome))
                self.ended.add(command.id)

    @invariant()
    def one_runs_per_resource(self) -> None:
        running = [record.resource for record in self.ledger if record.state is CommandState.RUNNING]
        assert len(running) == len(set(running))

    @invariant()
    def every_command_has_ended_or_has_an_older_one_before_it_or_may_run(self) -> None:
        expected = {}
        for command in self.order:
            if command.id not in self.ended:
                expected.setdefault(command.task.resource, command)
        assert {one.id for one in self.ledger.runnable()} == {one.id for one in expected.values()}

    @invariant()
    def nothing_ended_lives_again(self) -> None:
        assert all(self.ledger.record(one).state is CommandState.ENDED for one in self.ended)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
