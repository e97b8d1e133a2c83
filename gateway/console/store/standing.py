"""This file is how a gateway's papers are remembered: standing, conditions, certificates, join state, recoveries.

Whoever decides by what is read here holds the gateway's row first (`gateways.held`), in the same transaction.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func

from gateway.console.errors import GatewayUnknownError
from gateway.console.records import Standing
from gateway.console.store.reading import read
from gateway.console.store.scope import Within
from gateway.console.store.tables import gateways as table
from gateway.console.store.tables import recoveries, spent_certificates
from gateway.contract.conditions import Condition
from gateway.contract.trust import Pem
from gateway.kit import ids

HEARD = 40
"""Nonces that are remembered of one gateway: more than it may answer while a challenge is good."""


class KeptAnswer(BaseModel):
    """The last certificate given out, for whoever lost the answer; the ticket that went with it is derived again.

    `nonces` are those of the challenges of recovery that were answered: each is answered once.
    """

    model_config = ConfigDict(frozen=True)

    certificate: Pem
    serial: str
    given_at: datetime
    not_after: datetime
    join_number: int
    nonces: list[str] = []


@dataclass(frozen=True, slots=True)
class Papers:
    """What the console knows of a gateway's certificates and of its join state."""

    serial: int
    until: datetime
    next_serial: int | None
    next_until: datetime | None
    request: bytes | None
    """SHA-256 of the request that was answered last."""
    answer: KeptAnswer | None
    join_number: int
    join_key: bytes | None
    join_key_before: bytes | None
    join_waived: bool
    forgiven_at: datetime | None


@dataclass(frozen=True, slots=True)
class NextCertificate:
    """What is remembered of a certificate that is given out now."""

    request: bytes
    answer: KeptAnswer
    join_key: bytes
    join_key_before: bytes | None


@dataclass(frozen=True, slots=True)
class Rank:
    """What tells whether a gateway may stay connected: what it may do, and by which device key it is known."""

    standing: Standing
    device_key: str


async def ranks(rows: Within) -> dict[UUID, Rank]:
    """Return the rank of every gateway of the scope, by its id."""
    found = await rows.all(rows.select(table, table.c.id, table.c.standing, table.c.device_key))
    return {row.id: Rank(Standing(row.standing), row.device_key) for row in found}


async def set_standing(rows: Within, gateway: UUID, standing: Standing) -> None:
    """Note what the gateway may do from now on."""
    await _set(rows, gateway, standing=standing.value)


async def add_condition(rows: Within, gateway: UUID, condition: Condition) -> bool:
    """Note a condition; one of the same type keeps its `since` and takes the new words. Tell whether it is new."""
    found = await conditions(rows, gateway)
    before = next((one for one in found if one.type == condition.type), None)
    kept = condition if before is None else condition.model_copy(update={"since": before.since})
    await _write(rows, gateway, [*(one for one in found if one.type != condition.type), kept])
    return before is None


async def clear_condition(rows: Within, gateway: UUID, *types: str) -> None:
    """Forget the conditions of these types."""
    found = await conditions(rows, gateway)
    left = [one for one in found if one.type not in types]
    if len(left) < len(found):
        await _write(rows, gateway, left)


async def conditions(rows: Within, gateway: UUID) -> list[Condition]:
    """Return the conditions of a gateway, the oldest first. Raises GatewayUnknownError."""
    row = await rows.one(rows.select(table, table.c.conditions).where(table.c.id == gateway))
    if row is None:
        raise _removed()
    return [read(Condition, one, what=f"a condition of gateway {gateway}") for one in row.conditions]


async def papers(rows: Within, gateway: UUID) -> Papers:
    """Return what is known of a gateway's certificates and join state. Raises GatewayUnknownError."""
    row = await rows.one(rows.select(table).where(table.c.id == gateway))
    if row is None:
        raise _removed()
    return Papers(
        serial=int(row.certificate_serial, 16),
        until=row.certificate_until,
        next_serial=int(row.next_serial, 16) if row.next_serial else None,
        next_until=row.next_until,
        request=row.next_request,
        answer=read(KeptAnswer, row.next_answer, what=f"the last answer to gateway {gateway}")
        if row.next_answer
        else None,
        join_number=row.join_number,
        join_key=row.join_key,
        join_key_before=row.join_key_before,
        join_waived=row.join_waived,
        forgiven_at=row.recoveries_forgiven_at,
    )


