"""This file is who the appliance is, on disk: its keys, its certificate, and the console it belongs to.

::

    identity/devices/1/device.key     who this appliance is, until it is paired anew in its own place
             certificates/7/tls.key   the key of the certificate in use
                            tls.pem   the certificate with its chain
                          8/…         the next one, asked for and not granted yet: tls.key, request.pem
             joined.json              which of them are in use, and all that the console has given with them

Whatever changes is written beside what is in use; the one rename that puts joined.json in place switches to all of it.
A cut at any moment leaves the whole old identity or the whole new one. What is not in use any more goes later.
"""

import shutil
import ssl
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from cryptography import x509
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gateway.contract.identity import Granted, JoinState
from gateway.contract.pairing import PairingResult
from gateway.contract.signing import CommandKey, CommandKeys
from gateway.contract.trust import Grounds, TrustBundle
from gateway.identity import authority, certificates, devicekeys, envelope, keys, succession, tls
from gateway.identity.devicekeys import DeviceKey
from gateway.identity.keys import KeyUnreadableError
from gateway.identity.pairing import Candidate
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy
from gateway.kit.files import FileNotPrivateError

FLOOR_EVERY = timedelta(hours=1)
"""By how much the console's time has to be ahead of what is on the disk before it is written again."""

JOINED = "joined.json"


class NotPairedError(GatewayError):
    """The appliance is not paired with a console."""

    code = "appliance.not_paired"
    remedy = Remedy.OPERATOR


class GrantWrongError(GatewayError):
    """The console granted a certificate that this appliance has not asked for, or that no root of its vouches for."""

    code = "identity.grant_wrong"


class Paired(BaseModel):
    """With whom the appliance is paired, and as whom."""

    model_config = ConfigDict(frozen=True)

    gateway_id: UUID
    gateway_name: str
    console: str
    tunnel: str


