"""This file is what people decide about a gateway's identity: each decision is one transaction, and audited."""

from datetime import datetime

import structlog

from gateway.console import conditions, enrolling, tokens
from gateway.console.bells import Bells
from gateway.console.records import Gateway, Standing
from gateway.console.store import audit, gateways, standing
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)


class GatewayWasRevokedError(GatewayError):
    """A revoked gateway comes back by pairing alone."""

    code = "gateway.was_revoked"
    remedy = Remedy.CALLER


class Rulings:
    """What people say about gateways."""

    def __init__(self, store: Store, bells: Bells, *, clock: Clock) -> None:
        self._store = store
        self._bells = bells
        self._clock = clock

    async def revoke(self, scope: Scope, name: str, *, reason: str, author: str) -> Gateway:
        """Take a gateway's identity away: it is cut within seconds, and no token made until now brings it back.

        Raises GatewayUnknownError.
        """
        now = self._clock.now()
        async with self._store.writing(scope) as rows:
            gateway = await _held(rows, name)
            await standing.set_standing(rows, gateway.id, Standing.REVOKED)
            await tokens.end_repairs(rows, gateway, author=author, now=now)
            await standing.add_condition(rows, gateway.id, conditions.revoked(name, reason, now=now))
            ruled = await _ruled(rows, gateway, "gateway.revoke", author=author, now=now, reason=reason)
        return self._told(ruled, "gateway revoked", author)

    async def release(self, scope: Scope, name: str, *, author: str) -> Gateway:
        """End a quarantine or a pause, and what led to it: whoever says so knows that one machine is left.

        Where the join state was in doubt, the next proof of it is not asked for. Raises GatewayUnknownError or
        GatewayWasRevokedError.
        """
        now = self._clock.now()
        async with self._store.writing(scope) as rows:
            gateway = await _held(rows, name)
            _refuse_revoked(gateway)
            await standing.set_standing(rows, gateway.id, _after_release(gateway))
            had = {one.type for one in gateway.conditions}
            if had & conditions.JOIN_STATES:
                await standing.waive_join(rows, gateway.id)
            if conditions.HARDWARE_CHANGED in had:
                # The machine that it says hello from next is its machine.
                await standing.runs_on(rows, gateway.id, None)
            await standing.clear_condition(rows, gateway.id, *conditions.RELEASED)
            ruled = await _ruled(rows, gateway, "gateway.release", author=author, now=now)
        return self._told(ruled, "gateway released", author)

    async def approve_recovery(self, scope: Scope, name: str, *, author: str) -> Gateway:
        """Have the recoveries until now not count. Raises GatewayUnknownError or GatewayWasRevokedError."""
        now = self._clock.now()
        async with self._store.writing(scope) as rows:
            gateway = await _held(rows, name)
            _refuse_revoked(gateway)
            await standing.forgive_recoveries(rows, gateway.id, now=now)
            await standing.clear_condition(rows, gateway.id, conditions.RECOVERY_NEEDS_APPROVAL)
            ruled = await _ruled(rows, gateway, "gateway.approve-recovery", author=author, now=now)
        return self._told(ruled, "recovery approved", author)

    def _told(self, gateway: Gateway, what: str, author: str) -> Gateway:
        log.warning(what, gateway=gateway.name, id=str(gateway.id), author=author)
        self._bells.ring(gateway.id)
        self._bells.ring(gateway.tenant)
        return gateway


async def _held(rows: Within, name: str) -> Gateway:
    return await gateways.held(rows, (await gateways.named(rows, name)).id)


async def _ruled(
    rows: Within, gateway: Gateway, action: str, *, author: str, now: datetime, reason: str = ""
) -> Gateway:
    await audit.note(
        rows, action, actor=author, now=now, gateway=gateway.name, before=gateway.standing.value, reason=reason
    )
    return await gateways.by_id(rows, gateway.id)


def _refuse_revoked(gateway: Gateway) -> None:
    if gateway.standing is Standing.REVOKED:
        raise GatewayWasRevokedError(
            f"gateway {gateway.name!r} was revoked: pair it anew in its place "
            f"(pcg gateway repair-token {gateway.name})",
            gateway=gateway.name,
        )


def _after_release(gateway: Gateway) -> Standing:
    # Who was shut out before a person had compared fingerprints still has to be confirmed.
    waits = any(one.type == enrolling.AWAITING for one in gateway.conditions)
    return Standing.UNCONFIRMED if waits else Standing.ACTIVE
