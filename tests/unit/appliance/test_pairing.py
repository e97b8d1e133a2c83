"""This file is the promises of pairing, with a whole console in this process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from gateway.appliance import pairing
from gateway.appliance.identity import Identity, Paired
from gateway.appliance.pairing import AlreadyPairedError, PairingRefusedError, TokenForOtherError
from gateway.console.limits import Buckets
from gateway.console.store import gateways as gateways_of
from gateway.contract.identity import Hardware
from gateway.contract.messages import MESSAGE_LIMIT
from gateway.contract.trust import LATEST_VERSION, TrustBundle
from gateway.identity import tokens, words
from gateway.identity.authority import Authority
from gateway.kit import files
from gateway.tunnel.dialer import dial
from tests.fakes.console import Console, finish, running_console, token
from tests.unit.provisioning.world import PowerCutError


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


def identity_in(directory: Path) -> Identity:
    return Identity.open(files.make_private_directory(directory))


async def gateways(console: Console) -> list[str]:
    return [one["name"] for one in (await console.ask("GET", "/api/v1/gateways")).body["items"]]


async def repair_token(console: Console, name: str = "dc1") -> str:
    said = await console.ask("POST", f"/api/v1/gateways/{name}/repair-token", {})
    return str(said.body["token"])


async def connects(identity: Identity, paired: Paired) -> bool:
    """Tell whether the identity opens the tunnel's TLS."""
    async with dial(paired.tunnel, tls=identity.tls(), message_limit=MESSAGE_LIMIT):
        return True


async def test_what_pairing_brought_opens_the_tunnel(tmp_path: Path, console: Console) -> None:
    identity = identity_in(tmp_path / "state")
    paired = await pairing.pair(identity, await token(console))
    assert identity.paired() == paired
    assert await connects(identity, paired)


async def test_what_pairing_brought_is_kept_whole(tmp_path: Path, console: Console) -> None:
    identity, system = identity_in(tmp_path / "state"), uuid4()
    await pairing.pair(identity, await token(console), machine=Hardware(system_uuid=system))
    kept = identity.member()
    async with console.store() as store, store.reading(await console.scope()) as rows:
        known = await gateways_of.named(rows, "dc1")
    assert (kept.gateway_id, kept.trust.version, kept.join.number) == (known.id, known.trust_version, 1)
    assert kept.told is not None
    assert known.system_uuid == system


