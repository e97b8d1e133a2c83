"""This file is where the policy is enforced: before a command is accepted, when it begins, and when a stream is opened.

::

    command --> known? --> judged --> audit --> counted --> journal           admitting
                             |
                             +--> refused | waits --> audit, answer
    handler --> nothing changed yet? judged again --> carried out             guarding
    ended   --> counted anew                                                  run

What was counted is on the disk before the journal has the command, so that no power cut makes room.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import structlog
from pydantic import ValidationError

from gateway.appliance.audit import AuditNotWrittenError
from gateway.appliance.policy import judging, quotas
from gateway.appliance.policy.book import Book, UsageUnreadableError
from gateway.appliance.policy.judging import Outcome, Situation, Verdict
from gateway.appliance.policy.kept import Kept, NothingWaitsError, Proposal
from gateway.appliance.policy.quotas import Settled, Usage
from gateway.appliance.policy.reading import PolicyInvalidError, PolicyUnreadableError
from gateway.audit.lines import Act, Fact
from gateway.commands.inbox import Answer, Inbox
from gateway.commands.ledger import CommandChangedError, CommandState, Ledger
from gateway.commands.work import Work
from gateway.contract.commands import Command
from gateway.contract.events import CommandOutcome
from gateway.contract.inventory import Inventory
from gateway.contract.messages import Deliver, Rejected
from gateway.contract.policy import Approval, DestroyNeeds, PolicyProposed, PolicyTightened, Tightening
from gateway.contract.problems import Fault, Problem, problem_of
from gateway.contract.version import DEFERRED_SINCE
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.buckets import Bucket

log = structlog.get_logger(__name__)

REFUSALS_A_SECOND: Final = 2.0
REFUSALS_AT_ONCE: Final = 500.0
"""Refusals beyond that are counted in the next one's line, as `untold`, and have none of their own."""
LOOK_AGAIN: Final = 60.0
MENDED_EVERY: Final = 2.0
"""Seconds after which a damaged policy is read again for a command that waits to begin."""
REMEMBERED: Final = 500
"""Acts that are not told again when they come again."""

Handler = Callable[[Command, Work], Awaitable[Inventory | None]]


class PolicyRefusedError(GatewayError):
    """The policy of the site does not allow it."""

    code = "policy.refused"
    remedy = Remedy.OPERATOR

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


class PolicyWaitsError(GatewayError):
    """The command is not taken before something has happened on the site; it may be sent again."""

    code = "policy.waits"
    remedy = Remedy.OPERATOR


class Written(Protocol):
    """What the gate needs of a journal."""

    ledger: Ledger
    changed: asyncio.Condition

    async def knows(self, command: Command) -> bool:
        """Tell whether a command was accepted. Raises CommandChangedError."""


