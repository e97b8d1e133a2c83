"""This file is the authority in the hands of whoever runs the console: how a rotation stands, and its next step.

Works on the state directory, while the console runs and while it does not; a running console notices within seconds.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509

from gateway.console import keyring
from gateway.console.custody import CERTIFICATE
from gateway.console.keyring import ConsoleNotThereError
from gateway.console.settings import ConsoleSettings
from gateway.console.store import trusting
from gateway.console.store.trusting import OpenToken, Trusting
from gateway.identity import rotation
from gateway.identity.authority import Authority
from gateway.identity.rotation import Phase
from gateway.kit import moments
from gateway.kit.errors import GatewayError, Remedy

NAMED_AT_MOST = 10
ROOT_ENDS_SOON = timedelta(days=365)


class GatewaysLeftBehindError(GatewayError):
    """A step of a rotation would leave gateways behind that have not heard of what it needs."""

    code = "authority.gateways_left_behind"
    remedy = Remedy.CALLER


class TokensLeftBehindError(GatewayError):
    """A step of a rotation would make registration tokens worthless that may still be used."""

    code = "authority.tokens_left_behind"
    remedy = Remedy.CALLER


class Step(StrEnum):
    """What is to be rotated."""

    INTERMEDIATE = "intermediate"
    ROOT = "root"
    """Make the next root and make it known."""
    SWITCH = "switch"
    """Make it the current one."""
    RETIRE = "retire"
    """Take the former one no more."""


TURNS = {Step.ROOT: Phase.STEADY, Step.SWITCH: Phase.HANDED_ON, Step.RETIRE: Phase.SETTLING}
"""In which phase each step has its place; the intermediate's is always."""


@dataclass(frozen=True, slots=True)
class Situation:
    """How the authority stands, and who would be left behind by the next step, or was by the last.

    `own` is the certificate that the console shows, None where it has not started yet; `tokens` are the open ones that
    do not know the newest root: once it is the current one, nobody can pair with them.
    """

    authority: Authority
    gateways: list[Trusting]
    behind: list[Trusting]
    own: x509.Certificate | None = None
    tokens: list[OpenToken] = field(default_factory=list)

    @property
    def by_version(self) -> dict[int, int]:
        """How many gateways keep each version of the trust bundle, the newest first."""
        versions = [one.trust_version for one in self.gateways]
        return {version: versions.count(version) for version in sorted(set(versions), reverse=True)}


async def situation(settings: ConsoleSettings, *, now: datetime) -> Situation:
    """Look at the authority and at who trusts it. Raises ConsoleNotThereError, AuthorityDamagedError or the store's."""
    async with keyring.console_store(settings) as store:
        known = await trusting.every(store)
        authority = await asyncio.to_thread(_opened, settings, now)
        since = authority.newest_since
        tokens = await trusting.open_tokens(store, made_before=since, now=now) if since else []
    behind = [
        one
        for one in known
        if rotation.waits_for(
            authority.state, trust_version=one.trust_version, certificate_until=one.certificate_until, now=now
        )
    ]
    return Situation(authority, known, behind, await asyncio.to_thread(_own, settings), tokens)


async def rotate(settings: ConsoleSettings, step: Step, *, even_so: bool, now: datetime) -> Situation:
    """Take one step and return how things stand then. `even_so` leaves behind whom it leaves behind.

    Raises GatewaysLeftBehindError, TokensLeftBehindError, RotationOutOfTurnError, RootKeyAwayError, and the errors of
    `situation`.
    """
    found = await situation(settings, now=now)
    if step in TURNS:
        rotation.expect(found.authority.state, TURNS[step])
    if step in {Step.SWITCH, Step.RETIRE}:
        _refuse_leaving_behind(found, even_so=even_so)
    if step is Step.SWITCH:
        _refuse_losing_tokens(found, even_so=even_so)
    await asyncio.to_thread(_take, found.authority, step, now)
    return await situation(settings, now=now)


def next_step(found: Situation, *, now: datetime) -> str:
    """Say what there is to do next."""
    begins = found.authority.chain[-1].not_valid_before_utc
    if now < begins:
        return (
            f"the intermediate begins at {moments.minute(begins)}, later than this machine's clock says, and signs "
            "nothing for gateways until then: set the clock right, or, if it is right, make a new one: rotate."
        )
    waiting = f" {_counted(found.behind)} not: {_names(found.behind)}." if found.behind else " All have."
    match found.authority.state.phase:
        case Phase.HANDED_ON:
            return f"once the gateways know the next root, make it the current one: rotate --switch.{waiting}"
        case Phase.SETTLING:
            return f"once the gateways have certificates below the new root, end this: rotate --retire.{waiting}"
        case Phase.STEADY:
            return _when_steady(found.authority.chain[0].not_valid_after_utc, now=now) + _missed(found)


def _when_steady(ends: datetime, *, now: datetime) -> str:
    if ends - now < ROOT_ENDS_SOON:
        return f"the root ends at {ends:%Y-%m-%d}: begin to bring in the next one, with rotate --root."
    return "nothing."


def _missed(found: Situation) -> str:
    if not found.behind:
        return ""
    return (
        f" {_counted(found.behind)} missed the last rotation: {_names(found.behind)}. Who is off comes back by itself, "
        "by recovery; one that is on and stays away is paired anew: pcg gateway repair-token."
    )


def _opened(settings: ConsoleSettings, now: datetime) -> Authority:
    directory = settings.state / "authority"
    if not directory.exists():
        raise ConsoleNotThereError(
            f"no console keeps an authority in {settings.state}: name its directory with --state, or start it once",
            state=str(settings.state),
        )
    return Authority.open(directory, now=now)


def _own(settings: ConsoleSettings) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates((settings.state / CERTIFICATE).read_bytes())[0]
    except (OSError, ValueError):
        return None


def _take(authority: Authority, step: Step, now: datetime) -> None:
    match step:
        case Step.INTERMEDIATE:
            authority.renew_intermediate(now=now)
        case Step.ROOT:
            authority.hand_on(now=now)
        case Step.SWITCH:
            authority.promote(now=now)
        case Step.RETIRE:
            authority.retire()


def _refuse_leaving_behind(found: Situation, *, even_so: bool) -> None:
    if found.behind and not even_so:
        raise GatewaysLeftBehindError(
            f"{_counted(found.behind)} not heard of what this needs: {_names(found.behind)}; wait until all have "
            "connected, or say --yes: whoever is left behind has to come back by recovery",
            gateways=len(found.behind),
        )


def _refuse_losing_tokens(found: Situation, *, even_so: bool) -> None:
    if found.tokens and not even_so:
        named = ", ".join(f"{one.id} for {one.gateway}" for one in found.tokens[:NAMED_AT_MOST])
        raise TokensLeftBehindError(
            f"{len(found.tokens)} open registration token{'' if len(found.tokens) == 1 else 's'} would be worthless: "
            f"{named}; wait until they are used or have ended, or say --yes and make new ones",
            tokens=len(found.tokens),
        )


def _counted(gateways: list[Trusting]) -> str:
    return "1 gateway has" if len(gateways) == 1 else f"{len(gateways)} gateways have"


def _names(gateways: list[Trusting]) -> str:
    named = ", ".join(one.name for one in gateways[:NAMED_AT_MOST])
    more = len(gateways) - NAMED_AT_MOST
    return f"{named} and {more} more" if more > 0 else named
