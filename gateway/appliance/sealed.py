"""This file is the cloud accounts that came sealed through the console, and the keys that open them.

::

    sealed/keys.json        the current private key, and former ones until nothing is sealed to them any more
    sealed/accounts.json    the accounts as they came, and the highest version ever seen of each name

    accounts ──> kept, if they open and are not older than what is kept
             ──> the console knows a newer key than the current one: a still newer one is made, as the next line says
             ──> a person wishes another key: a new one is made, the old one becomes a former one
             ──> sealed to a former key: sealed anew to the current one, kept, and told the console (resealed)
             ──> the console has the current key, and nothing is sealed to a former one: the former ones go

Each step is on the disk before it is told, and may be cut or told twice: what the console sends next leads to the same
end. An account is opened when it is used; nothing opened is ever written.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.contract.accounts import Resealed, SealedAccount, SealedAccounts, SealingKey
from gateway.identity import sealing
from gateway.identity.devicekeys import DeviceKey
from gateway.identity.sealing import CannotOpenError, KeptKey, PrivateSealingKey
from gateway.kit import files
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)

MOST_FORMER = 4
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""What a console says of a key made after that is not followed: there would be no time left for the next ones."""
MOST_REMEMBERED = 10_000
"""Names whose versions are remembered; a console that invents more is not listened to."""


class SealedUnreadableError(GatewayError):
    """What the appliance keeps of sealed accounts is damaged."""

    code = "sealed.unreadable"
    remedy = Remedy.OPERATOR


class Keys(BaseModel):
    """The file of the private keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    current: KeptKey
    former: list[KeptKey] = Field(default_factory=list)


class Kept(BaseModel):
    """The file of the accounts. A name that is not among the accounts any more still has its version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accounts: list[SealedAccount] = Field(default_factory=list)
    versions: dict[str, int] = Field(default_factory=dict)


