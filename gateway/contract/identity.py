"""This file is what crosses the wire about who an appliance is: renewing its certificate, and getting it back.

::

    renewal     over the command channel, while the certificate is good (protocol version 3)
    recovery    over HTTPS without a client certificate, when it is not: start, challenge, finish, as in pairing
"""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, SecretStr, field_serializer

from gateway.contract.problems import Problem
from gateway.contract.shapes import Report, Wish
from gateway.contract.trust import MOST_ROOTS, Digest, Nonce, Pem, Signature, TrustBundle

LATEST_JOIN = 2**31 - 1


class JoinState(Report):
    """What the console last gave an appliance with a certificate. Two machines that hold the same are copies.

    Each certificate comes with a new one, and only its holder gets the next: of two copies one comes too late.
    """

    number: int = Field(ge=1, le=LATEST_JOIN, description="grows by one with each certificate")
    ticket: SecretStr = Field(description="32 random bytes, hexadecimal; never sent back, only proved")

    @field_serializer("ticket", when_used="json")
    def _in_clear(self, ticket: SecretStr) -> str:
        return ticket.get_secret_value()


class Hardware(Report):
    """What the appliance's machine says of itself; it changes when a virtual machine is copied."""

    system_uuid: UUID | None = Field(default=None, description="SMBIOS UUID; None where it cannot be read")
    device_key_in_tpm: bool = False


class Renew(Report):
    """The appliance asks for its next certificate, over the channel that the present one has opened."""

    type: Literal["renew"] = "renew"
    request: Pem = Field(description="PKCS #10 request for a new TLS key, PEM")
    join_number: int = Field(ge=1, le=LATEST_JOIN)
    join_proof: Digest = Field(description="HMAC-SHA256 over the request, with the join key (see identity.joinstate)")


class Granted(Report):
    """A certificate and all that goes with it."""

    certificate: Pem = Field(description="the appliance's TLS certificate with its chain, PEM")
    trust: TrustBundle
    join: JoinState


class Renewed(Report):
    """The answer to Renew."""

    type: Literal["renewed"] = "renewed"
    granted: Granted


class RenewalRefused(Report):
    """The other answer to Renew; the channel stays."""

    type: Literal["renewal_refused"] = "renewal_refused"
    problem: Problem


class RecoveryStart(Wish):
    """An appliance whose certificate is worth nothing any more asks for a challenge."""

    gateway_id: UUID
    nonce: Nonce = Field(description="32 random bytes, hexadecimal")


class RecoveryChallenge(Report):
    """The console's half of the freshness; the time is told before anything is asked to be believed by it."""

    challenge: str = Field(max_length=2048, description="opaque; to be sent back unchanged within two minutes")
    nonce: Nonce
    server_time: AwareDatetime
    takes: list[Digest] | None = Field(
        default=None,
        max_length=MOST_ROOTS,
        description="pins of the roots below which this console takes certificates of appliances now; null if not said",
    )


class RecoveryFinish(Wish):
    """The appliance proves that it holds the device key and the last join state."""

    gateway_id: UUID
    nonce: Nonce
    challenge: str = Field(max_length=2048)
    server_key: Digest = Field(description="SHA-256 of the SubjectPublicKeyInfo that the TLS server has shown")
    request: Pem = Field(description="PKCS #10 request for a new TLS key, PEM")
    boot_id: UUID
    hardware: Hardware
    join_number: int = Field(ge=1, le=LATEST_JOIN)
    join_proof: Digest = Field(description="HMAC-SHA256 over the transcript's hash, with the join key")
    device_signature: Signature = Field(description="ECDSA P-256 with SHA-256 over the transcript's hash, DER, base64")


class RecoveryResult(Report):
    """The appliance is back."""

    granted: Granted
    tunnel: str = Field(max_length=512)
    server_time: AwareDatetime
