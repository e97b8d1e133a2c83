"""This file is the promises of believing a console by its pin, end to end over real TLS, also with a man in between."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.appliance import pairing
from gateway.appliance.identity import Identity
from gateway.appliance.outward import FirstRoads
from gateway.contract.problems import Problem
from gateway.identity import keys, pinned, tls, tokens
from gateway.identity.authority import Authority
from gateway.identity.pinned import PATH, ConsoleUnreachableError, PinMismatchError
from gateway.kit import files
from gateway.kit.answers import AnswerTooLargeError
from gateway.kit.connector import Connector
from gateway.kit.errors import GatewayError
from tests.fakes.console import Console, running_console, token, trust
from tests.fakes.roads import Diverted

NOW = datetime.now(UTC)  # noqa: TID251 - the TLS library uses the machine's clock


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path / "console") as running:
        yield running


@dataclass
class Between:
    """Somebody in the middle, with an authority of their own: they relay, and change what they like.

    `authority_text` is what they show as the authority; `answers` replace what the console says on a path.
    `received` is every request they saw, in order.
    """

    directory: Path
    console: Console | None = None
    hosts: list[str] = field(default_factory=lambda: ["127.0.0.1", "localhost"])
    authority_text: str | None = None
    answers: dict[str, web.Response | str] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.authority = Authority.open(files.make_private_directory(self.directory), now=NOW)

    def context(self) -> ssl.SSLContext:
        key = keys.keep(self.directory / "server.key")
        issued = self.authority.sign_server(key.public_key(), self.hosts, now=NOW)
        (self.directory / "server.pem").write_text(issued.pem)
        return tls.server(self.directory / "server.pem", self.directory / "server.key")

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Between"]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._relay)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.context()).start()
            self.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _relay(self, request: web.Request) -> web.Response:
        self.received.append(f"{request.method} {request.path}")
        if request.path == PATH and self.authority_text is not None:
            return web.Response(text=self.authority_text)
        if request.path in self.answers:
            said = self.answers[request.path]
            return web.Response(text=said) if isinstance(said, str) else said
        assert self.console is not None
        connector = Connector(trust(self.console.settings))
        async with (
            aiohttp.ClientSession(self.console.reached.api, connector=connector) as session,
            session.request(request.method, request.path, data=await request.read(), headers=_kind(request)) as said,
        ):
            return web.Response(status=said.status, body=await said.read(), content_type=said.content_type)


def _kind(request: web.Request) -> dict[str, str]:
    return {"Content-Type": request.content_type} if request.can_read_body else {}


async def refused(identity: Identity, text: str, between: Between | None = None) -> GatewayError:
    """Have a token refused, whose way to the console leads over somebody in between."""
    roads = FirstRoads(straight=Diverted(between.url)) if between else None
    with pytest.raises(GatewayError) as caught:
        await pairing.pair(identity, text, roads=roads)
    assert identity.paired() is None
    return caught.value


def authority_of(console: Console) -> str:
    return (console.settings.state / "authority" / "authority.pem").read_text()


@pytest.mark.attack(3)
@pytest.mark.parametrize("order", ["real first", "own first"])
async def test_a_man_in_the_middle_who_appends_his_own_certificate_is_not_believed(
    tmp_path: Path, console: Console, order: str
) -> None:
    identity = Identity.open(files.make_private_directory(tmp_path / "state"))
    async with Between(tmp_path / "between", console).listening() as between:
        both = [authority_of(console), between.authority.root]
        between.authority_text = "".join(both if order == "real first" else reversed(both))
        error = await refused(identity, await token(console), between)
    assert error.code == "console.pin_mismatch"
    assert between.received == [f"GET {PATH}"]


@pytest.mark.attack(3)
async def test_a_man_in_the_middle_who_shows_the_real_authority_is_not_spoken_to(
    tmp_path: Path, console: Console
) -> None:
    identity = Identity.open(files.make_private_directory(tmp_path / "state"))
    async with Between(tmp_path / "between", console).listening() as between:
        error = await refused(identity, await token(console), between)
    assert error.code == "pairing.tls_opened"
    assert "certificate authority" in str(error.facts["issuer"])
    assert between.received == [f"GET {PATH}"]


@pytest.mark.attack(3)
async def test_with_a_wrong_pin_nothing_but_the_public_question_was_sent(tmp_path: Path, console: Console) -> None:
    identity = Identity.open(files.make_private_directory(tmp_path / "state"))
    async with Between(tmp_path / "between", console).listening() as between:
        between.authority_text = between.authority.root
        error = await refused(identity, await token(console), between)
    assert error.code == "console.pin_mismatch"
    assert between.authority.pin.hex() in error.message
    assert between.received == [f"GET {PATH}"]
    assert list(identity.directory.iterdir()) == []


@pytest.mark.attack(3)
async def test_an_answer_with_another_authority_than_the_pinned_one_is_not_kept(
    tmp_path: Path, console: Console
) -> None:
    """Here the pinned console itself answers, but names somebody else as the one to trust from now on."""
    identity = Identity.open(files.make_private_directory(tmp_path / "state"))
    between = Between(tmp_path / "between", console)
    between.authority = Authority.open(console.settings.state / "authority", now=NOW)
    stranger = Authority.open(files.make_private_directory(tmp_path / "stranger"), now=NOW)
    async with between.listening():
        text = await token(console)
        result = {
            "gateway_id": "0193a0a0-0000-7000-8000-000000000001",
            "gateway_name": "dc1",
            "certificate": "x",
            "join": {"number": 1, "ticket": "00" * 32},
            "tunnel": "wss://127.0.0.1:1/",
            "server_time": NOW.isoformat(),
        }
        for roots in ([stranger.root], [authority_of(console) + stranger.root], [""]):
            answer = result | {"bundle": {"version": 1, "roots": roots}}
            between.answers["/api/v1/pairing/finish"] = web.json_response(answer)
            assert (await refused(identity, text, between)).code == "console.pin_mismatch"


@pytest.mark.attack(3)
async def test_who_has_a_certificate_of_the_consoles_authority_but_another_key_relays_in_vain(
    tmp_path: Path, console: Console
) -> None:
    """The proof names the TLS key that was spoken with; the console knows its own."""
    identity = Identity.open(files.make_private_directory(tmp_path / "state"))
    between = Between(tmp_path / "between", console)
    between.authority = Authority.open(console.settings.state / "authority", now=NOW)
    async with between.listening():
        error = await refused(identity, await token(console), between)
    assert getattr(error, "problem").code == "pairing.proof_wrong"  # noqa: B009
    assert between.received[-1] == "POST /api/v1/pairing/finish"
    assert (await console.ask("GET", "/api/v1/gateways")).body["items"] == []


async def test_the_pinned_console_is_believed_also_over_a_relay_that_changes_nothing(
    tmp_path: Path, console: Console
) -> None:
    """The counterpart: with the console's own key in between, the road of the tests above leads to the end."""
    identity = Identity.open(files.make_private_directory(tmp_path / "state"))
    between = Between(tmp_path / "between", console)
    between.authority = Authority.open(console.settings.state / "authority", now=NOW)
    (between.directory / "server.key").write_bytes((console.settings.state / "server.key").read_bytes())
    async with between.listening():
        roads = FirstRoads(straight=Diverted(between.url))
        paired = await pairing.pair(identity, await token(console), roads=roads)
    assert paired.gateway_name == "dc1"
    assert identity.member().trust.roots == [authority_of(console)]


