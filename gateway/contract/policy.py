"""This file is the policy: what the owner of a data centre lets the console do there.

::

    profile      which classes of commands are allowed at all, and whether streams are
    bounds       commands, vsphere, targets, quotas, hours, publishers: each narrows; what is left out narrows nothing
    destroy      what a command that destroys needs beside that

A tightening is the same without a profile: the console may send one, and it can do nothing but narrow.
"""

import hashlib
from enum import StrEnum
from typing import Annotated, Final, Literal, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from gateway.contract.commands import Task
from gateway.contract.shapes import CLOCK_PATTERN, KEY_PATTERN, LINE_PATTERN, Name, ObjectName, Report, Wish
from gateway.contract.streams import LaneName
from gateway.kit.strictjson import write_canonical_json

MOST_PATTERNS: Final = 1000
MOST_KEYS: Final = 50
MOST_WINDOWS: Final = 50
POLICY_LIMIT: Final = 64 * 1024
"""Bytes of the longest policy file."""


class Profile(StrEnum):
    """What is allowed before anything is narrowed."""

    OBSERVE = "observe"
    """Read-only commands, no streams; what every appliance begins with."""
    PROVISION = "provision"
    """Clusters are made and changed, nothing is destroyed; streams to the site's targets."""
    OPERATE = "operate"
    """Everything, clusters are deleted too."""
    CUSTOM = "custom"
    """Nothing but what the file lists."""


class CommandClass(StrEnum):
    """What a command does to the data centre."""

    READ = "read"
    """Changes nothing."""
    CONTROL = "control"
    """Ends or holds what the console has asked for itself."""
    CHANGE = "change"
    """Makes and changes."""
    DESTROY = "destroy"
    """Removes machines and what is on them."""


class DestroyNeeds(StrEnum):
    """What a command that destroys needs, beside being allowed."""

    NOTHING = "nothing"
    APPROVAL = "approval"
    """Somebody says yes on the appliance."""
    SIGNATURE = "signature"
    """Keys of the site's own sign it."""


CLASS_OF: Final[dict[str, CommandClass]] = {
    "inventory.read": CommandClass.READ,
    "cluster.plan": CommandClass.READ,
    "cluster.apply": CommandClass.CHANGE,
    "cluster.delete": CommandClass.DESTROY,
    "command.cancel": CommandClass.CONTROL,
    "commands.pause": CommandClass.CONTROL,
    "commands.resume": CommandClass.CONTROL,
}
"""The class of each kind of command; an apply that removes machines destroys, too."""

CLASSES_OF: Final[dict[Profile, frozenset[CommandClass]]] = {
    Profile.OBSERVE: frozenset({CommandClass.READ, CommandClass.CONTROL}),
    Profile.PROVISION: frozenset({CommandClass.READ, CommandClass.CONTROL, CommandClass.CHANGE}),
    Profile.OPERATE: frozenset(CommandClass),
    Profile.CUSTOM: frozenset(),
}
STREAMS_IN: Final = frozenset({Profile.PROVISION, Profile.OPERATE})

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _known_word(text: str) -> str:
    if text not in CLASS_OF and text not in set(CommandClass):
        known = ", ".join([*CommandClass, *sorted(CLASS_OF)])
        raise PydanticCustomError(
            "command_word", "{said}", {"said": f"no class or kind of commands; known are {known}"}
        )
    return text


def _clock(said: object) -> object:
    # YAML reads 19:00 without quotes as the number of its minutes.
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < 100 * 60:
        return f"{said // 60:02}:{said % 60:02}"
    return said


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise PydanticCustomError("time_zone", "no time zone; write such as Europe/Berlin, or UTC") from None
    return text


