"""This file is what `pcg login` remembers: which console, its authority, and the API key; a private file."""

import json
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.cli import address
from gateway.cli.arguments import InputInvalidError
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

KEY = re.compile(r"pcgkey1_[A-Za-z0-9_-]{1,200}")
"""What an API key looks like, as far as it matters here: it fits into one header."""


class NotLoggedInError(GatewayError):
    """There is no console to talk to yet."""

    code = "cli.not_logged_in"
    remedy = Remedy.CALLER


class SessionUnreadableError(GatewayError):
    """What `pcg login` has remembered cannot be read."""

    code = "cli.session_unreadable"
    remedy = Remedy.CALLER


class CliSettings(BaseSettings):
    """Read from the environment, prefix PCG_."""

    model_config = SettingsConfigDict(env_prefix="PCG_", frozen=True, extra="ignore")

    config: Path = Field(
        default_factory=lambda: Path("~/.config/pcg").expanduser(),
        description="directory of the session file; made with mode 0700",
    )
    debug: bool = Field(default=False, description="tell a defect of `pcg` with its traceback")


class Session(BaseModel):
    """How to reach a console and who one is there."""

    model_config = ConfigDict(frozen=True)

    url: str
    trust: str
    project: str
    key: SecretStr


def settings() -> CliSettings:
    """Return the settings of the command line. Raises InputInvalidError."""
    try:
        return CliSettings()
    except ValidationError as fault:
        (first, *_) = fault.errors(include_url=False, include_input=False)
        variable = f"PCG_{first['loc'][0]}".upper()
        raise InputInvalidError(f"{variable} of the environment is wrong: {first['msg']}") from None
    except RuntimeError as fault:
        raise InputInvalidError("there is no home directory: set PCG_CONFIG to a directory of yours") from fault


def _path() -> Path:
    return settings().config / "session.json"


def read() -> Session:
    """Return the session. Raises NotLoggedInError, SessionUnreadableError or AddressInvalidError."""
    path = _path()
    try:
        found = Session.model_validate_json(path.read_bytes())
    except FileNotFoundError as fault:
        raise NotLoggedInError("you are not logged in: run `pcg login https://CONSOLE:8443` first") from fault
    except OSError as fault:
        raise SessionUnreadableError(f"{path} cannot be read: {fault.strerror}") from fault
    except ValidationError:
        raise SessionUnreadableError(f"{path} is damaged: run `pcg login` again") from None
    address.checked(found.url)
    if not KEY.fullmatch(found.key.get_secret_value()):
        raise SessionUnreadableError(f"{path} holds no API key: run `pcg login` again")
    return found


def write(session: Session) -> Path:
    """Remember a session, 0600, and return where."""
    path = _path()
    files.make_private_directory(path.parent)
    document = session.model_dump(mode="json") | {"key": session.key.get_secret_value()}
    files.write_whole(path, json.dumps(document).encode())
    return path


def forget() -> None:
    """Remove the session; does nothing when there is none."""
    _path().unlink(missing_ok=True)
