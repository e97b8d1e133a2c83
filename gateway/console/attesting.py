"""This file is who signs the console's audit log: each tenant's chain, daily, when it is exported, and at the end.

::

    audit.key               the key it is signed with, P-256; its public part is in every root
    audit.roots.TENANT      the signed roots, which the database cannot change, one a line
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from gateway.audit import roots
from gateway.audit.roots import Root
from gateway.console.records import AuditEntry, AuditOutcome
from gateway.console.store import audit, doors
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
from gateway.identity import keys
from gateway.identity.devicekeys import FileDeviceKey
from gateway.kit import files, ids
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError

LOOK_EVERY: Final = 60.0
"""Seconds until a new day is noticed."""
ROOTS_KEPT: Final = 4000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attested:
    """A tenant's roots, and the public part, in PEM, of the key that signs now."""

    key: str
    roots: Sequence[Root]


@asynccontextmanager
async def opened(store: Store, state: Path, *, clock: Clock) -> "AsyncIterator[Notary]":
    """Yield who signs the logs of a console with this state directory, and have them signed at the end."""
    notary = Notary(store, state, clock=clock)
    try:
        yield notary
    finally:
        await notary.stop()


class Notary:
    """Signs the audit logs of a console with this state directory."""

    def __init__(self, store: Store, state: Path, *, clock: Clock) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._key = FileDeviceKey(keys.keep(state / "audit.key"))
        self._turn = asyncio.Lock()
        self._is_troubled = False

    async def run(self) -> None:
        """Sign each tenant's log once a day, until cancelled; what fails is said once and tried again."""
        while True:
            await self._each("day")
            await self._clock.sleep(LOOK_EVERY)

    async def stop(self) -> None:
        """Sign for the last time; what fails is said."""
        await self._each("stop")

    async def sign(self, tenant: UUID, why: str) -> Attested:
        """Sign a tenant's log as it stands, unless nothing was written since, and return its roots.

        Raises the store's errors; OSError when the root cannot be kept.
        """
        async with self._turn:
            beside = await asyncio.to_thread(self._kept, tenant)
            root = await self._signed(tenant, why, beside)
            if root is not None:
                beside = [*beside, root][-ROOTS_KEPT:]
                content = b"".join(roots.written(one) + b"\n" for one in beside)
                await asyncio.to_thread(files.write_whole, self._path(tenant), content)
            return Attested(self._key.public_pem, beside)

    async def _each(self, why: str) -> None:
        try:
            for tenant in await doors.every_tenant(self._store):
                if why != "day" or await asyncio.to_thread(self._is_due, tenant):
                    await self.sign(tenant, why)
        except (GatewayError, OSError) as fault:
            if not self._is_troubled:
                log.warning("audit log is not signed, will be tried again", reason=str(fault))
            self._is_troubled = True
        else:
            self._is_troubled = False

    def _is_due(self, tenant: UUID) -> bool:
        beside = self._kept(tenant)
        return not beside or not beside[-1].at.startswith(f"{self._clock.now():%Y-%m-%d}")

    async def _signed(self, tenant: UUID, why: str, beside: Sequence[Root]) -> Root | None:
        """Write a root as the next line of the chain; nobody else writes between."""
        now = self._clock.now()
        async with self._store.writing(Scope(tenant)) as rows:
            end = await audit.end(rows)
            if not end.number or (beside and beside[-1].number == end.number - 1):
                return None
            root = roots.made(
                self._key,
                log=str(tenant),
                number=end.number,
                head=end.head,
                at=now.isoformat(timespec="seconds"),
                why=why,
            )
            facts = dict(roots.act(root).facts)
            entry = AuditEntry(ids.new_id(now), now, audit.LOG, roots.ACTION, None, None, AuditOutcome.ENDED, facts)
            await audit.append(rows, entry)
        log.info("audit log signed", tenant=str(tenant), line=root.number, head=root.head, why=why)
        return root

    def _kept(self, tenant: UUID) -> list[Root]:
        try:
            content = self._path(tenant).read_bytes()
        except FileNotFoundError:
            return []
        return [root for line in content.splitlines() if (root := roots.read(line)) is not None]

    def _path(self, tenant: UUID) -> Path:
        return self._state / f"audit.roots.{tenant}"
