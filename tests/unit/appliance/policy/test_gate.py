"""This file is the promises of the gate: what is forbidden is not accepted, not begun, and is in the audit log."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.appliance import auditlines
from gateway.appliance.audit import AuditLog, AuditNotWrittenError
from gateway.appliance.auditlines import Act
from gateway.appliance.policy import book, gate, reading
from gateway.appliance.policy.gate import Gate, PolicyRefusedError, PolicyWaitsError
from gateway.appliance.policy.kept import Kept, NoProposalError
from gateway.commands.executor import Executor
from gateway.commands.inbox import Inbox
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandChangedError
from gateway.commands.work import Work
from gateway.contract.commands import Command
from gateway.contract.events import CommandEnded, CommandOutcome
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
from gateway.identity import approval
from gateway.kit import supervise
from gateway.kit.errors import GatewayError
from tests.fakes.clock import HandClock
from tests.fakes.wishes import a_delete, a_read, an_apply
from tests.unit.appliance.policy.policies import CLUSTERS, a_wish

GATEWAY = UUID(int=7)


@dataclass
class Guarded:
    """A gate before a journal, with the audit log both write."""

    gate: Gate
    journal: Journal
    audit: AuditLog
    clock: HandClock

    @property
    def kept(self) -> Kept:
        return self.gate.kept

    def policy(self, text: str) -> None:
        self.kept.file.write(text.encode())

    async def accept(self, command: Command, **more: object) -> None:
        async with self.gate.admitting(command, **more):  # type: ignore[arg-type]
            await self.journal.accept(command)

    async def refused(self, command: Command) -> str:
        with pytest.raises(PolicyRefusedError) as caught:
            await self.accept(command)
        assert self.journal.ledger.get(command.id) is None
        return caught.value.message

    async def waits(self, command: Command) -> str:
        with pytest.raises(PolicyWaitsError) as caught:
            await self.accept(command)
        assert self.journal.ledger.get(command.id) is None
        return caught.value.message

    async def carried_out(self, command: Command, *, error: GatewayError | None = None) -> CommandEnded:
        """Carry a command out, well or badly, and return how it ended, once that is counted."""

        async def handler(_: Command, __: Work) -> None:
            if error is not None:
                raise error

        executor = Executor(self.journal, self.gate.guarding(handler), clock=self.clock)
        async with supervise.running(executor=executor.run(), gate=self.gate.run()), asyncio.timeout(10):
            while command.id in book.read(self.kept.usage).wishes or command.id in self.journal.open_commands():
                async with self.journal.changed:
                    await asyncio.sleep(0.001)
        events = await self.journal.events_after(0, limit=100)
        return next(one.body for one in events if one.command_id == command.id and isinstance(one.body, CommandEnded))

    def told(self, action: str) -> list[Act]:
        entries = [auditlines.parsed(line) for _, line in self.audit.lines()]
        return [one.act for one in entries if one is not None and one.act.action == action]


@asynccontextmanager
async def guarded_in(directory: Path) -> AsyncIterator[Guarded]:
    clock = HandClock()
    audit = AuditLog(directory, clock=clock)
    async with Journal.open(directory / "journal.db", clock=clock) as journal:
        made = Gate(directory, journal, gateway=GATEWAY, append=audit.append, clock=clock)
        yield Guarded(made, journal, audit, clock)


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
    await site.accept(delete, approvals=[approval.sign(alice, delete, gateway=GATEWAY, expires=soon)])


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
