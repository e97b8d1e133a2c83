"""This file is how a paired gateway is remembered: as a new row, or in the place of the identity that it had before."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.console.records import Standing
from gateway.console.store import standing as papers_of
from gateway.console.store.scope import Within
from gateway.console.store.tables import gateways as table


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What pairing has found out and given: the device key, the certificate, the join state, the machine."""

    device_key: str
    serial: int
    until: datetime
    join_number: int
    join_key: bytes
    system_uuid: UUID | None
    trust_version: int
    standing: Standing


async def add(rows: Within, gateway: UUID, enrolled: Enrolled, *, name: str, now: datetime) -> None:
    """Remember a gateway that was just paired."""
    await rows.insert(table, id=gateway, name=name, accounts=[], acknowledged=0, last_seq=0, **_columns(enrolled, now))


async def replace(rows: Within, gateway: UUID, enrolled: Enrolled, *, now: datetime) -> None:
    """Put a new identity in the place of a gateway's old one, of which nothing is good any more.

    Its name, clusters, commands, events and epoch stay; so does what it last said of itself.
    """
    before = await papers_of.papers(rows, gateway)
    await papers_of.spend(rows, gateway, before.serial, until=before.until, now=now)
    if before.next_serial is not None and before.next_until is not None:
        await papers_of.spend(rows, gateway, before.next_serial, until=before.next_until, now=now)
    await papers_of.forgive_recoveries(rows, gateway, now=now)
    gone = {"next_serial": None, "next_until": None, "next_request": None, "next_answer": None, "sealing_key": None}
    forgiven = {"join_key_before": None, "join_waived": False, "problem": None}
    columns = {**gone, **forgiven, "conditions": [], **_columns(enrolled, now)}
    await rows.run(rows.update(table).where(table.c.id == gateway).values(**columns))


def _columns(enrolled: Enrolled, now: datetime) -> dict[str, Any]:
    return {
        "device_key": enrolled.device_key,
        "certificate_serial": f"{enrolled.serial:x}",
        "certificate_until": enrolled.until,
        "join_number": enrolled.join_number,
        "join_key": enrolled.join_key,
        "system_uuid": enrolled.system_uuid,
        "trust_version": enrolled.trust_version,
        "standing": enrolled.standing.value,
        "paired_at": now,
    }
