"""This file is cloud accounts as the console has them: sealed to a gateway, kept, and handed on.

Nothing here can open one. What the console does is to keep order: an account is sealed to the key the gateway has now,
and each version is the one after the last, so that of two users at once the second is told and none is lost.
"""

from dataclasses import dataclass
from typing import NamedTuple

import structlog

from gateway.console.bells import Bells
from gateway.console.records import Gateway, Standing
from gateway.console.store import accounts, audit, gateways
from gateway.console.store.accounts import StoredAccount
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope, Within
from gateway.contract.accounts import MOST_SEALED, Resealed, SealedAccount, SealedAccounts, SealingKey
from gateway.contract.messages import MESSAGE_LIMIT, Hello
from gateway.identity import keys, sealing
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

MOST_BYTES = MESSAGE_LIMIT - 16 * 1024
"""Of all accounts of one gateway as one message; the rest is for the sealing key that comes back with them."""
DELIVERED_TO = {Standing.ACTIVE, Standing.PAUSED}

log = structlog.get_logger(__name__)


class SealingKeyMissingError(GatewayError):
    """The gateway has not said yet what is to be sealed to."""

    code = "account.no_sealing_key"
    remedy = Remedy.RETRY


class SealingKeyChangedError(GatewayError):
    """The account is sealed to another key than the gateway has now."""

    code = "account.key_changed"
    remedy = Remedy.RETRY


class SealedAccountChangedError(GatewayError):
    """Somebody else has changed the account meanwhile."""

    code = "account.changed"
    remedy = Remedy.CALLER


class SealedAccountUnknownError(GatewayError):
    """The console keeps no sealed account of that name for the gateway."""

    code = "account.not_kept"
    remedy = Remedy.CALLER


class TooManyAccountsError(GatewayError):
    """The gateway's sealed accounts are more than can be handed to it."""

    code = "account.too_many"
    remedy = Remedy.CALLER


@dataclass(frozen=True, slots=True)
class Overview:
    """The accounts of one gateway, and the key they are sealed to."""

    gateway: Gateway
    accounts: list[StoredAccount]
    is_rotating: bool


class Kept(NamedTuple):
    """An account that is kept now, and the gateway it is for."""

    gateway: Gateway
    stored: StoredAccount


