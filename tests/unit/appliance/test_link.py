"""This file is the promises of the link: the real tunnel and journal, and a console that follows a script."""

import asyncio
import sqlite3
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

import gateway
from gateway.appliance import greeting, link
from gateway.appliance.greeting import JournalBehindError
from gateway.commands.disk import Batch
from gateway.commands.executor import Executor
from gateway.commands.journal import Journal
from gateway.commands.ledger import CommandState
from gateway.commands.sqlitedisk import SqliteDisk
from gateway.commands.work import Work
from gateway.contract.commands import Command
from gateway.contract.events import StepProgress
from gateway.contract.messages import Accepted, Deliver, Hello, Offers, Rejected, ReportEvents, Welcome
from gateway.contract.streams import OfferedTarget
from gateway.contract.version import PROTOCOL
from gateway.identity.grants import GrantKey
from gateway.kit import supervise
from tests.fakes.wishes import WHEN, an_apply
from tests.unit.appliance.conversation import conversation


async def write_events(journal: Journal, count: int) -> None:
    """Write events of a command that was accepted before."""
    command = uuid4()
    for number in range(count):
        await journal.write([], [(command, StepProgress(step="s", message=f"{number}"))])


async def test_the_appliance_says_who_it_is_and_what_it_will_say_next(tmp_path: Path) -> None:
    boot = uuid4()
    async with conversation(tmp_path, boot_id=boot, accounts=lambda: ["a", "b"]) as talks:
        talk = await talks.called()
        hello = await talk.welcome()
    assert (hello.protocol, hello.software, hello.boot_id) == (PROTOCOL, gateway.__version__, boot)
    assert (hello.accounts, hello.next_event) == (["a", "b"], 1)


async def test_accepted_is_said_only_when_the_command_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, order = an_apply(), []
    store, say = SqliteDisk._store, link.say

    def storing(self: SqliteDisk, batch: Batch) -> None:
        store(self, batch)
        order.append("stored")

    async def saying(channel: object, message: object) -> None:
        if isinstance(message, Accepted):
            order.append("said")
        await say(channel, message)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteDisk, "_store", storing)
    monkeypatch.setattr(link, "say", saying)
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome()
        await talk.deliver(command)
        assert (await talk.hear(Accepted)).command_id == command.id
        with sqlite3.connect(tmp_path / "state" / "journal.db") as disk:
            assert disk.execute("SELECT command_id FROM entries").fetchall() == [(str(command.id),)]
        disk.close()
    assert order == ["stored", "said"]


async def test_a_command_that_cannot_be_written_is_not_accepted_and_is_taken_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, store = an_apply(), SqliteDisk._store
    full = True

    def failing(self: SqliteDisk, batch: Batch) -> None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        store(self, batch)

    monkeypatch.setattr(SqliteDisk, "_store", failing)
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome()
        await talk.deliver(command)
        await talk.ended()
        full = False
        talk = await talks.called()
        await talk.welcome()
        await talk.deliver(command)
        assert (await talk.hear(Accepted)).command_id == command.id


async def test_a_command_sent_twice_is_answered_twice_and_run_once(tmp_path: Path) -> None:
    command, runs = an_apply(), []

    async def handler(command: Command, work: Work) -> None:
        runs.append(command.id)

    async with conversation(tmp_path) as talks:
        executor = Executor(talks.journal, handler, clock=talks.clock)
        async with supervise.running(executor=executor.run()):
            talk = await talks.called()
            await talk.welcome()
            await talk.deliver(command)
            await talk.deliver(command)
            accepted = 0
            async with asyncio.timeout(10):
                while accepted < 2 or talks.journal.ledger.record(command.id).state is not CommandState.ENDED:
                    accepted += '"accepted"' in await talk.channel.receive()
    assert runs == [command.id]


async def test_a_command_sent_again_after_a_cut_is_answered_again(tmp_path: Path) -> None:
    command = an_apply()
    async with conversation(tmp_path) as talks:
        for _ in range(2):
            talk = await talks.called()
            await talk.welcome()
            await talk.deliver(command)
            assert (await talk.hear(Accepted)).command_id == command.id
            talk.cut()
        assert len(list(talks.journal.ledger)) == 1


