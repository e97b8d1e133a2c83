"""This file is the promises of recovery: a real console, a real link, and clocks that are wrong (attack 8)."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509

from gateway.appliance import daemon, pairing
from gateway.appliance.greeting import Self
from gateway.appliance.identity import Identity
from gateway.appliance.outward import FirstRoads
from gateway.appliance.recovering import ASKED_AGAIN, Recovery, is_good, suspicion
from gateway.appliance.settings import ApplianceSettings
from gateway.console.ca import Step, rotate
from gateway.contract.identity import Hardware
from gateway.identity import certificates, keys, tls
from gateway.identity.authority import Authority, certificate_request
from gateway.identity.certificates import Signer, is_vouched_for
from gateway.identity.succession import SuccessionBrokenError
from gateway.kit import files
from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError
from gateway.tunnel.calling import BrokenOffError, CertificateRefusedError, ConsoleNotTrustedError
from gateway.tunnel.channel import ChannelClosedError
from gateway.tunnel.roads import DialError
from tests.fakes.console import Console, ShiftedClock, running_console, token
from tests.unit.appliance.test_daemon import running_appliance, settings_in

WRONG_CLOCKS = {
    "1970": datetime(1970, 1, 1, tzinfo=UTC),
    "right": None,
    "ten years ahead": datetime(2036, 11, 21, tzinfo=UTC),
}
YEARS = timedelta(days=400)


class SetClock(SystemClock):
    """The machine's clock, set by somebody; long pauses are remembered and cut short."""

    def __init__(self, start: datetime | None = None) -> None:
        self.off = (start or super().now()) - super().now()
        self.pauses: list[float] = []

    def now(self) -> datetime:
        return super().now() + self.off

    async def sleep(self, seconds: float) -> None:
        if seconds > 60:
            self.pauses.append(seconds)
        await super().sleep(min(seconds, 0.1))


@pytest.fixture(autouse=True)
def _consoles_clock_is_what_tls_goes_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the console judge certificates by its own clock only, which tests set; OpenSSL would ask the machine's."""
    made = tls.server

    def server(*given: Any, **named: Any) -> ssl.SSLContext:  # noqa: ANN401 - whatever `server` takes
        context = made(*given, **named)
        context.verify_flags |= tls.NO_CHECK_TIME
        return context

    monkeypatch.setattr(tls, "server", server)


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


@dataclass
class Appliance:
    """An appliance that was paired, between two starts or running."""

    console: Console
    settings: ApplianceSettings
    clock: SetClock

    @property
    def identity(self) -> Identity:
        return Identity.open(self.settings.state)

    @asynccontextmanager
    async def running(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        """Start the whole appliance under its clock."""
        with monkeypatch.context() as patched:
            patched.setattr(daemon, "SystemClock", lambda: self.clock)
            async with running_appliance(self.settings):
                yield

    async def connected(self) -> None:
        """Wait until the console says that it is connected."""
        await until(lambda: shows(self.console, "status", "connected"))

    async def comes_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with self.running(monkeypatch):
            await self.connected()

    def recovery(self) -> Recovery:
        return Recovery(self.identity, Self(uuid4(), Hardware()), roads=FirstRoads, clock=self.clock)


async def paired(console: Console, tmp_path: Path, *, start: datetime | None = None) -> Appliance:
    settings = settings_in(tmp_path)
    await pairing.pair(Identity.open(files.make_private_directory(settings.state)), await token(console))
    return Appliance(console, settings, SetClock(start))


async def shown(console: Console) -> dict[str, object]:
    return dict((await console.ask("GET", "/api/v1/gateways/dc1")).body)


async def until(there: Callable[[], Awaitable[bool]]) -> None:
    """Ask the console again and again: it rings no bell for its API's callers."""
    async with asyncio.timeout(20):
        while not await there():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.05)


async def shows(console: Console, what: str, part: str) -> bool:
    """Tell whether the console shows that of the gateway."""
    return part in re.findall(r"[a-z-]+", str((await shown(console))[what]))


async def tells(console: Console, version: int) -> bool:
    """Tell whether the running console has heard of that trust bundle."""
    answer = await console.ask("GET", "/api/v1/authority/successions", key="")
    return bool(answer.body["trust"]["version"] == version)


async def shows_trust(appliance: Appliance, version: int) -> bool:
    """Tell whether the appliance keeps that trust bundle."""
    return appliance.identity.member().trust.version == version


