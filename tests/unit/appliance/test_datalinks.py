"""This file is the promises of the data sessions: kept open, named, and followed by the next before one is left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from gateway.appliance import datalinks
from gateway.appliance.datalinks import DataLinks
from gateway.appliance.identity import Identity
from gateway.appliance.renewal import Turnover
from gateway.appliance.streams import StreamService
from gateway.contract import streams as contract
from gateway.contract.messages import Welcome
from gateway.identity.grants import GrantKey
from gateway.kit import files, supervise
from gateway.tunnel.limits import RENEWED_AT
from gateway.tunnel.session import Session, SessionClosedError
from tests.fakes.clock import HandClock
from tests.unit.appliance.conversation import STRAIGHT, ScriptedConsole
from tests.unit.appliance.opening import exchange, site


@dataclass
class Keeping:
    console: ScriptedConsole
    service: StreamService
    clock: HandClock
    identity: Identity
    turnover: Turnover

    def welcome(self, latch: str | None = None) -> None:
        key = GrantKey.new().public_text
        welcome = Welcome(protocol=2, server_time=self.clock.now(), acknowledged=0, grant_key=key, latch=latch)
        self.service.welcomed(welcome, asked=self.clock.monotonic())

    def renew(self) -> None:
        """Give the appliance its next certificate."""
        self.identity.granted(self.console.grant(self.identity.next_request(), self.identity.member().gateway_id))
        self.turnover.turn()


@asynccontextmanager
async def keeping(
    directory: Path, *, sessions: int = 1, service: StreamService | None = None
) -> AsyncIterator[Keeping]:
    console = ScriptedConsole(directory / "console")
    identity = Identity.open(files.make_private_directory(directory / "state"))
    async with console.listening(), site(directory / "state", welcomed=False) as here:
        console.pair(identity)
        turnover = Turnover()
        used, clock = service or here.service, HandClock()
        lines = DataLinks(identity, streams=used, outward=STRAIGHT, turnover=turnover, clock=clock)
        async with supervise.running(lines=lines.run(sessions=sessions, first=0.01, cap=0.01)):
            yield Keeping(console, used, clock, identity, turnover)


def named(path: str) -> str:
    (name,) = parse_qs(urlsplit(path).query)["session"]
    assert str(UUID(name)) == name
    return name


async def over(session: Session) -> None:
    async with asyncio.timeout(10):
        await session.closed()


async def test_no_session_is_opened_to_a_console_that_has_no_grant_key(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        await asyncio.sleep(0.05)
        assert kept.console.sessions.empty()
        kept.welcome()
        await kept.console.session()


async def test_as_many_sessions_are_kept_as_are_wished_each_with_its_own_name(tmp_path: Path) -> None:
    async with keeping(tmp_path, sessions=3) as kept:
        kept.welcome()
        names = {named((await kept.console.session())[1]) for _ in range(3)}
    assert len(names) == 3


async def test_a_session_that_is_cut_is_followed_by_another(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        kept.welcome()
        first, path = await kept.console.session()
        await first.close()
        _, other = await kept.console.session()
    assert named(path) != named(other)


async def test_the_next_session_is_open_before_the_one_the_console_leaves_is_closed(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept, asyncio.TaskGroup() as group:
        kept.welcome()
        first, _ = await kept.console.session()
        stream, _reply = await first.open(b"{}")
        group.create_task(first.drain(within=30))
        await kept.console.session()
        assert not first._over.done()
        assert stream.fault is None
        stream.reset()
        await over(first)


async def test_a_stream_outlives_a_renewal_and_the_next_one_goes_with_the_new_certificate(tmp_path: Path) -> None:
    other = files.make_private_directory(tmp_path / "site")
    async with site(other) as here, keeping(tmp_path, service=here.service) as kept:
        first, path = await kept.console.session()
        old, reply = await first.open(here.preamble(grant=here.grant(changed={"session": named(path)})))
        assert contract.read_reply(reply).status == "ok"
        kept.renew()
        second, path = await kept.console.session()
        assert second.peer_certificate != first.peer_certificate
        async with asyncio.timeout(10):
            await first.going_away.wait()
        assert await exchange(old, b"x" * 300_000) == b"x" * 300_000 + b"bye"
        await over(first)
        new, reply = await second.open(here.preamble(grant=here.grant(changed={"session": named(path)})))
        assert contract.read_reply(reply).status == "ok"
        new.reset()


async def test_a_session_takes_streams_until_the_one_with_the_new_certificate_is_open(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        kept.welcome()
        first, _ = await kept.console.session()
        kept.console.draining.set()  # nobody is let in
        with capture_logs() as said:
            kept.renew()
            async with asyncio.timeout(10):
                while not any("503" in str(one.get("error")) for one in said):  # noqa: ASYNC110 - a log rings no bell
                    await asyncio.sleep(0.01)
        stream, _ = await first.open(b"{}")
        assert not first.going_away.is_set()
        stream.reset()
        kept.console.draining.clear()
        await kept.console.session()
        await over(first)


async def test_every_place_turns_over(tmp_path: Path) -> None:
    async with keeping(tmp_path, sessions=3) as kept:
        kept.welcome()
        olds = [(await kept.console.session())[0] for _ in range(3)]
        kept.renew()
        news = [(await kept.console.session())[0] for _ in range(3)]
        for one in olds:
            await over(one)
    assert len({one.peer_certificate for one in news}) == 1
    assert {one.peer_certificate for one in news}.isdisjoint(one.peer_certificate for one in olds)


async def test_leaving_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datalinks, "LEAVE_LIMIT", 0.05)
    async with keeping(tmp_path) as kept:
        kept.welcome()
        first, _ = await kept.console.session()
        await first.open(b"{}")
        first.mux.go_away()
        first.flush_soon()
        await over(first)


async def test_a_console_that_says_when_to_call_again_is_called_no_sooner(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        kept.welcome()
        first, _ = await kept.console.session()
        before = kept.clock.monotonic()
        await first.close(1012, "restarting, retry-after=40")
        await kept.console.session()
        assert 40 <= kept.clock.monotonic() - before <= 61


async def test_a_console_that_cannot_be_called_is_called_again(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        kept.console.draining.set()
        with capture_logs() as said:
            kept.welcome()
            async with asyncio.timeout(10):
                while not said:  # noqa: ASYNC110 - a log line rings no bell
                    await asyncio.sleep(0.01)
            kept.console.draining.clear()
            await kept.console.session()
    assert any("503" in str(one.get("error")) for one in said)


async def test_streams_are_served_and_their_grants_are_bound_to_the_session(tmp_path: Path) -> None:
    other = files.make_private_directory(tmp_path / "site")
    async with site(other) as here, keeping(tmp_path, service=here.service) as kept:
        session, path = await kept.console.session()
        elsewhere = here.preamble()
        grant = here.grant(changed={"session": named(path)})
        _, reply = await session.open(elsewhere)
        assert contract.read_reply(reply).code == "stream.grant_refused"
        stream, reply = await session.open(here.preamble(grant=grant))
        assert contract.read_reply(reply).status == "ok"
        assert await exchange(stream, b"x" * 300_000) == b"x" * 300_000 + b"bye"


async def test_a_stopping_appliance_closes_its_sessions(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        kept.welcome()
        session, _ = await kept.console.session()
    assert isinstance(await session.closed(), SessionClosedError)


@pytest.mark.parametrize("tunnel", ["wss://c.example:8444/", "wss://c.example:8444"])
def test_the_address_names_the_session(tunnel: str) -> None:
    assert datalinks.address(tunnel, session="s1") == "wss://c.example:8444/?session=s1"
    assert datalinks.address(tunnel, session="s1", latch="ab") == "wss://c.example:8444/?session=s1&latch=ab"


async def test_a_session_shows_what_was_told_with_the_last_welcome(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        kept.welcome(latch="a" * 64)
        session, first = await kept.console.session()
        kept.welcome(latch="b" * 64)
        await session.close()
        _, second = await kept.console.session()
    shown = [parse_qs(urlsplit(path).query)["latch"] for path in (first, second)]
    assert shown == [["a" * 64], ["b" * 64]]


async def test_a_session_whose_ids_run_low_is_followed_before_it_is_left_and_its_streams_go_on(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        kept.welcome()
        first, _ = await kept.console.session()
        first.mux._next_id = RENEWED_AT
        stream, _reply = await first.open(b"{}")
        second, _path = await kept.console.session()
        async with asyncio.timeout(10):
            await first.going_away.wait()
        assert second.streams == 0
        assert stream.fault is None
        assert not first._over.done()
        stream.reset()
        await over(first)
        assert not second.going_away.is_set()
