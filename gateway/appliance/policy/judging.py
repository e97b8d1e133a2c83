"""This file is the judge: a command, the policy and what there is go in; every rule that was looked at comes out. Pure.

::

    paused? -> class -> kind -> places -> quotas -> hours -> what destroying needs
    site's policy first, then the console's tightening: each is judged by itself, and both must allow

So a tightening cannot allow what the site's policy does not: nothing is merged.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from zoneinfo import ZoneInfo

from gateway.appliance.policy import quotas
from gateway.appliance.policy.quotas import Amount, Usage
from gateway.contract.clusters import CloudPlacement
from gateway.contract.commands import ApplyCluster, Command, DeleteCluster, PlanCluster, ReadInventory, Task
from gateway.contract.policy import (
    CLASS_OF,
    CLASSES_OF,
    DAYS,
    STREAMS_IN,
    Amounts,
    Bounds,
    CommandClass,
    DestroyNeeds,
    Patterns,
    Policy,
    Profile,
    Tightening,
    Window,
)

GIB: Final = 1024
WEEK_OF_MINUTES: Final = 7 * 24 * 60
Side = Literal["site", "console"]


class Outcome(StrEnum):
    """What a rule, or all of them together, says."""

    ALLOWED = "allowed"
    WAITS = "waits"
    """It may be carried out once something has happened on the site."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule that was looked at: which, whose, and what it says."""

    name: str
    outcome: Outcome
    reason: str
    side: Side = "site"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all rules say together: the worst of them."""

    rules: tuple[Rule, ...]

    @property
    def outcome(self) -> Outcome:
        """Refused if any rule refuses, waiting if any waits, else allowed."""
        said = {rule.outcome for rule in self.rules}
        return next(one for one in (Outcome.REFUSED, Outcome.WAITS, Outcome.ALLOWED) if one in said)

    @property
    def against(self) -> tuple[Rule, ...]:
        """The rules that do not allow it."""
        return tuple(rule for rule in self.rules if rule.outcome is not Outcome.ALLOWED)


@dataclass(frozen=True, slots=True)
class Situation:
    """What bears on a verdict beside policy and command. `signers` are the keys whose word there is."""

    now: datetime
    usage: Usage = field(default_factory=Usage)
    is_paused: bool = False
    is_approved: bool = False
    signers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Asked:
    command: Command
    classes: frozenset[CommandClass]
    situation: Situation


def judge(policy: Policy, tightening: Tightening | None, command: Command, situation: Situation) -> Verdict:
    """Return what becomes of a command, with every rule that was looked at, in order."""
    asked = _Asked(command, classes_of(command, situation), situation)
    rules = [_pause(asked), *_judged(policy, "site", asked), *_destroying(policy, asked)]
    if tightening is not None:
        rules += [*_judged(tightening, "console", asked), *_destroying_tightened(tightening, asked)]
    return Verdict(tuple(rules))


def judge_stream(policy: Policy, tightening: Tightening | None, *, target: str, lane: str) -> Verdict:
    """Return whether a stream may be opened to a target of the site."""
    rules = list(_stream(policy, "site", target, lane))
    if tightening is not None:
        rules += _stream(tightening, "console", target, lane)
    return Verdict(tuple(rules))


def judge_pack(policy: Policy, tightening: Tightening | None, *, publisher: str) -> Verdict:
    """Return whether a pack of that publisher, told by the SHA-256 of its key, may be used."""
    sides: list[tuple[Side, Bounds]] = [("site", policy)]
    if tightening is not None:
        sides.append(("console", tightening))
    return Verdict(tuple(_publisher(bounds, side, publisher) for side, bounds in sides))


def classes_of(command: Command, situation: Situation) -> frozenset[CommandClass]:
    """Return what a command does. One that removes machines destroys, whatever its kind; an unknown kind, too."""
    found = {CLASS_OF.get(command.task.kind, CommandClass.DESTROY)}
    booking = quotas.booked(command, at=situation.now)
    if booking is not None and booking.pools is not None and quotas.removes(situation.usage, booking):
        found.add(CommandClass.DESTROY)
    return frozenset(found)


def _pause(asked: _Asked) -> Rule:
    if asked.situation.is_paused and asked.classes != {CommandClass.CONTROL}:
        return Rule("pause", Outcome.WAITS, "the site takes no commands for now; `pcg appliance resume` ends that")
    return Rule("pause", Outcome.ALLOWED, "the site is not paused")


def _judged(bounds: Bounds, side: Side, asked: _Asked) -> Iterator[Rule]:
    yield from _kinds(bounds, side, asked)
    yield from _places(bounds, side, asked.command)
    yield from _quotas(bounds, side, asked)
    yield from _hours(bounds, side, asked)


def _kinds(bounds: Bounds, side: Side, asked: _Asked) -> Iterator[Rule]:
    kind, classes, words = asked.command.task.kind, asked.classes, sorted(asked.classes)
    if isinstance(bounds, Policy) and bounds.profile is not Profile.CUSTOM:
        beyond = sorted(classes - CLASSES_OF[bounds.profile])
        why = f"profile {bounds.profile} allows {_listed(sorted(CLASSES_OF[bounds.profile]))}"
        yield _rule("profile", side, f"{why}; this is {kind} ({_listed(words)})", fits=not beyond)
    allow = bounds.commands.allow
    if allow is None and isinstance(bounds, Policy) and bounds.profile is Profile.CUSTOM:
        allow = ()
    if allow is not None:
        # To name a kind allows what the kind is there for, not that this one destroys as well.
        named = {CLASS_OF[kind]} if kind in allow and kind in CLASS_OF else set()
        beyond = [word for word in classes - named if word not in allow]
        reason = f"allowed are {_listed(allow)}; this is {kind} ({_listed(words)})"
        yield _rule("commands.allow", side, reason, fits=not beyond)
    if bounds.commands.deny:
        denied = [word for word in bounds.commands.deny if word == kind or word in classes]
        reason = f"denied are {_listed(bounds.commands.deny)}; this is {kind} ({_listed(words)})"
        yield _rule("commands.deny", side, reason, fits=not denied)


def _places(bounds: Bounds, side: Side, command: Command) -> Iterator[Rule]:
    for name, (patterns, said) in _named(bounds, command.task).items():
        if patterns is None:
            continue
        one = name.removesuffix("s")
        if said is None:
            why = f"allowed are {_listed(patterns)}: say which {one.replace('_', ' ')}"
        else:
            why = f"allowed are {_listed(patterns)}; this is {said}"
        yield _rule(f"vsphere.{name}", side, why, fits=said is not None and matches(said, patterns))


def _named(bounds: Bounds, task: Task) -> dict[str, tuple[Patterns, str | None]]:
    places = bounds.vsphere
    match task:
        case PlanCluster(of=planned):
            return _named(bounds, planned)
        case ReadInventory(account=account):
            return {"accounts": (places.accounts, account)}
        case ApplyCluster(spec=spec):
            return _of_cloud(bounds, spec.cloud)
        case DeleteCluster(cloud=cloud):
            # Machines are deleted wherever in the datacenter they are; what they were made of is no matter.
            return {
                "accounts": (places.accounts, cloud.account),
                "datacenters": (places.datacenters, cloud.datacenter),
            }
    return {}


def _of_cloud(bounds: Bounds, cloud: CloudPlacement) -> dict[str, tuple[Patterns, str | None]]:
    places = bounds.vsphere
    return {
        "accounts": (places.accounts, cloud.account),
        "datacenters": (places.datacenters, cloud.datacenter),
        "compute_clusters": (places.compute_clusters, cloud.compute_cluster),
        "resource_pools": (places.resource_pools, cloud.resource_pool),
        "datastores": (places.datastores, cloud.datastore),
        "networks": (places.networks, cloud.network),
        "folders": (places.folders, cloud.folder),
        "templates": (places.templates, cloud.template),
    }


def _quotas(bounds: Bounds, side: Side, asked: _Asked) -> Iterator[Rule]:
    usage, now = asked.situation.usage, asked.situation.now
    booking = quotas.booked(asked.command, at=now)
    if booking is None or booking.pools is None:
        return
    more = quotas.increase(usage, booking)
    lately = usage.since(now - quotas.DAY)
    for span, amounts, had in (
        ("at_a_time", bounds.quotas.at_a_time, usage.now),
        ("per_day", bounds.quotas.per_day, lately),
        ("in_total", bounds.quotas.in_total, usage.ever),
    ):
        disk = bounds.quotas.machine_disk_gib or 0
        for what, is_room, why in _room(amounts, had, more, disk=disk):
            yield _rule(f"quotas.{span}.{what}", side, why, fits=is_room)


def _room(most: Amounts, had: Amount, more: Amount, *, disk: int) -> Iterator[tuple[str, bool, str]]:
    """Yield each amount that has a bound, whether there is room, and why."""
    for what, limit, before, added in (
        ("machines", most.machines, had.machines, more.machines),
        ("cpus", most.cpus, had.cpus, more.cpus),
        ("memory_gib", most.memory_gib, had.memory_mib / GIB, more.memory_mib / GIB),
        ("disk_gib", most.disk_gib, had.machines * disk, more.machines * disk),
    ):
        if limit is not None:
            # What asks for nothing more is not refused because there is too much already.
            is_room = before + added <= limit or added <= 0
            yield what, is_room, f"{before:g} of {limit} are had, and {added:g} more asked for"


def _hours(bounds: Bounds, side: Side, asked: _Asked) -> Iterator[Rule]:
    hours = bounds.hours
    if not hours.windows or not asked.classes & set(hours.classes):
        return
    there = asked.situation.now.astimezone(ZoneInfo(hours.time_zone))
    said = f"it is {DAYS[there.weekday()]} {there:%H:%M} in {hours.time_zone}"
    is_open = any(is_inside(window, there) for window in hours.windows)
    windows = "; ".join(f"{','.join(one.days)} {one.opens} to {one.closes}" for one in hours.windows)
    yield _rule("hours", side, f"{said}, the hours are {windows}", fits=is_open)


def is_inside(window: Window, there: datetime) -> bool:
    """Tell whether a time of the window's own zone is inside of it."""
    opens, closes = _minutes(window.opens), _minutes(window.closes)
    length = closes - opens if closes > opens else closes - opens + 24 * 60
    minute = there.weekday() * 24 * 60 + there.hour * 60 + there.minute
    begins = (DAYS.index(day) * 24 * 60 + opens for day in window.days)
    return any((minute - begin) % WEEK_OF_MINUTES < length for begin in begins)


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _destroying(policy: Policy, asked: _Asked) -> Iterator[Rule]:
    if CommandClass.DESTROY not in asked.classes:
        return
    match policy.destroy.needs:
        case DestroyNeeds.NOTHING:
            yield Rule("destroy", Outcome.ALLOWED, "to destroy needs nothing more")
        case DestroyNeeds.APPROVAL:
            yield _approval("site", asked)
        case DestroyNeeds.SIGNATURE:
            signers = sorted(name for name, key in policy.destroy.keys.items() if key in asked.situation.signers)
            keys = {policy.destroy.keys[name] for name in signers}
            is_enough = len(keys) >= policy.destroy.signatures
            yield Rule(
                "destroy",
                Outcome.ALLOWED if is_enough else Outcome.WAITS,
                f"to destroy needs {policy.destroy.signatures} signatures of {_listed(sorted(policy.destroy.keys))}; "
                f"there are {_listed(signers)}",
            )


