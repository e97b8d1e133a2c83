"""This file is what the API takes and answers about sealed cloud accounts; never what is sealed, once it is kept."""

from uuid import UUID

from pydantic import AwareDatetime, Field

from gateway.console.api import models
from gateway.contract.accounts import LARGEST_VERSION, Base64, SealingKey
from gateway.contract.shapes import Name, Report, Wish
from gateway.contract.trust import Digest


class OneAccount(models.OneGateway):
    """A path to a sealed account of a gateway."""

    account: Name = Field(description="the account's name")


class ForAccount(Wish):
    """For which account a sealing key is asked."""

    account: Name = Field(description="the account that is to be sealed")


class SealingKeyFor(Report):
    """All that is needed to seal an account to a gateway."""

    gateway: Name
    gateway_id: UUID = Field(description="what is sealed opens at this gateway only")
    key: SealingKey
    account: Name
    version: int = Field(description="the version that the account has to be sealed as")
    exists: bool = Field(description="whether there is a sealed account of that name, which would be replaced")


class SealedBody(Wish):
    """An account as it was sealed on the user's machine. Its name is in the path."""

    kind: str = Field(default="vsphere", pattern="^vsphere$", description="which cloud it signs in to")
    version: int = Field(ge=1, le=LARGEST_VERSION, description="as it was sealed")
    key_id: Digest = Field(description="the sealing key that it was sealed to")
    sealed: Base64 = Field(min_length=1, max_length=8192, description="encapsulated key and ciphertext of RFC 9180")


class AccountView(Report):
    """A sealed account, as far as anybody but its gateway can know it."""

    name: Name
    kind: str
    version: int
    author: str = Field(description="who sealed it last")
    created_at: AwareDatetime
    updated_at: AwareDatetime
    delivered: bool = Field(description="whether the gateway says that it has an account of that name")
    opens: bool = Field(description="false when it is sealed to another key than the gateway has now")


class GatewayAccounts(Report):
    """The sealed accounts of a gateway by name."""

    gateway: Name
    rotating: bool = Field(description="whether a new sealing key was wished for and is not there yet")
    items: list[AccountView]
