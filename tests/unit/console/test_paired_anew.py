"""This file is what is left of an identity once its gateway was paired anew: nothing, whoever has it."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from gateway.console import intake
from gateway.console.admission import SessionRefusedError
from gateway.console.bells import Bells
from gateway.console.errors import GatewayUnknownError
from gateway.console.granting import Issuer
from gateway.console.policies import Policies
from gateway.console.records import Gateway, Standing
from gateway.console.renewal import Renewal
from gateway.console.store import gateways
from gateway.console.store.database import Store
from gateway.contract.events import Event, StepBegan
from gateway.contract.identity import Hardware
from gateway.contract.messages import Accepted, Hello, Leaving, Offers
from gateway.contract.pairing import PairingResult
from gateway.contract.policy import PolicyStanding
from gateway.contract.problems import Problem
from gateway.identity import keys, tls, tokens
from gateway.identity.authority import Authority, certificate_request
from gateway.kit.errors import Remedy
from gateway.tunnel.channel import ChannelClosedError
from tests.fakes.console import Appliance, Console, Line, candidate, finish, paired_appliance
from tests.unit.console.copies import IDENTITY, conditions, join_of, lost, recover, renewal

WITHIN = 5.0
"""Seconds within which what the old identity has open is cut."""


ONE, OTHER = Hardware(system_uuid=uuid4()), Hardware(system_uuid=uuid4())


async def paired_anew(console: Console, name: str = "dc1", *, hardware: Hardware | None = None) -> Appliance:
    """Pair a new appliance in the place of the one of that name."""
    said = await console.ask("POST", f"/api/v1/gateways/{name}/repair-token", {})
    applicant, key = candidate()
    applicant = replace(applicant, hardware=hardware or Hardware())
    result = PairingResult.model_validate((await finish(console, tokens.parse(said.body["token"]), applicant)).body)
    directory = console.settings.state.parent
    certificate, private = directory / "anew.pem", directory / "anew.key"
    certificate.write_text(result.certificate)
    keys.write(private, key)
    context = tls.client("".join(result.bundle.roots), certificate=certificate, key=private)
    return Appliance(console, result, context, device=applicant.device)


async def revoked(console: Console) -> None:
    assert (await console.ask("POST", "/api/v1/gateways/dc1/revoke", {})).status == 200


async def removed(console: Console) -> None:
    assert (await console.ask("DELETE", "/api/v1/gateways/dc1")).status == 200


async def anew(console: Console) -> None:
    await paired_anew(console, hardware=ONE)


RULINGS = {"paired anew": anew, "revoked": revoked, "removed": removed}


async def known(console: Console, store: Store) -> Gateway | None:
    async with store.reading(await console.scope()) as rows:
        return await gateways.find(rows, "dc1")


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


@pytest.mark.attack(6)
@pytest.mark.parametrize("ruling", ["paired anew", "revoked", "removed"])
async def test_nothing_that_the_old_identity_says_in_the_moment_before_it_is_cut_is_taken_in(
    console: Console, ruling: str
) -> None:
    """It was let in, and has kept its words until something was decided about it."""
    await paired_appliance(console)
    event = Event(number=1, command_id=uuid4(), at=console.clock.now(), body=StepBegan(step="x", title="x"))
    hello = Hello(protocol=IDENTITY, software="x", boot_id=uuid4(), next_event=1, hardware=OTHER)
    older = hello.model_copy(update={"protocol": 1})
    async with console.store() as store:
        let_in = await known(console, store)
        assert let_in is not None
        await RULINGS[ruling](console)
        before, policies = await known(console, store), Policies(store, Bells(), clock=console.clock)
        for tried in (
            intake.left(store, let_in, Leaving(), address="192.0.2.1", clock=console.clock),
            intake.greeted(store, let_in, hello, protocol=IDENTITY, clock=console.clock),
            intake.greeted(store, let_in, older, protocol=1, clock=console.clock),
            intake.cloned(store, let_in, "said so", clock=console.clock),
            intake.offered(store, let_in, Offers(accounts=["forged"], targets=[]), clock=console.clock),
            intake.answered(store, let_in, Accepted(command_id=uuid4()), clock=console.clock),
            intake.reported(store, let_in, [event], clock=console.clock),
            intake.trusts(store, let_in, 7),
            policies.heard(let_in, PolicyStanding(sha256="a" * 64, profile="observe")),
            intake.refused(store, let_in, Problem(code="x", message="x", remedy=Remedy.OPERATOR)),
        ):
            with pytest.raises((SessionRefusedError, GatewayUnknownError), match=ruling):
                await tried
        assert await known(console, store) == before


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
        with pytest.raises(SessionRefusedError, match="paired anew"):
            await Renewal(store, issuer, clock=console.clock).renewed(before, asked, address="somewhere")
        async with store.reading(await console.scope()) as rows:
            assert (await gateways.named(rows, "dc1")).standing is Standing.ACTIVE
    assert await conditions(console) == []
