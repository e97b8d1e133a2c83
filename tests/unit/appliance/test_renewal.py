"""This file is the promises of renewal: when it is due, and how it goes over the command channel."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.appliance import renewal
from gateway.appliance.identity import Identity
from gateway.appliance.renewal import AGAIN_AFTER, Turnover, due, moment, spread_of
from gateway.contract.identity import Granted, Renew, RenewalRefused, Renewed
from gateway.contract.messages import ReportEvents
from gateway.contract.problems import Problem
from gateway.identity import joinstate
from gateway.identity.authority import gateway_of
from gateway.kit.errors import Remedy
from tests.unit.appliance.conversation import Conversation, Talk, conversation
from tests.unit.appliance.test_link import write_events

STARTS = st.datetimes(datetime(1970, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
LIVES = st.timedeltas(timedelta(minutes=1), timedelta(days=4000))
SPREADS = st.floats(0, 1, exclude_max=True)


@given(began=STARTS, life=LIVES, spread=SPREADS)
def test_a_certificate_is_renewed_at_half_of_its_life_give_or_take_a_tenth(
    began: datetime, life: timedelta, spread: float
) -> None:
    when = moment(began, began + life, spread=spread)
    assert 0.4 * life - timedelta(milliseconds=1) <= when - began <= 0.6 * life + timedelta(milliseconds=1)


@given(began=STARTS, life=LIVES, spread=SPREADS, at=st.floats(-2, 3))
def test_it_is_due_from_that_moment_on_and_not_before(
    began: datetime, life: timedelta, spread: float, at: float
) -> None:
    now = began + at * life
    assert due(began, began + life, now=now, spread=spread) == (now >= moment(began, began + life, spread=spread))
    assert due(began, began + life, now=began + life, spread=spread)
    assert not due(began, began + life, now=began, spread=spread)


@given(spread=SPREADS, other=SPREADS)
def test_a_crowd_that_was_paired_at_one_moment_does_not_renew_at_one(spread: float, other: float) -> None:
    began, life = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=7)
    apart = moment(began, began + life, spread=spread) - moment(began, began + life, spread=other)
    assert apart / life == pytest.approx(0.2 * (spread - other), abs=1e-6)


async def test_turning_over_wakes_whoever_called_before_it_and_nobody_else() -> None:
    turnover = Turnover()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(turnover.after(turnover.number))
        await asyncio.sleep(0)
        assert not waiting.done()
        turnover.turn()
    await turnover.after(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await turnover.after(1)


def half_over(identity: Identity) -> datetime:
    """Return a time of the console at which the certificate is to be renewed."""
    certificate = identity.certificate()
    life = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return moment(*life, spread=spread_of(certificate)) + timedelta(seconds=1)


async def asked(talks: Conversation, talk: Talk) -> Renew:
    await talk.welcome(protocol=3, server_time=half_over(talks.identity))
    return await talk.hear(Renew)


def granted(talks: Conversation, renew: Renew) -> Granted:
    gateway = talks.identity.member().gateway_id
    return talks.console.grant(renew.request, gateway, number=renew.join_number + 1)


def shown(talk: Talk) -> int:
    return gateway_of(talk.channel.peer_certificate)[1]


async def test_the_next_certificate_is_asked_for_with_a_proof_of_the_last_join_state(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        join = talks.identity.member().join
        renew = await asked(talks, await talks.called())
        assert renew.join_number == join.number
        assert joinstate.proved(joinstate.key_of(join), renew.request.encode(), renew.join_proof)
        assert join.ticket.get_secret_value() not in renew.model_dump_json()


async def test_the_next_call_is_made_with_the_new_certificate_before_the_last_is_left(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        first = await talks.called()
        renew = await asked(talks, first)
        await first.say(Renewed(granted=granted(talks, renew)))
        second = await talks.called()
        assert shown(second) != shown(first)
        await write_events(talks.journal, 1)
        assert (await first.hear(ReportEvents)).events, "the last call goes on until the next was welcomed"
        await second.welcome(protocol=3, server_time=talks.console.now)
        await first.ended()
        await write_events(talks.journal, 1)
        assert (await second.hear(ReportEvents)).events


async def test_the_last_call_goes_on_while_the_next_does_not_come_about(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        first = await talks.called()
        renew = await asked(talks, first)
        await first.say(Renewed(granted=granted(talks, renew)))
        for _ in range(3):
            (await talks.called()).cut()
        await write_events(talks.journal, 1)
        assert (await first.hear(ReportEvents)).events
        await (await talks.called()).welcome(protocol=3, server_time=talks.console.now)
        await first.ended()


async def test_an_answer_that_was_lost_is_asked_for_with_the_same_request(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        first = await asked(talks, talk)
        talk.cut()
        again = await asked(talks, await talks.called())
    assert again.request == first.request
    assert (again.join_number, again.join_proof) == (first.join_number, first.join_proof)


async def test_a_refusal_changes_nothing_and_is_asked_again_hours_later(tmp_path: Path) -> None:
    problem = Problem(code="renewal.refused", message="not now", remedy=Remedy.RETRY)
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        before = talks.identity.member()
        with capture_logs() as said:
            first = await asked(talks, talk)
            at = talks.clock.monotonic()
            await talk.say(RenewalRefused(problem=problem))
            again = await talk.hear(Renew)
        assert talks.clock.monotonic() - at >= AGAIN_AFTER
        assert again.request == first.request
        known = talks.identity.member()
        assert (known.certificate, known.join) == (before.certificate, before.join)
    assert any(one.get("code") == "renewal.refused" for one in said)


async def test_a_console_that_does_not_answer_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "ANSWER_LIMIT", 0.01)
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        first = await asked(talks, talk)
        assert (await talk.hear(Renew)).request == first.request


async def test_a_certificate_for_another_key_is_not_taken(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        before = talks.identity.member().certificate
        renew = await asked(talks, talk)
        wrong = granted(talks, renew).model_copy(update={"certificate": talks.console.authority.root})
        await talk.say(Renewed(granted=wrong))
        assert (await talk.hear(Renew)).request == renew.request
        assert talks.identity.member().certificate == before
        assert talks.console.calls.empty()


async def test_a_grant_that_nobody_has_asked_for_changes_nothing(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome(protocol=3, server_time=talks.console.now)
        before = talks.identity.member()
        grant = talks.console.grant(talks.identity.next_request(), before.gateway_id)
        await talk.say(Renewed(granted=grant))
        await write_events(talks.journal, 1)
        await talk.hear(ReportEvents)
        assert talks.identity.member().certificate == before.certificate


async def test_a_console_of_version_2_is_not_asked(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talks:
        talk = await talks.called()
        await talk.welcome(protocol=2, server_time=half_over(talks.identity))
        await write_events(talks.journal, 1)
        await talk.hear(ReportEvents)