class Accounts:
    """The sealed accounts of every gateway: for people who seal them, and for the connections of gateways."""

    def __init__(self, store: Store, bells: Bells, *, clock: Clock) -> None:
        self._store = store
        self._bells = bells
        self._clock = clock

    async def overview(self, scope: Scope, gateway: str) -> Overview:
        """Return a gateway's accounts. Raises GatewayUnknownError."""
        async with self._store.reading(scope) as rows:
            found = await gateways.named(rows, gateway)
            unwanted = await accounts.replaced_is_wished(rows, found.id)
            return Overview(found, await accounts.every(rows, found.id), _is_wished(found, unwanted))

    async def key(self, scope: Scope, gateway: str) -> tuple[Gateway, SealingKey]:
        """Return a gateway and what to seal to for it. Raises GatewayUnknownError or SealingKeyMissingError."""
        async with self._store.reading(scope) as rows:
            found = await gateways.named(rows, gateway)
        return found, _key_of(found)

    async def next_version(self, scope: Scope, gateway: str, name: str) -> tuple[int, bool]:
        """Return the version an account of that name has to be sealed as, and whether it is there now.

        Raises GatewayUnknownError.
        """
        async with self._store.reading(scope) as rows:
            found = await gateways.named(rows, gateway)
            there = await accounts.find(rows, found.id, name)
            return await accounts.last_version(rows, found.id, name) + 1, there is not None

    async def put(self, scope: Scope, gateway: str, account: SealedAccount, *, author: str) -> Kept:
        """Keep a sealed account and hand it on; the same one twice is kept once.

        Raises GatewayUnknownError, SealingKeyMissingError, SealingKeyChangedError, SealedAccountChangedError or
        TooManyAccountsError.
        """
        now = self._clock.now()
        async with self._store.writing(scope) as rows:
            held = await gateways.held(rows, (await gateways.named(rows, gateway)).id)
            there = await accounts.find(rows, held.id, account.name)
            if there is not None and there.account == account:
                return Kept(held, there)
            await _refuse_untimely(rows, held, account)
            await accounts.put(rows, held.id, account, author=author, now=now)
            every = await accounts.every(rows, held.id)
            _refuse_too_many([one.account for one in every])
            action = "account.replace" if there else "account.create"
            await audit.note(rows, action, actor=author, now=now, gateway=gateway, account=account.name)
        log.info("sealed account kept", gateway=gateway, account=account.name, version=account.version, author=author)
        self._bells.ring(held.id)
        return Kept(held, next(one for one in every if one.account.name == account.name))

    async def delete(self, scope: Scope, gateway: str, name: str, *, author: str) -> None:
        """Forget an account, and have its gateway forget it. Raises GatewayUnknownError, SealedAccountUnknownError."""
        now = self._clock.now()
        async with self._store.writing(scope) as rows:
            held = await gateways.held(rows, (await gateways.named(rows, gateway)).id)
            if await accounts.find(rows, held.id, name) is None:
                raise SealedAccountUnknownError(
                    f"there is no sealed account {name!r} for gateway {gateway!r}: `pcg account list` shows which "
                    "there are; one that was added on the appliance is removed there",
                    account=name,
                )
            await accounts.remove(rows, held.id, name, author=author, now=now)
            await audit.note(rows, "account.delete", actor=author, now=now, gateway=gateway, account=name)
        log.info("sealed account deleted", gateway=gateway, account=name, author=author)
        self._bells.ring(held.id)

    async def rotate(self, scope: Scope, gateway: str, *, author: str) -> Overview:
        """Wish for a new sealing key; the gateway makes it and seals its accounts anew, now or when it is back.

        Raises GatewayUnknownError or SealingKeyMissingError.
        """
        now = self._clock.now()
        async with self._store.writing(scope) as rows:
            held = await gateways.held(rows, (await gateways.named(rows, gateway)).id)
            key = _key_of(held)
            await accounts.wish_replaced(rows, held.id, key.id)
            await audit.note(rows, "account.rotate-key", actor=author, now=now, gateway=gateway, key=key.id)
            every = await accounts.every(rows, held.id)
        log.info("new sealing key wished for", gateway=gateway, author=author)
        self._bells.ring(held.id)
        return Overview(held, every, is_rotating=True)

    async def greeted(self, gateway: Gateway, hello: Hello) -> None:
        """Take in the sealing key of a hello, if it is the gateway's own."""
        if hello.sealing_key is not None:
            await self._take(gateway, Resealed(key=hello.sealing_key))

    async def resealed(self, gateway: Gateway, message: Resealed) -> None:
        """Take in a new sealing key, if it is the gateway's own, with what is sealed to it."""
        await self._take(gateway, message)
        self._bells.ring(gateway.id)

    async def _take(self, gateway: Gateway, message: Resealed) -> None:
        async with self._store.writing(Scope(gateway.tenant)) as rows:
            held = await gateways.held(rows, gateway.id)
            try:
                key = _checked(held, message.key)
            except GatewayError as fault:
                # No reason to hang up: without a key that is known to be its own, nothing is sealed to it.
                log.warning("sealing key refused", gateway=gateway.name, code=fault.code, reason=fault.message)
                return
            if _is_replaced(key, by=held.sealing_key):
                # It has the device key's word, which lasts: anybody who has a copy of it could bring it back.
                log.warning("sealing key refused: it was replaced", gateway=gateway.name, key=key.id)
                return
            if key != held.sealing_key:
                await accounts.key_is(rows, held.id, key)
                log.info("sealing key taken", gateway=gateway.name, key=key.id)
            for one in message.accounts:
                if one.key_id == key.id:
                    await accounts.sealed_anew(rows, held.id, one)

    async def news(self, gateway: Gateway, told: SealedAccounts | None) -> SealedAccounts | None:
        """Return what a gateway is to be told after it was told `told`; None when there is nothing new."""
        async with self._store.reading(Scope(gateway.tenant)) as rows:
            found = await gateways.by_id(rows, gateway.id)
            if found.standing not in DELIVERED_TO:
                return None
            unwanted = await accounts.replaced_is_wished(rows, found.id)
            kept = [one.account for one in await accounts.every(rows, found.id)]
        key = found.sealing_key
        message = SealedAccounts(
            accounts=kept,
            key_id=key.id if key else None,
            key_made_at=key.made_at if key else None,
            rotate=_is_wished(found, unwanted),
        )
        return None if message == told else message


def _is_replaced(key: SealingKey, *, by: SealingKey | None) -> bool:
    """Tell whether a key is another than the one that is known, and not newer."""
    return by is not None and key.id != by.id and key.made_at <= by.made_at


def _is_wished(gateway: Gateway, unwanted: str | None) -> bool:
    """Tell whether a gateway's present key is the one that shall be replaced; another one has been already."""
    return gateway.sealing_key is not None and gateway.sealing_key.id == unwanted


def _key_of(gateway: Gateway) -> SealingKey:
    if gateway.sealing_key is None:
        raise SealingKeyMissingError(
            f"gateway {gateway.name!r} has not said yet what is to be sealed to: wait until it is connected; one that "
            "is older than protocol 3 needs an upgrade, or `pcg appliance account add` on the appliance",
            gateway=gateway.name,
        )
    return gateway.sealing_key


def _checked(gateway: Gateway, key: SealingKey) -> SealingKey:
    # Which device key it must be is known here: what came with it is not even looked at.
    said = key.model_copy(update={"device_key": keys.public_pem(keys.read_public(gateway.device_key))})
    sealing.check(said, gateway.id)
    return said


async def _refuse_untimely(rows: Within, gateway: Gateway, account: SealedAccount) -> None:
    if account.key_id != _key_of(gateway).id:
        raise SealingKeyChangedError(
            f"gateway {gateway.name!r} has another sealing key by now: seal the account again", gateway=gateway.name
        )
    due = await accounts.last_version(rows, gateway.id, account.name) + 1
    if account.version != due:
        raise SealedAccountChangedError(
            f"the account {account.name!r} was changed by somebody else meanwhile: look at it and try again",
            account=account.name,
            version=due,
        )


def _refuse_too_many(kept: list[SealedAccount]) -> None:
    if len(kept) > MOST_SEALED or len(SealedAccounts(accounts=kept).model_dump_json()) > MOST_BYTES:
        raise TooManyAccountsError(
            f"a gateway can have {MOST_SEALED} sealed accounts, fewer when they are large: delete some that are not "
            "used, or add this one on the appliance with `pcg appliance account add`"
        )
