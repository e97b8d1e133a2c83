"""This file is what stands beside the policy: proposal, tightening, count, pause, and what waits for a yes. It blocks.

::

    policy.yaml                what the site allows
    policy/proposal.json       what the console would like instead
           tightening.json     what the console narrows further
           usage.json          what the console has
           approvals/ID.json   a command that waits, or waited, for the site's yes, and the yeses there are
           paused              there while no commands are taken
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, ValidationError

from gateway.appliance.policy import reading
from gateway.appliance.policy.reading import Known, PolicyFile, PolicyUnreadableError
from gateway.contract.commands import Command
from gateway.contract.policy import (
    MOST_KEYS,
    POLICY_LIMIT,
    Approval,
    PolicyStanding,
    Tightening,
    policy_digest,
    tightening_digest,
)
from gateway.contract.shapes import ObjectName, Wish
from gateway.identity import approval
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

MOST_WAITING: Final = 256
"""Commands that wait for a yes at once."""
KEPT_FOR: Final = timedelta(days=7)
YES_LASTS: Final = timedelta(hours=24)
"""How long a yes given on the appliance is good for."""


class NothingWaitsError(GatewayError):
    """No such command waits for a yes on this appliance."""

    code = "policy.nothing_waits"
    remedy = Remedy.CALLER


class NoProposalError(GatewayError):
    """The console has proposed nothing, or something else than what was looked at."""

    code = "policy.no_proposal"
    remedy = Remedy.CALLER


class Proposal(Wish):
    """A policy that the console would like, as it came."""

    policy: str = Field(max_length=POLICY_LIMIT)
    author: ObjectName
    at: AwareDatetime

    @property
    def sha256(self) -> str:
        """The SHA-256 that the policy file would have."""
        return policy_digest(self.policy)


class Waiting(Wish):
    """A command that waits for the site's yes, and the yeses that there are."""

    command: Command
    since: AwareDatetime
    reason: str
    approved_at: AwareDatetime | None = None
    approved_by: str = ""
    approvals: tuple[Approval, ...] = Field(default=(), max_length=MOST_KEYS)

    def is_approved(self, now: datetime) -> bool:
        """Tell whether somebody on the appliance has said yes, not too long ago."""
        return self.approved_at is not None and abs(now - self.approved_at) < YES_LASTS

    def signers(self, *, gateway: UUID, now: datetime) -> frozenset[str]:
        """Return the keys whose word for it is good now."""
        return frozenset(
            one.key for one in self.approvals if approval.is_good(one, self.command, gateway=gateway, now=now)
        )


