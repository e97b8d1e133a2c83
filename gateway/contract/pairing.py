"""This file is what crosses the wire while an appliance pairs; nothing secret is ever in it."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from gateway.contract.identity import Hardware, JoinState
from gateway.contract.shapes import Name, Report, Wish
from gateway.contract.signing import CommandKey
from gateway.contract.trust import MOST_SUCCESSIONS, Digest, Nonce, Pem, Signature, Succession, TrustBundle

TokenId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{20}$")]


class PairingStart(Wish):
    """The appliance asks for a challenge."""

    token_id: TokenId
    nonce: Nonce = Field(description="32 random bytes, hexadecimal")


class PairingChallenge(Report):
    """The console's half of the freshness."""

    challenge: str = Field(max_length=2048, description="opaque; to be sent back unchanged within two minutes")
    nonce: Nonce
    server_time: AwareDatetime
    repairs: UUID | None = Field(default=None, description="the gateway that the token pairs anew, if it does")


class PairingFinish(Wish):
    """The appliance proves that it holds the token's seed and its own device key."""

    token_id: TokenId
    nonce: Nonce = Field(description="the appliance's nonce of PairingStart")
    challenge: str = Field(max_length=2048)
    device_key: Pem = Field(description="public device key, PEM SubjectPublicKeyInfo, P-256")
    request: Pem = Field(description="PKCS #10 certificate request for the TLS key, PEM")
    server_key: Digest = Field(description="SHA-256 of the SubjectPublicKeyInfo that the TLS server has shown")
    hardware: Hardware
    token_signature: Signature = Field(description="Ed25519 over the transcript's hash, base64")
    device_signature: Signature = Field(description="ECDSA P-256 with SHA-256 over the transcript's hash, DER, base64")


class PairingResult(Report):
    """The appliance is paired."""

    gateway_id: UUID
    gateway_name: Name
    certificate: Pem = Field(description="the appliance's TLS certificate with its chain, PEM")
    bundle: TrustBundle
    steps: list[Succession] = Field(
        default_factory=list, max_length=MOST_SUCCESSIONS, description="how the roots of `bundle` follow each other"
    )
    join: JoinState
    tunnel: str = Field(max_length=512, description="where the tunnel ends, wss://host:port/…")
    server_time: AwareDatetime
    command_key: CommandKey | None = Field(default=None, description="public key that commands are signed with")
    confirm: bool = Field(default=False, description="whether a person has to compare fingerprints first")
