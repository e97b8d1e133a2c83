"""This file is the promises of the session: it is private, and whatever is wrong with it is one sentence."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.cli import session
from gateway.cli.arguments import InputInvalidError
from gateway.cli.client import Client
from gateway.cli.session import NotLoggedInError, Session, SessionUnreadableError
from gateway.kit.files import DirectoryNotPrivateError

GOOD = Session(url="https://console:8443", trust="", project="default", key=SecretStr("pcgkey1_0_x"))


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PCG_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_what_login_remembers_is_read_again_and_is_private(config: Path) -> None:
    path = session.write(GOOD)
    assert session.read() == GOOD
    assert path.stat().st_mode & 0o777 == 0o600
    assert config.stat().st_mode & 0o777 == 0o700


def test_without_a_session_the_way_in_is_named() -> None:
    with pytest.raises(NotLoggedInError, match="pcg login"):
        session.read()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"url": 1}', b"null"])
def test_a_damaged_session_is_one_sentence(content: bytes) -> None:
    path = session.write(GOOD)
    path.write_bytes(content)
    with pytest.raises(SessionUnreadableError, match="damaged: run `pcg login` again"):
        session.read()


def test_a_key_that_fits_into_no_header_is_not_used() -> None:
    session.write(GOOD.model_copy(update={"key": SecretStr("pcgkey1_x\r\nX-Evil: 1")}))
    with pytest.raises(SessionUnreadableError, match="no API key"):
        session.read()


def test_a_session_that_is_a_directory_is_one_sentence(config: Path) -> None:
    session.write(GOOD).unlink()
    (config / "session.json").mkdir()
    with pytest.raises(SessionUnreadableError, match="cannot be read"):
        session.read()


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PCG_CONFIG", str(tmp_path / "file" / "config"))
    with pytest.raises(DirectoryNotPrivateError):
        session.write(GOOD)


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCG_DEBUG", "perhaps")
    with pytest.raises(InputInvalidError, match="PCG_DEBUG"):
        session.settings()


async def test_a_damaged_authority_is_one_sentence() -> None:
    for trust in ("", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(SessionUnreadableError, match="pcg login"):
            async with Client.open(GOOD.model_copy(update={"trust": trust})):
                pass


def test_logging_out_twice_is_fine() -> None:
    session.write(GOOD)
    session.forget()
    session.forget()
    with pytest.raises(NotLoggedInError):
        session.read()
