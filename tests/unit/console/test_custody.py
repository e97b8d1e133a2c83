"""This file is the promises of a running console's care of its authority, on real TLS ports."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509

from gateway.console import ca
from gateway.console.custody import Custody
from gateway.console.settings import ConsoleSettings
from gateway.identity import authority, keys, succession, tls
from gateway.identity.authority import Authority, AuthorityEndedError, AuthorityNotBegunError
from gateway.identity.certificates import spki_pin
from gateway.kit import files

NOW = datetime.now(UTC)  # noqa: TID251 - the TLS library uses the machine's clock


class Stepped:
    """A clock that a test puts forward; whoever sleeps says so, and sleeps until the test has them wake."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.asleep, self.awake = asyncio.Event(), asyncio.Event()

    def now(self) -> datetime:
        return NOW + self.ahead

    def monotonic(self) -> float:
        return self.ahead.total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.asleep.set()
        await self.awake.wait()
        self.awake.clear()

    async def turn(self) -> None:
        """Have who sleeps go once round."""
        async with asyncio.timeout(20):
            await self.asleep.wait()
            self.asleep.clear()
            self.awake.set()
            await self.asleep.wait()


@dataclass
class Ports:
    """Custody with both of its contexts listening."""

    custody: Custody
    clock: Stepped
    directory: Path
    api: int
    tunnel: int

    @property
    def other(self) -> Authority:
        """The authority in the hands of another process."""
        return Authority.open(self.directory / "authority", now=self.clock.now())

    async def shown(self, trust: str) -> x509.Certificate:
        """Call the API and return what it shows, once it was checked."""
        return await self._called(self.api, tls.timeless(trust))

    async def taken(self, signer: Authority, trust: str) -> bool:
        """Call the tunnel with a certificate that `signer` signs; tell whether it is taken."""
        key, certificate = self.directory / "client.key", self.directory / "client.pem"
        request = authority.certificate_request(keys.keep(key))
        certificate.write_text(signer.sign_gateway(request, uuid4(), now=NOW).pem)
        try:
            await self._called(self.tunnel, tls.timeless(trust, certificate=certificate, key=key))
        except (ssl.SSLError, ConnectionError):
            return False
        return True

    async def _called(self, port: int, context: ssl.SSLContext) -> x509.Certificate:
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                if await reader.read(5) != b"hello":
                    raise ConnectionResetError
                found: ssl.SSLObject = writer.get_extra_info("ssl_object")
                return x509.load_der_x509_certificate(found.getpeercert(binary_form=True) or b"")
            finally:
                writer.transport.abort()


async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    await writer.drain()
    writer.close()


@pytest.fixture
async def ports(tmp_path: Path) -> AsyncIterator[Ports]:
    state = files.make_private_directory(tmp_path / "state")
    settings, clock = ConsoleSettings(state=state, hosts=["127.0.0.1"]), Stepped()
    custody = Custody(settings, Authority.open(state / "authority", now=NOW), clock=clock)
    api = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=custody.api)
    tunnel = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=custody.tunnel)
    async with api, tunnel, looked_after(custody):
        numbers = (one.sockets[0].getsockname()[1] for one in (api, tunnel))
        yield Ports(custody, clock, state, *numbers)


@asynccontextmanager
async def looked_after(custody: Custody) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(custody.run())
        yield
        task.cancel()


async def test_a_console_shows_a_new_certificate_at_half_of_the_life_of_the_old_one(ports: Ports) -> None:
    trust = ports.custody.authority.clients
    first = await ports.shown(trust)
    ports.clock.ahead = timedelta(days=14)
    await ports.clock.turn()
    assert await ports.shown(trust) == first
    ports.clock.ahead = timedelta(days=16)
    await ports.clock.turn()
    second = await ports.shown(trust)
    assert second.not_valid_after_utc - first.not_valid_after_utc == timedelta(days=16)
    assert spki_pin(second) == spki_pin(first), "the key stays: conversations that are under way bind it"


async def test_a_console_replaces_its_intermediate_at_half_of_its_life(ports: Ports) -> None:
    trust, former = ports.custody.authority.clients, ports.custody.authority.chain[-1]
    ports.clock.ahead = timedelta(days=366)
    await ports.clock.turn()
    assert ports.custody.authority.chain[-1] != former
    assert (await ports.shown(trust)).issuer == ports.custody.authority.chain[-1].subject


async def test_an_intermediate_that_another_process_has_rotated_signs_at_once(ports: Ports) -> None:
    trust, first = ports.custody.authority.clients, await ports.shown(ports.custody.authority.clients)
    ports.other.renew_intermediate(now=NOW)
    await ports.clock.turn()
    assert (await ports.shown(trust)).issuer != first.issuer


async def test_a_root_is_rotated_under_a_running_console(ports: Ports) -> None:
    asleep = ports.custody.authority.clients
    ports.other.hand_on(now=NOW)
    await ports.clock.turn()
    both = ports.custody.authority.clients
    assert await ports.shown(asleep), "who has heard of nothing yet still knows the console"

    ports.other.promote(now=NOW)
    await ports.clock.turn()
    assert await ports.shown(both)
    with pytest.raises(ssl.SSLCertVerificationError):
        await ports.shown(asleep)
    assert await ports.taken(ports.custody.authority, both), "clients below the new root are taken without a restart"


