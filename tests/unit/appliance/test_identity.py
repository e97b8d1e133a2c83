"""This file is the promises of who the appliance is, on disk."""

from pathlib import Path

import pytest

from gateway.appliance.identity import Identity, NotPairedError
from gateway.identity import keys
from gateway.identity.keys import KeyUnreadableError
from gateway.kit import files
from gateway.kit.files import DirectoryNotPrivateError
from tests.unit.appliance.conversation import ScriptedConsole

KEPT = ["device.key", "paired.json", "tls.key", "tls.pem", "trust.pem"]


@pytest.fixture
def console(tmp_path: Path) -> ScriptedConsole:
    return ScriptedConsole(tmp_path / "console")


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity.open(files.make_private_directory(tmp_path / "state"))


def test_everything_kept_is_for_the_appliance_alone(console: ScriptedConsole, identity: Identity) -> None:
    console.pair(identity)
    assert sorted(one.name for one in identity.directory.iterdir()) == KEPT
    assert {one.stat().st_mode & 0o777 for one in identity.directory.iterdir()} == {0o600}
    assert identity.directory.stat().st_mode & 0o777 == 0o700


def test_an_identity_open_to_others_is_not_used(tmp_path: Path, identity: Identity) -> None:
    identity.directory.chmod(0o750)
    with pytest.raises(DirectoryNotPrivateError):
        Identity.open(tmp_path / "state")


def test_an_appliance_brings_the_same_keys_to_every_attempt(tmp_path: Path, identity: Identity) -> None:
    first = identity.candidate()
    again = Identity.open(tmp_path / "state").candidate()
    assert keys.public_pem(first.device.public_key()) == keys.public_pem(again.device.public_key())
    assert keys.private_pem(first.device) != (identity.directory / "tls.key").read_bytes()


def test_without_pairing_there_is_none(identity: Identity) -> None:
    identity.candidate()
    assert identity.paired() is None


def test_pairing_is_there_after_a_restart(tmp_path: Path, console: ScriptedConsole, identity: Identity) -> None:
    paired = console.pair(identity)
    again = Identity.open(tmp_path / "state")
    assert again.paired() == paired
    assert again.tls().get_ca_certs()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b'{"gateway_id": 1}', b"\xff\xfe"], ids=repr)
def test_a_damaged_pairing_is_named_and_not_taken_for_none(
    console: ScriptedConsole, identity: Identity, content: bytes
) -> None:
    console.pair(identity)
    (identity.directory / "paired.json").write_bytes(content)
    with pytest.raises(NotPairedError, match=r"paired\.json is damaged"):
        identity.paired()


@pytest.mark.parametrize("name", ["tls.pem", "trust.pem", "tls.key"])
@pytest.mark.parametrize("content", [None, b"", b"rubbish", b"\xff"], ids=repr)
def test_a_damaged_certificate_is_said_to_be_unreadable(
    console: ScriptedConsole, identity: Identity, name: str, content: bytes | None
) -> None:
    console.pair(identity)
    path = identity.directory / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NotPairedError, match="pair the appliance again"):
        identity.tls()


def test_a_key_that_is_not_the_certificates_is_noticed(console: ScriptedConsole, identity: Identity) -> None:
    console.pair(identity)
    keys.write(identity.directory / "tls.key", keys.new_key())
    with pytest.raises(NotPairedError):
        identity.tls()


@pytest.mark.parametrize("name", ["device.key", "tls.key"])
@pytest.mark.parametrize("content", [b"", b"rubbish"], ids=repr)
def test_a_damaged_key_is_named_and_never_replaced(identity: Identity, name: str, content: bytes) -> None:
    identity.candidate()
    (identity.directory / name).write_bytes(content)
    with pytest.raises(KeyUnreadableError, match=name):
        identity.candidate()
    assert (identity.directory / name).read_bytes() == content
