"""This file is the promises of grants at the appliance: whose stream it is, which, when, through what, and once."""

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.contract.messages import Welcome
from gateway.identity.grants import GrantKey
from tests.unit.appliance.opening import exchange, site


@pytest.mark.attack(34)
@pytest.mark.attack(20)
@pytest.mark.parametrize(
    "changed",
    [
        {"target": "other"},
        {"session": "5e551011-0000-4000-8000-000000000002"},
        {"gateway": uuid4()},
    ],
    ids=repr,
)
async def test_a_grant_for_something_else_opens_nothing(tmp_path: Path, changed: dict[str, object]) -> None:
    async with site(tmp_path) as here:
        reply = await here.refused(here.preamble(grant=here.grant(changed=changed)))
        (refused,) = await here.told("stream.refused")
        assert here.lookup.asked == []
    assert reply.code == "stream.grant_refused"
    assert refused.act.facts["code"] == "stream.grant_refused"


@pytest.mark.attack(34)
async def test_a_grant_is_judged_by_the_consoles_time_and_not_by_ours(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        grant = here.grant()
        year = here.clock.now() + timedelta(days=365)
        here.service.welcomed(
            Welcome(protocol=2, server_time=year, acknowledged=0, grant_key=here.key.public_text),
            asked=here.clock.monotonic(),
        )
        assert (await here.refused(here.preamble(grant=grant))).code == "stream.grant_refused"
        late = here.grant(changed={"not_before": year, "expires": year + timedelta(seconds=30)})
        stream, reply = await here.ask(here.preamble(grant=late))
        assert reply.status == "ok"
        stream.reset()
        here.clock.seconds += 31
        late = here.grant(changed={"not_before": year, "expires": year + timedelta(seconds=30)})
        assert (await here.refused(here.preamble(grant=late))).code == "stream.grant_refused"


@pytest.mark.attack(34)
async def test_a_grant_used_before_opens_nothing_even_after_a_new_welcome(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        grant = here.grant()
        stream, reply = await here.ask(here.preamble(grant=grant))
        assert reply.status == "ok"
        stream.reset()
        again = Welcome(protocol=2, server_time=here.clock.now(), acknowledged=0, grant_key=here.key.public_text)
        here.service.welcomed(again, asked=here.clock.monotonic())
        assert (await here.refused(here.preamble(grant=grant))).code == "stream.grant_refused"


@pytest.mark.attack(34)
async def test_another_key_opens_nothing_and_a_new_key_of_the_console_does(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.key = GrantKey.new()
        assert (await here.refused(here.preamble())).code == "stream.grant_refused"
        welcome = Welcome(protocol=2, server_time=here.clock.now(), acknowledged=0, grant_key=here.key.public_text)
        here.service.welcomed(welcome, asked=here.clock.monotonic())
        assert await exchange(await here.open(), b"") == b"bye"


async def test_before_the_console_has_told_its_key_nothing_is_opened(tmp_path: Path) -> None:
    async with site(tmp_path, welcomed=False) as here:
        assert "not yet told" in (await here.refused(here.preamble())).detail


async def test_a_console_whose_clock_was_set_is_asked_for_its_time_and_is_then_believed(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.clock.seconds += 60
        ahead = here.clock.now() + timedelta(minutes=3)

        def preamble() -> bytes:
            changed = {"not_before": ahead, "expires": ahead + timedelta(seconds=30)}
            return here.preamble(grant=here.grant(changed=changed))

        assert "console's time" in (await here.refused(preamble())).detail
        assert not here.service.time.stale.is_set()
        await here.refused(preamble())
        assert here.service.time.stale.is_set()
        welcome = Welcome(protocol=2, server_time=ahead, acknowledged=0, grant_key=here.key.public_text)
        here.service.welcomed(welcome, asked=here.clock.monotonic())
        stream, reply = await here.ask(preamble())
        assert reply.status == "ok"
        assert await exchange(stream, b"") == b"bye"


async def test_grants_that_are_refused_for_something_else_or_that_others_sign_bring_no_new_hello(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as here:
        here.clock.seconds += 60
        late = {
            "not_before": here.clock.now() - timedelta(hours=1),
            "expires": here.clock.now() - timedelta(minutes=59),
        }
        for _ in range(3):
            await here.refused(here.preamble(grant=here.grant(changed={**late, "session": "another"})))
        here.key = GrantKey.new()
        for _ in range(3):
            await here.refused(here.preamble(grant=here.grant(changed=late)))
        assert not here.service.time.stale.is_set()
