"""This file is what is promised of connections that are looked at again: one question serves all, and none is stale."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from gateway.console.store.database import Store, StoreUnavailableError
from gateway.console.store.scope import Scope, Within
from gateway.contract.messages import Trust
from gateway.identity import certificates
from gateway.identity.authority import Authority
from gateway.tunnel.channel import ChannelClosedError
from tests.fakes.console import Console, ShiftedClock, paired_appliance
from tests.unit.console.copies import IDENTITY
from tests.unit.console.test_console_recovery import PEM_END
from tests.unit.console.test_paired_anew import until_cut

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
        return Door(store, scope, Admitted(await gateways.named(rows, "dc1"), LATER, b""))


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


class AwayStore(Store):
    """A database that does not answer."""

    def __init__(self) -> None:
        """Open nothing."""

    @asynccontextmanager
    async def reading(self, scope: Scope) -> AsyncIterator[Within]:
        raise StoreUnavailableError("the database is away")
        yield


@pytest.mark.attack(5)
async def test_a_certificate_ends_also_while_the_database_is_away(console: Console) -> None:
    async with console.store() as store:
        door = await door_of(console, store)
    entrance = Entrance(AwayStore(), lambda _: True, door.clock)
    with pytest.raises(StoreUnavailableError):
        await entrance.still_welcome(door.admitted)
    with pytest.raises(CertificateOverError):
        await entrance.still_welcome(replace(door.admitted, until=door.clock.now()))


@pytest.mark.attack(5)
async def test_what_is_open_below_a_root_that_is_retired_is_over(console: Console) -> None:
    """Its key may be why the root was retired: whoever has it can sign for himself what he likes."""
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as line:
        other, now = Authority.open(console.settings.state / "authority", now=console.clock.now()), console.clock.now()
        other.hand_on(now=now)
        other.promote(now=now)
        async with asyncio.timeout(10):
            while (await line.hear(Trust)).trust.version < other.trust.version:
                pass
        await line.settle()
        other.retire()
        with pytest.raises(ChannelClosedError, match="retired"):
            await until_cut(line, within=10)


@pytest.mark.attack(5)
async def test_no_certificate_keeps_a_connection_for_longer_than_ours_are_good(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "LEAF_LIFE", timedelta(days=700))
    appliance = await paired_appliance(console)
    async with console.store() as store:
        leaf = ssl.PEM_cert_to_DER_cert(appliance.paired.certificate.partition(PEM_END)[0] + PEM_END)
        admitted = await Entrance(store, lambda _: True, console.clock).admit(leaf, address="192.0.2.1")
    assert admitted.until <= console.clock.now() + timedelta(days=7)