class Kept:
    """The policy of one state directory and what is kept beside it."""

    def __init__(self, state: Path) -> None:
        self.file = PolicyFile(state)
        self.directory = state / "policy"

    @classmethod
    def open(cls, state: Path) -> Self:
        """Return what is kept in a state directory, with a policy that observes where there was none."""
        kept = cls(state)
        files.make_private_directory(kept.directory)
        files.make_private_directory(kept.directory / "approvals")
        kept.file.make()
        return kept

    @property
    def usage(self) -> Path:
        """Where the count is."""
        return self.directory / "usage.json"

    def proposal(self) -> Proposal | None:
        """Return what the console proposes; something damaged is nothing."""
        try:
            return Proposal.model_validate_json((self.directory / "proposal.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def propose(self, proposal: Proposal | None) -> None:
        """Keep what the console proposes, or nothing. Raises PolicyInvalidError, and then nothing is changed."""
        path = self.directory / "proposal.json"
        if proposal is None:
            path.unlink(missing_ok=True)
            return
        reading.parse(proposal.policy.encode(), name="proposal")
        files.write_whole(path, proposal.model_dump_json().encode())

    def accept(self, sha256: str) -> Known:
        """Make the proposal, of which one gives the hash or its beginning, the policy. Raises NoProposalError."""
        proposal = self.proposal()
        if proposal is None:
            raise NoProposalError("the console has proposed no policy")
        if len(sha256) < 8 or not proposal.sha256.startswith(sha256.lower()):
            raise NoProposalError(
                f"the proposal has the hash {proposal.sha256}: look at it with `pcg appliance policy show --proposal` "
                "and give at least 8 of its digits"
            )
        known = reading.parse(proposal.policy.encode(), name="proposal")
        self.file.write(proposal.policy.encode())
        self.propose(None)
        return known

    def tightening(self) -> Tightening | None:
        """Return what the console narrows. Raises PolicyUnreadableError: what narrows must not get lost."""
        path = self.directory / "tightening.json"
        try:
            return Tightening.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as fault:
            raise PolicyUnreadableError(
                f"the console's tightening {path} is damaged, so nothing is allowed: remove it; the console sends it "
                "again when it is connected"
            ) from fault

    def tighten(self, tightening: Tightening | None) -> None:
        """Keep what the console narrows, or nothing."""
        path = self.directory / "tightening.json"
        if tightening is None:
            path.unlink(missing_ok=True)
        else:
            files.write_whole(path, tightening.model_dump_json().encode())

    @property
    def is_paused(self) -> bool:
        """Whether the site takes no commands for now."""
        return (self.directory / "paused").exists()

    def pause(self) -> None:
        """Take no commands until `resume`; survives a restart."""
        files.write_whole(self.directory / "paused", b"")

    def resume(self) -> None:
        """Take commands again."""
        (self.directory / "paused").unlink(missing_ok=True)

    def standing(self) -> PolicyStanding:
        """Return what the console is told."""
        proposal, paused = self.proposal(), self.is_paused
        waiting = proposal.sha256 if proposal is not None else None
        try:
            known, tightening = self.file.read(), self.tightening()
        except PolicyUnreadableError:
            return PolicyStanding(profile="unreadable", proposal=waiting, paused=paused)
        return PolicyStanding(
            sha256=known.sha256,
            profile=known.policy.profile,
            proposal=waiting,
            tightening=None if tightening is None else tightening_digest(tightening),
            paused=paused,
        )

    def waiting(self) -> list[Waiting]:
        """Return the commands that wait, or waited, for a yes, the oldest first; a damaged one is left out."""
        found = [self._waiting(path) for path in (self.directory / "approvals").glob("*.json")]
        return sorted((one for one in found if one is not None), key=lambda one: one.since)

    def of(self, command: Command) -> Waiting | None:
        """Return what is kept of just this command, with all that it says."""
        found = self._waiting(self._path(command.id))
        return found if found is not None and found.command == command else None

    def wait(self, command: Command, *, reason: str, now: datetime) -> None:
        """Keep a command that waits for a yes. Beyond MOST_WAITING those without a yes make room, the oldest first."""
        for one in self.waiting():
            if now - one.since > KEPT_FOR:
                self.settled(one.command.id)
        if self.of(command) is not None:
            return
        others = [one for one in self.waiting() if one.approved_at is None and not one.approvals]
        for one in others[: max(0, len(others) + 1 - MOST_WAITING)]:
            self.settled(one.command.id)
        self._write(Waiting(command=command, since=now, reason=reason[:1000]))

    def approve(self, command_id: UUID, *, by: str, now: datetime) -> Waiting:
        """Say yes to a command that waits. Raises NothingWaitsError."""
        yes = self.that_waits(command_id).model_copy(update={"approved_at": now, "approved_by": by})
        self._write(yes)
        return yes

    def add(self, approved: Approval, *, gateway: UUID, now: datetime) -> Waiting:
        """Keep the word of a key for a command that waits. Raises NothingWaitsError, also when it is no good."""
        try:
            found = self.that_waits(UUID(approved.command_id))
        except ValueError:
            raise NothingWaitsError("the approval names no command") from None
        if not approval.is_good(approved, found.command, gateway=gateway, now=now):
            raise NothingWaitsError(
                "the approval is not good here: it is over, or signed for another gateway or for other content; sign "
                "the command as `pcg appliance approvals --output json` shows it"
            )
        others = tuple(one for one in found.approvals if one.key != approved.key)
        added = found.model_copy(update={"approvals": (*others, approved)[-MOST_KEYS:]})
        self._write(added)
        return added

    def settled(self, command_id: UUID) -> None:
        """Forget a command that waits no more."""
        self._path(command_id).unlink(missing_ok=True)

    def that_waits(self, command_id: UUID) -> Waiting:
        """Return a command that waits for a yes. Raises NothingWaitsError."""
        found = self._waiting(self._path(command_id))
        if found is None:
            raise NothingWaitsError(
                f"command {command_id} does not wait for a yes here: `pcg appliance approvals` lists those that do"
            )
        return found

    def _write(self, one: Waiting) -> None:
        files.write_whole(self._path(one.command.id), one.model_dump_json().encode())

    def _waiting(self, path: Path) -> Waiting | None:
        try:
            return Waiting.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None

    def _path(self, command_id: UUID) -> Path:
        return self.directory / "approvals" / f"{command_id}.json"
