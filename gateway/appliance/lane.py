"""This file is the lane that commands come in by: only what the console has signed, in order, from one that remembers.

::

    deliver ── envelope good? ── number fits? ── the lane is not halted? ── gate, inbox ── accepted: number noted
                  └ rejected       └ rejected      └ deferred

    lane/numbers.json   numbers of commands seen, and what the console knew when it was last found to know less
         halt.json      there while the lane is halted; whoever removes it, here or from the console, ends that
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gateway.appliance.consoletime import ConsoleTime
from gateway.appliance.identity import Identity
from gateway.appliance.policy.gate import Gate
from gateway.audit.lines import Act
from gateway.commands import sequence
from gateway.commands.inbox import Answer, Inbox
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandChangedError
from gateway.commands.sequence import Heard, Numbered, Numbers
from gateway.contract.commands import Command
from gateway.contract.messages import Accepted, Deliver, Rejected, Welcome
from gateway.contract.problems import problem_of
from gateway.contract.signing import CommandKeys, Halt, LaneResumed, Sealed
from gateway.contract.version import SIGNED_SINCE
from gateway.identity import envelope
from gateway.identity.envelope import EnvelopeTimeError, Expected, KeysDoNotFollowError
from gateway.kit import files
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)

TIME_IS_YOUNG = 60.0
"""Seconds for which the console's time is not asked for again because an envelope does not fit it."""


class LaneHaltedError(GatewayError):
    """The console knows less than before: nothing new is taken until a person has looked."""

    code = "lane.halted"
    remedy = Remedy.OPERATOR


class _Row(BaseModel):
    """A number as it is kept."""

    model_config = ConfigDict(frozen=True)

    seq: int
    command: UUID
    resource: str
    until: AwareDatetime


class _Kept(BaseModel):
    """numbers.json."""

    model_config = ConfigDict(frozen=True)

    gateway: UUID
    highest: int = 0
    before: int = 0
    lately: list[_Row] = Field(default_factory=list)
    known: int = Field(default=0, description="the last event that was acknowledged here, when it was last found less")
    forgotten_to: int = Field(default=0, description="the last event that the console had then")
    excused: list[UUID] = Field(default_factory=list, description="commands that it did not know then")

    @property
    def numbers(self) -> Numbers:
        """The numbers, for those who judge."""
        rows = (Numbered(one.seq, one.command, one.resource, one.until) for one in self.lately)
        return Numbers(self.highest, self.before, tuple(rows))

    def with_numbers(self, numbers: Numbers) -> "_Kept":
        """Return this with other numbers."""
        rows = [_Row(seq=o.seq, command=o.command, resource=o.resource, until=o.until) for o in numbers.lately]
        return self.model_copy(update={"highest": numbers.highest, "before": numbers.before, "lately": rows})


@dataclass(frozen=True, slots=True)
class HaltFile:
    """Whether the lane is halted, on disk, for the running appliance and for `pcg appliance`."""

    state: Path

    @property
    def _path(self) -> Path:
        return self.state / "lane" / "halt.json"

    def read(self) -> Halt | None:
        """Return why the lane is halted, or None. One that cannot be read halts it as well."""
        try:
            return Halt.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            log.warning("the halt of the lane cannot be read", path=str(self._path))
            return Halt.model_validate(
                {"id": UUID(int=0), "since": "1970-01-01T00:00:00Z", "reasons": ["the file halt.json is damaged"]}
            )

    def write(self, halt: Halt) -> None:
        """Halt the lane; on the disk when this returns."""
        files.write_whole(self._path, halt.model_dump_json().encode())

    def end(self) -> bool:
        """End the halt; tell whether there was one."""
        was = self._path.exists()
        self._path.unlink(missing_ok=True)
        return was


