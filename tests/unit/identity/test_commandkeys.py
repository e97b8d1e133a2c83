"""This file is the promises of a console's command keys: kept in private, handed on, whole after a cut."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.identity import commandkeys, envelope
from gateway.identity.keys import KeyUnreadableError
from gateway.kit import files


def test_the_first_key_stays_until_it_is_rotated(tmp_path: Path) -> None:
    made = commandkeys.keep(tmp_path / "keys")
    assert commandkeys.keep(tmp_path / "keys").public == made.public == commandkeys.read(tmp_path / "keys").public
    assert stat.S_IMODE((tmp_path / "keys" / "1.key").stat().st_mode) == 0o600


def test_each_key_follows_the_one_before_whose_private_half_goes(tmp_path: Path) -> None:
    publics = [commandkeys.keep(tmp_path / "keys").public]
    publics += [commandkeys.rotate(tmp_path / "keys").public for _ in range(3)]
    now = commandkeys.read(tmp_path / "keys")
    assert len(set(publics)) == 4
    assert all(envelope.follow(one, now.told) == now.public for one in publics)
    assert [one.name for one in (tmp_path / "keys").glob("*.key")] == ["4.key"]


def test_a_rotation_that_was_cut_before_the_handing_on_has_not_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = commandkeys.keep(tmp_path / "keys").public
    write = files.write_whole

    def cut(path: Path, content: bytes, **more: int) -> None:
        if path.suffix == ".json":
            raise OSError("power cut")
        write(path, content, **more)

    monkeypatch.setattr(files, "write_whole", cut)
    with pytest.raises(OSError, match="power"):
        commandkeys.rotate(tmp_path / "keys")
    monkeypatch.undo()
    assert commandkeys.read(tmp_path / "keys").public == before
    after = commandkeys.rotate(tmp_path / "keys")
    assert envelope.follow(before, after.told) == after.public != before


def test_keys_that_do_not_belong_together_are_not_used(tmp_path: Path) -> None:
    commandkeys.keep(tmp_path / "keys")
    commandkeys.rotate(tmp_path / "keys")
    commandkeys._write(tmp_path / "keys", 2, Ed25519PrivateKey.generate())
    with pytest.raises(KeyUnreadableError):
        commandkeys.keep(tmp_path / "keys")