@pytest.mark.attack(22)
async def test_of_the_roots_that_pairing_brings_only_those_are_kept_that_the_token_leads_to(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with the console's TLS key alone could name others, and be trusted for ever."""
    other = Authority.open(files.make_private_directory(tmp_path / "other"), now=console.clock.now()).root
    text, identity = await token(console), identity_in(tmp_path / "state")
    both = property(lambda ours: TrustBundle(version=LATEST_VERSION, roots=[ours.root, other]))
    with monkeypatch.context() as planted:
        planted.setattr(Authority, "trust", both)
        paired = await pairing.pair(identity, text)
    assert len(identity.member().trust.roots) == 1
    assert other not in identity.member().trust.roots
    assert await connects(identity, paired)


async def test_a_root_that_is_brought_in_after_the_token_was_made_is_kept(tmp_path: Path, console: Console) -> None:
    text, identity = await token(console), identity_in(tmp_path / "state")
    authority = Authority.open(console.settings.state / "authority", now=console.clock.now())
    authority.hand_on(now=console.clock.now())
    async with asyncio.timeout(10):
        while await _bundle(console) < authority.trust.version:  # noqa: ASYNC110 - the console looks by itself
            await asyncio.sleep(0.1)
    await pairing.pair(identity, text)
    assert identity.member().trust == authority.trust


async def _bundle(console: Console) -> int:
    said = await console.ask("GET", "/api/v1/authority/successions", key="")
    return int(said.body["trust"]["version"])


async def test_both_ends_show_the_same_six_words(tmp_path: Path, console: Console) -> None:
    identity = identity_in(tmp_path / "state")
    with capture_logs() as said:
        await pairing.pair(identity, await token(console))
    (told,) = [one["fingerprint"] for one in said if one["event"] == "paired"]
    shown = (await console.ask("GET", "/api/v1/gateways/dc1")).body["fingerprint"]
    assert shown == told == words.fingerprint(identity.device().public_pem)


@pytest.mark.attack(1)
async def test_of_fifty_appliances_that_race_for_one_token_exactly_one_is_paired(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = await token(console)
    # the console counts starts of one token; the race is about what happens behind that door
    monkeypatch.setattr(Buckets, "take", lambda *_args, **_named: None)
    racers = [identity_in(tmp_path / f"state-{number}") for number in range(50)]

    async def race(identity: Identity) -> Paired | str:
        try:
            return await pairing.pair(identity, text)
        except PairingRefusedError as fault:
            return fault.problem.code

    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(race(one)) for one in racers]
    results = [one.result() for one in tries]
    winners = [one for one in results if isinstance(one, Paired)]
    assert results.count("pairing.token_used") == 49
    assert len(winners) == 1
    assert [one.paired() for one in racers if one.paired() is not None] == winners
    assert await gateways(console) == ["dc1"]


CUTS = ["device.key", "tls.key", "request.pem", "tls.pem", "joined.json"]
"""Every file that pairing writes, in that order."""


def cut_power_at(name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the power cut when a file of that name is about to be written; return the names written until then."""
    write, written = files.write_whole, list[str]()

    def cutting(path: Path, content: bytes, *, mode: int = files.PRIVATE_FILE) -> None:
        if path.name == name:
            raise PowerCutError
        written.append(path.name)
        write(path, content, mode=mode)

    monkeypatch.setattr(files, "write_whole", cutting)
    return written


@pytest.mark.parametrize("cut_at", CUTS)
async def test_pairing_cut_anywhere_is_repeated_with_the_same_token(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, cut_at: str
) -> None:
    text = await token(console)
    with monkeypatch.context() as patched:
        written = cut_power_at(cut_at, patched)
        with pytest.raises(PowerCutError):
            await pairing.pair(identity_in(tmp_path / "state"), text)
    assert written == CUTS[: CUTS.index(cut_at)]
    identity = identity_in(tmp_path / "state")
    assert identity.paired() is None
    paired = await pairing.pair(identity, text)
    assert await gateways(console) == ["dc1"]
    assert await connects(identity, paired)


async def test_an_answer_that_was_lost_is_given_again_to_the_same_device(tmp_path: Path, console: Console) -> None:
    text, identity = await token(console), identity_in(tmp_path / "state")
    assert (await finish(console, tokens.parse(text), identity.candidate())).status == 200
    assert (await pairing.pair(identity, text)).gateway_name == "dc1"
    assert await gateways(console) == ["dc1"]


async def test_an_appliance_that_is_paired_does_not_use_a_second_token_up(tmp_path: Path, console: Console) -> None:
    identity = identity_in(tmp_path / "state")
    paired = await pairing.pair(identity, await token(console))
    second = await token(console, "dc2")
    with pytest.raises(AlreadyPairedError, match="as dc1"):
        await pairing.pair(identity, second)
    assert identity.paired() == paired
    assert (await pairing.pair(identity_in(tmp_path / "other"), second)).gateway_name == "dc2"


# -- pairing anew


async def test_a_paired_appliance_takes_a_repair_token_and_gets_another_device_key(
    tmp_path: Path, console: Console
) -> None:
    identity = identity_in(tmp_path / "state")
    before = await pairing.pair(identity, await token(console))
    old = identity.device().public_pem
    after = await pairing.pair(identity, await repair_token(console))
    assert (after.gateway_id, after.gateway_name) == (before.gateway_id, before.gateway_name)
    assert identity.device().public_pem != old
    assert identity.member().join.number == 2
    assert await connects(identity, after)
    assert await gateways(console) == ["dc1"]


async def test_a_new_appliance_takes_the_place_of_one_that_is_lost(tmp_path: Path, console: Console) -> None:
    lost = await pairing.pair(identity_in(tmp_path / "lost"), await token(console))
    found = await pairing.pair(identity_in(tmp_path / "new"), await repair_token(console))
    assert found.gateway_id == lost.gateway_id


@pytest.mark.parametrize("cut_at", CUTS)
async def test_pairing_anew_cut_anywhere_leaves_the_old_identity_whole_or_the_new_one(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, cut_at: str
) -> None:
    identity = identity_in(tmp_path / "state")
    before = await pairing.pair(identity, await token(console))
    old, text = identity.device().public_pem, await repair_token(console)
    with monkeypatch.context() as patched:
        cut_power_at(cut_at, patched)
        with pytest.raises(PowerCutError):
            await pairing.pair(identity_in(tmp_path / "state"), text)
    identity = identity_in(tmp_path / "state")
    assert (identity.paired(), identity.device().public_pem) == (before, old)
    identity.tls()
    after = await pairing.pair(identity, text)
    assert after.gateway_id == before.gateway_id
    assert identity.device().public_pem != old
    assert await connects(identity, after)


async def test_a_repair_token_given_twice_changes_nothing_more_and_raises_no_alert(
    tmp_path: Path, console: Console
) -> None:
    identity = identity_in(tmp_path / "state")
    await pairing.pair(identity, await token(console))
    text = await repair_token(console)
    once = await pairing.pair(identity, text)
    key = identity.device().public_pem
    assert await pairing.pair(identity, text) == once
    assert identity.device().public_pem == key
    async with console.store() as store, store.reading(await console.scope()) as rows:
        assert (await gateways_of.named(rows, "dc1")).conditions == ()


async def test_a_repair_token_of_another_gateway_is_refused_before_it_is_used_up(
    tmp_path: Path, console: Console
) -> None:
    one, other = identity_in(tmp_path / "one"), identity_in(tmp_path / "other")
    first = await pairing.pair(one, await token(console, "dc1"))
    await pairing.pair(other, await token(console, "dc2"))
    text = await repair_token(console, "dc2")
    with pytest.raises(TokenForOtherError, match="is dc1"):
        await pairing.pair(one, text)
    assert one.paired() == first
    assert (await pairing.pair(other, text)).gateway_name == "dc2"


async def test_a_repair_token_of_another_console_is_refused(tmp_path: Path, console: Console) -> None:
    identity = identity_in(tmp_path / "state")
    paired = await pairing.pair(identity, await token(console))
    async with running_console(tmp_path / "stranger") as stranger:
        await pairing.pair(identity_in(tmp_path / "theirs"), await token(stranger))
        with pytest.raises(AlreadyPairedError):
            await pairing.pair(identity, await repair_token(stranger))
    assert identity.paired() == paired


async def test_pairing_anew_touches_nothing_but_the_identity(tmp_path: Path, console: Console) -> None:
    state = files.make_private_directory(tmp_path / "state")
    identity = Identity.open(state)
    await pairing.pair(identity, await token(console))
    for name in ("journal.db", "audit.log"):
        (state / name).write_text(name)
    for name in ("accounts", "targets"):
        (state / name).mkdir()
    await pairing.pair(identity, await repair_token(console))
    assert sorted(one.name for one in state.iterdir()) == ["accounts", "audit.log", "identity", "journal.db", "targets"]
    assert (state / "journal.db").read_text() == "journal.db"