class Lane:
    """Judges what is delivered before anything else does; what it refuses is in the audit log."""

    def __init__(
        self,
        state: Path,
        journal: Journal,
        identity: Identity,
        *,
        time: ConsoleTime,
        gate: Gate,
        clock: Clock,
    ) -> None:
        files.make_private_directory(state / "lane")
        self.halt = HaltFile(state)
        self._path = state / "lane" / "numbers.json"
        self._journal, self._identity, self._time, self._gate = journal, identity, time, gate
        self._tell, self._clock = gate.refused, clock
        self._order = asyncio.Lock()
        self._asked = 0.0
        self._known: _Kept | None = None

    def last_seq(self) -> int:
        """The highest number of a command seen."""
        kept = self._read()
        return 0 if kept is None else max(kept.highest, kept.before)

    async def welcomed(self, welcome: Welcome) -> None:
        """Take a welcome in, before anything is delivered: the console's key, and whether it knows less than before."""
        self._asked = self._clock.monotonic()
        if welcome.protocol < SIGNED_SINCE:
            return
        if welcome.command_keys is not None:
            await self.keys(welcome.command_keys)
        async with self._order:
            await self._compare(welcome)

    async def heard(self, message: CommandKeys | LaneResumed) -> None:
        """Take in what the console says of its keys, and of the halt."""
        match message:
            case CommandKeys():
                await self.keys(message)
            case LaneResumed():
                await self.resumed(message)

    async def keys(self, told: CommandKeys) -> None:
        """Keep the console's next key, if it follows from the one that is kept."""
        try:
            changed = await asyncio.to_thread(self._identity.commanded_by, told)
        except KeysDoNotFollowError as fault:
            log.warning("the console's command key is refused", code=fault.code, reason=fault.message)
            await self._tell(Act("command-key.refused", "refused", {"key": told.key, "message": fault.message}))
            return
        if changed:
            log.info("command key kept", key=told.key)
            await self._tell(Act("command-key.kept", "ok", {"key": told.key}))

    async def resumed(self, message: LaneResumed) -> None:
        """End the halt that somebody at the console has seen to; another one stays."""
        found = await asyncio.to_thread(self.halt.read)
        if found is not None and found.id == message.halt:
            await asyncio.to_thread(self.halt.end)
            log.warning("the lane is resumed from the console")
            await self._tell(Act("lane.resumed", "ok", {"halt": str(message.halt), "by": "the console"}))

    async def answer(self, message: Deliver, inbox: Inbox) -> Answer | None:
        """Return what is said to a delivery; None when the console's time is asked for again before that."""
        async with self._order:
            try:
                sealed = await self._judged(message)
                return await self._taken(message, inbox, sealed)
            except EnvelopeTimeError as fault:
                if self._clock.monotonic() - self._asked > TIME_IS_YOUNG:
                    self._time.stale.set()
                    return None
                return await self._rejected(message, fault)
            except (*envelope.REFUSALS, *sequence.REFUSALS) as fault:
                return await self._rejected(message, fault)

    async def _judged(self, message: Deliver) -> Sealed | None:
        """Return what the console has signed; None where it has never told a key: then nothing can be asked of it."""
        known = await asyncio.to_thread(self._identity.member)
        if known.command_key is None:
            return None
        standing = await asyncio.to_thread(self._gate.kept.standing)
        now = self._time.now()
        expected = Expected(
            gateway=known.gateway_id,
            command_id=message.command_id,
            body=message.command,
            policy=standing.sha256,
            now=self._clock.now() if now is None else now,
            doubt=self._time.doubt(),
        )
        return envelope.judge(message.envelope, key=known.command_key, expected=expected)

    async def _taken(self, message: Deliver, inbox: Inbox, sealed: Sealed | None) -> Answer:
        try:
            command = Command.model_validate(message.command)
        except ValidationError:
            return await self._gate.answer(message, inbox)  # which knows what to say to that
        is_known = await self._is_known(command)
        numbered = _numbered(command, sealed)
        kept = await asyncio.to_thread(self._kept)
        if numbered is not None:
            sequence.check(kept.numbers, numbered, is_known=is_known)
        halt = await asyncio.to_thread(self.halt.read)
        if halt is not None and not is_known:
            return inbox.put_off(command, _halted(halt))
        answer = await self._gate.answer(message, inbox)
        if numbered is not None and isinstance(answer, Accepted):
            noted = sequence.note(kept.numbers, numbered, now=self._time.now() or self._clock.now())
            if noted != kept.numbers:
                await asyncio.to_thread(self._write, kept.with_numbers(noted))
        return answer

    async def _is_known(self, command: Command) -> bool:
        try:
            return await self._journal.knows(command)
        except CommandChangedError:
            return True  # who takes commands says what is wrong with it

    async def _rejected(self, message: Deliver, fault: GatewayError) -> Rejected:
        facts = {"command": str(message.command_id), "code": fault.code, "message": fault.message}
        log.warning("a command is refused", command=str(message.command_id), code=fault.code)
        await self._tell(Act("command.refused", "refused", facts))
        return Rejected(command_id=message.command_id, problem=problem_of(fault))

    async def _compare(self, welcome: Welcome) -> None:
        kept = await asyncio.to_thread(self._read)
        if kept is None:  # the first welcome of this console: there is nothing to compare it with
            await asyncio.to_thread(self._write, self._as_told(self._kept(), welcome))
            return
        if await asyncio.to_thread(self.halt.read) is not None:
            return
        unknown = set(welcome.unknown_commands) - set(kept.excused)
        heard = Heard(welcome.acknowledged, welcome.last_seq, unknown)
        had = self._journal.acknowledged
        reasons = sequence.forgotten(
            kept.numbers, acknowledged=kept.forgotten_to if had == kept.known else had, heard=heard
        )
        if reasons:
            await self._halt(kept, welcome, reasons)

    async def _halt(self, kept: _Kept, welcome: Welcome, reasons: list[str]) -> None:
        halt = Halt(id=uuid4(), since=self._clock.now(), reasons=reasons)
        await asyncio.to_thread(self.halt.write, halt)  # first: a cut after it halts once more at most
        await asyncio.to_thread(self._write, self._as_told(kept, welcome))
        log.error("the lane is halted: the console knows less than before", reasons=reasons)
        await self._tell(Act("lane.halted", "refused", {"halt": str(halt.id), "message": "; ".join(reasons)}))

    def _as_told(self, kept: _Kept, welcome: Welcome) -> _Kept:
        """Return what is kept as it is compared from now on: with what the console knows at this welcome."""
        highest = kept.highest if welcome.last_seq is None else min(kept.highest, welcome.last_seq)
        numbers = replace(kept.numbers, highest=highest, before=max(kept.before, kept.highest))
        return kept.with_numbers(numbers).model_copy(
            update={
                "known": self._journal.acknowledged,
                "forgotten_to": min(welcome.acknowledged, self._journal.acknowledged),
                "excused": list(welcome.unknown_commands),
            }
        )

    def _kept(self) -> _Kept:
        return self._read() or _Kept(gateway=self._identity.member().gateway_id)

    def _read(self) -> _Kept | None:
        """Return what is kept of this console; None where there is nothing, or it is damaged."""
        if self._known is None:
            try:
                found = _Kept.model_validate_json(files.read_private(self._path))
            except (OSError, ValidationError, GatewayError):
                return None
            self._known = found if found.gateway == self._identity.member().gateway_id else None
        return self._known

    def _write(self, kept: _Kept) -> None:
        files.write_whole(self._path, kept.model_dump_json().encode())
        self._known = kept


def _numbered(command: Command, sealed: Sealed | None) -> Numbered | None:
    if sealed is None:
        return None
    until = sealed.expires_at + timedelta(seconds=2 * envelope.MOST_DOUBT.total_seconds())
    return Numbered(sealed.seq, command.id, command.task.resource, until)


def _halted(halt: Halt) -> LaneHaltedError:
    return LaneHaltedError(
        f"the console knows less than before: {'; '.join(halt.reasons)}: nothing new is taken; look at the commands "
        "that wait, then run pcg gateway release, or pcg appliance resume on the appliance"
    )
