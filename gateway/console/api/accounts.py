"""This file is the routes of sealed cloud accounts: what is shown of them never includes what is sealed."""

from uuid import UUID

from pydantic import AwareDatetime, Field

from gateway.console.accounts import Overview
from gateway.console.api import models
from gateway.console.api.models import Nothing
from gateway.console.api.routes import Call
from gateway.console.records import Gateway
from gateway.console.store.accounts import StoredAccount
from gateway.contract.accounts import LARGEST_VERSION, Base64, SealedAccount, SealingKey
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


async def list_accounts(call: Call[models.OneGateway, Nothing, Nothing]) -> GatewayAccounts:
    """List the sealed accounts of a gateway."""
    return _shown(await call.rooms.accounts.overview(call.scope, call.path.name))


async def show_sealing_key(call: Call[models.OneGateway, ForAccount, Nothing]) -> SealingKeyFor:
    """Show what an account is to be sealed to, and as which version."""
    gateway, key = await call.rooms.accounts.key(call.scope, call.path.name)
    version, exists = await call.rooms.accounts.next_version(call.scope, call.path.name, call.query.account)
    return SealingKeyFor(
        gateway=gateway.name,
        gateway_id=gateway.id,
        key=key,
        account=call.query.account,
        version=version,
        exists=exists,
    )


async def put_account(call: Call[OneAccount, Nothing, SealedBody]) -> AccountView:
    """Keep a sealed account, in place of one of that name."""
    account = SealedAccount.model_validate({"name": call.path.account, **call.body.model_dump()})
    gateway, kept = await call.rooms.accounts.put(call.scope, call.path.name, account, author=call.caller.user)
    return _account(gateway, kept)


async def delete_account(call: Call[OneAccount, Nothing, Nothing]) -> None:
    """Delete a sealed account, here and at its gateway."""
    await call.rooms.accounts.delete(call.scope, call.path.name, call.path.account, author=call.caller.user)


async def rotate_key(call: Call[models.OneGateway, Nothing, Nothing]) -> GatewayAccounts:
    """Have a gateway make a new sealing key and seal its accounts anew."""
    return _shown(await call.rooms.accounts.rotate(call.scope, call.path.name, author=call.caller.user))


def _shown(seen: Overview) -> GatewayAccounts:
    items = [_account(seen.gateway, one) for one in seen.accounts]
    return GatewayAccounts(gateway=seen.gateway.name, rotating=seen.is_rotating, items=items)


def _account(gateway: Gateway, one: StoredAccount) -> AccountView:
    key = gateway.sealing_key
    return AccountView(
        name=one.account.name,
        kind=one.account.kind,
        version=one.account.version,
        author=one.author,
        created_at=one.created_at,
        updated_at=one.updated_at,
        delivered=one.account.name in gateway.accounts,
        opens=key is not None and key.id == one.account.key_id,
    )