Word = Annotated[str, StringConstraints(max_length=60), AfterValidator(_known_word)]
Words = Annotated[tuple[Word, ...], Field(max_length=100)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=LINE_PATTERN)]
"""A name, in which * stands for any characters and ? for one."""
Patterns = Annotated[tuple[Pattern, ...], Field(max_length=MOST_PATTERNS)] | None
ClockTime = Annotated[str, BeforeValidator(_clock), StringConstraints(pattern=CLOCK_PATTERN)]
Zone = Annotated[str, StringConstraints(max_length=60), AfterValidator(_zone)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
CustomerKey = Annotated[str, StringConstraints(pattern=KEY_PATTERN)]
"""An Ed25519 public key, base64url, as `pcg approve key` prints it."""


class CommandBounds(Wish):
    """Which commands are allowed, by class (read, control, change, destroy) or kind (such as cluster.apply)."""

    allow: Words | None = Field(
        default=None, description="nothing but these; left out, whatever the profile allows, and of custom nothing"
    )
    deny: Words = Field(default=(), description="none of these")


class PlaceBounds(Wish):
    """Which objects of vSphere commands may name: names, or patterns with * and ?. What has a bound must be named."""

    accounts: Patterns = Field(default=None, description="cloud accounts, by the appliance's names")
    datacenters: Patterns = Field(default=None, description="datacenters, as cluster files name them")
    compute_clusters: Patterns = Field(default=None, description="compute clusters and stand-alone hosts")
    resource_pools: Patterns = Field(default=None, description="resource pools")
    datastores: Patterns = Field(default=None, description="datastores")
    networks: Patterns = Field(default=None, description="networks")
    folders: Patterns = Field(default=None, description="VM folders, under which a cluster's own folder is made")
    templates: Patterns = Field(default=None, description="virtual machine templates")


class TargetBounds(Wish):
    """Which of the site's targets streams may be opened to."""

    allow: Patterns = Field(
        default=None, description="names or patterns; left out, all if the profile has streams, and of custom none"
    )
    lanes: tuple[LaneName, ...] | None = Field(default=None, description="interactive, bulk, auto")


class Amounts(Wish):
    """So much and no more; what is left out has no bound."""

    machines: int | None = Field(default=None, ge=0, description="machines")
    cpus: int | None = Field(default=None, ge=0, description="virtual CPUs")
    memory_gib: int | None = Field(default=None, ge=0, description="memory, GiB")
    disk_gib: int | None = Field(default=None, ge=0, description="disk, GiB; see `quotas.machine_disk_gib`")


class Quotas(Wish):
    """How much the console may have."""

    at_a_time: Amounts = Field(default_factory=Amounts)
    """Of what is there now."""
    per_day: Amounts = Field(default_factory=Amounts)
    """Of what is made in any 24 hours."""
    in_total: Amounts = Field(default_factory=Amounts)
    """Of what is made, ever."""
    machine_disk_gib: int | None = Field(
        default=None, ge=1, description="how much disk a machine counts for: commands do not say"
    )

    @model_validator(mode="after")
    def _disk_is_known(self) -> Self:
        spans = (self.at_a_time, self.per_day, self.in_total)
        if self.machine_disk_gib is None and any(span.disk_gib is not None for span in spans):
            raise ValueError("a bound on disk needs machine_disk_gib: how much disk a machine counts for")
        return self


class Window(Wish):
    """A span of the day, on some days. One that closes before it opens closes on the next day."""

    days: tuple[Day, ...] = Field(default=DAYS, min_length=1, max_length=7, description="when the window opens")
    opens: ClockTime = Field(default="00:00", description="such as 07:00")
    closes: ClockTime = Field(default="24:00", description="such as 19:00; from that minute on it is closed")

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.opens == self.closes:
            raise ValueError("the window opens and closes at once: of a whole day write 00:00 and 24:00")
        return self


class Hours(Wish):
    """When commands may be accepted and begun, by the appliance's own clock."""

    time_zone: Zone = Field(default="UTC", description="such as Europe/Berlin")
    windows: tuple[Window, ...] = Field(default=(), max_length=MOST_WINDOWS, description="left out: always")
    classes: tuple[CommandClass, ...] = Field(
        default=(CommandClass.CHANGE, CommandClass.DESTROY), description="which classes are held to them"
    )


class Destroy(Wish):
    """What a command that destroys needs."""

    needs: DestroyNeeds = Field(
        default=DestroyNeeds.NOTHING,
        description="nothing; approval: `pcg appliance approve` on the appliance; signature: keys of the site's own",
    )
    keys: dict[Name, CustomerKey] = Field(
        default_factory=dict, max_length=MOST_KEYS, description="who may sign, with their public keys"
    )
    signatures: int = Field(default=1, ge=1, le=MOST_KEYS, description="how many of them have to")

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.needs is DestroyNeeds.SIGNATURE and len(set(self.keys.values())) < self.signatures:
            raise ValueError(f"{self.signatures} signatures are needed and {len(set(self.keys.values()))} keys named")
        return self


class Bounds(Wish):
    """What narrows. Each part that is left out narrows nothing."""

    commands: CommandBounds = Field(default_factory=CommandBounds)
    vsphere: PlaceBounds = Field(default_factory=PlaceBounds)
    targets: TargetBounds = Field(default_factory=TargetBounds)
    quotas: Quotas = Field(default_factory=Quotas)
    hours: Hours = Field(default_factory=Hours)
    publishers: Annotated[tuple[Digest, ...], Field(max_length=MOST_KEYS)] | None = Field(
        default=None, description="whose packs are taken: SHA-256 of their public keys; left out, anybody's"
    )


class Policy(Bounds):
    """The policy file."""

    version: int = Field(default=1, ge=1, le=1, description="of this format")
    profile: Profile = Field(description="observe, provision, operate or custom")
    destroy: Destroy = Field(default_factory=Destroy)


class Tightening(Bounds):
    """What the console narrows further, for as long as it likes."""

    destroy: Literal[DestroyNeeds.NOTHING, DestroyNeeds.APPROVAL] = Field(
        default=DestroyNeeds.NOTHING, description="approval: `pcg appliance approve` on the appliance, too"
    )


class PolicyStanding(Report):
    """What the console is told of an appliance's policy. It never sees the policy itself."""

    sha256: Digest | None = Field(default=None, description="of the policy file; None when it cannot be read")
    profile: str = Field(default="", max_length=40)
    proposal: Digest | None = Field(default=None, description="of the proposal that waits for the site's yes")
    tightening: Digest | None = Field(default=None, description="of the tightening in force, canonical JSON")
    paused: bool = Field(default=False, description="the site takes no commands for now")


class PolicyProposed(Report):
    """The console would like another policy. It is kept beside, and is nothing until the site accepts it."""

    type: Literal["policy_proposed"] = "policy_proposed"
    policy: str | None = Field(max_length=POLICY_LIMIT, description="the policy file; None takes the proposal back")
    author: ObjectName = Field(description="who proposes it")


class PolicyTightened(Report):
    """The console narrows what it may do, or, with None, ends that."""

    type: Literal["policy_tightened"] = "policy_tightened"
    tightening: Tightening | None


class Approval(Wish):
    """The word of one of the site's own keys that one command may be carried out, at one appliance, until then."""

    key: CustomerKey = Field(description="whose word it is")
    gateway: Annotated[str, StringConstraints(max_length=40)] = Field(description="id of the appliance's gateway")
    command_id: Annotated[str, StringConstraints(max_length=40)]
    command: Digest = Field(description="SHA-256 of the command's canonical JSON")
    expires: AwareDatetime
    signature: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{86}$")] = Field(
        description="Ed25519, base64url, over all of the above"
    )


def policy_digest(text: str) -> str:
    """Return the SHA-256 that a policy file of that text has."""
    return hashlib.sha256(text.encode()).hexdigest()


def tightening_digest(tightening: Tightening) -> str:
    """Return the SHA-256 of a tightening's canonical JSON."""
    return hashlib.sha256(write_canonical_json(tightening.model_dump(mode="json"))).hexdigest()


def every_kind() -> list[str]:
    """Return every kind of command there is."""
    union = get_args(Task)[0]
    return sorted(model.model_fields["kind"].default for model in get_args(union))
