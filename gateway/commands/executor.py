"""This file is who carries accepted commands out: one at a time per resource, several resources at once."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

from gateway.commands.entries import Ended
from gateway.commands.journal import Journal, JournalError
from gateway.commands.steps import OutcomeUnknownError
from gateway.commands.work import Work, unknown
from gateway.contract.commands import Command
from gateway.contract.events import CommandEnded, CommandOutcome
from gateway.contract.inventory import Inventory
from gateway.contract.problems import Problem, problem_of
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)

AT_ONCE = 4
ATTEMPTS = 100
RESULT_LIMIT = 128 * 1024


class TimeLimitError(GatewayError):
    """The command took longer than it may."""

    code = "command.time_limit"
    remedy = Remedy.RETRY


class TooManyAttemptsError(GatewayError):
    """The appliance was started again and again in the middle of this command."""

    code = "command.attempts"


class ResultTooLargeError(GatewayError):
    """The result of the command is too large to be reported."""

    code = "command.result_too_large"
    remedy = Remedy.OPERATOR


class InternalError(GatewayError):
    """The appliance met a defect of its own."""

    code = "internal.defect"


Handler = Callable[[Command, Work], Awaitable[Inventory | None]]
"""Carries a command out; what it returns is the command's result."""


class Executor:
    """Carries out what the journal holds. `run` is its one coroutine."""

    def __init__(self, journal: Journal, handler: Handler, *, clock: Clock, at_once: int = AT_ONCE) -> None:
        self._journal = journal
        self._handler = handler
        self._clock = clock
        self._at_once = at_once
        self._limits: dict[UUID, asyncio.Timeout | None] = {}
        self._stopping = False

    async def run(self) -> None:
        """Carry out commands until cancelled; a cancellation leaves them running in the journal, to be resumed."""
        async with asyncio.TaskGroup() as group:
            try:
                while True:
                    await self._start_and_end(group)
            finally:
                self._stopping = True

    async def _start_and_end(self, group: asyncio.TaskGroup) -> None:
        """Start what may run, end what is displaced, and wait for news."""
        for limit in self._displaced():
            limit.reschedule(asyncio.get_running_loop().time())
        for command in self._next():
            self._limits[command.id] = None
            group.create_task(self._carry_out(command), name=f"command {command.id}")
        async with self._journal.changed:
            if not self._next() and not self._displaced():
                await self._journal.changed.wait()

    def _next(self) -> list[Command]:
        waiting = [one for one in self._journal.ledger.runnable() if one.id not in self._limits]
        return waiting[: max(0, self._at_once - len(self._limits))]

    def _displaced(self) -> list[asyncio.Timeout]:
        """Return the limits of running commands that were cancelled, or displaced, and do not end yet."""
        now = asyncio.get_running_loop().time()
        return [
            limit
            for command_id, limit in self._limits.items()
            if self._is_called_off(command_id) and limit is not None and (limit.when() or 0.0) > now
        ]

    def _is_called_off(self, command_id: UUID) -> bool:
        known = self._journal.ledger.get(command_id)
        return known is not None and known.cancelled_by is not None

    async def _carry_out(self, command: Command) -> None:
        bound = log.bind(command=str(command.id), kind=command.task.kind)
        try:
            ended = await self._outcome(command)
            if ended is not None:
                await self._journal.write([Ended(command.id, ended.outcome)], [(command.id, ended)])
                bound.info("command ended", outcome=ended.outcome, code=ended.problem.code if ended.problem else None)
        finally:
            del self._limits[command.id]
            await self._wake()

    async def _outcome(self, command: Command) -> CommandEnded | None:
        """Carry a command out and return how it ended; None when something came between, so that it did not begin."""
        record = self._journal.ledger.record(command.id)
        if self._is_called_off(command.id):
            return self._called_off(command)
        if record.attempts >= ATTEMPTS:
            error = TooManyAttemptsError(f"the appliance was stopped {record.attempts} times while carrying this out")
            return self._ended_badly(command, problem_of(error))
        await self._journal.settle(lambda ledger: ledger.begin(command.id))
        begun = self._journal.ledger.get(command.id)
        if begun is None or begun.attempts == record.attempts:
            return None
        return await self._attempt(command)

    async def _attempt(self, command: Command) -> CommandEnded:
        work = Work(command, self._journal, self._clock)
        limit = asyncio.timeout(command.time_limit)
        try:
            async with limit:
                self._limits[command.id] = limit
                await self._wake()
                return _ended_well(await self._handler(command, work))
        except Exception as fault:
            if _journal_failed(fault):
                raise  # nothing can be written, so nothing can end: the command goes on when there is a journal again
            if limit.expired():
                return self._out_of_time(command)
            if self._stopping:  # what breaks because we stop is no end of the command
                raise asyncio.CancelledError from fault
            return self._ended_badly(command, problem_of(_named(fault)))
        finally:
            self._limits[command.id] = None

    def _out_of_time(self, command: Command) -> CommandEnded:
        if self._is_called_off(command.id):
            return self._called_off(command)
        limit = f"the command took longer than its limit of {command.time_limit} seconds; send it again to go on"
        return self._ended_badly(command, problem_of(TimeLimitError(limit)))

    def _called_off(self, command: Command) -> CommandEnded:
        return self._in_doubt(command) or CommandEnded(outcome=CommandOutcome.CANCELLED)

    def _ended_badly(self, command: Command, problem: Problem) -> CommandEnded:
        changed = self._journal.ledger.record(command.id).has_changed_something
        ended = CommandEnded(outcome=CommandOutcome.FAILED if changed else CommandOutcome.REFUSED, problem=problem)
        return self._in_doubt(command, problem) or ended

    def _in_doubt(self, command: Command, problem: Problem | None = None) -> CommandEnded | None:
        """Return the honest end of a command of which nobody knows what it has done; None if all is known."""
        doubted = self._journal.ledger.record(command.id).in_doubt
        if not doubted:
            return None
        if problem is None or problem.code != OutcomeUnknownError.code:
            problem = problem_of(unknown(doubted, problem.message if problem else "the command was cut while it acted"))
        return CommandEnded(outcome=CommandOutcome.UNKNOWN, problem=problem)

    async def _wake(self) -> None:
        async with self._journal.changed:
            self._journal.changed.notify_all()


def _ended_well(inventory: Inventory | None) -> CommandEnded:
    ended = CommandEnded(outcome=CommandOutcome.SUCCEEDED, inventory=inventory)
    size = len(ended.model_dump_json().encode())
    if size > RESULT_LIMIT:
        raise ResultTooLargeError(
            f"the result has {size} bytes, {RESULT_LIMIT} can be reported: use an account that sees less of the cloud",
            size=size,
        )
    return ended


def _journal_failed(fault: BaseException) -> bool:
    """Tell whether the journal is what failed, alone or among the errors of parallel steps."""
    if isinstance(fault, BaseExceptionGroup):
        return fault.subgroup(JournalError) is not None
    return isinstance(fault, JournalError)


def _named(fault: BaseException) -> GatewayError:
    """Return the first named error in `fault`, or InternalError after logging what it was."""
    if isinstance(fault, GatewayError):
        return fault
    if isinstance(fault, BaseExceptionGroup):
        named = fault.subgroup(GatewayError)
        if named is not None:
            first = named.exceptions[0]
            return _named(first)
    log.error("a handler met a defect", exc_info=fault)
    return InternalError("the appliance met a defect of its own and wrote it to its log; report it")
