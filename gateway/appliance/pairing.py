"""This file is how the appliance pairs: from a registration token to a certificate."""

import secrets
from typing import TypeVar

import aiohttp
import structlog
from pydantic import BaseModel, ValidationError

from gateway.appliance.identity import Identity, Paired
from gateway.contract.pairing import PairingChallenge, PairingResult, PairingStart
from gateway.contract.problems import Problem, RelayedError
from gateway.identity import pairing, pinned, tls, tokens
from gateway.identity.pinned import PATIENCE, ConsoleUnreachableError
from gateway.kit.answers import read_whole
from gateway.kit.connector import Connector
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)

ANSWER_LIMIT = 256 * 1024
Answer = TypeVar("Answer", bound=BaseModel)


class PairingRefusedError(RelayedError):
    """The console refuses to pair and says why."""

    code = "pairing.refused"


class AlreadyPairedError(GatewayError):
    """The appliance is paired already."""

    code = "appliance.already_paired"
    remedy = Remedy.CALLER


async def pair(identity: Identity, token_text: str) -> Paired:
    """Pair with the console that made the token. Repeating it after a cut, with the same token, is safe.

    Raises TokenMangledError, PinMismatchError, ConsoleUnreachableError, PairingRefusedError, AlreadyPairedError.
    """
    token = tokens.parse(token_text)
    known = identity.paired()
    if known is not None:
        raise AlreadyPairedError(
            f"this appliance is paired with {known.console} as {known.gateway_name}: "
            "an appliance belongs to one console; give the token to a new one"
        )
    authority = await pinned.authority_with_pin(token.url, token.pins)
    connector = Connector(tls.client(authority.trust))
    async with aiohttp.ClientSession(token.url, connector=connector, timeout=PATIENCE) as session:
        start = PairingStart(token_id=token.id, nonce=secrets.token_hex(32))
        challenge = await _ask(session, "start", start, PairingChallenge)
        finish = pairing.prove(token, identity.candidate(), challenge, nonce=start.nonce, pin=authority.pin)
        result = await _ask(session, "finish", finish, PairingResult)
    if pinned.read_authority(result.trust, source=token.url).pin != authority.pin:
        raise pinned.PinMismatchError(f"{token.url} answers with another authority than its own: nothing was kept")
    paired = identity.store(result, trust=authority.trust, console=token.url)
    log.info("paired", gateway=paired.gateway_name, console=paired.console)
    return paired


async def _ask(session: aiohttp.ClientSession, what: str, question: BaseModel, answer: type[Answer]) -> Answer:
    try:
        body = question.model_dump(mode="json")
        async with session.post(f"/api/v1/pairing/{what}", json=body, allow_redirects=False) as response:
            text = (await read_whole(response, limit=ANSWER_LIMIT)).decode(errors="replace")
            if response.status >= 300:
                raise PairingRefusedError(Problem.model_validate_json(text))
            return answer.model_validate_json(text)
    except (aiohttp.ClientError, TimeoutError, OSError) as fault:
        raise ConsoleUnreachableError(f"the console stopped answering: {str(fault) or type(fault).__name__}") from fault
    except ValidationError as fault:
        raise ConsoleUnreachableError(
            "the answer is not a console's: look for a proxy between, or a console of another version"
        ) from fault