@pytest.mark.parametrize("count", [0, 2, 3])
def test_only_exactly_one_certificate_is_an_authority(tmp_path: Path, count: int) -> None:
    one = Authority.open(files.make_private_directory(tmp_path / "ca"), now=NOW).root
    with pytest.raises(PinMismatchError, match="exactly one"):
        pinned.read_authority(one * count, source="somebody")


@pytest.mark.parametrize("text", ["", "<html>", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "é\0"])
def test_what_is_no_certificate_is_refused_and_not_crashed_on(text: str) -> None:
    with pytest.raises(PinMismatchError):
        pinned.read_authority(text, source="somebody")


def test_the_certificate_is_written_anew_and_what_stood_around_it_is_dropped(tmp_path: Path) -> None:
    authority = Authority.open(files.make_private_directory(tmp_path / "ca"), now=NOW)
    claimed = pinned.read_authority(f"# believe me\n{authority.root}\nand more", source="somebody")
    assert (claimed.trust, claimed.pin) == (authority.root, authority.pin)
    assert claimed.pin_text == f"sha256:{authority.pin.hex()}"


async def test_a_token_of_two_pins_is_good_for_either(tmp_path: Path) -> None:
    async with Between(tmp_path / "between").listening() as between:
        between.authority_text = between.authority.root
        claimed = await pinned.authority_with_pin(between.url, (bytes(32), between.authority.pin))
    assert claimed.trust == between.authority.root


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500])
async def test_an_answer_other_than_200_is_no_authority_and_is_not_followed(tmp_path: Path, status: int) -> None:
    async with Between(tmp_path / "between").listening() as between:
        between.answers[PATH] = web.Response(status=status, headers={"Location": f"{between.url}/elsewhere"})
        with pytest.raises(ConsoleUnreachableError, match=str(status)):
            await pinned.claimed_authority(between.url)
    assert between.received == [f"GET {PATH}"]


async def test_an_authority_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    async with Between(tmp_path / "between").listening() as between:
        between.authority_text = "x" * (pinned.LIMIT + 1)
        with pytest.raises(AnswerTooLargeError):
            await pinned.claimed_authority(between.url)


async def test_nobody_listening_is_said_in_a_sentence(tmp_path: Path) -> None:
    async with Between(tmp_path / "between").listening() as between:
        pass
    with pytest.raises(ConsoleUnreachableError, match="does not answer"):
        await pinned.claimed_authority(between.url)


@pytest.mark.parametrize("body", ["", "<html>", "{}", "[]"])
async def test_an_answer_that_is_not_a_consoles_is_said_to_be_none(tmp_path: Path, console: Console, body: str) -> None:
    identity = Identity.open(files.make_private_directory(tmp_path / "state"))
    between = Between(tmp_path / "between", console, answers={"/api/v1/pairing/start": body})
    between.authority = Authority.open(console.settings.state / "authority", now=NOW)
    async with between.listening():
        error = await refused(identity, await token(console), between)
    assert error.code == "console.unreachable"


async def test_a_refusal_of_the_console_is_told_as_the_console_told_it(tmp_path: Path, console: Console) -> None:
    identity = Identity.open(files.make_private_directory(tmp_path / "state"))
    text = await token(console)
    await console.ask("DELETE", f"/api/v1/registration-tokens/{tokens.parse(text).id}")
    error = await refused(identity, text)
    problem = getattr(error, "problem", None)
    assert isinstance(problem, Problem)
    assert problem.code == "pairing.token_revoked"