@pytest.mark.parametrize("broken", [{}, {"task": {"kind": "cluster.explode"}}, {"unknown": 1}], ids=str)
async def test_a_command_not_understood_is_rejected_by_name_and_the_link_lives_on(
    tmp_path: Path, broken: dict[str, object]
) -> None:
    good = an_apply()
    bad = {**good.model_dump(mode="json"), **broken} if broken else {}
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome()
        asked = uuid4()
        await talk.say(Deliver(command_id=asked, command=bad))
        rejected = await talk.hear(Rejected)
        assert (rejected.command_id, rejected.problem.code) == (asked, "command.not_understood")
        await talk.deliver(good)
        assert (await talk.hear(Accepted)).command_id == good.id


async def test_a_rejection_does_not_repeat_what_was_sent(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome()
        await talk.say(Deliver(command_id=uuid4(), command={"id": "hunter2" * 3}))
        assert "hunter2" not in (await talk.hear(Rejected)).model_dump_json()


async def test_another_command_under_a_known_id_is_rejected(tmp_path: Path) -> None:
    command = an_apply()
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome()
        await talk.deliver(command)
        await talk.hear(Accepted)
        await talk.deliver(command.model_copy(update={"author": "somebody else"}))
        assert (await talk.hear(Rejected)).problem.code == "command.changed"


async def test_after_a_cut_events_go_on_from_what_was_acknowledged(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        await write_events(talks.journal, 5)
        talk = await talks.called()
        await talk.welcome()
        assert [one.number for one in await talk.events(5)] == [1, 2, 3, 4, 5]
        await talk.acknowledge(3)
        talk.cut()
        await write_events(talks.journal, 2)
        talk = await talks.called()
        assert (await talk.welcome(acknowledged=3)).next_event in {6, 7, 8}, "it may call again between the two"
        assert [one.number for one in await talk.events(7)] == [4, 5, 6, 7]


async def test_over_many_cuts_no_event_is_lost_and_none_doubled_on_one_connection(tmp_path: Path) -> None:
    kept: list[int] = []
    async with conversation(tmp_path) as talks:
        for call in range(6):
            await write_events(talks.journal, 4)
            talk = await talks.called()
            await talk.welcome(acknowledged=kept[-1] if kept else 0)
            numbers = [one.number for one in await talk.events(4 * (call + 1))]
            assert numbers == sorted(set(numbers))
            kept += numbers[: call + 1]  # the rest is lost with the connection
            talk.cut()
    assert kept == list(range(1, len(kept) + 1))


async def test_an_event_is_sent_as_soon_as_it_is_written(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome()
        for number in (1, 2):
            await write_events(talks.journal, 1)
            assert [one.number for one in (await talk.hear(ReportEvents)).events] == [number]


async def test_what_is_acknowledged_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        await write_events(talks.journal, 2)
        talk = await talks.called()
        await talk.welcome()
        await talk.events(2)
        await talk.acknowledge(2)
        await talk.say(Deliver(command_id=uuid4(), command={}))
        await talk.hear(Rejected)  # messages are taken in order: the acknowledgement was too
    async with Journal.open(tmp_path / "state" / "journal.db", clock=talks.clock) as journal:
        assert journal.acknowledged == 2


async def test_a_console_that_knows_more_than_the_journal_is_not_talked_to(tmp_path: Path) -> None:
    assert JournalBehindError.code == "journal.behind"
    async with conversation(tmp_path) as talks:
        await write_events(talks.journal, 2)
        talk = await talks.called()
        with capture_logs() as said:
            await talk.welcome(acknowledged=3)
            await talk.ended()
            await talks.called()
        assert talks.journal.acknowledged == 0
    assert any("JournalBehindError" in str(one.get("error")) and "event 3" in str(one["error"]) for one in said)


@pytest.mark.parametrize("protocol", [PROTOCOL + 1, 99])
async def test_a_protocol_this_appliance_does_not_speak_ends_the_talk(tmp_path: Path, protocol: int) -> None:
    async with conversation(tmp_path) as talks:
        await write_events(talks.journal, 1)
        talk = await talks.called()
        with capture_logs() as said:
            await talk.welcome(protocol=protocol)
            await talk.ended()
            await talks.called()
    assert any("no protocol version" in str(one.get("error")) for one in said)


async def test_a_protocol_that_is_too_old_ends_the_talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "PROTOCOL", 3)
    monkeypatch.setattr(greeting, "OLDEST_SPOKEN", 2)
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        assert (await talk.welcome(protocol=1)).protocol == 3
        await talk.ended()
        talk = await talks.called()
        await talk.welcome(protocol=2)
        await write_events(talks.journal, 1)
        await talk.events(1)


@pytest.mark.parametrize(
    "garbage", ["", "nonsense", "{}", '{"type": "explode"}', '{"type": "acknowledge"}', "[" * 5000]
)
async def test_garbage_ends_the_talk_and_the_appliance_calls_again(tmp_path: Path, garbage: str) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome()
        await talk.channel.send(garbage)
        await talk.ended()
        talk = await talks.called()
        await talk.welcome()
        await write_events(talks.journal, 1)
        await talk.events(1)


async def test_a_second_welcome_is_not_taken(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome()
        await talk.say(Welcome(protocol=1, server_time=WHEN, acknowledged=0))
        await talk.ended()


async def test_a_command_before_the_welcome_is_not_taken(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.hear(Hello)
        await talk.deliver(an_apply())
        await talk.ended()
        assert list(talks.journal.ledger) == []


async def test_a_console_that_never_welcomes_is_left_and_called_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greeting, "WELCOME_LIMIT", 0.05)
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.hear(Hello)
        await talk.ended()
        await (await talks.called()).welcome()


async def test_targets_are_offered_at_once_and_again_when_they_change(tmp_path: Path) -> None:
    targets = [OfferedTarget(id="vc", kind="vcenter")]
    async with conversation(tmp_path, targets=lambda: list(targets)) as talks:
        talk = await talks.called()
        hello = await talk.welcome(protocol=2)
        targets.append(OfferedTarget(id="shell", kind="ssh"))
        offers = await talk.hear(Offers)
    assert [one.id for one in hello.targets] == ["vc"]
    assert (offers.accounts, [one.id for one in offers.targets]) == (["main"], ["vc", "shell"])


async def test_an_account_added_later_is_offered_without_a_restart(tmp_path: Path) -> None:
    accounts = ["main"]
    async with conversation(tmp_path, accounts=lambda: list(accounts)) as talks:
        talk = await talks.called()
        await talk.welcome(protocol=2)
        accounts.append("second")
        assert (await talk.hear(Offers)).accounts == ["main", "second"]


async def test_a_console_of_version_1_hears_no_offers(tmp_path: Path) -> None:
    targets = [OfferedTarget(id="vc", kind="vcenter")]
    async with conversation(tmp_path, targets=lambda: list(targets)) as talks:
        talk = await talks.called()
        await talk.welcome(protocol=1)
        targets.clear()
        await talks.journal.accept(an_apply())
        await write_events(talks.journal, 1)
        await talk.hear(ReportEvents)


async def test_the_grant_key_is_handed_over_with_the_welcome(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        key = GrantKey.new().public_text
        await talk.welcome(protocol=2, grant_key=key)
        command = an_apply()
        await talk.deliver(command)
        await talk.hear(Accepted)
        assert [welcome.grant_key for welcome in talks.welcomes] == [key]


async def test_a_time_of_the_console_that_does_not_hold_is_asked_for_again(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        for _ in range(2):
            talk = await talks.called()
            await talk.welcome()
            await talk.deliver(an_apply())
            await talk.hear(Accepted)
            talks.time.stale.set()
            await talk.ended()
        await (await talks.called()).welcome()
