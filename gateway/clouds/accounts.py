"""This file is the cloud accounts an appliance knows: its own, and those that came sealed through the console.

Its own are a private file each, never sent anywhere. Those that came sealed are opened by somebody else, each time one
is used. Of two with one name the appliance's own is meant: what its owner has put there stays what it is.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from gateway.contract.shapes import NAME_PATTERN, RULES
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]{0,252})(:(?P<port>[0-9]{1,5}))?")
THUMBPRINT: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}")
HIGHEST_PORT: Final = 65535


class AccountInvalidError(GatewayError):
    """What was said of a cloud account cannot be right."""

    code = "account.invalid"
    remedy = Remedy.CALLER


class AccountUnknownError(GatewayError):
    """The appliance has no cloud account of that name."""

    code = "account.unknown"
    remedy = Remedy.OPERATOR


class AccountUnreadableError(GatewayError):
    """The file of a cloud account is damaged."""

    code = "account.unreadable"
    remedy = Remedy.OPERATOR


def _invalid(said: str) -> PydanticCustomError:
    """Return the error whose text is that sentence and nothing else: it is shown to people as it stands."""
    return PydanticCustomError("account", "{said}", {"said": said})


def _server(text: str) -> str:
    if "://" in text:
        raise _invalid("leave out https:// and what follows the host: a name such as vcenter.example.com is enough")
    found = SERVER.fullmatch(text)
    if found is None or not 0 < int(found["port"] or 443) <= HIGHEST_PORT:
        raise _invalid(
            "this must be a host name or address, with :port unless it is 443, such as vcenter.example.com or "
            "10.0.0.5:8443; an IPv6 address stands in brackets"
        )
    return text


def _user(text: str) -> str:
    if not text.strip():
        raise _invalid("a user is needed, such as svc-pcg@vsphere.local")
    return text


def _thumbprint(text: str) -> str:
    if THUMBPRINT.fullmatch(text) is None:
        raise _invalid(
            "this must be the SHA-256 fingerprint of vCenter's certificate, 32 pairs of hexadecimal digits with colons "
            "between them, as openssl x509 -noout -fingerprint -sha256 prints it"
        )
    return text


class CloudAccount(BaseModel):
    """Where a cloud is and how to sign in. The texts of its ValidationErrors are sentences for people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["vsphere"] = "vsphere"
    server: Annotated[str, AfterValidator(_server)] = Field(
        description="host name or address of vCenter, with :port unless 443"
    )
    user: Annotated[str, AfterValidator(_user)]
    password: SecretStr
    thumbprint: Annotated[str, AfterValidator(_thumbprint)] | None = Field(
        default=None,
        description="SHA-256 of vCenter's certificate; without it the machine's trust store decides",
    )


class Opener(Protocol):
    """Who has accounts that came sealed, and opens them."""

    def names(self) -> list[str]:
        """Return the accounts' names, sorted."""

    def opened(self, name: str) -> bytes | None:
        """Return the account of that name as `content_of` wrote it, or None. Raises GatewayError when it stays shut."""


def content_of(account: CloudAccount) -> bytes:
    """Return an account as it is kept and sealed, with its password."""
    content = account.model_dump(mode="json") | {"password": account.password.get_secret_value()}
    return json.dumps(content).encode()


class Accounts:
    """The accounts in one directory of the appliance's state, and those of `sealed`."""

    def __init__(self, directory: Path, sealed: Opener | None = None) -> None:
        self._directory = directory
        self._sealed = sealed

    def names(self) -> list[str]:
        """Return the accounts' names, sorted."""
        return sorted({*self.own(), *(self._sealed.names() if self._sealed else ())})

    def own(self) -> list[str]:
        """Return the names of those that were added here, sorted."""
        return sorted(path.stem for path in self._directory.glob("*.json"))

    def read(self, name: str) -> CloudAccount:
        """Return one account, the appliance's own if there are two.

        Raises AccountUnknownError, naming those that are there, AccountUnreadableError, or what the opener raises.
        """
        sealed = self._sealed.opened(name) if self._sealed and name not in self.own() else None
        try:
            content = sealed or self._file(name).read_bytes()
        except FileNotFoundError as fault:
            raise self._unknown(name) from fault
        try:
            return CloudAccount.model_validate_json(content)
        except ValidationError:
            again = "pcg account create --replace" if sealed else "pcg appliance account add"
            raise AccountUnreadableError(
                f"the cloud account {name!r} is damaged; make it again with: {again}", account=name
            ) from None

    def write(self, name: str, account: CloudAccount) -> None:
        """Store an account under `name`, replacing one of that name; the file is 0600. Raises AccountInvalidError."""
        if re.fullmatch(NAME_PATTERN, name) is None:
            raise AccountInvalidError(f"the name of an account cannot be {name!r}: {RULES[NAME_PATTERN]}", account=name)
        files.make_private_directory(self._directory)
        files.write_whole(self._directory / f"{name}.json", content_of(account))

    def remove(self, name: str) -> None:
        """Forget an account. Raises AccountUnknownError, naming those that are there."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        """Return the file of an account that is there; a name that leads out of the directory never is."""
        if name not in self.own():
            raise self._unknown(name)
        return self._directory / f"{name}.json"

    def _unknown(self, name: str) -> AccountUnknownError:
        known = ", ".join(self.names()) or "none"
        return AccountUnknownError(
            f"the appliance has no cloud account {name!r} (it has: {known}); "
            "make it with pcg account create, or add it there with: pcg appliance account add",
            account=name,
        )
