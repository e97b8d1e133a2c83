"""This file is the promises of how files are written; crashes and second processes are real ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.kit import files
from gateway.kit.files import AlreadyRunningError, DirectoryNotPrivateError

CRASH_BEFORE_THE_RENAME = """
import os, pathlib, sys
from gateway.kit import files
pathlib.Path.replace = lambda *_: os._exit(9)
files.write_whole(pathlib.Path(sys.argv[1]), b"new")
"""
MAY_WRITE_TEN_BYTES = """
import pathlib, resource, sys
from gateway.kit import files
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    files.write_whole(pathlib.Path(sys.argv[1]), bytes(100))
except OSError as fault:
    print(fault.filename)
"""
HOLD = """
import pathlib, sys
from gateway.kit import files
with files.only_one(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


def python(script: str, argument: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, str(argument)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_crash_in_the_middle_leaves_what_was_there(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "kept"
    if before is not None:
        path.write_bytes(before)
    with python(CRASH_BEFORE_THE_RENAME, path) as process:
        process.communicate(timeout=20)
    assert process.returncode == 9
    assert (path.read_bytes() if path.exists() else None) == before
    assert all(mode(left) == 0o600 for left in tmp_path.iterdir() if left.name.startswith("."))


def test_a_failure_in_the_middle_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_whole(path, b"new")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("kept", b"old")]


def test_content_and_name_are_flushed_before_it_is_said_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def noting(handle: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    files.write_whole(tmp_path / "kept", b"new")
    assert flushed[0].startswith(f"{tmp_path}/.kept.")
    assert flushed[1:] == [str(tmp_path)]


@pytest.mark.parametrize("wished", [0o600, 0o644, 0o400])
def test_a_file_has_the_wished_mode_whatever_the_mask_and_the_old_mode(tmp_path: Path, wished: int) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    path.chmod(0o666)
    old = os.umask(0)
    try:
        files.write_whole(path, b"new", mode=wished)
    finally:
        os.umask(old)
    assert mode(path) == wished


def test_files_are_private_unless_asked_otherwise(tmp_path: Path) -> None:
    files.write_whole(tmp_path / "kept", b"new")
    assert mode(tmp_path / "kept") == 0o600


def test_a_link_is_replaced_and_what_it_points_to_is_left_alone(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"somebody else's")
    link.symlink_to(target)
    files.write_whole(link, b"ours")
    assert target.read_bytes() == b"somebody else's"
    assert not link.is_symlink()
    assert link.read_bytes() == b"ours"


def test_a_private_directory_and_every_parent_made_for_it_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = files.make_private_directory(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(old)
    assert [mode(one) for one in (tmp_path / "a", tmp_path / "a" / "b", made)] == [0o700] * 3


def test_a_private_directory_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    made = files.make_private_directory(tmp_path / "a")
    (made / "kept").touch()
    assert files.make_private_directory(made) == made
    assert (made / "kept").exists()


@pytest.mark.parametrize("found", [0o710, 0o701, 0o755, 0o777])
def test_a_directory_open_to_others_is_refused_and_left_as_it_was(tmp_path: Path, found: int) -> None:
    path = tmp_path / "a"
    path.mkdir()
    path.chmod(found)
    with pytest.raises(DirectoryNotPrivateError, match="chmod 0700"):
        files.make_private_directory(path)
    assert mode(path) == found


def test_a_link_to_a_private_directory_is_refused(tmp_path: Path) -> None:
    files.make_private_directory(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(DirectoryNotPrivateError):
        files.make_private_directory(tmp_path / "link")


def test_a_link_to_nowhere_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DirectoryNotPrivateError):
        files.make_private_directory(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = files.make_private_directory(tmp_path / "a")
    os.chown(path, 12345, 12345)
    with pytest.raises(DirectoryNotPrivateError, match="chown"):
        files.make_private_directory(path)


def test_a_file_where_a_directory_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(DirectoryNotPrivateError, match="no directory"):
        files.make_private_directory(tmp_path / "a")
    with pytest.raises(DirectoryNotPrivateError):
        files.make_private_directory(tmp_path / "a" / "below")


def test_of_two_processes_only_one_works_in_a_directory(tmp_path: Path) -> None:
    with python(HOLD, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunningError, match="stop it first"), files.only_one(tmp_path):
            pass
        process.kill()
    with files.only_one(tmp_path):
        pass


def test_a_write_that_fails_names_the_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    with python(MAY_WRITE_TEN_BYTES, path) as process:
        assert process.communicate()[0] == f"{path}\n"
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("kept", b"old")]


def test_the_directory_is_let_go_of_at_the_end_also_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.only_one(tmp_path):
        raise ZeroDivisionError
    with files.only_one(tmp_path):
        pass