async def test_who_waits_for_a_newer_bundle_is_told_of_each_and_of_nothing_else(ports: Ports) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(ports.custody.newer_than(1))
        await ports.clock.turn()
        assert not waiting.done()
        ports.other.hand_on(now=NOW)
        await ports.clock.turn()
        async with asyncio.timeout(20):
            assert (await waiting).version == 2
    assert (await ports.custody.newer_than(1)) == ports.custody.trust


async def test_an_authority_that_cannot_be_read_does_not_end_a_running_console(ports: Ports) -> None:
    trust = ports.custody.authority.clients
    path = ports.directory / "authority" / "authority.json"
    kept = path.read_bytes()
    path.write_text("rubbish")
    await ports.clock.turn()
    assert await ports.shown(trust)
    path.write_bytes(kept)
    ports.other.hand_on(now=NOW)
    await ports.clock.turn()
    assert ports.custody.trust.version == 2


async def test_a_root_key_that_lies_elsewhere_does_not_keep_the_console_from_renewing_its_own(ports: Ports) -> None:
    first = await ports.shown(ports.custody.authority.clients)
    (key,) = (ports.directory / "authority").glob("root-*.key")
    key.unlink()
    ports.clock.ahead = timedelta(days=400)
    await ports.clock.turn()
    assert (await ports.shown(ports.custody.authority.clients)).not_valid_after_utc > first.not_valid_after_utc


@pytest.mark.attack(8)
@pytest.mark.parametrize("days", [20, 400, 365 * 9])
async def test_a_clock_that_was_ahead_for_a_moment_leaves_nothing_behind_that_is_not_yet_valid(
    ports: Ports, days: int
) -> None:
    trust = ports.custody.authority.clients
    ports.clock.ahead = timedelta(days=days)
    await ports.clock.turn()
    ports.clock.ahead = timedelta()
    await ports.clock.turn()
    own, intermediate = await ports.shown(trust), ports.custody.authority.chain[-1]
    assert own.not_valid_before_utc < NOW < own.not_valid_after_utc
    assert intermediate.not_valid_before_utc < NOW < intermediate.not_valid_after_utc
    assert await ports.taken(ports.custody.authority, trust), "TLS takes what is signed now"
    await ports.clock.turn()
    assert await ports.shown(trust) == own, "it is mended once, not for ever"


@pytest.mark.attack(8)
async def test_nothing_is_signed_for_a_gateway_below_an_intermediate_that_is_not_yet_valid(ports: Ports) -> None:
    """Its key is needed for a new one and lies elsewhere: who asks is told to wait, and keeps what it has."""
    ports.clock.ahead = timedelta(days=400)
    await ports.clock.turn()
    ports.clock.ahead = timedelta()
    (key,) = (ports.directory / "authority").glob("root-*.key")
    kept = key.read_bytes()
    key.unlink()
    await ports.clock.turn()
    with pytest.raises(AuthorityNotBegunError, match="clock"):
        await ports.taken(ports.custody.authority, ports.custody.authority.clients)
    found = ca.Situation(ports.custody.authority, [], [])
    assert "later than this machine's clock says" in ca.next_step(found, now=NOW)

    key.write_bytes(kept)
    await ports.clock.turn()
    assert await ports.taken(ports.custody.authority, ports.custody.authority.clients)
    assert ca.next_step(found, now=NOW) == "nothing."


@pytest.mark.parametrize("years", [1, 3, 9])
async def test_a_console_that_was_off_for_years_starts(ports: Ports, years: int) -> None:
    ports.clock.ahead = timedelta(days=365 * years)
    state = ports.custody.authority.clients
    again = Custody(ConsoleSettings(state=ports.directory, hosts=["127.0.0.1"]), ports.other, clock=ports.clock)
    assert again.authority.chain[-1].not_valid_after_utc > ports.clock.now() + timedelta(days=30)
    assert again.authority.clients == state


async def test_a_console_whose_root_has_ended_says_what_to_do_and_starts_once_it_is_done(ports: Ports) -> None:
    asleep = ports.custody.authority.clients
    ports.clock.ahead = timedelta(days=365 * 11)
    settings = ConsoleSettings(state=ports.directory, hosts=["127.0.0.1"])
    with pytest.raises(AuthorityEndedError, match="rotate --root, then rotate --switch"):
        Custody(settings, ports.other, clock=ports.clock)
    with pytest.raises(AuthorityEndedError, match="rotate --root, then rotate --switch"):
        ports.other.renew_intermediate(now=ports.clock.now())
    ports.other.hand_on(now=ports.clock.now())
    ports.other.promote(now=ports.clock.now())
    again = Custody(settings, ports.other, clock=ports.clock).authority
    assert succession.follow([asleep], again.successions).roots[0] == again.root
