"""This file is how much the console has: a fold over what was accepted and how it ended; no clock and no disk.

::

    Booked    a command that makes or changes machines is accepted: what it may make is counted from now on
    Settled   it has ended: what cannot be there any more is counted no longer

What is counted is what there may be, at most. A command that ended half-way counts whole, one that changed nothing not
at all; a cluster that is deleted counts until its deletion has succeeded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Final
from uuid import UUID

from gateway.contract.clusters import CloudPlacement, ClusterSpec
from gateway.contract.commands import ApplyCluster, Command, DeleteCluster
from gateway.contract.events import CommandOutcome

DAY: Final = timedelta(hours=24)
ANYWHERE: Final = ""


@dataclass(frozen=True, slots=True)
class Amount:
    """So many machines, and what they have together."""

    machines: int = 0
    cpus: int = 0
    memory_mib: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        """Return both together."""
        return Amount(self.machines + other.machines, self.cpus + other.cpus, self.memory_mib + other.memory_mib)


@dataclass(frozen=True, slots=True)
class Pool:
    """Machines of one size: how many, and the size of each."""

    machines: int
    cpus: int
    memory_mib: int

    @property
    def amount(self) -> Amount:
        """What they have together."""
        return Amount(self.machines, self.machines * self.cpus, self.machines * self.memory_mib)


Pools = Mapping[str, Pool]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cluster's machines are looked for. A datacenter that is not named is the only one there is."""

    cluster: UUID
    account: str
    datacenter: str = ANYWHERE

    def may_be(self, other: "Place") -> bool:
        """Tell whether both may be the same place."""
        if (self.cluster, self.account) != (other.cluster, other.account):
            return False
        return self.datacenter == other.datacenter or ANYWHERE in {self.datacenter, other.datacenter}


@dataclass(frozen=True, slots=True)
class Booked:
    """A command is accepted. `pools` is what it wishes for; None when it deletes."""

    command: UUID
    at: datetime
    place: Place
    pools: Pools | None


@dataclass(frozen=True, slots=True)
class Settled:
    """A command has ended, or will never be carried out."""

    command: UUID
    outcome: CommandOutcome


Entry = Booked | Settled


@dataclass(frozen=True, slots=True)
class Made:
    """What a command may make beyond what there may be, and when it was accepted."""

    command: UUID
    at: datetime
    amount: Amount


@dataclass(frozen=True, slots=True)
class Usage:
    """What the console has: what may be there, what is under way, what was made lately and ever."""

    there: dict[Place, dict[str, Pool]] = field(default_factory=dict)
    wishes: dict[UUID, Booked] = field(default_factory=dict)
    lately: tuple[Made, ...] = ()
    ever: Amount = Amount()

    @property
    def now(self) -> Amount:
        """What may be there at this time, at most."""
        places = {*self.there, *(wish.place for wish in self.wishes.values())}
        return _together(amount_of(self.at(place)) for place in places)

    def since(self, moment: datetime) -> Amount:
        """What may have been made since then."""
        return _together(one.amount for one in self.lately if one.at > moment)

    def at(self, place: Place) -> dict[str, Pool]:
        """What may be at one place, at most, once all that is under way is done."""
        found = dict(self.there.get(place, {}))
        for wish in self.wishes.values():
            if wish.place == place and wish.pools is not None:
                found = _largest(found, wish.pools)
        return found


def booked(command: Command, *, at: datetime) -> Booked | None:
    """Return the booking of a command that makes or removes machines; None of any other."""
    match command.task:
        case ApplyCluster(cluster_id=cluster, spec=spec):
            return Booked(command.id, at, _place(cluster, spec.cloud), pools_of(spec))
        case DeleteCluster(cluster_id=cluster, cloud=cloud):
            return Booked(command.id, at, _place(cluster, cloud), None)
    return None


def pools_of(spec: ClusterSpec) -> dict[str, Pool]:
    """Return the machines a wish asks for, by pool."""
    return {pool.name: Pool(pool.count, pool.cpus, pool.memory_mib) for pool in spec.pools}


