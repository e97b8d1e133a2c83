"""This file is the promises of how a secret is taken in."""

import io
import os
import sys
from pathlib import Path

import pytest

from gateway.kit import secretfile
from gateway.kit.secretfile import LIMIT, SecretUnreadableError

STANDARD_INPUT = Path("-")


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
def test_the_lines_end_is_no_part_of_the_secret(tmp_path: Path, end: bytes) -> None:
    (tmp_path / "secret").write_bytes(b" pass word " + end)
    assert secretfile.read(tmp_path / "secret") == " pass word "


def test_a_secret_can_be_piped_in(monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, "pässword\n".encode())
    assert secretfile.read(STANDARD_INPUT) == "pässword"


@pytest.mark.parametrize("content", [b"", b"\n", b" \n"])
def test_nothing_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    piped(monkeypatch, content)
    for path, name in ((tmp_path / "secret", str(tmp_path / "secret")), (STANDARD_INPUT, "standard input")):
        with pytest.raises(SecretUnreadableError, match=f"^{name} is empty"):
            secretfile.read(path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretUnreadableError, match=f"{tmp_path}/secret: No such file"):
        secretfile.read(tmp_path / "secret")


def test_a_directory_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(SecretUnreadableError, match="directory"):
        secretfile.read(tmp_path)


def test_what_is_no_text_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hunter2\xff")
    with pytest.raises(SecretUnreadableError, match="no text") as caught:
        secretfile.read(tmp_path / "secret")
    assert "hunter2" not in str(caught.value)


def test_the_longest_secret_is_taken_and_a_longer_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * LIMIT)
    assert len(secretfile.read(tmp_path / "secret")) == LIMIT
    (tmp_path / "secret").write_bytes(b"x" * (LIMIT + 1))
    with pytest.raises(SecretUnreadableError, match="too long"):
        secretfile.read(tmp_path / "secret")


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(SecretUnreadableError, match="too long"):
        secretfile.read(Path("/dev/zero"))


def test_a_pipe_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/zero", encoding="ascii") as endless:  # noqa: PTH123 - it stands in for a stream
        monkeypatch.setattr(sys, "stdin", endless)
        with pytest.raises(SecretUnreadableError, match="too long"):
            secretfile.read(STANDARD_INPUT)


def test_a_secret_is_taken_from_a_pipe_of_the_file_system(tmp_path: Path) -> None:
    """As in --token-file <(command)."""
    reading, writing = os.pipe()
    os.write(writing, b"secret\n")
    os.close(writing)
    try:
        assert secretfile.read(Path(f"/proc/self/fd/{reading}")) == "secret"
    finally:
        os.close(reading)


@pytest.mark.attack(33)
def test_a_secret_that_is_used_up_is_overwritten_before_its_name_goes(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("open sesame")
    with path.open("rb") as still_open:
        secretfile.wipe(path)
        assert still_open.read() == bytes(len("open sesame"))
    assert not path.exists()


@pytest.mark.attack(33)
@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_link_in_the_place_of_a_secret_goes_and_what_it_leads_to_stays(tmp_path: Path, link: str) -> None:
    other, path = tmp_path / "other", tmp_path / "secret"
    other.write_text("not yours")
    getattr(path, link)(other)
    secretfile.wipe(path)
    assert not path.is_symlink()
    assert not path.exists()
    assert other.read_text() == "not yours"


def test_a_secret_that_is_gone_already_is_no_fault(tmp_path: Path) -> None:
    secretfile.wipe(tmp_path / "secret")


def test_a_secret_that_was_open_to_others_is_closed_to_them_and_that_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("secret")
    path.chmod(0o644)
    assert secretfile.close_to_others(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not secretfile.close_to_others(path)


def test_the_rights_of_what_a_link_leads_to_are_left_alone(tmp_path: Path) -> None:
    path, link = tmp_path / "token", tmp_path / "link"
    path.write_text("secret")
    path.chmod(0o644)
    link.symlink_to(path)
    assert not secretfile.close_to_others(link)
    assert not secretfile.close_to_others(Path("-"))
    assert path.stat().st_mode & 0o777 == 0o644
