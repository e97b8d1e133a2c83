"""This file is `pcg audit export` and `verify`: what somebody can make of an audit log who believes nobody."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.audit import exports
from gateway.identity import words
from gateway.identity.devicekeys import FileDeviceKey, new
from tests.fakes.console import token
from tests.unit.audit.logs import a_log, a_notary, an_act
from tests.unit.cli.conftest import User


@pytest.fixture
def key() -> FileDeviceKey:
    return new()


@pytest.fixture
def state(tmp_path: Path, key: FileDeviceKey) -> Path:
    """An appliance's state with a signed log."""
    directory = tmp_path / "appliance"
    directory.mkdir(mode=0o700)
    log = a_log(directory, 5)
    a_notary(log, key).sign("day")
    log.append([an_act(6)])
    return directory


async def exported(user: User, state: Path) -> Path:
    file = user.directory / "audit.jsonl"
    answer = await user.pcg("audit", "export", "--state", str(state), "--output", str(file))
    assert (answer.code, answer.err) == (0, "")
    return file


async def test_a_log_is_proven_from_its_directory_and_from_its_export(
    user: User, state: Path, key: FileDeviceKey
) -> None:
    file = await exported(user, state)
    for where in (state, file):
        answer = await user.pcg("audit", "verify", str(where))
        assert answer.code == 0
        assert "lines up to number 5; 2 follow" in answer.out
        assert f"Signed by {words.fingerprint(key.public_pem)}." in answer.out


async def test_an_export_holds_the_lines_byte_for_byte(user: User, state: Path) -> None:
    file = await exported(user, state)
    lines = (state / "audit.log").read_bytes()
    assert lines in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600


async def test_the_first_broken_line_is_told_with_exit_code_one(user: User, state: Path) -> None:
    file = await exported(user, state)
    file.write_bytes(file.read_bytes().replace(b'"number":2,"user"', b'"number":9,"user"'))
    answer = await user.pcg("audit", "verify", str(file))
    assert (answer.code, answer.err) == (1, "")
    assert "Broken. line 5 of the file: it does not follow on the line before" in answer.out
    assert "From there on nothing is proven" in answer.out


async def test_who_is_known_to_sign_can_be_asked_for(user: User, state: Path, key: FileDeviceKey) -> None:
    file = await exported(user, state)
    for number, one in enumerate((key, new())):
        pem = user.directory / f"{number}.pem"
        pem.write_text(one.public_pem)
        answer = await user.pcg("audit", "verify", str(file), "--key", str(pem), "-o", "json")
        assert answer.code == number
        assert (json.loads(answer.out)["broken"] is None) == (one is key)


async def test_an_export_that_was_cut_short_is_no_export(user: User, state: Path) -> None:
    file = await exported(user, state)
    file.write_bytes(file.read_bytes()[:-40])
    answer = await user.pcg("audit", "verify", str(file))
    assert (answer.code, "audit.export_unreadable" in answer.err) == (2, True)


async def test_an_export_writes_over_nothing(user: User, state: Path) -> None:
    await exported(user, state)
    answer = await user.pcg("audit", "export", "--state", str(state), "--output", str(user.directory / "audit.jsonl"))
    assert answer.code == 2


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]\n", b'{"audit_export":2}\n', b"\xff\x00\x1b[2J", b"x" * 2_000_000]
)
async def test_what_is_no_export_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(exports.ExportUnreadableError):
        exports.read(path)


async def test_the_consoles_log_is_exported_and_proven_too(user: User) -> None:
    user.is_signed_in()
    for number in range(3):
        await token(user.console, f"dc{number}")
    file = user.directory / "console.jsonl"
    answer = await user.pcg("audit", "export", "--output", str(file))
    assert (answer.code, answer.err) == (0, "")
    answer = await user.pcg("audit", "verify", str(file), "-o", "json")
    found = json.loads(answer.out)
    assert (answer.code, found["broken"], found["proven"], found["chain"]["last"]) == (0, None, 3, 4)


async def test_who_alters_the_consoles_database_is_found_out(user: User) -> None:
    user.is_signed_in()
    for number in range(3):
        await token(user.console, f"dc{number}")
    with closing(sqlite3.connect(user.console.settings.state / "console.sqlite")) as database, database:
        database.execute("UPDATE audit SET actor = 'eve' WHERE number = 2")
    file = user.directory / "console.jsonl"
    await user.pcg("audit", "export", "--output", str(file))
    answer = await user.pcg("audit", "verify", str(file))
    assert answer.code == 1
    assert "the entry that is shown for line 2 says other than the line" in answer.out


@pytest.mark.attack(23)
@pytest.mark.parametrize("text", ["\x1b]52;c;AAAA\x07", "\u202eexe", "a\r\nSigned by me.", "\x00", "\x9b2J"])
async def test_a_forged_export_cannot_write_to_the_terminal(user: User, state: Path, text: str) -> None:
    file = await exported(user, state)
    records = [json.loads(line) for line in file.read_bytes().splitlines()]
    for record in records:
        if "root" in record:
            record["root"] |= {"at": text, "number": 99}
        if "at" in record:
            record["at"] = text
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    answer = await user.pcg("audit", "verify", str(file))
    assert answer.code == 1
    assert all(line.isprintable() for line in answer.out.split("\n"))
    assert not any(line == "Signed by me." for line in answer.out.splitlines())