def after(usage: Usage, entry: Entry) -> Usage:
    """Return the usage once an entry is taken into account. An entry that comes twice changes nothing twice."""
    match entry:
        case Booked():
            return _after_booked(usage, entry)
        case Settled():
            return _after_settled(usage, entry)


def fold(entries: list[Entry]) -> Usage:
    """Return the usage after all of the entries."""
    return reduce(after, entries, Usage())


def increase(usage: Usage, entry: Booked) -> Amount:
    """Return what a booking may make beyond what there may be already."""
    if entry.pools is None or entry.command in usage.wishes:
        return Amount()
    before, wished = usage.at(entry.place), _largest(usage.at(entry.place), entry.pools)
    return _together(_more(before.get(name, Pool(0, 0, 0)), pool) for name, pool in wished.items())


def removes(usage: Usage, entry: Booked) -> int:
    """Return how many machines of the cluster, wherever it may be, a booking may remove."""
    wished = entry.pools or {}
    places = {*usage.there, *(wish.place for wish in usage.wishes.values())}
    return sum(
        max(0, pool.machines - (wished[name].machines if name in wished else 0))
        for place in places
        if place.cluster == entry.place.cluster
        for name, pool in usage.at(place).items()
    )


def amount_of(pools: Pools) -> Amount:
    """Return what pools have together."""
    return _together(pool.amount for pool in pools.values())


def _after_booked(usage: Usage, entry: Booked) -> Usage:
    if entry.command in usage.wishes:
        return usage
    made = increase(usage, entry)
    young = tuple(one for one in usage.lately if one.at > entry.at - DAY)
    lately = (*young, Made(entry.command, entry.at, made)) if made != Amount() else young
    return replace(usage, wishes={**usage.wishes, entry.command: entry}, lately=lately, ever=usage.ever + made)


def _after_settled(usage: Usage, entry: Settled) -> Usage:
    wish = usage.wishes.get(entry.command)
    if wish is None:
        return usage
    usage = replace(usage, wishes={one: booked for one, booked in usage.wishes.items() if one != entry.command})
    match entry.outcome:
        case CommandOutcome.REFUSED:
            return _taken_back(usage, entry.command)
        case CommandOutcome.SUCCEEDED:
            return _reached(usage, wish.place, wish.pools or {})
    if wish.pools is None:
        return usage
    return replace(usage, there={**usage.there, wish.place: _largest(usage.there.get(wish.place, {}), wish.pools)})


def _reached(usage: Usage, place: Place, pools: Pools) -> Usage:
    there = {known: found for known, found in usage.there.items() if not known.may_be(place)}
    return replace(usage, there={**there, place: dict(pools)} if pools else there)


def _taken_back(usage: Usage, command: UUID) -> Usage:
    back = _together(one.amount for one in usage.lately if one.command == command)
    ever = Amount(
        usage.ever.machines - back.machines, usage.ever.cpus - back.cpus, usage.ever.memory_mib - back.memory_mib
    )
    return replace(usage, lately=tuple(one for one in usage.lately if one.command != command), ever=ever)


def _place(cluster: UUID, cloud: CloudPlacement) -> Place:
    return Place(cluster, cloud.account, cloud.datacenter or ANYWHERE)


def _largest(one: Pools, other: Pools) -> dict[str, Pool]:
    none = Pool(0, 0, 0)
    found = {}
    for name in {**one, **other}:
        left, right = one.get(name, none), other.get(name, none)
        found[name] = Pool(
            max(left.machines, right.machines), max(left.cpus, right.cpus), max(left.memory_mib, right.memory_mib)
        )
    return found


def _more(before: Pool, later: Pool) -> Amount:
    had, has = before.amount, later.amount
    return Amount(has.machines - had.machines, has.cpus - had.cpus, has.memory_mib - had.memory_mib)


def _together(amounts: Iterable[Amount]) -> Amount:
    return sum(amounts, start=Amount())