class Joined(Paired):
    """Everything that a certificate comes with, and which of the kept keys are in use."""

    device: int = Field(ge=1)
    certificate: int = Field(ge=1)
    trust: TrustBundle
    join: JoinState
    epoch: int = Field(default=1, ge=1)
    token_id: str | None = Field(default=None, description="of the token that it was paired with")
    confirm: bool = Field(default=False, description="whether a person was to compare fingerprints when it was paired")
    command_key: CommandKey | None = Field(default=None, description="by which the console's commands are known")
    told: AwareDatetime | None = Field(default=None, description="the latest time that the console has told")

    @property
    def paired(self) -> Paired:
        """With whom, without the rest."""
        return Paired(
            gateway_id=self.gateway_id, gateway_name=self.gateway_name, console=self.console, tunnel=self.tunnel
        )

    @property
    def roots(self) -> str:
        """The roots that may vouch for the console, PEM."""
        return "".join(root if root.endswith("\n") else f"{root}\n" for root in self.trust.roots)


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity directory below the appliance's state."""

    directory: Path
    device_key: str = devicekeys.NONE
    """Where a device key is made; see devicekeys.keep."""
    _changing: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    @classmethod
    def open(cls, state: Path, *, device_key: str = devicekeys.NONE) -> "Identity":
        """Return the identity kept in `state`; the directory is made where there is none."""
        return cls(files.make_private_directory(state / "identity"), device_key)

    def candidate(self) -> Candidate:
        """Return the keys to pair with: the same ones at every attempt, and others than those in use if there are any.

        An appliance that is paired anew in its own place may have been copied: nothing of the old identity stays.
        """
        known = self.joined()
        device, certificate = (known.device + 1, known.certificate + 2) if known is not None else (1, 1)
        made = files.make_private_directory(self._device(device).parent)
        return Candidate(devicekeys.keep(made, where=self.device_key), self._request(certificate))

    def store(self, result: PairingResult, *, console: str, token_id: str | None = None) -> Paired:
        """Keep what pairing brought for `candidate`'s keys. Raises GrantWrongError."""
        with self._changing:
            known = self.joined()
            joined = Joined(
                gateway_id=result.gateway_id,
                gateway_name=result.gateway_name,
                console=console,
                tunnel=result.tunnel,
                device=1 if known is None else known.device + 1,
                certificate=self._kept(result.certificate),
                trust=result.bundle,
                join=result.join,
                token_id=token_id,
                confirm=result.confirm,
                command_key=result.command_key,
                told=result.server_time,
            )
            return self._switch(joined).paired

    def joined(self) -> Joined | None:
        """Return all that is kept of the pairing, or None. Raises NotPairedError when it is damaged."""
        path = self.directory / JOINED
        try:
            return Joined.model_validate_json(files.read_private(path))
        except FileNotFoundError:
            return None
        except (ValidationError, FileNotPrivateError, OSError) as fault:
            raise NotPairedError(f"{path} is damaged: pair the appliance again") from fault

    def paired(self) -> Paired | None:
        """Return with whom the appliance is paired, or None. Raises NotPairedError when that is damaged."""
        known = self.joined()
        return None if known is None else known.paired

    def member(self) -> Joined:
        """Return all that is kept of the pairing. Raises NotPairedError."""
        known = self.joined()
        if known is None:
            raise NotPairedError("this appliance is not paired: make a token with `pcg token create`")
        return known

    def device(self) -> DeviceKey:
        """Return the device key in use. Raises NotPairedError, KeyUnreadableError or FileNotPrivateError."""
        directory = self._device(self.member().device).parent
        if not any((directory / name).exists() for name in (devicekeys.FILE, devicekeys.WRAPPED)):
            raise NotPairedError("the appliance's device key is gone: pair the appliance again")
        return devicekeys.keep(directory, where=self.device_key)

    def trust(self) -> str:
        """Return the console's roots (PEM); nothing where they cannot be read, as `tls` will say."""
        try:
            text = self.member().roots
            tls.client(text)
        except (NotPairedError, OSError, ValueError):
            return ""
        return text

    def tls(self) -> ssl.SSLContext:
        """Return the context with which the appliance calls its console. Raises NotPairedError."""
        known = self.member()
        certificate, key = self._certificate(known.certificate), self._key(known.certificate)
        try:
            for one in (certificate, key):
                files.read_private(one)
            return tls.timeless(known.roots, certificate=certificate, key=key)
        except (OSError, ValueError, FileNotPrivateError) as fault:  # ssl.SSLError is an OSError
            raise NotPairedError("the appliance's certificate cannot be read: pair the appliance again") from fault

    def certificate(self) -> x509.Certificate:
        """Return the certificate in use. Raises NotPairedError."""
        return x509.load_pem_x509_certificate(self.chain().encode())

    def chain(self) -> str:
        """Return the certificate in use with its chain, PEM. Raises NotPairedError."""
        try:
            text = files.read_private(self._certificate(self.member().certificate)).decode()
            x509.load_pem_x509_certificates(text.encode())
        except (OSError, ValueError, FileNotPrivateError) as fault:
            raise NotPairedError("the appliance's certificate cannot be read: pair the appliance again") from fault
        return text

    def next_request(self) -> str:
        """Return the request for the next certificate, PEM: the same one until it is granted."""
        self.tidy()
        return self._request(self.member().certificate + 1)

    def granted(self, granted: Granted, *, tunnel: str | None = None, told: datetime | None = None) -> Joined:
        """Keep the certificate for `next_request`, and use it and all that came with it from now on.

        `tunnel`, if given, is where the tunnel ends from now on, and `told` the console's time, also if it was thought
        to be later. Other roots than those that are trusted are not kept: they come with their steps, by `trusting`.
        Raises GrantWrongError.
        """
        with self._changing:
            known = self.member()
            if not certificates.is_vouched_for(granted.certificate, known.trust.roots):
                raise GrantWrongError("no root that this appliance trusts vouches for the certificate that was granted")
            trust = succession.judged(known.trust, granted.trust, grounds=Grounds(), shown=granted.certificate)
            number = self._kept(granted.certificate)
            update = {"certificate": number, "trust": trust, "join": granted.join}
            return self._change(**update, tunnel=tunnel or known.tunnel, told=told or known.told)

    def following(self, roots: list[str]) -> Joined:
        """Trust other roots, until the console sends its own bundle with them."""
        with self._changing:
            known = self.member()
            return self._change(trust=TrustBundle(version=known.trust.version, roots=roots))

    def trusting(self, bundle: TrustBundle, *, grounds: Grounds, shown: str) -> Joined:
        """Keep the trust bundle that a console says which has `shown` (PEM) itself, if it may be believed."""
        with self._changing:
            known = self.member()
            judged = succession.judged(known.trust, bundle, grounds=grounds, shown=shown)
            return self._change(trust=judged) if judged != known.trust else known

    def commanded_by(self, told: CommandKeys) -> bool:
        """Keep the console's next command key; tell whether it is another. Raises KeysDoNotFollowError.

        An appliance that was paired before there were command keys takes the first that it is told.
        """
        with self._changing:
            known = self.member().command_key
            key = told.key if known is None else envelope.follow(known, told)
            if key == known:
                return False
            self._change(command_key=key)
            return True

    def in_epoch(self, epoch: int) -> Joined:
        """Keep the epoch that the console has told."""
        with self._changing:
            known = self.member()
            return self._change(epoch=epoch) if epoch != known.epoch else known

    def told(self, time: datetime) -> Joined:
        """Keep the time that the console has told, if it is later by an hour than what is kept."""
        with self._changing:
            known = self.member()
            late = known.told is None or time >= known.told + FLOOR_EVERY
            return self._change(told=time) if late else known

    def tidy(self) -> None:
        """Remove the keys and certificates that are not in use any more; what is asked for stays."""
        with self._changing:
            known = self.member()
            used = known.certificate
            _remove_others(self.directory / "certificates", {used, used + 1, used + 2})
            _remove_others(self.directory / "devices", {known.device, known.device + 1})
            for torn in self.directory.rglob(".*"):  # what a cut has left of a file that was being written
                torn.unlink(missing_ok=True)

    def forget(self) -> None:
        """Be nobody any more: first that one is paired, then every key and certificate."""
        with self._changing:
            (self.directory / JOINED).unlink(missing_ok=True)
            files.flush_directory(self.directory)
            for kept in ("certificates", "devices"):
                shutil.rmtree(self.directory / kept, ignore_errors=True)

    def _change(self, **update: object) -> Joined:
        return self._switch(self.member().model_copy(update=update))

    def _switch(self, joined: Joined) -> Joined:
        files.write_whole(self.directory / JOINED, joined.model_dump_json().encode())
        return joined

    def _request(self, number: int) -> str:
        files.make_private_directory(self._key(number).parent)
        path, key = self._key(number).with_name("request.pem"), keys.keep(self._key(number))
        if not path.exists():  # each request for a key is another one, and the console goes by what it has seen before
            files.write_whole(path, authority.certificate_request(key).encode())
        try:
            return files.read_private(path).decode()
        except (OSError, ValueError, FileNotPrivateError) as fault:
            raise KeyUnreadableError(f"the certificate request {path} cannot be read", path=str(path)) from fault

    def _kept(self, certificate: str) -> int:
        """Write a certificate beside the key it was asked for with; return their number. Raises GrantWrongError."""
        try:
            wanted = x509.load_pem_x509_certificate(certificate.encode()).public_key()
        except ValueError:
            wanted = None
        for number in _numbers(self.directory / "certificates"):
            if wanted is not None and self._public_key(number) == wanted:
                files.write_whole(self._certificate(number), certificate.encode())
                return number
        raise GrantWrongError("the console granted a certificate for a key that this appliance has not asked for")

    def _public_key(self, number: int) -> keys.PublicKey | None:
        try:
            return keys.read(self._key(number)).public_key()
        except KeyUnreadableError:
            return None

    def _device(self, number: int) -> Path:
        return self.directory / "devices" / str(number) / "device.key"

    def _key(self, number: int) -> Path:
        return self.directory / "certificates" / str(number) / "tls.key"

    def _certificate(self, number: int) -> Path:
        return self.directory / "certificates" / str(number) / "tls.pem"


def _numbers(directory: Path) -> list[int]:
    """Return the numbers that things are kept under, the newest first."""
    found = [int(one.name) for one in directory.iterdir() if one.name.isdecimal()] if directory.is_dir() else []
    return sorted(found, reverse=True)


def _remove_others(directory: Path, kept: set[int]) -> None:
    for number in set(_numbers(directory)) - kept:
        shutil.rmtree(directory / str(number))
