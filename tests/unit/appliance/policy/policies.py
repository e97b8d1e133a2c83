"""This file is the policies, commands and situations that tests of the policy begin from."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import strategies as st

from gateway.appliance.policy import quotas
from gateway.appliance.policy.judging import Situation
from gateway.appliance.policy.quotas import Usage
from gateway.contract.clusters import CloudPlacement, ClusterSpec, NodePool, PoolRole
from gateway.contract.commands import ApplyCluster, Command, DeleteCluster, PlanCluster, ReadInventory
from gateway.contract.policy import (
    CLASS_OF,
    Amounts,
    CommandBounds,
    CommandClass,
    Destroy,
    DestroyNeeds,
    Hours,
    PlaceBounds,
    Policy,
    Profile,
    Quotas,
    TargetBounds,
    Tightening,
    Window,
)
from tests.fakes.wishes import WHEN

CLUSTERS = [UUID(int=number) for number in (1, 2)]
KEYS = {"alice": "A" * 43, "bob": "B" * 43}
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
"""A Saturday."""


def situation(usage: Usage | None = None, *, now: datetime = NOW, **more: object) -> Situation:
    return Situation(now=now, usage=usage or Usage(), **more)  # type: ignore[arg-type]


def a_policy(profile: Profile = Profile.OPERATE, **more: object) -> Policy:
    return Policy.model_validate({"profile": profile, **more})


def a_wish(*, workers: int = 2, cpus: int = 2, memory_mib: int = 2048, **cloud: str) -> ClusterSpec:
    size = {"cpus": cpus, "memory_mib": memory_mib}
    return ClusterSpec(
        name="demo",
        gateway="dc1",
        cloud=CloudPlacement.model_validate({"account": "lab", "template": "debian-12", **cloud}),
        pools=[
            NodePool(name="cp", role=PoolRole.CONTROL_PLANE, count=1, **size),
            NodePool(name="workers", role=PoolRole.WORKER, count=workers, **size),
        ],
    )


def applied(usage: Usage, command: Command) -> Usage:
    """Return the usage after a command was accepted and has succeeded."""
    booking = quotas.booked(command, at=WHEN)
    assert booking is not None
    done = quotas.Settled(command.id, quotas.CommandOutcome.SUCCEEDED)
    return quotas.after(quotas.after(usage, booking), done)


accounts = st.sampled_from(["lab", "main", "other"])
words = st.sampled_from([*CommandClass, *CLASS_OF])
patterns = st.none() | st.lists(st.sampled_from(["*", "l*", "main", "?ther", "deb*12"]), max_size=3).map(tuple)
placements = st.builds(
    CloudPlacement,
    account=accounts,
    template=st.sampled_from(["debian-12", "ubuntu"]),
    datacenter=st.none() | st.sampled_from(["main", "other"]),
    network=st.none() | accounts,
)
specs = st.builds(
    lambda cloud, workers, cpus: a_wish(workers=workers, cpus=cpus).model_copy(update={"cloud": cloud}),
    placements,
    st.integers(0, 5),
    st.integers(1, 4),
)
wishes = st.builds(ApplyCluster, cluster_id=st.sampled_from(CLUSTERS), spec=specs) | st.builds(
    DeleteCluster, cluster_id=st.sampled_from(CLUSTERS), name=st.just("demo"), cloud=placements
)
tasks = wishes | st.builds(PlanCluster, of=wishes) | st.builds(ReadInventory, account=accounts)
commands = st.builds(Command, id=st.uuids(version=4), task=tasks, author=st.just("mallory"), created_at=st.just(WHEN))
amounts = st.builds(
    Amounts,
    machines=st.none() | st.integers(0, 12),
    cpus=st.none() | st.integers(0, 40),
    memory_gib=st.none() | st.integers(0, 40),
)
windows = st.builds(
    Window,
    days=st.lists(st.sampled_from(["mon", "sat", "sun"]), min_size=1, unique=True).map(tuple),
    opens=st.sampled_from(["00:00", "07:00", "22:30"]),
    closes=st.sampled_from(["06:00", "19:00", "24:00"]),
)
bounds = {
    "commands": st.builds(CommandBounds, allow=st.none() | st.lists(words).map(tuple), deny=st.lists(words).map(tuple)),
    "vsphere": st.builds(PlaceBounds, accounts=patterns, datacenters=patterns, networks=patterns, templates=patterns),
    "targets": st.builds(
        TargetBounds, allow=patterns, lanes=st.none() | st.lists(st.sampled_from(["interactive", "bulk"])).map(tuple)
    ),
    "quotas": st.builds(Quotas, at_a_time=amounts, per_day=amounts, in_total=amounts),
    "hours": st.builds(Hours, windows=st.lists(windows, max_size=2).map(tuple)),
    "publishers": st.none() | st.lists(st.sampled_from(["a" * 64, "b" * 64])).map(tuple),
}
destroys = st.sampled_from(
    [
        Destroy(),
        Destroy(needs=DestroyNeeds.APPROVAL),
        Destroy(needs=DestroyNeeds.SIGNATURE, keys=KEYS),
        Destroy(needs=DestroyNeeds.SIGNATURE, keys=KEYS, signatures=2),
    ]
)
policies = st.builds(Policy, profile=st.sampled_from(Profile), destroy=destroys, **bounds)
tightenings = st.builds(Tightening, destroy=st.sampled_from([DestroyNeeds.NOTHING, DestroyNeeds.APPROVAL]), **bounds)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Return what is had after some commands were accepted and some of them have ended somehow."""
    usage = Usage()
    for command in draw(st.lists(commands, max_size=6)):
        booking = quotas.booked(command, at=WHEN)
        if booking is None:
            continue
        usage = quotas.after(usage, booking)
        outcome = draw(st.none() | st.sampled_from(quotas.CommandOutcome))
        if outcome is not None:
            usage = quotas.after(usage, quotas.Settled(command.id, outcome))
    return usage


situations = st.builds(
    Situation,
    now=st.datetimes(datetime(2026, 11, 1), datetime(2026, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - its zone is given beside
    usage=usages(),
    is_paused=st.booleans(),
    is_approved=st.booleans(),
    signers=st.sets(st.sampled_from([*KEYS.values(), "C" * 43])).map(frozenset),
)
