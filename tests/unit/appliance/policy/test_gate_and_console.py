"""This file is the promises of the gate to a console: what it may wish, what it is told, what comes after what."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gateway.appliance.policy import gate, reading
from gateway.appliance.policy.kept import NoProposalError
from gateway.commands.inbox import Inbox
from gateway.contract.commands import Command
from gateway.contract.messages import Deliver, Rejected
from gateway.contract.policy import (
    Amounts,
    CommandBounds,
    PolicyProposed,
    PolicyTightened,
    Profile,
    Quotas,
    TargetBounds,
    Tightening,
)
from tests.fakes.wishes import a_delete, a_read, an_apply
from tests.unit.appliance.policy.guarded import Guarded, guarded_in
from tests.unit.appliance.policy.policies import CLUSTERS, a_wish


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded_in(tmp_path) as guarded:
        yield guarded


@pytest.mark.attack(22)
async def test_what_the_console_proposes_is_nothing_until_the_site_accepts_that_very_text(site: Guarded) -> None:
    await site.gate.heard(PolicyProposed(policy="profile: operate\n", author="mallory"))
    await site.refused(an_apply())
    looked_at = site.kept.proposal()
    assert looked_at is not None
    await site.gate.heard(PolicyProposed(policy="profile: operate\ncommands: {}\n", author="mallory"))
    with pytest.raises(NoProposalError):
        site.kept.accept(looked_at.sha256)
    await site.refused(an_apply())
    now = site.kept.proposal()
    assert now is not None
    site.kept.accept(now.sha256[:8])
    await site.accept(an_apply())
    assert site.kept.proposal() is None


async def test_a_proposal_that_is_no_policy_is_not_kept(site: Guarded) -> None:
    await site.gate.heard(PolicyProposed(policy="profile: everything\n", author="ops"))
    assert site.kept.proposal() is None


async def test_the_same_proposal_at_each_connection_is_told_once(site: Guarded) -> None:
    for _ in range(3):
        await site.gate.heard(PolicyProposed(policy="profile: operate\n", author="ops"))
    assert len(site.told("policy.proposed")) == 1
    await site.gate.heard(PolicyProposed(policy=None, author="ops"))
    assert site.kept.proposal() is None


@pytest.mark.attack(22)
async def test_a_tightening_narrows_and_its_end_is_the_sites_policy_again(site: Guarded) -> None:
    site.policy("profile: provision\nquotas: {at_a_time: {machines: 10}}\n")
    wide = Tightening(
        commands=CommandBounds(allow=("read", "change", "destroy")),
        quotas=Quotas(at_a_time=Amounts(machines=1000)),
        targets=TargetBounds(allow=("*",)),
    )
    await site.gate.heard(PolicyTightened(tightening=wide))
    assert "policy, profile" in await site.refused(a_delete(uuid4()))
    await site.refused(an_apply(spec=a_wish(workers=20)))
    await site.gate.heard(PolicyTightened(tightening=Tightening(commands=CommandBounds(deny=("change",)))))
    assert "the console's own tightening, commands.deny" in await site.refused(an_apply())
    await site.gate.heard(PolicyTightened(tightening=None))
    await site.accept(an_apply())


async def test_a_damaged_tightening_allows_nothing(site: Guarded) -> None:
    site.policy("profile: operate\n")
    (site.kept.directory / "tightening.json").write_text("{}{")
    assert "tightening" in await site.waits(a_read())


async def test_the_console_is_told_hash_and_profile_and_no_more(site: Guarded) -> None:
    site.policy("profile: operate\nvsphere: {accounts: [very-secret-place]}\n")
    site.kept.pause()
    standing = site.kept.standing()
    assert standing.profile == "operate"
    assert standing.sha256 == reading.parse(site.kept.file.path.read_bytes(), name="p").sha256
    assert standing.paused
    assert "secret" not in standing.model_dump_json()
    site.policy("profile: nobody\n")
    assert (site.kept.standing().sha256, site.kept.standing().profile) == (None, "unreadable")


async def test_a_flood_of_refusals_does_not_push_older_lines_out_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "REFUSALS_AT_ONCE", 5.0)
    async with guarded_in(tmp_path) as site:
        for _ in range(25):
            await site.refused(an_apply())
        assert len(site.told("command.refused")) == 5
        site.clock.seconds += 1.0
        await site.refused(an_apply())
        assert site.told("command.refused")[-1].facts["untold"] == 20


async def test_profiles_are_written_as_the_shortest_file(site: Guarded) -> None:
    for profile in Profile:
        site.kept.file.write(reading.of_profile(profile))
        assert site.kept.file.read().policy.profile is profile


async def delivered(site: Guarded, inbox: Inbox, command: Command) -> str:
    """Return the word that answers the delivery of a command."""
    message = Deliver(command_id=command.id, command=command.model_dump(mode="json"))
    return (await site.gate.answer(message, inbox)).type


async def test_nothing_overtakes_a_command_of_the_same_resource_that_waits_for_a_yes(site: Guarded) -> None:
    site.policy("profile: operate\ndestroy: {needs: approval}\n")
    inbox = Inbox(site.journal, protocol=3)
    delete, later, other = a_delete(CLUSTERS[0]), an_apply(CLUSTERS[0]), an_apply(CLUSTERS[1])
    assert await delivered(site, inbox, delete) == "deferred"
    assert await delivered(site, inbox, later) == "deferred"
    assert await delivered(site, inbox, other) == "accepted"
    site.kept.approve(delete.id, by="root", now=site.clock.now())
    assert await delivered(site, inbox, delete) == "accepted"
    assert await delivered(site, inbox, later) == "accepted"


async def test_what_the_inbox_puts_off_is_not_counted(site: Guarded) -> None:
    site.policy("profile: operate\ndestroy: {needs: approval}\nquotas: {at_a_time: {machines: 3}}\n")
    inbox = Inbox(site.journal, protocol=3)
    assert await delivered(site, inbox, a_delete(CLUSTERS[0])) == "deferred"
    assert await delivered(site, inbox, an_apply(CLUSTERS[0])) == "deferred"
    assert await delivered(site, inbox, an_apply(CLUSTERS[1])) == "accepted"


async def test_a_refused_command_holds_back_no_other(site: Guarded) -> None:
    site.policy("profile: operate\ndestroy: {needs: approval}\n")
    inbox = Inbox(site.journal, protocol=3)
    delete, later = a_delete(CLUSTERS[0]), an_apply(CLUSTERS[0])
    assert await delivered(site, inbox, delete) == "deferred"
    site.policy("profile: provision\n")
    assert await delivered(site, inbox, delete) == "rejected"
    assert await delivered(site, inbox, later) == "accepted"


async def test_a_console_that_knows_no_other_word_is_told_that_what_waits_is_rejected(site: Guarded) -> None:
    site.kept.pause()
    assert await delivered(site, Inbox(site.journal, protocol=2), a_read()) == "rejected"


async def test_what_is_no_command_is_rejected_as_such(site: Guarded) -> None:
    answer = await site.gate.answer(Deliver(command_id=UUID(int=1), command={"x": 1}), Inbox(site.journal, protocol=3))
    assert isinstance(answer, Rejected)
    assert answer.problem.code == "command.not_understood"