def _destroying_tightened(tightening: Tightening, asked: _Asked) -> Iterator[Rule]:
    if CommandClass.DESTROY in asked.classes and tightening.destroy is DestroyNeeds.APPROVAL:
        yield _approval("console", asked)


def _approval(side: Side, asked: _Asked) -> Rule:
    if asked.situation.is_approved:
        return Rule("destroy", Outcome.ALLOWED, "it was approved on the appliance", side)
    return Rule("destroy", Outcome.WAITS, "to destroy needs `pcg appliance approve` on the appliance", side)


def _stream(bounds: Bounds, side: Side, target: str, lane: str) -> Iterator[Rule]:
    allow, lanes = bounds.targets.allow, bounds.targets.lanes
    if isinstance(bounds, Policy):
        if bounds.profile is Profile.CUSTOM:
            allow = allow or ()
        else:
            why = f"streams are in {_listed(sorted(STREAMS_IN))}; the profile is {bounds.profile}"
            yield _rule("profile", side, why, fits=bounds.profile in STREAMS_IN)
    if allow is not None:
        why = f"allowed are {_listed(allow)}; this is {target}"
        yield _rule("targets.allow", side, why, fits=matches(target, allow))
    if lanes is not None:
        yield _rule("targets.lanes", side, f"allowed are {_listed(lanes)}; this is {lane}", fits=lane in lanes)


def _publisher(bounds: Bounds, side: Side, publisher: str) -> Rule:
    known = bounds.publishers
    is_taken = known is None or publisher in known
    said = "anybody's packs are taken" if known is None else f"{len(known)} publishers are known"
    return _rule("publishers", side, f"{said}; this is {publisher}", fits=is_taken)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name fits any of the patterns, whole and letter by letter."""
    return any(fits(name, pattern) for pattern in patterns)


def fits(name: str, pattern: str) -> bool:
    """Tell whether a name fits a pattern: * is any characters, ? is one. Time is bounded by the product of lengths.

    A regular expression would try more than that, and the console may send patterns too.
    """
    at = here = 0
    star, again = -1, 0
    while at < len(name):
        if here < len(pattern) and pattern[here] == "*":
            star, again, here = here, at, here + 1
        elif here < len(pattern) and pattern[here] in {"?", name[at]}:
            at, here = at + 1, here + 1
        elif star >= 0:
            again += 1
            at, here = again, star + 1
        else:
            return False
    return set(pattern[here:]) <= {"*"}


def _rule(name: str, side: Side, reason: str, *, fits: bool) -> Rule:
    return Rule(name, Outcome.ALLOWED if fits else Outcome.REFUSED, reason, side)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
