"""This file is what reports change, and what they may never change."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console import projection
from gateway.console.projection import Changed, Picture
from gateway.console.records import Cluster, CommandState, Settled, StoredCommand
from gateway.contract.clusters import ClusterPhase, ClusterSpec, Machine, MachinePhase
from gateway.contract.commands import Command
from gateway.contract.events import CommandBegan, CommandEnded, CommandOutcome, EventBody, MachineSeen, StepBegan
from gateway.contract.inventory import Inventory
from gateway.contract.problems import Problem
from gateway.kit.errors import Remedy
from tests.fakes.wishes import a_cluster, a_delete, a_read, an_apply

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CLUSTER = UUID(int=7)
PROBLEM = Problem(code="cloud.sign_in", message="the password is wrong", remedy=Remedy.OPERATOR)


def stored(command: Command, *, state: CommandState = CommandState.PENDING, seq: int = 1) -> StoredCommand:
    return StoredCommand(
        id=command.id,
        project=None,
        gateway=uuid4(),
        gateway_name="dc1",
        seq=seq,
        cluster=CLUSTER,
        cluster_name="demo",
        command=command,
        state=state,
        problem=None,
        inventory=None,
        sent_at=NOW,
        accepted_at=None,
        began_at=None if state in {CommandState.PENDING, CommandState.ACCEPTED} else NOW,
        ended_at=None,
    )


def clustered(
    last: StoredCommand,
    *,
    phase: ClusterPhase = ClusterPhase.PENDING,
    settled: Settled | None = None,
    spec: ClusterSpec | None = None,
) -> Cluster:
    return Cluster(
        id=CLUSTER,
        project=uuid4(),
        gateway=last.gateway,
        name="demo",
        spec=spec or a_cluster(),
        phase=phase,
        settled=settled,
        problem=None,
        last_command=last.id,
        created_at=NOW,
        updated_at=NOW,
    )


def ended(before: Picture, outcome: CommandOutcome, problem: Problem | None = None) -> Changed:
    return projection.reported(before, CommandEnded(outcome=outcome, problem=problem), now=NOW)


def test_a_first_wish_becomes_provisioning_and_then_ready() -> None:
    command = stored(an_apply(CLUSTER))
    taken = projection.accepted(Picture(command, clustered(command)), now=NOW)
    assert taken.cluster
    assert (taken.command.state, taken.cluster.phase) == (CommandState.ACCEPTED, ClusterPhase.PROVISIONING)

    done = ended(Picture(taken.command, taken.cluster), CommandOutcome.SUCCEEDED)

    assert done.cluster
    assert (done.command.state, done.cluster.phase) == (CommandState.SUCCEEDED, ClusterPhase.READY)
    assert done.cluster.settled == Settled(a_cluster(), ClusterPhase.READY)


def test_a_refused_first_wish_leaves_no_cluster_but_its_command_says_why() -> None:
    command = stored(an_apply(CLUSTER), state=CommandState.RUNNING)

    after = ended(Picture(command, clustered(command)), CommandOutcome.REFUSED, PROBLEM)

    assert after.cluster is None
    assert (after.command.state, after.command.problem) == (CommandState.REFUSED, PROBLEM)


def test_a_refused_first_wish_that_left_machines_keeps_the_cluster_visible() -> None:
    command = stored(an_apply(CLUSTER), state=CommandState.RUNNING)

    after = ended(Picture(command, clustered(command), machines=1), CommandOutcome.REFUSED, PROBLEM)

    assert after.cluster
    assert (after.cluster.phase, after.cluster.problem) == (ClusterPhase.FAILED, PROBLEM)


@pytest.mark.parametrize("phase", [ClusterPhase.READY, ClusterPhase.FAILED])
def test_a_refused_change_puts_spec_and_phase_back_and_shows_the_problem(phase: ClusterPhase) -> None:
    command = stored(an_apply(CLUSTER, a_cluster(workers=9)), state=CommandState.RUNNING)
    cluster = clustered(command, settled=Settled(a_cluster(), phase), spec=a_cluster(workers=9))

    after = ended(Picture(command, cluster, machines=3), CommandOutcome.REFUSED, PROBLEM)

    assert after.cluster
    assert (after.cluster.spec, after.cluster.phase, after.cluster.problem) == (a_cluster(), phase, PROBLEM)


def test_a_rejected_command_counts_as_refused_even_while_an_earlier_one_runs() -> None:
    earlier = stored(an_apply(CLUSTER), state=CommandState.RUNNING, seq=1)
    later = stored(an_apply(CLUSTER, a_cluster(workers=9)), seq=2)
    cluster = clustered(later, spec=a_cluster(workers=9))

    after = projection.rejected(Picture(later, cluster, earlier=earlier), PROBLEM, now=NOW)

    assert after.cluster
    assert (after.cluster.last_command, after.cluster.spec) == (earlier.id, a_cluster())
    assert after.cluster.phase is ClusterPhase.PROVISIONING


def test_a_failed_wish_stays_wished_for_and_shows_its_problem() -> None:
    command = stored(an_apply(CLUSTER), state=CommandState.RUNNING)

    after = ended(Picture(command, clustered(command)), CommandOutcome.FAILED, PROBLEM)

    assert after.cluster
    assert (after.cluster.phase, after.cluster.problem) == (ClusterPhase.FAILED, PROBLEM)
    assert after.cluster.settled == Settled(a_cluster(), ClusterPhase.FAILED)


def test_a_wish_that_was_replaced_before_it_began_is_not_what_the_cluster_falls_back_to() -> None:
    replaced = stored(an_apply(CLUSTER, a_cluster(workers=5)), state=CommandState.ACCEPTED, seq=1)
    last = stored(an_apply(CLUSTER, a_cluster(workers=9)), state=CommandState.ACCEPTED, seq=2)
    good = Settled(a_cluster(), ClusterPhase.READY)
    cluster = clustered(last, settled=good, spec=a_cluster(workers=9))

    after = ended(Picture(replaced, cluster), CommandOutcome.CANCELLED, PROBLEM)

    assert after.cluster == cluster


def test_the_end_of_an_earlier_wish_does_not_end_a_later_one() -> None:
    first = stored(an_apply(CLUSTER), state=CommandState.RUNNING, seq=1)
    last = stored(an_apply(CLUSTER, a_cluster(workers=9)), seq=2)
    cluster = clustered(last, spec=a_cluster(workers=9))

    after = ended(Picture(first, cluster), CommandOutcome.SUCCEEDED)

    assert after.cluster
    assert (after.cluster.phase, after.cluster.spec) == (ClusterPhase.PENDING, a_cluster(workers=9))
    assert after.cluster.settled == Settled(a_cluster(), ClusterPhase.READY)


def test_a_delete_that_succeeds_leaves_no_cluster() -> None:
    command = stored(a_delete(CLUSTER), state=CommandState.RUNNING)

    after = ended(Picture(command, clustered(command, phase=ClusterPhase.DELETING)), CommandOutcome.SUCCEEDED)

    assert after.cluster is None


def test_a_delete_that_fails_can_be_asked_for_again() -> None:
    command = stored(a_delete(CLUSTER), state=CommandState.RUNNING)
    cluster = clustered(command, phase=ClusterPhase.DELETING, settled=Settled(a_cluster(), ClusterPhase.READY))

    after = ended(Picture(command, cluster), CommandOutcome.FAILED, PROBLEM)

    assert after.cluster
    assert (after.cluster.phase, after.cluster.problem) == (ClusterPhase.FAILED, PROBLEM)


def test_an_inventory_ends_up_with_its_command() -> None:
    command = replace(stored(a_read(), state=CommandState.RUNNING), cluster=None, cluster_name=None)
    inventory = Inventory(product="VMware vCenter Server 8.0.2")

    after = projection.reported(
        Picture(command), CommandEnded(outcome=CommandOutcome.SUCCEEDED, inventory=inventory), now=NOW
    )

    assert after.command.inventory == inventory


MACHINE = Machine(name="demo-cp-0", pool="cp", ordinal=0, instance_uuid=uuid4(), phase=MachinePhase.CLONED)
BODIES: st.SearchStrategy[EventBody] = st.one_of(
    st.builds(CommandBegan, attempt=st.integers(1, 3)),
    st.just(StepBegan(step="a", title="b")),
    st.just(MachineSeen(machine=MACHINE)),
    st.builds(CommandEnded, outcome=st.sampled_from(CommandOutcome), problem=st.sampled_from([None, PROBLEM])),
)
COMMANDS = st.sampled_from([an_apply(CLUSTER), a_delete(CLUSTER)])
SETTLED = st.sampled_from([None, Settled(a_cluster(), ClusterPhase.READY)])
RANK = {CommandState.PENDING: 0, CommandState.ACCEPTED: 1, CommandState.RUNNING: 2}


@given(COMMANDS, SETTLED, st.lists(st.one_of(BODIES, st.sampled_from(["accepted", "rejected"])), max_size=12))
def test_whatever_is_reported_in_whatever_order_nothing_goes_back(
    command: Command, settled: Settled | None, reports: list[EventBody | str]
) -> None:
    before = Picture(stored(command), clustered(stored(command), settled=settled))
    before = replace(before, cluster=replace(clustered(before.command, settled=settled), last_command=command.id))
    for report in reports:
        match report:
            case "accepted":
                after = projection.accepted(before, now=NOW)
            case "rejected":
                after = projection.rejected(before, PROBLEM, now=NOW)
            case str():
                raise AssertionError
            case body:
                after = projection.reported(before, body, now=NOW)
        assert RANK.get(after.command.state, 3) >= RANK.get(before.command.state, 3)
        if before.command.state.has_ended:
            assert (after.command, after.cluster) == (before.command, before.cluster)
        if before.cluster is None:
            assert after.cluster is None
        before = replace(before, command=after.command, cluster=after.cluster)
    if before.command.state.has_ended and before.cluster is not None:
        assert before.cluster.phase in {ClusterPhase.READY, ClusterPhase.FAILED}


@given(COMMANDS, SETTLED, BODIES)
def test_the_same_report_twice_is_the_same_as_once(command: Command, settled: Settled | None, body: EventBody) -> None:
    one = stored(command)
    once = projection.reported(Picture(one, clustered(one, settled=settled)), body, now=NOW)
    twice = projection.reported(Picture(once.command, once.cluster), body, now=NOW)

    assert (twice.command, twice.cluster) == (once.command, once.cluster)