def moved(appliance: Appliance, console: Console) -> None:
    """Have the appliance call a console at the ports that it was given at its last start."""
    appliance.console = console
    update = {"console": console.reached.api, "tunnel": console.reached.tunnel}
    known = appliance.identity.member().model_copy(update=update)
    files.write_whole(appliance.settings.state / "identity" / "joined.json", known.model_dump_json().encode())


async def rotated(console: Console, times: int = 1) -> None:
    """Bring in other roots while nobody is listening, and retire the former ones."""
    for _ in range(times):
        for step in (Step.ROOT, Step.SWITCH, Step.RETIRE):
            await rotate(console.settings, step, even_so=True, now=console.clock.now())
    version = Authority.open(console.settings.state / "authority", now=console.clock.now()).trust.version
    await until(lambda: tells(console, version))


@pytest.mark.attack(8)
@pytest.mark.parametrize("start", WRONG_CLOCKS.values(), ids=WRONG_CLOCKS)
async def test_an_appliance_that_was_off_for_years_comes_back_whatever_its_clock_says(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, start: datetime | None
) -> None:
    appliance = await paired(console, tmp_path, start=start)
    before = appliance.identity.member()
    console.clock.ahead = YEARS
    await appliance.comes_back(monkeypatch)
    after = appliance.identity.member()
    assert after.gateway_id == before.gateway_id
    assert after.join.number > before.join.number
    assert appliance.identity.certificate().not_valid_after_utc > console.clock.now()
    assert (await shown(console))["standing"] == "active"


@pytest.mark.attack(8)
@pytest.mark.parametrize("start", WRONG_CLOCKS.values(), ids=WRONG_CLOCKS)
async def test_with_a_good_certificate_a_wrong_clock_needs_no_recovery(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, start: datetime | None
) -> None:
    appliance = await paired(console, tmp_path, start=start)
    before = appliance.identity.member()
    await appliance.comes_back(monkeypatch)
    assert appliance.identity.member().certificate == before.certificate


@pytest.mark.parametrize("start", WRONG_CLOCKS.values(), ids=WRONG_CLOCKS)
async def test_a_certificate_past_its_half_is_renewed_and_the_next_one_is_what_the_console_then_knows(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, start: datetime | None
) -> None:
    appliance = await paired(console, tmp_path, start=start)
    before = appliance.identity.certificate()
    console.clock.ahead = timedelta(days=5)

    async def is_another() -> bool:
        serial = f"{appliance.identity.certificate().serial_number:x}"
        return serial != f"{before.serial_number:x}" and (await shown(console))["certificate_serial"] == serial

    async with appliance.running(monkeypatch):
        await until(is_another)
        await appliance.connected()
    assert appliance.identity.member().join.number == 2
    assert (await shown(console))["conditions"] == []


