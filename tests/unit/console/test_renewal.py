"""This file is what renewal promises, over the real tunnel: one living certificate, and no copy gets the next."""

from datetime import timedelta

import pytest

from gateway.console.relay import OVER, REFUSED, TRY_LATER
from gateway.contract.identity import RenewalRefused, Renewed
from gateway.identity import keys
from gateway.identity.authority import certificate_request
from tests.fakes.console import Console, Line, paired_appliance
from tests.unit.console.copies import IDENTITY, conditions, gateway, holding, join_of, renewal, renewed
from tests.unit.console.reaching import entries
from tests.unit.console.test_relay import closed


async def test_the_next_certificate_is_good_and_the_present_one_is_until_that_is_used(console: Console) -> None:
    appliance = await paired_appliance(console)
    before = (await gateway(console))["certificate_serial"]
    key = keys.new_key()
    async with appliance.connected(protocol=IDENTITY) as line:
        granted = await renewed(line, join_of(appliance), key)
    async with appliance.connected(protocol=IDENTITY):
        assert (await gateway(console))["certificate_serial"] == before
    async with holding(appliance, granted, key).connected(protocol=IDENTITY):
        assert (await gateway(console))["certificate_serial"] != before
    async with appliance.dialled() as channel:
        assert await closed(Line(appliance, channel)) == TRY_LATER

    assert granted.join.number == join_of(appliance).number + 1


async def test_who_lost_the_answer_asks_again_and_gets_the_same(console: Console) -> None:
    appliance = await paired_appliance(console)
    question = renewal(join_of(appliance), certificate_request(keys.new_key()))
    answers = []
    for _ in range(2):
        async with appliance.connected(protocol=IDENTITY) as line:
            await line.say(question)
            answers.append((await line.hear(Renewed)).granted)

    assert answers[0] == answers[1]
    assert await conditions(console) == []


async def test_renewals_follow_each_other_for_years(console: Console) -> None:
    appliance = await paired_appliance(console)
    for _ in range(5):
        key = keys.new_key()
        async with appliance.connected(protocol=IDENTITY) as line:
            appliance = holding(appliance, await renewed(line, join_of(appliance), key), key)

    async with appliance.connected(protocol=IDENTITY) as line:
        await line.settle()
    assert join_of(appliance).number == 6
    assert await conditions(console) == []


async def test_the_console_keeps_nothing_that_proves_a_join_state(console: Console) -> None:
    appliance = await paired_appliance(console)
    key = keys.new_key()
    async with appliance.connected(protocol=IDENTITY) as line:
        granted = await renewed(line, join_of(appliance), key)

    kept = b"".join(path.read_bytes() for path in console.settings.state.glob("console.sqlite*"))
    for join in (join_of(appliance), granted.join):
        ticket = join.ticket.get_secret_value()
        assert ticket.encode() not in kept
        assert bytes.fromhex(ticket) not in kept


@pytest.mark.attack(6)
async def test_an_old_certificate_is_refused_and_told_and_the_living_session_goes_on(console: Console) -> None:
    appliance = await paired_appliance(console)
    key = keys.new_key()
    async with appliance.connected(protocol=IDENTITY) as line:
        granted = await renewed(line, join_of(appliance), key)
    async with holding(appliance, granted, key).connected(protocol=IDENTITY) as living:
        console.clock.ahead += timedelta(seconds=61)
        for _ in range(2):
            async with appliance.dialled() as channel:
                assert await closed(Line(appliance, channel)) == REFUSED
        await living.settle()

    shown = await gateway(console)
    assert [one["type"] for one in shown["conditions"]] == ["old-certificate-used"]
    assert "127.0.0.1" in shown["conditions"][0]["message"]
    assert shown["standing"] == "active"
    audited = await entries(console, "?action=gateway.old-certificate-used")
    assert [(one["actor"], one["gateway"]) for one in audited] == [("the console", "dc1")]


@pytest.mark.attack(6)
async def test_a_certificate_that_was_given_and_never_shown_dies_when_another_is_given(console: Console) -> None:
    appliance = await paired_appliance(console)
    first, second = keys.new_key(), keys.new_key()
    async with appliance.connected(protocol=IDENTITY) as line:
        granted = await renewed(line, join_of(appliance), first)
        await renewed(line, granted.join, second)
    console.clock.ahead += timedelta(seconds=61)

    async with holding(appliance, granted, first).dialled() as channel:
        assert await closed(Line(appliance, channel)) == REFUSED


@pytest.mark.attack(7)
async def test_of_two_copies_that_renew_the_second_is_found_out_and_both_are_shut_out(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as line:
        await renewed(line, join_of(appliance), keys.new_key())
        await line.say(renewal(join_of(appliance), certificate_request(keys.new_key())))
        assert (await line.hear(RenewalRefused)).problem.code == "gateway.cloned"
        assert await closed(line) == REFUSED

    shown = await gateway(console)
    assert (shown["standing"], [one["type"] for one in shown["conditions"]]) == ("quarantined", ["cloned"])
    async with appliance.dialled() as channel:
        assert await closed(Line(appliance, channel)) == REFUSED


async def test_a_proof_that_does_not_hold_gets_no_certificate_and_cuts_nobody(console: Console) -> None:
    appliance = await paired_appliance(console)
    question = renewal(join_of(appliance), certificate_request(keys.new_key()))
    async with appliance.connected(protocol=IDENTITY) as line:
        await line.say(question.model_copy(update={"join_proof": "0" * 64}))
        assert (await line.hear(RenewalRefused)).problem.code == "gateway.join_refused"
        await line.settle()

    assert await conditions(console) == ["join-proof-wrong"]


async def test_a_join_state_that_the_console_never_gave_is_told(console: Console) -> None:
    appliance = await paired_appliance(console)
    question = renewal(join_of(appliance), certificate_request(keys.new_key()))
    async with appliance.connected(protocol=IDENTITY) as line:
        await line.say(question.model_copy(update={"join_number": 99}))
        assert (await line.hear(RenewalRefused)).problem.code == "gateway.join_refused"

    assert await conditions(console) == ["join-state-ahead"]


async def test_a_request_that_is_none_is_refused_and_uses_nothing_up(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as line:
        await line.say(renewal(join_of(appliance), "no request"))
        assert (await line.hear(RenewalRefused)).problem.code == "identity.request_refused"
        await renewed(line, join_of(appliance), keys.new_key())


async def test_more_than_twenty_certificates_a_day_are_not_given(console: Console) -> None:
    appliance = await paired_appliance(console)
    question = renewal(join_of(appliance), certificate_request(keys.new_key()))
    async with appliance.connected(protocol=IDENTITY) as line:
        for _ in range(20):
            await line.say(question)
            await line.hear(Renewed)
        await line.say(question)
        refused = await line.hear(RenewalRefused)

    assert refused.problem.code == "console.too_often"


async def test_a_connection_ends_with_its_certificate(console: Console) -> None:
    appliance = await paired_appliance(console)
    async with appliance.connected(protocol=IDENTITY) as line:
        console.clock.ahead += timedelta(days=8)
        assert await closed(line) == OVER
    async with appliance.dialled() as channel:
        assert await closed(Line(appliance, channel)) == OVER