class Sealed:
    """The sealed accounts of one appliance; `open` it off the event loop, for a device key in a TPM takes its time."""

    def __init__(self, directory: Path, *, gateway: UUID, device: DeviceKey, clock: Clock) -> None:
        self._directory = directory
        self._gateway = gateway
        self._device = device
        self._clock = clock
        self._taking = asyncio.Lock()
        self._current, self._former = self._keys()
        self._kept = _read(Kept, directory / "accounts.json") or Kept()
        # Signed at each start, though it could be kept: a copy whose TPM is another one stops here.
        self._vouched = self._current.vouched(gateway, device)

    @classmethod
    def open(cls, state: Path, *, gateway: UUID, device: DeviceKey, clock: Clock) -> "Sealed":
        """Return what is kept below `state`; the first time a key is made.

        Raises SealedUnreadableError, KeyUnreadableError, TpmUnavailableError or TpmKeyLostError.
        """
        return cls(files.make_private_directory(state / "sealed"), gateway=gateway, device=device, clock=clock)

    def sealing_key(self) -> SealingKey:
        """Return the public key to seal to, with the device key's word for it."""
        return self._vouched

    def vouch(self, device: DeviceKey) -> None:
        """Have another device key vouch from now on: the appliance was paired anew while it runs."""
        if device.public_pem != self._device.public_pem:
            self._device, self._vouched = device, self._current.vouched(self._gateway, device)

    def names(self) -> list[str]:
        """Return the names of the accounts, sorted."""
        return sorted(one.name for one in self._kept.accounts)

    def opened(self, name: str) -> bytes | None:
        """Return what was sealed under that name, or None when there is none. Raises CannotOpenError."""
        return next((self._open(one) for one in self._kept.accounts if one.name == name), None)

    async def take(self, message: SealedAccounts) -> Resealed | None:
        """Keep what the console has sent, and return what is to be said to it, if anything. OSError travels upwards."""
        async with self._taking:
            return await asyncio.to_thread(self._take, message)

    def _take(self, message: SealedAccounts) -> Resealed | None:
        if message.rotate and message.key_id == self._current.id and not self._former:
            self._rotate(after=self._current.made_at)
        elif self._is_behind(message) and message.key_made_at is not None:
            log.warning("the console knows a newer sealing key: this appliance was put back to an older state")
            self._rotate(after=message.key_made_at)
        self._keep(message.accounts)
        stale = {one.name for one in message.accounts if one.key_id != self._current.id}
        anew = [one for one in self._kept.accounts if one.name in stale and one.key_id == self._current.id]
        if anew or message.key_id != self._current.id:
            return Resealed(key=self._vouched, accounts=anew)
        former = {one.id for one in self._former}
        if former and former.isdisjoint(one.key_id for one in message.accounts):
            self._write_keys(self._current, [])
        return None

    def _keep(self, sent: list[SealedAccount]) -> None:
        before = {one.name: self._current_of(one) or one for one in self._kept.accounts}
        found = {one.name: self._judged(one, before.get(one.name)) for one in sent}
        accounts = sorted((one for one in found.values() if one is not None), key=lambda one: one.name)
        versions = self._kept.versions | {one.name: one.version for one in accounts}
        self._write(Kept(accounts=accounts, versions=versions))

    def _judged(self, sent: SealedAccount, kept: SealedAccount | None) -> SealedAccount | None:
        """Return what is kept once `sent` has come: it, sealed to the current key, or what was there."""
        if self._is_old(sent, kept):
            log.warning("older version of a sealed account refused", account=sent.name, version=sent.version)
            return kept
        if kept is not None and kept.version == sent.version and kept.key_id == self._current.id:
            return kept
        return self._current_of(sent) or kept

    def _is_old(self, sent: SealedAccount, kept: SealedAccount | None) -> bool:
        """Tell whether `sent` was there already and is over: replaced, or removed. What is removed never comes back."""
        highest = self._kept.versions.get(sent.name)
        if highest is None:
            return len(self._kept.versions) >= MOST_REMEMBERED
        return sent.version < highest or (sent.version == highest and kept is None)

    def _current_of(self, account: SealedAccount) -> SealedAccount | None:
        """Return an account sealed to the current key, or None, having said so, when it does not open."""
        try:
            content = self._open(account)
        except CannotOpenError as fault:
            log.warning("sealed account refused", account=account.name, version=account.version, reason=fault.message)
            return None
        if account.key_id == self._current.id:
            return account
        return sealing.seal(self._vouched, sealing.label_of(account, self._gateway), content)

    def _open(self, account: SealedAccount) -> bytes:
        label = sealing.label_of(account, self._gateway)
        for key in (self._current, *self._former):
            if key.id == account.key_id:
                return key.open(account.sealed, label)
        raise CannotOpenError(
            f"the account {account.name!r} was sealed to a key that this gateway does not have; make it again with "
            "`pcg account create --replace`"
        )

    def _is_behind(self, message: SealedAccounts) -> bool:
        """Tell whether the console knows a newer key than the current one, which it then does not take."""
        other = message.key_made_at if message.key_id != self._current.id else None
        return other is not None and self._current.made_at <= other < LATEST

    def _rotate(self, *, after: datetime) -> None:
        """Make another key, newer than `after` by whatever clock that was."""
        fresh = PrivateSealingKey.new(max(self._clock.now(), after + timedelta(microseconds=1)))
        self._write_keys(fresh, [self._current, *self._former][:MOST_FORMER])
        log.info("sealing key replaced", key=fresh.id)

    def _keys(self) -> tuple[PrivateSealingKey, list[PrivateSealingKey]]:
        path = self._directory / "keys.json"
        found = _read(Keys, path)
        if found is None:
            fresh = PrivateSealingKey.new(self._clock.now())
            _write_keys(path, fresh, [])
            return fresh, []
        return PrivateSealingKey.read(found.current), [PrivateSealingKey.read(one) for one in found.former]

    def _write_keys(self, current: PrivateSealingKey, former: list[PrivateSealingKey]) -> None:
        """Keep these keys. What the device key says of the current one is asked first: a TPM may have gone."""
        vouched = self._vouched if current is self._current else current.vouched(self._gateway, self._device)
        _write_keys(self._directory / "keys.json", current, former)
        self._current, self._former, self._vouched = current, former, vouched

    def _write(self, kept: Kept) -> None:
        if kept != self._kept:
            files.write_whole(self._directory / "accounts.json", kept.model_dump_json().encode())
            self._kept = kept


def kept_names(state: Path) -> list[str]:
    """Return the names of the sealed accounts below `state`, sorted, without a key. Raises SealedUnreadableError."""
    kept = _read(Kept, state / "sealed" / "accounts.json") or Kept()
    return sorted(one.name for one in kept.accounts)


def _write_keys(path: Path, current: PrivateSealingKey, former: list[PrivateSealingKey]) -> None:
    document = Keys(current=current.kept(), former=[one.kept() for one in former])
    files.write_whole(path, json.dumps(document.model_dump(mode="json")).encode())


M = TypeVar("M", bound=BaseModel)


def _read(model: type[M], path: Path) -> M | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise SealedUnreadableError(
            f"{path} is damaged: remove it and start the appliance again, then make the sealed accounts anew with "
            "`pcg account create --replace`"
        ) from None
