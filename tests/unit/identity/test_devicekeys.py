"""This file shows where a device key lives, and that one in a TPM is of no use to who copies the disk."""

import shutil
from pathlib import Path

import pytest

from gateway.identity import devicekeys, keys, tpm
from gateway.identity.devicekeys import DeviceKey
from gateway.kit.files import FileNotPrivateError
from tests.fakes import swtpm

MESSAGE = b"what is signed"


def holds(key: DeviceKey) -> bool:
    return keys.signed(keys.read_public(key.public_pem), key.sign(MESSAGE), MESSAGE)


def test_a_key_in_a_file_signs_and_is_the_same_one_ever_after(tmp_path: Path) -> None:
    made = devicekeys.keep(tmp_path, where=devicekeys.NONE)
    again = devicekeys.keep(tmp_path)
    assert (made.in_tpm, again.public_pem) == (False, made.public_pem)
    assert holds(made)
    assert holds(again)
    assert not keys.signed(keys.read_public(made.public_pem), made.sign(MESSAGE), b"something else")
    assert (tmp_path / "device.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_device_key_that_is_open_to_others_is_not_used_and_its_owner_is_told_what_to_do(
    tmp_path: Path, mode: int
) -> None:
    devicekeys.keep(tmp_path, where=devicekeys.NONE)
    (tmp_path / devicekeys.FILE).chmod(mode)
    with pytest.raises(FileNotPrivateError, match=r"device\.key .* chmod 0600"):
        devicekeys.keep(tmp_path, where=devicekeys.NONE)


def test_a_machine_without_a_tpm_keeps_its_key_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tpm, "DEVICE", f"device:{tmp_path}/no-tpm-here")
    assert not devicekeys.keep(tmp_path).in_tpm


def test_a_tpm_that_must_be_used_and_is_not_there_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(tpm.TpmUnavailableError):
        devicekeys.keep(tmp_path, where="device:/nowhere/tpm")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_blob_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "device.tpm").write_text("{}")
    with pytest.raises(keys.KeyUnreadableError, match=r"device\.tpm"):
        devicekeys.keep(tmp_path)


@swtpm.needed
def test_a_key_in_a_tpm_signs_and_is_the_same_one_after_the_tpm_was_off(tmp_path: Path) -> None:
    with swtpm.running(tmp_path / "tpm") as tcti:
        made = devicekeys.keep(tmp_path, where=tcti)
        assert made.in_tpm
        assert holds(made)
    with swtpm.running(tmp_path / "tpm") as tcti:
        again = devicekeys.keep(tmp_path, where=tcti)
        assert again.public_pem == made.public_pem
        assert holds(again)


@swtpm.needed
def test_where_the_key_lives_is_decided_once(tmp_path: Path) -> None:
    file = devicekeys.keep(tmp_path, where=devicekeys.NONE)
    with swtpm.running(tmp_path / "tpm") as tcti:
        assert devicekeys.keep(tmp_path, where=tcti).public_pem == file.public_pem


@swtpm.needed
def test_no_private_key_is_on_the_disk_when_a_tpm_has_it(tmp_path: Path) -> None:
    (tmp_path / "identity").mkdir()
    with swtpm.running(tmp_path / "tpm") as tcti:
        devicekeys.keep(tmp_path / "identity", where=tcti)
    assert [one.name for one in (tmp_path / "identity").iterdir()] == ["device.tpm"]
    assert "PRIVATE" not in (tmp_path / "identity" / "device.tpm").read_text()
    assert (tmp_path / "identity" / "device.tpm").stat().st_mode & 0o777 == 0o600


@swtpm.needed
@pytest.mark.attack(7)
def test_a_copied_disk_cannot_sign_with_the_tpm_of_another_machine(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    with swtpm.running(tmp_path / "tpm") as tcti:
        devicekeys.keep(original, where=tcti)
    shutil.copytree(original, copy)
    with swtpm.running(tmp_path / "other tpm") as tcti:
        copied = devicekeys.keep(copy, where=tcti)
        with pytest.raises(tpm.TpmKeyLostError, match="repair-token"):
            copied.sign(MESSAGE)


@swtpm.needed
def test_a_hundred_signatures_leave_nothing_behind_in_the_tpm(tmp_path: Path) -> None:
    """A TPM has room for three keys at once: one that is not taken out again is missed at the fourth signature."""
    with swtpm.running(tmp_path / "tpm") as tcti:
        key = devicekeys.keep(tmp_path, where=tcti)
        assert all(holds(key) for _ in range(100))


@swtpm.needed
def test_a_tpm_that_has_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    with swtpm.running(tmp_path / "tpm") as tcti:
        key = devicekeys.keep(tmp_path, where=tcti)
    with pytest.raises(tpm.TpmUnavailableError):
        key.sign(MESSAGE)
