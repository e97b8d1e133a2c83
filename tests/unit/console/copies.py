"""This file is appliances that renew, lose what they have and are copied, seen from the console's tests."""

import secrets
import ssl
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from gateway.contract.identity import Granted, Hardware, JoinState, RecoveryChallenge, Renew, Renewed
from gateway.identity import joinstate, keys, recovery, tls
from gateway.identity.authority import certificate_request
from gateway.identity.recovery import Lost, Seen
from tests.fakes.console import Appliance, Console, Line, Said

IDENTITY = 3
"""The protocol that appliances speak here."""


async def gateway(console: Console, name: str = "dc1") -> dict[str, Any]:
    shown: dict[str, Any] = (await console.ask("GET", f"/api/v1/gateways/{name}")).body
    return shown


async def conditions(console: Console, name: str = "dc1") -> list[str]:
    return [one["type"] for one in (await gateway(console, name))["conditions"]]


def join_of(appliance: Appliance) -> JoinState:
    assert appliance.paired.join is not None
    return appliance.paired.join


def renewal(join: JoinState, request: str) -> Renew:
    return Renew(request=request, join_number=join.number, join_proof=joinstate.prove(join, request.encode()))


async def renewed(line: Line, join: JoinState, key: keys.PrivateKey) -> Granted:
    await line.say(renewal(join, certificate_request(key)))
    return (await line.hear(Renewed)).granted


def holding(appliance: Appliance, granted: Granted, key: keys.PrivateKey) -> Appliance:
    """Return the appliance with the certificate that it was given."""
    directory = appliance.console.settings.state.parent
    stem = secrets.token_hex(4)
    certificate, private = directory / f"{stem}.pem", directory / f"{stem}.key"
    certificate.write_text(granted.certificate)
    keys.write(private, key)
    context: ssl.SSLContext = tls.client("".join(granted.trust.roots), certificate=certificate, key=private)
    paired = appliance.paired.model_copy(update={"certificate": granted.certificate, "join": granted.join})
    return replace(appliance, tls=context, paired=paired)


def copied(appliance: Appliance) -> Appliance:
    """Return a copy of the appliance's disk, started on another machine."""
    return replace(appliance, boot_id=uuid4())


def lost(appliance: Appliance, **other: Any) -> Lost:  # noqa: ANN401 - fields of Lost
    """Return what an appliance recovers with."""
    have = Lost(
        gateway=appliance.paired.gateway_id,
        device=appliance.device,
        join=join_of(appliance),
        request=certificate_request(keys.new_key()),
        boot_id=appliance.boot_id,
        hardware=Hardware(),
    )
    return replace(have, **other)


async def recover(console: Console, have: Lost, **other: Any) -> Said:  # noqa: ANN401 - fields of RecoveryFinish
    """Go through the whole conversation of recovery."""
    said, nonce = await asked_to_recover(console, have.gateway)
    if said.status != 200:
        return said
    challenge = RecoveryChallenge.model_validate(said.body)
    finish = recovery.prove(have, challenge, nonce=nonce, seen=seen(console)).model_copy(update=other)
    return await console.ask("POST", "/api/v1/recovery/finish", finish.model_dump(mode="json"), key="")


async def asked_to_recover(console: Console, name: UUID) -> tuple[Said, str]:
    nonce = secrets.token_hex(32)
    question = {"gateway_id": str(name), "nonce": nonce}
    return await console.ask("POST", "/api/v1/recovery/start", question, key=""), nonce


def seen(console: Console) -> Seen:
    """Return whom an appliance sees that speaks with this very console."""
    key = keys.spki_digest(keys.read(console.settings.state / "server.key").public_key()).hex()
    return Seen(bytes.fromhex(console.reached.pin.removeprefix("sha256:")), key)
