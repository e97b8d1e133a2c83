"""This file is what becomes of a command that is delivered: accepted, rejected for good, or not taken for now.

::

    known already ------------------------------------------------> accepted, again
    not understood, or known with other content ------------------> rejected
    too many unfinished | disk low or failing | held by the site -> deferred: it stays the console's
    an earlier one of its resource was deferred ------------------> deferred too: nothing overtakes
    else, once it is on the disk ---------------------------------> accepted

Commands about commands (cancel, pause, resume) are taken however many wait.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from pydantic import ValidationError

from gateway.commands.disk import JournalError
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandChangedError
from gateway.contract.commands import CONTROL, Command
from gateway.contract.messages import Accepted, Deferred, Deliver, Rejected
from gateway.contract.problems import Problem, problem_of
from gateway.contract.version import DEFERRED_SINCE
from gateway.kit.errors import GatewayError, Remedy

MOST_UNFINISHED = 256
"""Commands that are accepted and have not ended, above which no other is taken."""

log = structlog.get_logger(__name__)


class NotUnderstoodError(GatewayError):
    """A command cannot be understood."""

    code = "command.not_understood"
    remedy = Remedy.DEVELOPER


class InboxFullError(GatewayError):
    """The appliance has as many unfinished commands as it keeps."""

    code = "inbox.full"
    remedy = Remedy.RETRY


class DiskLowError(GatewayError):
    """The appliance's disk has no room for new commands."""

    code = "inbox.disk_low"
    remedy = Remedy.OPERATOR


class OvertakingError(GatewayError):
    """An earlier command on the same resource was not taken yet."""

    code = "inbox.overtaking"
    remedy = Remedy.RETRY


Answer = Accepted | Rejected | Deferred


@dataclass(slots=True)
class Inbox:
    """The intake of one connection. `hold` names the reason for which nothing is taken for now, if there is one."""

    journal: Journal
    protocol: int
    hold: Callable[[Command], GatewayError | None] = lambda _: None
    _deferred: dict[str, list[UUID]] = field(default_factory=dict)
    _told: str | None = None

    async def take(self, message: Deliver) -> Answer:
        """Take a command in; what is answered is on the disk.

        Raises JournalError, or the reason for not taking it, when the console does not know that word.
        """
        try:
            command = Command.model_validate(message.command)
            return await self._taken(command)
        except ValidationError as fault:
            return Rejected(command_id=message.command_id, problem=_not_understood(fault))
        except CommandChangedError as error:
            return Rejected(command_id=message.command_id, problem=problem_of(error))

    async def _taken(self, command: Command) -> Accepted | Deferred:
        try:
            reason = None if await self.journal.knows(command) else await self._against(command)
            if reason is None:
                await self.journal.accept(command)
        except JournalError as fault:
            reason = fault
        if reason is not None:
            return self.put_off(command, reason)
        self.settled(command)
        log.info("command accepted", command=str(command.id), kind=command.task.kind)
        return Accepted(command_id=command.id)

    async def _against(self, command: Command) -> GatewayError | None:
        """Return what keeps a command that is not known from being taken now."""
        resource = command.task.resource
        if resource == CONTROL:
            return None
        if (held := self.hold(command)) is not None:
            return held
        if self.journal.ledger.unfinished >= MOST_UNFINISHED:
            return InboxFullError(f"the appliance has {MOST_UNFINISHED} unfinished commands: it takes more as they end")
        if await self.journal.is_low():
            return DiskLowError("the appliance's disk is nearly full: make room on it, it takes commands again then")
        earlier = self._deferred.get(resource, [command.id])[0]
        if earlier != command.id:
            return OvertakingError(f"command {earlier} on the same resource was not taken yet: send it first")
        return None

    def put_off(self, command: Command, reason: GatewayError) -> Deferred:
        """Do not take a command for now; what comes after it for the same resource waits too.

        Raises the reason when the console does not know that word.
        """
        if self.protocol < DEFERRED_SINCE:
            raise reason
        waiting = self._deferred.setdefault(command.task.resource, [])
        if command.id not in waiting:
            waiting.append(command.id)
        if self._told != reason.code and not isinstance(reason, OvertakingError):
            log.warning("no commands are taken for now", code=reason.code, reason=reason.message)
            self._told = reason.code
        return Deferred(command_id=command.id, problem=problem_of(reason))

    def settled(self, command: Command) -> None:
        """Take note that a command was accepted or rejected: it holds back no other."""
        waiting = self._deferred.get(command.task.resource, [])
        if command.id in waiting:
            waiting.remove(command.id)
        if not waiting:
            self._deferred.pop(command.task.resource, None)
        if self._told is not None and not self._deferred:
            log.info("commands are taken again")
            self._told = None


def _not_understood(fault: ValidationError) -> Problem:
    first = fault.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    error = NotUnderstoodError(
        f"the appliance does not understand the command ({where}: {first['msg']}): upgrade the appliance"
    )
    return problem_of(error)
