"""This file is how a person confirms a gateway: by the six words that they have read on the appliance itself.

The words are asked for, not shown to be nodded at: who types them has been at the right machine. Words that differ mean
that another device has paired in its name; that is written down, and nothing is confirmed.
"""

from datetime import datetime
from hmac import compare_digest

import structlog

from gateway.console import conditions
from gateway.console.bells import Bells
from gateway.console.enrolling import AWAITING
from gateway.console.records import AuditOutcome, Gateway, Standing
from gateway.console.store import audit, gateways
from gateway.console.store import standing as papers_of
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.contract.conditions import Condition
from gateway.identity import words
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)

DIFFERS = "fingerprint-differs"


class WordsDifferError(GatewayError):
    """The words are not those of the device key that has paired."""

    code = "gateway.words_differ"
    remedy = Remedy.OPERATOR


class NothingToConfirmError(GatewayError):
    """The gateway does not wait for a person to compare fingerprints."""

    code = "gateway.nothing_to_confirm"
    remedy = Remedy.CALLER


class Confirming:
    """Compares what people have read with what has paired."""

    def __init__(self, store: Store, bells: Bells, *, clock: Clock) -> None:
        self._store = store
        self._bells = bells
        self._clock = clock

    async def confirm(self, scope: Scope, name: str, said: str, *, author: str) -> Gateway:
        """Let a gateway work whose words were read on the appliance; asked twice, the answer is the same.

        Raises GatewayUnknownError, WordsDifferError (and leaves an alert on the gateway) or NothingToConfirmError.
        """
        async with self._store.writing(scope) as rows:
            gateway = await gateways.held(rows, (await gateways.named(rows, name)).id)
            same = compare_digest(words.normal(said), words.fingerprint(gateway.device_key))
            now = self._clock.now()
            await (_confirmed if same else _differs)(rows, gateway, author=author, now=now)
            after = await gateways.by_id(rows, gateway.id)
        self._bells.ring(gateway.id)
        self._bells.ring(gateway.tenant)
        if not same:
            log.warning("fingerprint differs", gateway=name, author=author)
            raise WordsDifferError(
                f"these are not the words of the device that has paired as {name}: if you have read them on the right "
                f"appliance, another one has paired in its name: `pcg gateway revoke {name}`, then pair the right one "
                f"with `pcg gateway repair-token {name}`",
                gateway=name,
            )
        log.info("gateway confirmed", gateway=name, author=author)
        return after


async def _confirmed(rows: Within, gateway: Gateway, *, author: str, now: datetime) -> None:
    if gateway.standing not in {Standing.UNCONFIRMED, Standing.ACTIVE}:
        raise NothingToConfirmError(
            f"gateway {gateway.name!r} is {gateway.standing}, not waiting for its words: see `pcg gateway show "
            f"{gateway.name}` for what to do",
            gateway=gateway.name,
        )
    if gateway.standing is Standing.UNCONFIRMED:
        await papers_of.set_standing(rows, gateway.id, _after_words(gateway))
    await papers_of.clear_condition(rows, gateway.id, AWAITING, DIFFERS)
    await audit.note(rows, "gateway.confirm", actor=author, now=now, gateway=gateway.name)


def _after_words(gateway: Gateway) -> Standing:
    # The device is the right one; that it runs on another machine by now is for a release.
    moved = any(one.type == conditions.HARDWARE_CHANGED for one in gateway.conditions)
    return Standing.PAUSED if moved else Standing.ACTIVE


async def _differs(rows: Within, gateway: Gateway, *, author: str, now: datetime) -> None:
    condition = Condition(
        type=DIFFERS,
        message=f"{author} has typed other words than those of the device that has paired",
        remedy="read the words on the appliance again and confirm once more; if they are others than "
        f"`pcg gateway show {gateway.name}` tells, revoke the gateway and pair the right one with a repair token",
        since=now,
    )
    await papers_of.add_condition(rows, gateway.id, condition)
    outcome = AuditOutcome.REFUSED
    await audit.note(rows, "gateway.confirm", actor=author, now=now, gateway=gateway.name, outcome=outcome)
