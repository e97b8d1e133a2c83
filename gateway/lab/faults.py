"""This file is how a test makes vCenter slow, faulty or unreachable."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
from pydantic import BaseModel, ConfigDict

from gateway.kit.errors import GatewayError, Remedy

Json: TypeAlias = Any

LIMIT = aiohttp.ClientTimeout(total=10)


class Outcome(StrEnum):
    """What happens to a call that a rule matches. A rule's delay comes first, whatever the outcome."""

    DELAY = "delay"
    """The call is answered late."""
    FAULT = "fault"
    """The call is refused with a SOAP fault."""
    TASK_DELAY = "task_delay"
    """The task is accepted at once and takes longer."""
    TASK_FAULT = "task_fault"
    """The task is accepted, does nothing and ends in error."""
    TASK_FAULT_AFTER = "task_fault_after"
    """The task does its work and then ends in error all the same."""
    RESET = "reset"
    """The connection is cut before the call is carried out."""
    LOSE_REPLY = "lose_reply"
    """The call is carried out and the connection cut before the answer."""
    UNAVAILABLE = "unavailable"
    """HTTP 503; the call is not carried out."""


class Rule(BaseModel):
    """Which calls, and what happens to them. `*` matches everything; the first rule that matches acts."""

    model_config = ConfigDict(frozen=True)

    method: str = "*"
    """SOAP name, such as `CloneVM_Task`."""
    object_type: str = "*"
    """Such as `VirtualMachine`."""
    object_name: str = "*"
    """The entity's name, exactly."""
    outcome: Outcome = Outcome.FAULT
    fault: str = ""
    """One of `Faults.kinds`; empty is SystemError."""
    message: str = ""
    probability: float = 1.0
    count: int = 0
    """Act at most so many times; 0 is without end."""
    skip: int = 0
    """Let so many matching calls pass first."""
    delay_ms: int = 0


class KnownRule(Rule):
    """A rule that vCenter holds, with its counters."""

    id: int
    seen: int
    """Matching calls so far."""
    hits: int
    """Calls the rule acted on."""


class RuleRefusedError(GatewayError):
    """The lab's vCenter does not accept a fault rule."""

    code = "lab.rule_refused"
    remedy = Remedy.CALLER


class Faults:
    """The rules of one lab's vCenter, over its control socket; the hypervisor is never hit by them."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def add(self, rule: Rule) -> KnownRule:
        """Add a rule behind those that are there. RuleRefusedError when it makes no sense."""
        return KnownRule.model_validate(await self._ask("POST", "/rules", rule.model_dump(mode="json")))

    async def list(self) -> "tuple[KnownRule, ...]":
        """Return all rules with their counters, in the order they are tried."""
        return tuple(KnownRule.model_validate(one) for one in await self._ask("GET", "/rules"))

    async def remove(self, rule: KnownRule) -> None:
        """Take back one rule. RuleRefusedError when it is not there."""
        await self._ask("DELETE", f"/rules/{rule.id}")

    async def clear(self) -> None:
        """Take back all rules."""
        await self._ask("DELETE", "/rules")

    async def kinds(self) -> "tuple[str, ...]":
        """Return the names of the faults a rule may give."""
        return tuple(await self._ask("GET", "/kinds"))

    @asynccontextmanager
    async def rule(self, rule: Rule) -> AsyncIterator[KnownRule]:
        """Have a rule for as long as the body runs."""
        known = await self.add(rule)
        try:
            yield known
        finally:
            await self.remove(known)

    async def _ask(self, method: str, path: str, body: Json = None) -> Json:
        connector = aiohttp.UnixConnector(str(self._socket))
        async with (
            aiohttp.ClientSession(connector=connector, timeout=LIMIT) as session,
            session.request(method, f"http://vcenter{path}", json=body) as answer,
        ):
            told = await answer.json()
            if not answer.ok:
                raise RuleRefusedError(told.get("error", f"status {answer.status}"))
            return told