@pytest.mark.attack(8)
@pytest.mark.parametrize("off", [timedelta(0), YEARS], ids=["certificate good", "certificate over"])
async def test_missed_rotations_of_the_root_are_followed_step_by_step(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    appliance = await paired(console, tmp_path, start=WRONG_CLOCKS["1970"])
    before = appliance.identity.member()
    console.clock.ahead = off
    await rotated(console, times=3)
    await appliance.comes_back(monkeypatch)
    after = appliance.identity.member()
    assert set(after.trust.roots).isdisjoint(before.trust.roots)
    assert is_good(appliance.identity.chain(), after.trust.roots, now=console.clock.now())


async def test_an_appliance_whose_root_was_retired_while_it_was_off_comes_back_once_the_console_was_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows both roots, and its certificate is below the one that the console knows no more."""
    async with running_console(tmp_path / "console") as console:
        appliance = await paired(console, tmp_path)
        before = appliance.identity.certificate()
        async with appliance.running(monkeypatch):
            for step, version in ((Step.ROOT, 2), (Step.SWITCH, 3)):
                await rotate(console.settings, step, even_so=True, now=console.clock.now())
                await until(lambda version=version: shows_trust(appliance, version))  # type: ignore[misc]
        await rotate(console.settings, Step.RETIRE, even_so=True, now=console.clock.now())
    async with running_console(tmp_path / "console") as console:
        moved(appliance, console)
        async with appliance.running(monkeypatch):
            await until(lambda: shows_trust(appliance, 4))
    assert appliance.identity.certificate() != before


async def test_a_stranger_at_the_consoles_address_learns_nothing_and_changes_nothing(
    tmp_path: Path, console: Console
) -> None:
    appliance = await paired(console, tmp_path)
    before = appliance.identity.member()
    async with running_console(tmp_path / "stranger", ShiftedClock()) as stranger:
        known = before.model_copy(update={"console": stranger.reached.api, "tunnel": stranger.reached.tunnel})
        files.write_whole(appliance.settings.state / "identity" / "joined.json", known.model_dump_json().encode())
        with pytest.raises(SuccessionBrokenError):
            await appliance.recovery().after(ConsoleNotTrustedError())
    assert appliance.identity.member() == known


@pytest.mark.parametrize(
    "fault", [BrokenOffError("cut"), CertificateRefusedError("an alert"), ConsoleNotTrustedError()]
)
async def test_what_anybody_on_the_way_can_bring_about_costs_no_recovery(
    tmp_path: Path, console: Console, fault: GatewayError
) -> None:
    appliance = await paired(console, tmp_path)
    before = appliance.identity.member()
    assert not await appliance.recovery().after(fault)
    assert appliance.identity.member() == before


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ChannelClosedError("the connection was closed: relay.certificate_over: …"), True),
        (ChannelClosedError("the connection was closed: relay.certificate_spent: …"), True),
        (ChannelClosedError("the connection was closed: relay.certificate_unknown: …"), True),
        (ChannelClosedError("the connection was closed: gateway.revoked: …"), None),
        (ChannelClosedError("the connection was closed: gateway.quarantined: …"), None),
        (ChannelClosedError("the connection was cut"), None),
        (DialError("nobody there"), None),
        (BrokenOffError("in the handshake"), False),
    ],
)
def test_only_what_the_console_itself_has_said_is_believed(fault: GatewayError, said: bool | None) -> None:
    found = suspicion(fault)
    assert (None if found is None else found.said) == said


async def test_an_answer_that_was_lost_is_given_again(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance = await paired(console, tmp_path)
    console.clock.ahead = YEARS
    lost: list[int] = []
    granted = Identity.granted

    def losing(self: Identity, *given: object, **named: object) -> object:
        if len(lost) < 2:
            lost.append(1)
            raise OSError("the power was cut")
        return granted(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Identity, "granted", losing)
    await appliance.comes_back(monkeypatch)
    assert len(lost) == 2
    assert (await shown(console))["standing"] == "active"
    assert appliance.identity.member().join.number == 2, "each answer was the same"


async def test_a_console_that_wants_a_person_first_is_asked_seldom_and_then_takes_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCG_CONSOLE_RECOVERIES", "1")
    async with running_console(tmp_path / "console") as console:
        appliance = await paired(console, tmp_path)
        console.clock.ahead = YEARS
        await appliance.comes_back(monkeypatch)
        console.clock.ahead += timedelta(days=8)
        async with appliance.running(monkeypatch):
            await until(lambda: shows(console, "conditions", "recovery-needs-approval"))
            assert (await console.ask("POST", "/api/v1/gateways/dc1/approve-recovery")).status == 200
            await appliance.connected()
        assert any(ASKED_AGAIN <= one <= 1.5 * ASKED_AGAIN for one in appliance.clock.pauses)


def test_a_certificate_is_vouched_for_by_its_whole_chain_only(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ours, theirs = (
        Authority.open(files.make_private_directory(tmp_path / name), now=now) for name in ("ours", "theirs")
    )
    key = keys.new_key()
    leaf = ours.sign_gateway(certificate_request(key), uuid4(), now=now).pem
    other = theirs.sign_gateway(certificate_request(key), uuid4(), now=now).pem
    assert is_vouched_for(leaf, ours.trust.roots)
    assert is_vouched_for(leaf, [theirs.root, ours.root])
    assert not is_vouched_for(leaf, theirs.trust.roots)
    assert not is_vouched_for(other, ours.trust.roots)
    assert not is_vouched_for(other + leaf, ours.trust.roots)
    assert not is_vouched_for("", ours.trust.roots)
    assert not is_vouched_for("rubbish", ours.trust.roots)
    signer = Signer(x509.load_pem_x509_certificate(leaf.encode()), key)
    forged = certificates.for_gateway(keys.new_key().public_key(), uuid4(), signer, now=now)
    assert not is_vouched_for(certificates.pem(forged) + leaf, ours.trust.roots), "a leaf signs nobody"
