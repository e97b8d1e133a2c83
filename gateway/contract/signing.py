"""This file is a command's seal: what the console says of each command it sends, signed, and by which key.

The envelope is DSSE's (version 1): what is signed is the payload's type and the payload's bytes as they are. So nobody
has to agree on how JSON is written, and nothing is parsed before its signature holds.
"""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from gateway.contract.shapes import KEY_PATTERN, Report, Wish
from gateway.contract.trust import Digest

PAYLOAD_TYPE = "application/vnd.private-cloud-gateway.command+json"
PAYLOAD_LIMIT = 2048
"""Bytes of the largest payload."""
MOST_SIGNATURES = 4
MOST_HANDINGS = 64

CommandKey = Annotated[str, StringConstraints(pattern=KEY_PATTERN)]
"""An Ed25519 public key, base64url; it is its own key id."""
Ed25519Text = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{86}$")]
"""An Ed25519 signature, base64url."""


class Sealed(Wish):
    """What is signed of a command."""

    model_config = ConfigDict(strict=True)

    gateway_id: UUID = Field(description="for whom it is")
    command_id: UUID
    seq: int = Field(ge=1, description="grows with each command of the gateway")
    kind: Annotated[str, StringConstraints(max_length=60)] = Field(description="the kind of its task")
    body_sha256: Digest = Field(description="of the canonical JSON of all that the command says")
    policy_hash: Digest | None = Field(default=None, description="the policy of the site that it was made under")
    not_before: AwareDatetime = Field(description="by the console's time, as is the next")
    expires_at: AwareDatetime


class EnvelopeSignature(Report):
    """One key's word."""

    keyid: CommandKey
    sig: Annotated[str, StringConstraints(max_length=128)] = Field(description="Ed25519 over the encoding, base64")


class Envelope(Report):
    """A DSSE envelope."""

    payload_type: Annotated[str, StringConstraints(max_length=128)]
    payload: Annotated[str, StringConstraints(max_length=2 * PAYLOAD_LIMIT)] = Field(description="base64")
    signatures: list[EnvelopeSignature] = Field(min_length=1, max_length=MOST_SIGNATURES)


class HandingOn(Report):
    """A key's word that another signs commands from now on."""

    follows: CommandKey = Field(description="the key that says so")
    key: CommandKey = Field(description="the key that follows")
    signature: Ed25519Text


class CommandKeys(Report):
    """By which key commands are signed now, and how one gets to it from the keys before. Since version 3."""

    type: Literal["command_keys"] = "command_keys"
    key: CommandKey
    handings: list[HandingOn] = Field(default_factory=list, max_length=MOST_HANDINGS, description="the oldest first")


class Halt(Report):
    """Why an appliance takes no new commands: the console knows less than it knew before."""

    id: UUID
    since: AwareDatetime = Field(description="by the appliance's clock")
    reasons: list[Annotated[str, StringConstraints(max_length=300)]] = Field(min_length=1, max_length=4)


class LaneResumed(Report):
    """A person at the console has ended the halt of that id. Since version 3."""

    type: Literal["lane_resumed"] = "lane_resumed"
    halt: UUID
