"""This file is the routes of sealed cloud accounts."""

from gateway.console.accounts import Overview
from gateway.console.api import models
from gateway.console.api.accountmodels import (
    AccountView,
    ForAccount,
    GatewayAccounts,
    OneAccount,
    SealedBody,
    SealingKeyFor,
)
from gateway.console.api.models import Nothing
from gateway.console.api.routes import Call
from gateway.console.records import Gateway
from gateway.console.store.accounts import StoredAccount
from gateway.contract.accounts import SealedAccount


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
