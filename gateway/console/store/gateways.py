"""This file is how gateways are remembered, and what they last said of themselves.

Whoever changes what lives behind a gateway (its commands, clusters, machines, events) holds the gateway's row
first, by `held`. So those changes come one after the other, whatever the database, and never in a deadlock.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from gateway.console.errors import GatewayUnknownError
from gateway.console.records import Gateway, Standing
from gateway.console.store.reading import read, read_problem
from gateway.console.store.scope import Within
from gateway.console.store.tables import gateways as table
from gateway.contract.accounts import SealingKey
from gateway.contract.conditions import Condition
from gateway.contract.messages import Hello
from gateway.contract.problems import Problem
from gateway.contract.streams import OfferedTarget


async def add(
    rows: Within, gateway: UUID, *, name: str, device_key: str, serial: int, until: datetime, now: datetime
) -> None:
    """Remember a gateway that was just paired."""
    await rows.insert(
        table,
        id=gateway,
        name=name,
        device_key=device_key,
        certificate_serial=f"{serial:x}",
        certificate_until=until,
        paired_at=now,
        accounts=[],
        acknowledged=0,
        last_seq=0,
    )


async def every(rows: Within) -> list[Gateway]:
    """Return the scope's gateways by name."""
    return [_gateway(row) for row in await rows.all(rows.select(table).order_by(table.c.name))]


async def find(rows: Within, name: str) -> Gateway | None:
    """Return the gateway of that name, if any."""
    row = await rows.one(rows.select(table).where(table.c.name == name))
    return None if row is None else _gateway(row)


async def named(rows: Within, name: str) -> Gateway:
    """Return the gateway of that name. Raises GatewayUnknownError."""
    found = await find(rows, name)
    if found is None:
        raise GatewayUnknownError(
            f"there is no gateway {name!r}: list the gateways, or pair one with a registration token", gateway=name
        )
    return found


async def there(rows: Within, gateway: UUID) -> None:
    """Raise GatewayUnknownError unless the gateway is still there."""
    if await rows.one(rows.select(table, table.c.id).where(table.c.id == gateway)) is None:
        raise _removed()


async def by_id(rows: Within, gateway: UUID) -> Gateway:
    """Return a gateway by id. Raises GatewayUnknownError."""
    row = await rows.one(rows.select(table).where(table.c.id == gateway))
    if row is None:
        raise _removed()
    return _gateway(row)


async def held(rows: Within, gateway: UUID) -> Gateway:
    """Return a gateway by id, held against other writers until the transaction ends. Raises GatewayUnknownError."""
    row = await rows.one(rows.select(table).where(table.c.id == gateway).with_for_update())
    if row is None:
        raise _removed()
    return _gateway(row)


def _removed() -> GatewayUnknownError:
    return GatewayUnknownError("the gateway was removed from the console: pair it again with a new token")


async def remove(rows: Within, gateway: UUID) -> None:
    """Forget a gateway; its certificate is worth nothing from now on."""
    await rows.run(rows.delete(table).where(table.c.id == gateway))


async def next_seq(rows: Within, gateway: UUID) -> int:
    """Return the next number for a command of this gateway; the row is held until the transaction ends."""
    await rows.run(rows.update(table).where(table.c.id == gateway).values(last_seq=table.c.last_seq + 1))
    row = await rows.one(rows.select(table, table.c.last_seq).where(table.c.id == gateway))
    if row is None:
        raise GatewayUnknownError("the gateway was removed from the console meanwhile")
    seq: int = row.last_seq
    return seq


async def last_seq(rows: Within, gateway: UUID) -> int:
    """Return the number of the newest command of this gateway; 0 when there was none."""
    row = await rows.one(rows.select(table, table.c.last_seq).where(table.c.id == gateway))
    return 0 if row is None else int(row.last_seq)


async def raise_seq(rows: Within, gateway: UUID, number: int) -> None:
    """Give no new command of this gateway a number up to this one."""
    await rows.run(rows.update(table).where(table.c.id == gateway, table.c.last_seq < number).values(last_seq=number))


async def halt(rows: Within, gateway: UUID) -> UUID | None:
    """Return the halt that a gateway has told of, if any."""
    row = await rows.one(rows.select(table, table.c.halt).where(table.c.id == gateway))
    return None if row is None else row.halt


async def halted(rows: Within, gateway: UUID, halt: UUID | None) -> None:
    """Note the halt that a gateway has told of, or that there is none."""
    await rows.run(rows.update(table).where(table.c.id == gateway).values(halt=halt))


async def said_hello(rows: Within, gateway: UUID, hello: Hello, *, protocol: int, now: datetime) -> None:
    """Note that a gateway is connected, and what it says of itself."""
    await rows.run(
        rows.update(table)
        .where(table.c.id == gateway)
        .values(
            connected_since=now,
            last_seen_at=now,
            software=hello.software,
            protocol=protocol,
            boot_id=hello.boot_id,
            problem=None,
        )
    )
    await offers(rows, gateway, accounts=hello.accounts, targets=hello.targets)


async def offers(rows: Within, gateway: UUID, *, accounts: Sequence[str], targets: Sequence[OfferedTarget]) -> None:
    """Note what a gateway offers now."""
    offered = [one.model_dump(mode="json") for one in targets]
    await rows.run(rows.update(table).where(table.c.id == gateway).values(accounts=list(accounts), targets=offered))


async def seen(rows: Within, gateway: UUID, *, now: datetime) -> None:
    """Note that a gateway is still there."""
    await rows.run(rows.update(table).where(table.c.id == gateway).values(last_seen_at=now))


async def has_problem(rows: Within, gateway: UUID, problem: Problem | None) -> None:
    """Note why a gateway's session was refused, or why it takes no commands; None when it is well again."""
    document = None if problem is None else problem.model_dump(mode="json")
    await rows.run(rows.update(table).where(table.c.id == gateway).values(problem=document))


async def acknowledged(rows: Within, gateway: UUID, number: int) -> None:
    """Note the number of the last event that is on disk."""
    await rows.run(rows.update(table).where(table.c.id == gateway).values(acknowledged=number))


def _gateway(row: Row[Any]) -> Gateway:
    return Gateway(
        id=row.id,
        tenant=row.tenant_id,
        name=row.name,
        certificate_serial=int(row.certificate_serial, 16),
        certificate_until=row.certificate_until,
        paired_at=row.paired_at,
        connected_since=row.connected_since,
        last_seen_at=row.last_seen_at,
        software=row.software,
        boot_id=row.boot_id,
        accounts=tuple(row.accounts),
        targets=_targets(row),
        problem=read_problem(row.problem, what=f"the problem of gateway {row.name!r}"),
        acknowledged=row.acknowledged,
        device_key=row.device_key,
        standing=Standing(row.standing),
        conditions=tuple(read(Condition, one, what=f"a condition of gateway {row.name!r}") for one in row.conditions),
        next_serial=int(row.next_serial, 16) if row.next_serial else None,
        epoch=row.epoch,
        system_uuid=row.system_uuid,
        trust_version=row.trust_version,
        sealing_key=_sealing_key(row),
    )


def _sealing_key(row: Row[Any]) -> SealingKey | None:
    if row.sealing_key is None:
        return None
    return read(SealingKey, row.sealing_key, what=f"the sealing key of gateway {row.name!r}")


def _targets(row: Row[Any]) -> tuple[OfferedTarget, ...]:
    what = f"a target of gateway {row.name!r}"
    return tuple(read(OfferedTarget, one, what=what) for one in row.targets or ())
