"""This file is cloud accounts as they cross the wire: sealed to the gateway, opened nowhere else.

What is sealed and how is in `identity.sealing`; the console stores and passes on what it cannot read.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from gateway.contract.shapes import Name, Report
from gateway.contract.trust import Digest, Pem, Signature

MOST_SEALED = 100
LARGEST_VERSION = 2**53 - 1

Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/=]*$")]


class SealingKey(Report):
    """The public key that credentials for a gateway are sealed to, and its device key's word that it is its own."""

    id: Digest = Field(description="SHA-256 of `public`")
    suite: str = Field(max_length=60, description="the HPKE suite, by the names of RFC 9180's registry")
    public: Base64 = Field(max_length=4096)
    made_at: AwareDatetime
    device_key: Pem
    signature: Signature = Field(description="by the device key, over suite, public and made_at")


class SealedAccount(Report):
    """A cloud account that only the gateway can open."""

    name: Name
    kind: Literal["vsphere"] = "vsphere"
    version: int = Field(
        ge=1, le=LARGEST_VERSION, description="grows with each change of the account, not when it is sealed anew"
    )
    key_id: Digest
    sealed: Base64 = Field(min_length=1, max_length=8192)


class SealedAccounts(Report):
    """Every account that the console keeps for a gateway, whole: what is not in it is not kept any more."""

    type: Literal["accounts"] = "accounts"
    accounts: list[SealedAccount] = Field(max_length=MOST_SEALED)
    key_id: Digest | None = Field(default=None, description="the gateway's sealing key that the console knows")
    key_made_at: AwareDatetime | None = Field(
        default=None, description="of that key: an older one is not taken any more"
    )
    rotate: bool = Field(default=False, description="whether a person wishes that key to be replaced by a new one")


class Resealed(Report):
    """The gateway has a new sealing key; accounts that it had sealed to an older one come with it, sealed anew."""

    type: Literal["resealed"] = "resealed"
    key: SealingKey
    accounts: list[SealedAccount] = Field(default_factory=list, max_length=MOST_SEALED)
