"""This file is what is promised of connections that are looked at again: one question serves all, and none is stale."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.console.admission import (
    FRESH,
    Admitted,
    CertificateOverError,
    Entrance,
    GatewayQuarantinedError,
    GatewayRevokedError,
    SessionRefusedError,
)
from gateway.console.records import Standing
from gateway.console.store import gateways, standing
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
from tests.fakes.console import Console, ShiftedClock, paired_appliance

LATER = datetime(2100, 1, 1, tzinfo=UTC)


class Door:
    """The entrance beside a running console, and a connection that was let in."""

    def __init__(self, store: Store, scope: Scope, admitted: Admitted) -> None:
        self.clock = ShiftedClock()
        self.entrance = Entrance(store, lambda _: True, self.clock)
        self.store, self.scope, self.admitted = store, scope, admitted

    async def put(self, standing_: Standing) -> None:
        async with self.store.writing(self.scope) as rows:
            await standing.set_standing(rows, self.admitted.gateway.id, standing_)


async def door_of(console: Console, store: Store) -> Door:
    await paired_appliance(console)
    scope = await console.scope()
    async with store.reading(scope) as rows:
        return Door(store, scope, Admitted(await gateways.named(rows, "dc1"), LATER))


@pytest.mark.parametrize("held_back", [Standing.ACTIVE, Standing.UNCONFIRMED, Standing.PAUSED])
async def test_who_is_held_back_stays_connected(console: Console, held_back: Standing) -> None:
    async with console.store() as store:
        door = await door_of(console, store)
        await door.put(held_back)
        assert await door.entrance.still_welcome(door.admitted) is held_back


@pytest.mark.parametrize(
    ("shut_out", "error"),
    [(Standing.REVOKED, GatewayRevokedError), (Standing.QUARANTINED, GatewayQuarantinedError)],
)
async def test_what_was_asked_a_moment_ago_serves_another_and_no_longer(
    console: Console, shut_out: Standing, error: type[SessionRefusedError]
) -> None:
    async with console.store() as store:
        door = await door_of(console, store)
        await door.entrance.still_welcome(door.admitted)
        await door.put(shut_out)

        await door.entrance.still_welcome(door.admitted)
        with pytest.raises(error):
            await door.entrance.still_welcome(door.admitted, at_once=True)
        await door.put(Standing.ACTIVE)
        door.clock.ahead += timedelta(seconds=FRESH + 0.1)
        await door.entrance.still_welcome(door.admitted)


async def test_who_was_removed_paired_anew_or_is_over_does_not_stay(console: Console) -> None:
    async with console.store() as store:
        door = await door_of(console, store)
        known = door.admitted
        for gone in (replace(known.gateway, id=UUID(int=1)), replace(known.gateway, device_key="another")):
            with pytest.raises(SessionRefusedError):
                await door.entrance.still_welcome(replace(known, gateway=gone))
        with pytest.raises(CertificateOverError):
            await door.entrance.still_welcome(replace(known, until=door.clock.now()))
