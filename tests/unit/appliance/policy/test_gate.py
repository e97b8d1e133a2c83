"""This file is the promises of the gate: what is forbidden is not accepted, not begun, and is in the audit log."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.appliance.audit import AuditNotWrittenError
from gateway.appliance.policy import gate
from gateway.appliance.policy.gate import Gate, PolicyRefusedError, PolicyWaitsError
from gateway.audit.lines import Act
from gateway.commands.inbox import Inbox
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandChangedError
from gateway.contract.events import CommandOutcome
from gateway.contract.messages import Deliver, Rejected
from gateway.contract.policy import PolicyProposed
from gateway.contract.version import PROTOCOL
from gateway.identity import approval
from tests.fakes.clock import HandClock
from tests.fakes.wishes import a_delete, a_read, an_apply
from tests.unit.appliance.policy.guarded import GATEWAY, Guarded, guarded_in
from tests.unit.appliance.policy.policies import CLUSTERS


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded_in(tmp_path) as guarded:
        yield guarded


async def test_a_new_appliance_observes_and_no_more(site: Guarded) -> None:
    await site.accept(a_read())
    assert "profile observe allows control, read" in await site.refused(an_apply())
    with pytest.raises(PolicyRefusedError):
        await site.gate.check_stream("web", "auto")


async def test_what_is_accepted_and_what_is_refused_is_in_the_audit_log(site: Guarded) -> None:
    read, apply = a_read(), an_apply()
    await site.accept(read)
    message = await site.refused(apply)
    assert [act.facts["command"] for act in site.told("command.allowed")] == [str(read.id)]
    (refused,) = site.told("command.refused")
    assert (refused.facts["command"], refused.facts["kind"]) == (str(apply.id), "cluster.apply")
    assert refused.facts["message"] == message


async def test_each_rule_that_is_against_a_command_is_told_to_the_console(site: Guarded) -> None:
    site.policy("profile: operate\nvsphere: {accounts: [x], templates: [y]}\n")
    with pytest.raises(PolicyRefusedError) as caught:
        await site.accept(an_apply())
    problem = gate.problem_of_refusal(caught.value)
    assert problem.code == "policy.refused"
    assert [fault.where for fault in problem.faults] == [["site", "vsphere.accounts"], ["site", "vsphere.templates"]]


async def test_what_was_accepted_is_answered_again_whatever_the_policy_says_now(site: Guarded) -> None:
    site.policy("profile: operate\n")
    command = an_apply()
    await site.accept(command)
    site.policy("profile: observe\n")
    await site.accept(command)
    with pytest.raises(CommandChangedError):
        await site.accept(command.model_copy(update={"author": "mallory"}))


async def test_a_command_is_judged_again_when_it_begins(site: Guarded) -> None:
    site.policy("profile: operate\n")
    command = an_apply()
    await site.accept(command)
    site.policy("profile: observe\n")
    ended = await site.carried_out(command)
    assert ended.outcome is CommandOutcome.REFUSED
    assert ended.problem is not None
    assert ended.problem.code == "policy.refused"
    assert len(site.told("command.refused")) == 1


async def test_what_waits_in_the_queue_is_begun_though_its_own_wish_fills_the_quota(site: Guarded) -> None:
    site.policy("profile: operate\nquotas: {at_a_time: {machines: 3}}\n")
    command = an_apply()
    await site.accept(command)
    assert (await site.carried_out(command)).outcome is CommandOutcome.SUCCEEDED
    await site.refused(an_apply())


async def test_a_quota_that_was_lowered_meanwhile_is_looked_at_when_a_command_begins(site: Guarded) -> None:
    site.policy("profile: operate\n")
    command = an_apply()
    await site.accept(command)
    site.policy("profile: operate\nquotas: {at_a_time: {machines: 2}}\n")
    assert (await site.carried_out(command)).outcome is CommandOutcome.REFUSED


async def test_a_quota_is_free_again_once_the_cluster_is_deleted_and_not_before(site: Guarded) -> None:
    site.policy("profile: operate\nquotas: {at_a_time: {machines: 3}}\n")
    first, delete, second = an_apply(CLUSTERS[0]), a_delete(CLUSTERS[0]), an_apply(CLUSTERS[1])
    await site.accept(first)
    await site.carried_out(first)
    await site.accept(delete)
    await site.refused(second)
    await site.carried_out(delete)
    await site.accept(second)


async def test_what_is_counted_survives_a_restart(tmp_path: Path) -> None:
    first, second = an_apply(CLUSTERS[0]), an_apply(CLUSTERS[1])
    async with guarded_in(tmp_path) as site:
        site.policy("profile: operate\nquotas: {at_a_time: {machines: 3}}\n")
        await site.accept(first)
    async with guarded_in(tmp_path) as site:
        await site.refused(second)


async def test_a_cut_between_counting_and_accepting_makes_no_room_and_the_same_command_is_taken(
    tmp_path: Path,
) -> None:
    first, second = an_apply(CLUSTERS[0]), an_apply(CLUSTERS[1])
    async with guarded_in(tmp_path) as site:
        site.policy("profile: operate\nquotas: {at_a_time: {machines: 3}, in_total: {machines: 3}}\n")
        counting = site.gate.admitting(first)
        await counting.__aenter__()  # the power goes here: nothing after this is done
    async with guarded_in(tmp_path) as site:
        await site.refused(second)
        await site.accept(first)
        assert (await site.carried_out(first)).outcome is CommandOutcome.SUCCEEDED


async def test_what_the_journal_does_not_take_is_not_counted(site: Guarded) -> None:
    site.policy("profile: operate\nquotas: {at_a_time: {machines: 3}}\n")
    with pytest.raises(TimeoutError):
        async with site.gate.admitting(an_apply()):
            raise TimeoutError
    await site.accept(an_apply())


async def test_a_damaged_policy_lets_commands_wait_until_it_is_mended(site: Guarded) -> None:
    command = a_read()
    site.policy("profile: nobody\n")
    assert "policy is damaged" in await site.waits(command)
    site.policy("profile: observe\n")
    await site.accept(command)


async def test_a_command_that_begins_waits_for_a_damaged_policy_to_be_mended(site: Guarded) -> None:
    site.policy("profile: operate\n")
    command = an_apply()
    await site.accept(command)
    site.policy("profile: nobody\n")

    async def mend(seconds: float) -> None:
        site.policy("profile: operate\n")

    site.clock.sleep = mend  # type: ignore[method-assign]
    assert (await site.carried_out(command)).outcome is CommandOutcome.SUCCEEDED


@pytest.mark.attack(29)
async def test_a_damaged_count_lets_commands_wait_and_is_left_as_it_is(site: Guarded) -> None:
    site.policy("profile: operate\n")
    site.kept.usage.write_text("{")
    assert "is damaged" in await site.waits(an_apply())
    assert site.kept.usage.read_text() == "{"


@pytest.mark.attack(29)
async def test_nothing_is_accepted_that_cannot_be_in_the_audit_log(tmp_path: Path) -> None:
    def full(_: Sequence[Act]) -> None:
        raise AuditNotWrittenError("the disk is full")

    clock = HandClock()
    async with Journal.open(tmp_path / "journal.db", clock=clock) as journal:
        made = Gate(tmp_path, journal, gateway=GATEWAY, append=full, clock=clock)
        with pytest.raises(PolicyWaitsError, match="the disk is full"):
            async with made.admitting(a_read()):
                pytest.fail("it was let through")


async def test_a_paused_site_accepts_nothing_and_goes_on_with_what_it_has(site: Guarded) -> None:
    site.policy("profile: operate\n")
    before, after = an_apply(CLUSTERS[0]), an_apply(CLUSTERS[1])
    await site.accept(before)
    site.kept.pause()
    assert "pcg appliance resume" in await site.waits(after)
    assert (await site.carried_out(before)).outcome is CommandOutcome.SUCCEEDED
    site.kept.resume()
    await site.accept(after)


async def test_to_destroy_waits_for_a_yes_on_the_appliance(site: Guarded) -> None:
    site.policy("profile: operate\ndestroy: {needs: approval}\n")
    delete = a_delete(uuid4())
    assert "pcg appliance approve" in await site.waits(delete)
    await site.waits(delete)
    assert len(site.told("command.waits")) == 1
    site.kept.approve(delete.id, by="root", now=site.clock.now())
    await site.accept(delete)
    await site.carried_out(delete)
    assert site.kept.waiting() == []


@pytest.mark.attack(22)
async def test_a_console_with_all_its_keys_destroys_nothing_without_the_sites_signature(site: Guarded) -> None:
    alice, mallory = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    site.policy(f"profile: operate\ndestroy: {{needs: signature, keys: {{alice: {approval.public_text(alice)}}}}}\n")
    delete, soon = a_delete(uuid4()), site.clock.now() + timedelta(hours=1)
    forged = approval.sign(mallory, delete, gateway=GATEWAY, expires=soon)
    stolen = approval.sign(alice, a_delete(uuid4()), gateway=GATEWAY, expires=soon)
    elsewhere = approval.sign(alice, delete, gateway=uuid4(), expires=soon)
    for bad in (forged, stolen, elsewhere, forged.model_copy(update={"key": approval.public_text(alice)})):
        with pytest.raises(PolicyWaitsError, match="needs 1 signatures of alice; there are none"):
            await site.accept(delete, approvals=[bad])
    assert {act.facts["command"] for act in site.told("approval.refused")} == {str(delete.id)}
    await site.accept(delete, approvals=[approval.sign(alice, delete, gateway=GATEWAY, expires=soon)])


async def test_what_the_inbox_rejects_is_in_the_audit_log_too(site: Guarded) -> None:
    site.policy("profile: operate\n")
    inbox, command = Inbox(site.journal, PROTOCOL), an_apply()
    await site.gate.answer(delivery(command.model_dump(mode="json")), inbox)
    changed = command.model_copy(update={"author": "mallory"})
    for document, code in (
        ({"id": str(command.id), "kind": "from the future"}, "command.not_understood"),
        (changed.model_dump(mode="json"), CommandChangedError.code),
    ):
        answer = await site.gate.answer(delivery(document), inbox)
        assert isinstance(answer, Rejected)
        assert answer.problem.code == code
        refused = site.told("command.refused")[-1].facts
        assert (refused["command"], refused["code"]) == (document["id"], code)


def delivery(document: dict[str, object]) -> Deliver:
    return Deliver(command_id=UUID(str(document["id"])), command=document)


async def test_a_proposal_that_cannot_be_read_is_refused_in_the_audit_log(site: Guarded) -> None:
    await site.gate.heard(PolicyProposed(policy="profile: no\x1b[2Jne\n", author="ada"))
    (told,) = site.told("policy.proposed")
    assert (told.outcome, told.facts["author"]) == ("refused", "ada")
