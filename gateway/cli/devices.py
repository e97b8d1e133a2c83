"""This file is the device keys that a user has met: whom credentials were sealed to, as `pcg login` remembers pins.

The console passes on what a gateway's sealing key is, so it could pass on its own. The first time a gateway is met its
fingerprint is shown and its device key is remembered; from then on another one is refused, until somebody has compared
the words that the appliance itself shows.
"""

from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gateway.cli import session
from gateway.cli.session import SessionUnreadableError
from gateway.console.api.accountmodels import SealingKeyFor
from gateway.identity import keys, sealing, words
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy


class FingerprintDiffersError(GatewayError):
    """The gateway does not have the fingerprint that was given."""

    code = "cli.fingerprint_differs"
    remedy = Remedy.OPERATOR


class DeviceKeyChangedError(GatewayError):
    """The gateway has another device key than the last time."""

    code = "cli.device_key_changed"
    remedy = Remedy.OPERATOR


class SealingKeyOldError(GatewayError):
    """The console shows an older sealing key than it has shown before."""

    code = "cli.sealing_key_old"
    remedy = Remedy.OPERATOR


class Met(BaseModel):
    """A gateway that was met: its device key, and the age of the newest sealing key it has shown."""

    model_config = ConfigDict(frozen=True)

    device_key: str
    sealing_made_at: AwareDatetime


class Acquaintances(BaseModel):
    """Every gateway that was met, by console and name."""

    model_config = ConfigDict(frozen=True)

    gateways: dict[str, Met] = Field(default_factory=dict)


def meet(shown: SealingKeyFor, *, console: str, given: str | None) -> tuple[str, bool]:
    """Return the fingerprint of the gateway whose sealing key this is, and whether it was met for the first time.

    `given` are the words that somebody has read on the appliance. Once this returns, the key may be sealed to and the
    gateway is remembered. Raises SealingKeyWrongError, FingerprintDiffersError, DeviceKeyChangedError or
    SealingKeyOldError.
    """
    sealing.check(shown.key, shown.gateway_id)
    path = session.settings().config / "gateways.json"
    known, name = _read(path), f"{console} {shown.gateway}"
    now = Met(device_key=keys.public_pem(keys.read_public(shown.key.device_key)), sealing_made_at=shown.key.made_at)
    fingerprint = judge(now, known.gateways.get(name), gateway=shown.gateway, given=given)
    if known.gateways.get(name) != now:
        files.make_private_directory(path.parent)
        after = Acquaintances(gateways=known.gateways | {name: now})
        files.write_whole(path, after.model_dump_json(indent=1).encode())
    return fingerprint, name not in known.gateways


def judge(now: Met, before: Met | None, *, gateway: str, given: str | None) -> str:
    """Return the fingerprint of a gateway as it shows itself now, if it is to be believed. Raises as `meet` does."""
    fingerprint = words.fingerprint(now.device_key)
    if given is not None and words.normal(given) != fingerprint:
        raise FingerprintDiffersError(
            f"{gateway} has the fingerprint {fingerprint}, not the one given: nothing was sealed; read it with `pcg "
            "appliance status` on the appliance, and if they still differ, the console shows another machine's"
        )
    if before is None:
        return fingerprint
    if before.device_key != now.device_key and given is None:
        raise DeviceKeyChangedError(
            # Its words are not shown: who could copy them from here would not go and read them.
            f"{gateway} has another device key than the last time: nothing was sealed; if it was paired anew, read the "
            'six words that `pcg appliance status` shows on the appliance, and give them with --fingerprint "..."'
        )
    if before.device_key == now.device_key and now.sealing_made_at < before.sealing_made_at:
        raise SealingKeyOldError(
            f"the console shows an older sealing key of {gateway} than before: nothing was sealed; it was put back to "
            "an older state, or somebody wants credentials to be sealed to a key that was replaced; try again once the "
            "gateway is connected"
        )
    return fingerprint


def _read(path: Path) -> Acquaintances:
    try:
        return Acquaintances.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Acquaintances()
    except (OSError, ValidationError):
        raise SessionUnreadableError(
            f"{path} cannot be read: remove it, and compare the fingerprints of your gateways anew"
        ) from None
