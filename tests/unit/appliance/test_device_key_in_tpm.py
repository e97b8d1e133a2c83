"""This file shows an appliance whose device key is in a TPM, from its pairing to what it is trusted with."""

from pathlib import Path

import pytest

from gateway.appliance import pairing
from gateway.appliance.identity import Identity
from gateway.appliance.sealed import Sealed
from gateway.identity import sealing, words
from gateway.identity.tpm import TpmKeyLostError
from gateway.kit import files
from tests.fakes import swtpm
from tests.fakes.console import ShiftedClock, running_console, token


def identity_in(directory: Path, *, tcti: str) -> Identity:
    return Identity.open(files.make_private_directory(directory), device_key=tcti)


@swtpm.needed
async def test_it_pairs_and_what_is_sealed_to_it_is_vouched_for_by_the_tpm(tmp_path: Path) -> None:
    with swtpm.running(tmp_path / "tpm") as tcti:
        async with running_console(tmp_path / "console") as console:
            identity = identity_in(tmp_path / "state", tcti=tcti)
            paired = await pairing.pair(identity, await token(console))
            shown = (await console.ask("GET", "/api/v1/gateways/dc1")).body["fingerprint"]
        device = identity.device()
        kept = Sealed.open(tmp_path / "state", gateway=paired.gateway_id, device=device, clock=ShiftedClock())
    assert device.in_tpm
    assert shown == words.fingerprint(device.public_pem)
    sealing.check(kept.sealing_key(), paired.gateway_id)
    assert kept.sealing_key().device_key == device.public_pem
    assert not list((tmp_path / "state").rglob("device.key"))


@swtpm.needed
@pytest.mark.attack(7)
async def test_a_copy_on_another_machine_cannot_speak_for_it(tmp_path: Path) -> None:
    with swtpm.running(tmp_path / "tpm") as tcti:
        async with running_console(tmp_path / "console") as console:
            await pairing.pair(identity_in(tmp_path / "state", tcti=tcti), await token(console))
    with swtpm.running(tmp_path / "another tpm") as tcti:
        copy = identity_in(tmp_path / "state", tcti=tcti)
        with pytest.raises(TpmKeyLostError):
            copy.device().sign(b"I am dc1")
        with pytest.raises(TpmKeyLostError):
            Sealed.open(
                tmp_path / "state", gateway=copy.member().gateway_id, device=copy.device(), clock=ShiftedClock()
            )