class Gate:
    """Lets through what the site's policy allows. `run` counts what has ended; `append` writes the audit log."""

    def __init__(
        self, state: Path, journal: Written, *, gateway: UUID, append: Callable[[Sequence[Act]], None], clock: Clock
    ) -> None:
        self.kept = Kept.open(state)
        self._book = Book(self.kept.usage)
        self._journal = journal
        self._gateway = gateway
        self._append = append
        self._clock = clock
        self._order = asyncio.Lock()
        self._said: deque[Act] = deque(maxlen=REMEMBERED)
        self._refusals = Bucket(rate=REFUSALS_A_SECOND, depth=REFUSALS_AT_ONCE, now=clock.monotonic())
        self._untold = 0
        self._open: frozenset[UUID] = frozenset()

    async def answer(self, message: Deliver, inbox: Inbox) -> Answer:
        """Return what is said to a delivery: what the inbox says, which takes it, if it is let through.

        A console that knows no other word is told that what waits is rejected.
        """
        try:
            command = Command.model_validate(message.command)
        except ValidationError:
            return await self._noted(await inbox.take(message))  # which knows what to say to that
        try:
            async with self.admitting(command, approvals=message.approvals):
                return await self._noted(await inbox.take(message))
        except PolicyRefusedError as error:
            inbox.settled(command)
            return Rejected(command_id=command.id, problem=problem_of_refusal(error))
        except PolicyWaitsError as error:
            if inbox.protocol >= DEFERRED_SINCE:
                return inbox.put_off(command, error)
            return Rejected(command_id=command.id, problem=problem_of(error))

    @asynccontextmanager
    async def admitting(self, command: Command, *, approvals: Sequence[Approval] = ()) -> AsyncIterator[None]:
        """Surround the accepting of a command; the body writes it into the journal.

        Raises PolicyRefusedError, or PolicyWaitsError when it may be sent again; the body is then not begun.
        """
        async with self._order:
            if await self._is_known(command):  # what was accepted is not judged again when it is sent again
                yield
                return
            await self._admit(command, approvals)
            try:
                yield
            finally:
                if self._journal.ledger.get(command.id) is None:
                    await self._count(lambda usage: quotas.after(usage, Settled(command.id, CommandOutcome.REFUSED)))

    def guarding(self, handler: Handler) -> Handler:
        """Return the handler that judges a command once more before anything is changed for it."""

        async def carry_out(command: Command, work: Work) -> Inventory | None:
            if not work.record.has_changed_something:
                await self._begin(command)
            return await handler(command, work)

        return carry_out

    async def check_stream(self, target: str, lane: str) -> None:
        """Return when a stream to that target may be open. Raises PolicyRefusedError."""
        verdict = await asyncio.to_thread(self._judged_stream, target, lane)
        if verdict.outcome is not Outcome.ALLOWED:
            raise _refusal("the policy of the site does not allow the stream", verdict)

    async def heard(self, message: PolicyProposed | PolicyTightened) -> None:
        """Take in what the console proposes or narrows; what it proposes is nothing before the site accepts it."""
        match message:
            case PolicyProposed():
                await self._proposed(message)
            case PolicyTightened(tightening=tightening):
                if await asyncio.to_thread(self._is_in_force, tightening):
                    return
                await asyncio.to_thread(self.kept.tighten, tightening)
                await self._tell(Act("policy.tightened", "ok", {"narrows": tightening is not None}))

    async def refused(self, act: Act) -> None:
        """Write that something was refused, or count it where a flood would push older lines out of the log."""
        if not self._refusals.take(self._clock.monotonic()):
            self._untold += 1
            return
        untold, self._untold = self._untold or None, 0
        log.info("refused by the site", action=act.action, **{k: v for k, v in act.facts.items() if k != "message"})
        await self._tell(Act(act.action, act.outcome, {**act.facts, "untold": untold}))

    async def run(self) -> None:
        """Count what has ended, until cancelled; soon, for the journal does not remember it for long."""
        while True:
            try:
                async with self._order:
                    await self._settle()
            except UsageUnreadableError as error:
                log.warning("what the console has cannot be counted", error=error.message)
                await self._clock.sleep(LOOK_AGAIN)
                continue
            async with self._journal.changed:
                await self._journal.changed.wait_for(lambda: any(map(self._ending, self._open)))

    async def _noted(self, answer: Answer) -> Answer:
        """Write down what the inbox rejects: no rule is against it, and it is not done either."""
        if isinstance(answer, Rejected):
            facts = {"command": str(answer.command_id), "code": answer.problem.code, "message": answer.problem.message}
            await self.refused(Act("command.refused", "refused", facts))
        return answer

    async def _is_known(self, command: Command) -> bool:
        try:
            return await self._journal.knows(command)
        except CommandChangedError:
            return True  # it is not taken, and who takes commands says so

    async def _admit(self, command: Command, approvals: Sequence[Approval]) -> None:
        verdict, problem = await self._judge(command, approvals)
        if problem is not None or verdict is None:
            raise problem or PolicyWaitsError
        facts = _facts(command)
        if verdict.outcome is Outcome.REFUSED:
            refusal = _refusal("the policy of the site does not allow it", verdict)
            await self.refused(Act("command.refused", "refused", {**facts, "message": refusal.message}))
            raise refusal
        if verdict.outcome is Outcome.WAITS:
            await self._let_wait(command, verdict)
        await self._tell_once(Act("command.allowed", "ok", facts))
        booking = quotas.booked(command, at=self._clock.now())
        if booking is not None:
            await self._count(lambda usage: quotas.after(usage, booking))

    async def _judge(
        self, command: Command, approvals: Sequence[Approval]
    ) -> tuple[Verdict | None, PolicyWaitsError | None]:
        """Return the verdict, or why there is none: what is damaged is mended on the site, and then it is taken."""
        try:
            await self._settle()
            for act in await asyncio.to_thread(self._take_in, command, approvals):
                await self.refused(act)
            return await asyncio.to_thread(self._judged, command), None
        except (PolicyUnreadableError, UsageUnreadableError) as fault:
            return None, PolicyWaitsError(fault.message)

    async def _let_wait(self, command: Command, verdict: Verdict) -> None:
        """Say that a command waits, in the audit log once for each reason."""
        error = PolicyWaitsError("; ".join(rule.reason for rule in verdict.against))
        if any(rule.name == "destroy" for rule in verdict.against):
            await asyncio.to_thread(self.kept.wait, command, reason=error.message, now=self._clock.now())
        await self._tell_once(Act("command.waits", "refused", {**_facts(command), "message": error.message}))
        raise error

    async def _begin(self, command: Command) -> None:
        verdict = await self._judged_at_last(command)
        if verdict.outcome is Outcome.ALLOWED:
            return
        refusal = _refusal("since it was accepted the policy of the site has come to forbid it", verdict)
        await self.refused(Act("command.refused", "refused", {**_facts(command), "message": refusal.message}))
        raise refusal

    async def _judged_at_last(self, command: Command) -> Verdict:
        """Return the verdict on a command that begins; what is damaged on the site is waited for until it is mended."""
        told = False
        while True:
            try:
                async with self._order:
                    return await asyncio.to_thread(self._judged, command, begins=True)
            except (PolicyUnreadableError, UsageUnreadableError) as fault:
                if not told:
                    log.warning("a command waits to begin", command=str(command.id), reason=fault.message)
                    told = True
            await self._clock.sleep(MENDED_EVERY)

    def _judged(self, command: Command, *, begins: bool = False) -> Verdict:
        """Judge a command; one that begins is counted already, and a pause lets it: it was accepted before."""
        policy, tightening = self.kept.file.read().policy, self.kept.tightening()
        usage, now = self._book.read(), self._clock.now()
        if begins:
            usage = quotas.after(usage, Settled(command.id, CommandOutcome.REFUSED))
        found = self.kept.of(command)
        situation = Situation(
            now=now,
            usage=usage,
            is_paused=self.kept.is_paused and not begins,
            is_approved=found is not None and found.is_approved(now),
            signers=frozenset() if found is None else found.signers(gateway=self._gateway, now=now),
        )
        return judging.judge(policy, tightening, command, situation)

    def _judged_stream(self, target: str, lane: str) -> Verdict:
        return judging.judge_stream(self.kept.file.read().policy, self.kept.tightening(), target=target, lane=lane)

    def _take_in(self, command: Command, approvals: Sequence[Approval]) -> list[Act]:
        """Keep the signatures that came with a command; return what is to be said of those that are no good."""
        refused: list[Act] = []
        if not approvals or self.kept.file.read().policy.destroy.needs is not DestroyNeeds.SIGNATURE:
            return refused
        now = self._clock.now()
        self.kept.wait(command, reason="it came with signatures", now=now)
        for one in approvals:
            try:
                self.kept.add(one, gateway=self._gateway, now=now)
            except NothingWaitsError as fault:
                facts: dict[str, Fact] = {**_facts(command), "key": one.key, "message": fault.message}
                refused.append(Act("approval.refused", "refused", facts))
        return refused

    def _is_in_force(self, tightening: Tightening | None) -> bool:
        try:
            return self.kept.tightening() == tightening
        except PolicyUnreadableError:
            return False

    async def _proposed(self, message: PolicyProposed) -> None:
        proposal = None
        if message.policy is not None:
            proposal = Proposal(policy=message.policy, author=message.author, at=self._clock.now())
        known = await asyncio.to_thread(self.kept.proposal)
        if proposal is not None and known is not None and known.sha256 == proposal.sha256:
            return  # said again, as at each connection
        try:
            await asyncio.to_thread(self.kept.propose, proposal)
        except PolicyInvalidError as fault:
            await self.refused(Act("policy.proposed", "refused", {"author": message.author, "message": fault.message}))
            return
        log.info("the console proposes a policy", author=message.author, sha256=proposal.sha256 if proposal else None)
        sha256 = proposal.sha256 if proposal else None
        await self._tell(Act("policy.proposed", "ok", {"author": message.author, "sha256": sha256}))

    async def _settle(self) -> None:
        """Count anew what has ended; of a command that nobody knows any more what it may have made stays counted."""
        usage = await asyncio.to_thread(self._book.read)
        ended = [one for one in map(self._ending, usage.wishes) if one is not None]
        for one in ended:
            usage = quotas.after(usage, one)
            await asyncio.to_thread(self.kept.settled, one.command)
        if ended:
            await asyncio.to_thread(self._book.write, usage)
        self._open = frozenset(usage.wishes)

    def _ending(self, command_id: UUID) -> Settled | None:
        record = self._journal.ledger.get(command_id)
        if record is None:
            return Settled(command_id, CommandOutcome.FAILED)
        if record.state is not CommandState.ENDED or record.outcome is None:
            return None
        return Settled(command_id, record.outcome)

    async def _count(self, change: Callable[[Usage], Usage]) -> None:
        usage = change(await asyncio.to_thread(self._book.read))
        await asyncio.to_thread(self._book.write, usage)
        self._open = frozenset(usage.wishes)

    async def _tell_once(self, act: Act) -> None:
        """Write what was not said before of that command: what is not taken now is sent again, every half minute."""
        if act in self._said:
            return
        try:
            await asyncio.to_thread(self._append, [act])
        except AuditNotWrittenError as fault:
            raise PolicyWaitsError(fault.message) from fault
        self._said.append(act)

    async def _tell(self, act: Act) -> None:
        try:
            await asyncio.to_thread(self._append, [act])
        except AuditNotWrittenError as fault:  # refused it is all the same
            log.warning("audit log cannot be written", error=fault.message)


def problem_of_refusal(error: PolicyRefusedError) -> Problem:
    """Return a refusal in the shape in which it crosses a wire, each rule that is against it as a fault."""
    return Problem(
        code=error.code,
        message=error.message[:2000],
        remedy=error.remedy,
        faults=[Fault(where=[rule.side, rule.name], message=rule.reason[:2000]) for rule in error.verdict.against],
    )


def _refusal(said: str, verdict: Verdict) -> PolicyRefusedError:
    first = verdict.against[0]
    more = f" (and {len(verdict.against) - 1} more)" if len(verdict.against) > 1 else ""
    whose = "the console's own tightening" if first.side == "console" else "policy"
    return PolicyRefusedError(f"{said}: {whose}, {first.name}: {first.reason}{more}", verdict)


def _facts(command: Command) -> dict[str, Fact]:
    return {
        "command": str(command.id),
        "kind": command.task.kind,
        "resource": command.task.resource,
        "author": command.author,
    }
