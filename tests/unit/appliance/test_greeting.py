"""This file is the promises of the greeting in the third version: epochs, open commands, and whom to trust."""

from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from gateway.appliance.identity import Identity
from gateway.commands.ledger import CommandState
from gateway.contract.identity import Hardware
from gateway.contract.messages import Accepted, Hello, ReportEvents, Trust, TrustKept
from gateway.contract.trust import LATEST_VERSION, Grounds, TrustBundle
from gateway.identity.authority import Authority
from tests.fakes.wishes import an_apply
from tests.unit.appliance.conversation import conversation
from tests.unit.appliance.test_link import write_events


async def test_hello_tells_the_machine_the_epoch_the_trust_and_what_has_not_ended(tmp_path: Path) -> None:
    machine = Hardware(system_uuid=uuid4())
    command = an_apply()
    async with conversation(tmp_path, machine=machine) as talks:
        talk = await talks.called()
        hello = await talk.welcome(protocol=3)
        await talk.deliver(command)
        await talk.hear(Accepted)
        talk.cut()
        again = await (await talks.called()).welcome(protocol=3)
    assert (hello.hardware, hello.epoch, hello.trust_version, hello.open_commands) == (machine, 1, 1, [])
    assert again.open_commands == [command.id]


@pytest.mark.attack(7)
async def test_an_appliance_that_was_put_back_goes_on_behind_the_console_and_drops_what_is_over(tmp_path: Path) -> None:
    over, still = an_apply(), an_apply()
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        for one in (over, still):
            await talks.journal.accept(one)
        await write_events(talks.journal, 2)
        talk.cut()
        talk = await talks.called()
        with capture_logs() as said:
            hello = await talk.welcome(protocol=3, acknowledged=40, epoch=2, ended_commands=[over.id])
            events = await talk.events(43)
        assert (hello.next_event, hello.epoch) == (3, 1)
        assert [one.number for one in events] == [41, 42, 43]
        assert talks.journal.open_commands() == [still.id]
        assert talks.journal.ledger.record(still.id).state is CommandState.ACCEPTED
        talk.cut()
        again = await (await talks.called()).hear(Hello)
        assert (again.next_event, again.epoch) == (44, 2)
    assert any("put back" in str(one["event"]) for one in said)


async def test_a_cut_before_the_epoch_is_kept_does_all_of_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCutError(Exception):
        pass

    def cut(*_args: object) -> None:
        raise PowerCutError

    over = an_apply()
    async with conversation(tmp_path) as talks:
        await talks.journal.accept(over)
        with monkeypatch.context() as patched:
            patched.setattr(Identity, "in_epoch", cut)
            talk = await talks.called()
            await talk.welcome(protocol=3, acknowledged=40, epoch=2, ended_commands=[over.id])
            await talk.ended()
            talk = await talks.called()
        hello = await talk.welcome(protocol=3, acknowledged=40, epoch=2, ended_commands=[over.id])
        assert (hello.next_event > 40, hello.epoch) == (True, 1)
        assert [one.number for one in (await talk.hear(ReportEvents)).events] == [41]
        assert talks.identity.member().epoch == 2


async def test_a_console_of_version_2_cannot_put_the_journal_ahead(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome(protocol=2, acknowledged=40, epoch=2)
        await talk.ended()
        assert (talks.journal.last_event, talks.identity.member().epoch) == (0, 1)


@pytest.mark.parametrize("told_in", ["welcome", "message"])
async def test_whom_to_trust_is_on_the_disk_when_it_is_said_to_be_kept(tmp_path: Path, told_in: str) -> None:
    async with conversation(tmp_path) as talks:
        known = talks.identity.member().trust
        newer = TrustBundle(version=known.version + 1, roots=known.roots)
        grounds = talks.console.authority.grounds
        talk = await talks.called()
        await talk.welcome(protocol=3, trust=newer if told_in == "welcome" else None, grounds=grounds)
        if told_in == "message":
            await talk.say(Trust(trust=newer, grounds=grounds))
        assert (await talk.hear(TrustKept)).version == newer.version
        assert Identity.open(tmp_path / "state").member().trust == newer
        talk.cut()
        assert (await (await talks.called()).hear(Hello)).trust_version == newer.version


async def test_older_trust_is_not_kept_and_what_is_kept_is_said(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        known = talks.identity.member().trust
        grounds = talks.console.authority.grounds
        talk = await talks.called()
        await talk.welcome(protocol=3, trust=TrustBundle(version=5, roots=known.roots), grounds=grounds)
        assert (await talk.hear(TrustKept)).version == 5
        await talk.say(Trust(trust=TrustBundle(version=4, roots=known.roots), grounds=grounds))
        assert (await talk.hear(TrustKept)).version == 5
        assert talks.identity.member().trust.roots == known.roots


@pytest.mark.attack(22)
@pytest.mark.parametrize("kind", ["another authority's", "both", "rubbish", "followed by nobody's word"])
async def test_whoever_has_the_consoles_tls_key_alone_makes_nobody_trusted(tmp_path: Path, kind: str) -> None:
    async with conversation(tmp_path) as talks:
        other = Authority.open(tmp_path / "other", now=talks.console.now)
        other.hand_on(now=talks.console.now)
        known = talks.identity.member().trust
        roots = {"both": [*known.roots, other.root], "rubbish": ["rubbish"]}.get(kind, other.trust.roots)
        theirs, ours = other.grounds, talks.console.authority.grounds
        grounds = Grounds(steps=theirs.steps, issuers=[*theirs.issuers, *ours.issuers])
        talk = await talks.called()
        await talk.welcome(protocol=3)
        await talk.say(Trust(trust=TrustBundle(version=LATEST_VERSION, roots=roots), grounds=grounds))
        assert (await talk.hear(TrustKept)).version == known.version
        assert Identity.open(tmp_path / "state").member().trust == known


@pytest.mark.attack(22)
async def test_a_root_that_follows_is_kept_whatever_version_somebody_has_claimed_before(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        authority, known = talks.console.authority, talks.identity.member().trust
        claimed = TrustBundle(version=LATEST_VERSION, roots=known.roots)
        talk = await talks.called()
        await talk.welcome(protocol=3, trust=claimed, grounds=authority.grounds)
        assert (await talk.hear(TrustKept)).version == LATEST_VERSION
        authority.hand_on(now=talks.console.now)
        await talk.say(Trust(trust=authority.trust, grounds=authority.grounds))
        assert (await talk.hear(TrustKept)).version == authority.trust.version
        assert talks.identity.member().trust == authority.trust
