"""This file is what becomes of signed commands between a real console and a real appliance, and what attackers get."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.commands.inbox import Inbox
from gateway.console import signing
from gateway.console.signing import Keys, Signer
from gateway.contract.messages import Deliver
from gateway.identity import commandkeys, envelope
from gateway.kit.clock import SystemClock
from tests.unit.appliance.with_console import Pair, conditions, ended, until, wished

Change = Callable[[Deliver], Deliver]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def intercepted(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """Have somebody between the console's keys and the appliance change what is delivered."""
    delivery = Signer.delivery
    monkeypatch.setattr(Signer, "delivery", lambda self, stored: change(delivery(self, stored)))


async def refused(pair: Pair) -> tuple[dict[str, Any], str]:
    """Have a command refused, and return the console's condition, and the code."""
    async with pair.console() as console, pair.appliance():
        command = await wished(console, "demo")
        assert await ended(console, command) == "rejected"
        problem = (await console.ask("GET", f"/api/v1/commands/{command}")).body["problem"]
        found = await conditions(console)
    assert pair.runs == []
    assert [one.facts["code"] for one in pair.told("command.refused")] == [problem["code"]]
    assert command in found["signed-command-refused"]["message"]
    return found, str(problem["code"])


async def test_a_command_that_the_console_has_signed_is_carried_out(pair: Pair) -> None:
    async with pair.console() as console, pair.appliance() as running:
        command = await wished(console, "demo")
        assert await ended(console, command) == "succeeded"
        assert await conditions(console) == {}
        assert running.lane.last_seq() == 1
    assert [str(one) for one in pair.runs] == [command]


@pytest.mark.attack(21)
async def test_a_command_whose_signature_was_taken_off_is_refused_and_the_console_shows_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    intercepted(monkeypatch, lambda one: one.model_copy(update={"envelope": None}))
    assert (await refused(pair))[1] == "envelope.missing"


@pytest.mark.attack(21)
async def test_a_command_that_was_changed_on_the_way_is_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    intercepted(monkeypatch, lambda one: one.model_copy(update={"command": one.command | {"time_limit": 60}}))
    assert (await refused(pair))[1] == "envelope.other_body"


@pytest.mark.attack(21)
async def test_another_gateways_envelope_is_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Signer.__post_init__

    def for_another(self: Signer) -> None:
        made(self)
        self.gateway = uuid4()

    monkeypatch.setattr(Signer, "__post_init__", for_another)
    assert (await refused(pair))[1] == "envelope.for_other"


@pytest.mark.attack(21)
async def test_a_command_signed_with_a_key_of_ones_own_is_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    mallory = Ed25519PrivateKey.generate()
    seal = envelope.seal
    monkeypatch.setattr(signing.envelope, "seal", lambda sealed, _: seal(sealed, mallory))
    assert (await refused(pair))[1] == "envelope.not_signed"


@pytest.mark.attack(21)
async def test_a_command_that_was_held_back_until_it_is_over_is_refused(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = signing.Sealed

    def old(**said: Any) -> Any:  # noqa: ANN401
        early = {name: said[name] - 5 * envelope.GOOD_FOR for name in ("not_before", "expires_at")}
        return sealed(**said | early)

    monkeypatch.setattr(signing, "Sealed", old)
    assert (await refused(pair))[1] == "envelope.expired"


@pytest.mark.attack(21)
async def test_a_command_that_claims_another_policy_is_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = signing.Sealed
    monkeypatch.setattr(signing, "Sealed", lambda **said: sealed(**said, policy_hash="b" * 64))
    assert (await refused(pair))[1] == "envelope.other_policy"


@pytest.mark.attack(21)
async def test_an_envelope_used_for_the_same_command_under_another_number_is_refused(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered: list[Deliver] = []
    intercepted(monkeypatch, lambda one: delivered.append(one) or one)
    async with pair.console() as console, pair.appliance() as running:
        assert await ended(console, await wished(console, "demo")) == "succeeded"
        key = commandkeys.read(pair.directory / "console" / "command-keys").key
        known = running.link.greeter.identity.member()
        expected = envelope.Expected(
            known.gateway_id,
            delivered[0].command_id,
            delivered[0].command,
            None,
            console.clock.now(),
            envelope.MOST_DOUBT,
        )
        sealed = envelope.judge(delivered[0].envelope, key=known.command_key or "", expected=expected)
        again = envelope.seal(sealed.model_copy(update={"seq": sealed.seq + 1}), key)
        said = await running.lane.answer(
            delivered[0].model_copy(update={"envelope": again}), Inbox(running.journal, protocol=3)
        )
        same = await running.lane.answer(delivered[0], Inbox(running.journal, protocol=3))
    assert said is not None and said.type == "rejected" and said.problem.code == "envelope.replayed"  # noqa: PT018
    assert same is not None and same.type == "accepted"  # noqa: PT018
    assert len(pair.runs) == 1


async def test_a_key_that_was_rotated_is_followed_while_connected_and_after_having_been_away(pair: Pair) -> None:
    keys = pair.directory / "console" / "command-keys"
    async with pair.console() as console:
        async with pair.appliance() as running:
            assert await ended(console, await wished(console, "one")) == "succeeded"
            for name in ("two", "three"):
                now = await asyncio.to_thread(commandkeys.rotate, keys)
                assert await ended(console, await wished(console, name)) == "succeeded"
                assert running.link.greeter.identity.member().command_key == now.public
        for _ in range(3):
            await asyncio.to_thread(commandkeys.rotate, keys)
        async with pair.appliance():
            assert await ended(console, await wished(console, "four")) == "succeeded"
    assert len(pair.told("command-key.kept")) == 3


@pytest.mark.attack(21)
async def test_keys_that_nobody_handed_on_are_not_followed_and_nothing_they_sign_is_taken(pair: Pair) -> None:
    async with pair.console() as console, pair.appliance():
        assert await ended(console, await wished(console, "one")) == "succeeded"
    for one in (pair.directory / "console" / "command-keys").iterdir():
        one.unlink()
    async with pair.console() as console, pair.appliance():
        assert await ended(console, await wished(console, "two")) == "rejected"
        await until(lambda: conditions(console))
    assert pair.told("command-key.refused")
    assert len(pair.runs) == 1


async def test_a_console_signs_with_the_newest_of_its_keys(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys", clock=SystemClock())
    signer = Signer(keys, uuid4(), 3, keys.ring().public)
    assert await signer.look() is None
    now = commandkeys.rotate(tmp_path / "keys")
    told = await signer.look()
    assert told == now.told
    assert await signer.look() is None