async def give(rows: Within, gateway: UUID, certificate: NextCertificate, *, now: datetime) -> None:
    """Note a certificate that is given out; one that was given before it and never shown is spent."""
    before = await papers(rows, gateway)
    if before.next_serial is not None and before.next_until is not None:
        await spend(rows, gateway, before.next_serial, until=before.next_until, now=now)
    nonces = before.answer.nonces if before.answer else []
    answer = certificate.answer.model_copy(update={"nonces": nonces})
    await _set(
        rows,
        gateway,
        next_serial=answer.serial,
        next_until=answer.not_after,
        next_request=certificate.request,
        next_answer=answer.model_dump(mode="json"),
        join_number=answer.join_number,
        join_key=certificate.join_key,
        join_key_before=certificate.join_key_before,
        join_waived=False,
    )


async def heard(rows: Within, gateway: UUID, nonce: str) -> None:
    """Note that a challenge was answered, and the gateway given what is the last answer now."""
    answer = (await papers(rows, gateway)).answer
    if answer is not None:
        kept = answer.model_copy(update={"nonces": [*answer.nonces, nonce][-HEARD:]})
        await _set(rows, gateway, next_answer=kept.model_dump(mode="json"))


async def promote(rows: Within, gateway: UUID, *, now: datetime) -> None:
    """Make the next certificate the current one; the one until now is spent."""
    before = await papers(rows, gateway)
    if before.next_serial is None:
        return
    await spend(rows, gateway, before.serial, until=before.until, now=now)
    await _set(
        rows,
        gateway,
        certificate_serial=f"{before.next_serial:x}",
        certificate_until=before.next_until,
        next_serial=None,
        next_until=None,
    )


async def spend(rows: Within, gateway: UUID, serial: int, *, until: datetime, now: datetime) -> None:
    """Note that a certificate is worth nothing any more."""
    if await spent_at(rows, gateway, serial) is None:
        await rows.insert(spent_certificates, gateway_id=gateway, serial=f"{serial:x}", spent_at=now, until=until)


async def spent_at(rows: Within, gateway: UUID, serial: int) -> datetime | None:
    """Return when a certificate was spent; None when it was not, or was never known."""
    spent = spent_certificates
    found = rows.select(spent, spent.c.spent_at).where(spent.c.gateway_id == gateway, spent.c.serial == f"{serial:x}")
    row = await rows.one(found)
    return None if row is None else row.spent_at


async def forget_spent(rows: Within, gateway: UUID, *, before: datetime) -> None:
    """Forget spent certificates that had expired by then: TLS refuses them without us."""
    spent = spent_certificates
    await rows.run(rows.delete(spent).where(spent.c.gateway_id == gateway, spent.c.until < before))


async def waive_join(rows: Within, gateway: UUID) -> None:
    """Note that the next join proof is not asked for: a person has said who is the right one."""
    await _set(rows, gateway, join_waived=True)


async def begin_epoch(rows: Within, gateway: UUID, epoch: int) -> None:
    """Note that the gateway goes on in a new epoch: it was put back to an older state."""
    await _set(rows, gateway, epoch=epoch)


async def runs_on(rows: Within, gateway: UUID, system_uuid: UUID | None) -> None:
    """Note the machine that the gateway runs on."""
    await _set(rows, gateway, system_uuid=system_uuid)


async def trust_kept(rows: Within, gateway: UUID, version: int) -> None:
    """Note which trust bundle the gateway keeps."""
    await _set(rows, gateway, trust_version=version)


async def add_recovery(rows: Within, gateway: UUID, *, address: str, now: datetime) -> None:
    """Note that a gateway came back by recovery."""
    await rows.insert(recoveries, id=ids.new_id(now), gateway_id=gateway, at=now, address=address)


async def recoveries_between(rows: Within, gateway: UUID, since: datetime, now: datetime) -> int:
    """Return how many recoveries a gateway has had since then; those of a clock that was ahead are none yet."""
    then = recoveries.c.at
    found = rows.select(recoveries, func.count().label("many"))
    row = await rows.one(found.where(recoveries.c.gateway_id == gateway, then > since, then <= now))
    return 0 if row is None else int(row.many)


async def forgive_recoveries(rows: Within, gateway: UUID, *, now: datetime) -> None:
    """Have the recoveries until now not count, nor those that a clock which was ahead has dated later."""
    await rows.run(rows.delete(recoveries).where(recoveries.c.gateway_id == gateway))
    await _set(rows, gateway, recoveries_forgiven_at=now)


async def _write(rows: Within, gateway: UUID, found: list[Condition]) -> None:
    await _set(rows, gateway, conditions=[one.model_dump(mode="json") for one in found])


async def _set(rows: Within, gateway: UUID, **values: Any) -> None:  # noqa: ANN401 - a column's value
    await rows.run(rows.update(table).where(table.c.id == gateway).values(**values))


def _removed() -> GatewayUnknownError:
    return GatewayUnknownError("the gateway was removed from the console: pair it again with a new token")
