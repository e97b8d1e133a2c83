"""This file is what is left of an identity once its gateway was paired anew: nothing, whoever has it."""

import asyncio

import pytest

from gateway.console.granting import Issuer
from gateway.console.records import Standing
from gateway.console.renewal import JoinRefusedError, Renewal
from gateway.console.store import gateways
from gateway.contract.pairing import PairingResult
from gateway.identity import keys, tls, tokens
from gateway.identity.authority import Authority, certificate_request
from gateway.tunnel.channel import ChannelClosedError
from tests.fakes.console import Appliance, Console, Line, candidate, finish, paired_appliance
from tests.unit.console.copies import IDENTITY, conditions, join_of, lost, recover, renewal

WITHIN = 5.0
"""Seconds within which what the old identity has open is cut."""


async def paired_anew(console: Console, name: str = "dc1") -> Appliance:
    """Pair a new appliance in the place of the one of that name."""
    said = await console.ask("POST", f"/api/v1/gateways/{name}/repair-token", {})
    applicant, key = candidate()
    result = PairingResult.model_validate((await finish(console, tokens.parse(said.body["token"]), applicant)).body)
    directory = console.settings.state.parent
    certificate, private = directory / "anew.pem", directory / "anew.key"
    certificate.write_text(result.certificate)
    keys.write(private, key)
    context = tls.client("".join(result.bundle.roots), certificate=certificate, key=private)
    return Appliance(console, result, context, device=applicant.device)


async def until_cut(line: Line, *, within: float) -> None:
    async with asyncio.timeout(within):
        while True:
            await line.channel.receive()


@pytest.mark.attack(5)
async def test_what_the_old_identity_has_open_is_cut(console: Console) -> None:
    old = await paired_appliance(console)
    async with old.connected(protocol=IDENTITY) as line:
        await paired_anew(console)
        with pytest.raises(ChannelClosedError, match="paired anew"):
            await until_cut(line, within=WITHIN)


@pytest.mark.attack(6)
async def test_the_old_identity_does_not_connect_again_and_the_new_one_does(console: Console) -> None:
    old = await paired_appliance(console)
    new = await paired_anew(console)
    with pytest.raises(ChannelClosedError):
        async with old.connected(protocol=IDENTITY):
            pass
    async with new.connected(protocol=IDENTITY) as line:
        await line.settle()


@pytest.mark.attack(6)
async def test_the_old_identity_does_not_come_back_by_recovery(console: Console) -> None:
    old = await paired_appliance(console)
    await paired_anew(console)
    assert (await recover(console, lost(old))).status in {403, 409}
    async with console.store() as store, store.reading(await console.scope()) as rows:
        assert (await gateways.named(rows, "dc1")).standing is Standing.ACTIVE


@pytest.mark.attack(7)
async def test_a_session_of_the_old_identity_cannot_shut_the_new_one_out_by_asking_for_a_certificate(
    console: Console,
) -> None:
    """In the moment between pairing anew and the cut it would look like a copy, and both would be quarantined."""
    old, authority = (
        await paired_appliance(console),
        Authority.open(console.settings.state / "authority", now=console.clock.now()),
    )
    async with console.store() as store:
        async with store.reading(await console.scope()) as rows:
            before = await gateways.named(rows, "dc1")
        await paired_anew(console)
        issuer = Issuer(authority, (console.settings.state / "join.secret").read_bytes())
        asked = renewal(join_of(old), certificate_request(keys.new_key()))
        with pytest.raises(JoinRefusedError, match="paired anew"):
            await Renewal(store, issuer, clock=console.clock).renewed(before, asked, address="somewhere")
        async with store.reading(await console.scope()) as rows:
            assert (await gateways.named(rows, "dc1")).standing is Standing.ACTIVE
    assert await conditions(console) == []
