"""This file is the targets that streams may be opened to: one private file each, made on the appliance alone.

Who opens a stream names a target and nothing else; where it is, and which addresses it may have, stands here. A host is
taken in one spelling only: what a resolver, a URL parser and a person would each read differently is refused.
"""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from gateway.appliance import reach
from gateway.appliance.reach import AddressRefusedError, Network
from gateway.contract.messages import MOST_TARGETS
from gateway.contract.shapes import NAME_PATTERN, RULES
from gateway.contract.streams import OfferedTarget, TargetKind
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label of this shape makes a name an IPv4 address for many a resolver: 127.1, 0x7f000001, 2130706433."""
LONGEST_NAME: Final = 253
MOST_NETWORKS: Final = 64


class TargetInvalidError(GatewayError):
    """What was said of a target cannot be right."""

    code = "target.invalid"
    remedy = Remedy.CALLER


class TargetUnknownError(GatewayError):
    """The appliance has no target of that name."""

    code = "stream.target_unknown"
    remedy = Remedy.CALLER


class TargetUnreadableError(GatewayError):
    """The file of a target is damaged."""

    code = "target.unreadable"
    remedy = Remedy.OPERATOR


def _invalid(said: str) -> PydanticCustomError:
    """Return the error whose text is that sentence and nothing else: it is shown to people as it stands."""
    return PydanticCustomError("target", "{said}", {"said": said})


def _host(text: str) -> str:
    address = _address(text)
    if address is not None:
        return address
    labels = text.split(".")
    if (
        len(text) > LONGEST_NAME
        or not all(LABEL.fullmatch(label) for label in labels)
        or NUMBER.fullmatch(labels[-1])
        or any(label.startswith("xn--") for label in labels)
        or labels[-1] == "localhost"
    ):
        raise _invalid(
            "this must be an IP address such as 10.0.0.5 or 2001:db8::5, or a name of lowercase ASCII letters, digits "
            "and dashes such as vcenter.example.com: no user, port, zone or dot at its end, no number that is an "
            "address in disguise; of an international name give the address"
        )
    return text


def _address(text: str) -> str | None:
    """Return the address that `text` is, or None. Raises for one that hides another, by its spelling or its bits."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if str(address) != text:
        raise _invalid(f"an address is given in its short form, without a zone: {str(address).partition('%')[0]}")
    try:
        reach.judge([text], allow=[ip_network(text)], deny=reach.DENY, own=lambda _: False)
    except AddressRefusedError as refused:
        raise _invalid(f"no stream may go to this address: {refused.why}") from None
    if reach.inside(address):
        raise _invalid("an IPv4 address travels in this IPv6 address: give the IPv4 address")
    return text


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            ip_network(text)
        except ValueError:
            raise _invalid(f"{text!a} is no network: give such as 10.0.0.0/24 or 10.0.0.5, without host bits") from None
    return texts


class Target(BaseModel):
    """Where a target is, and which addresses it may have. The texts of its ValidationErrors are for people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: TargetKind = "tcp"
    host: Annotated[str, AfterValidator(_host)]
    port: int = Field(ge=1, le=65535)
    allow: Annotated[tuple[str, ...], AfterValidator(_networks)] = Field(
        default=(), max_length=MOST_NETWORKS, description="networks its addresses may be in; of an address, itself"
    )

    @model_validator(mode="after")
    def _addresses_are_known(self) -> Self:
        if not self.networks:
            raise _invalid(f"say with --allow which addresses {self.host} may have, such as --allow 10.0.0.0/24")
        return self

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks its addresses may be in."""
        if self.allow:
            return tuple(ip_network(text) for text in self.allow)
        try:
            return (ip_network(self.host),)
        except ValueError:
            return ()


class Targets:
    """The targets in one directory of the appliance's state."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def names(self) -> list[str]:
        """Return the targets' names, sorted. It reads the whole directory."""
        return sorted(path.stem for path in self._directory.glob("*.json") if _is_name(path.stem))

    def offered(self) -> list[OfferedTarget]:
        """Return what the console is told of them: name and kind. A damaged one is left out."""
        found = []
        for name in self.names()[:MOST_TARGETS]:
            try:
                found.append(OfferedTarget(id=name, kind=self.read(name).kind))
            except (TargetUnknownError, TargetUnreadableError):
                continue
        return found

    def read(self, name: str) -> Target:
        """Return one target. Raises TargetUnknownError, naming those that are there, or TargetUnreadableError."""
        try:
            return Target.model_validate_json(self.find(name).read_bytes())
        except FileNotFoundError as fault:
            raise self._unknown(name) from fault
        except (OSError, ValidationError):
            raise TargetUnreadableError(
                f"the file of target {name!r} is damaged; add it again with: pcg appliance target add", target=name
            ) from None

    def check(self, name: str) -> None:
        """Return when a target of that name can be written. Raises TargetInvalidError."""
        if not _is_name(name):
            raise TargetInvalidError(f"the name of a target cannot be {name!a}: {RULES[NAME_PATTERN]}")
        if not self._path(name).exists() and len(self.names()) >= MOST_TARGETS:
            raise TargetInvalidError(f"an appliance has at most {MOST_TARGETS} targets: remove one first")

    def write(self, name: str, target: Target) -> None:
        """Store a target under `name`, replacing one of that name; the file is 0600. Raises TargetInvalidError."""
        self.check(name)
        files.make_private_directory(self._directory)
        files.write_whole(self._path(name), target.model_dump_json().encode())

    def remove(self, name: str) -> None:
        """Forget a target. Raises TargetUnknownError, naming those that are there."""
        self.find(name).unlink(missing_ok=True)

    def find(self, name: str) -> Path:
        """Return the file of a target that is there; a name that leads out of the directory never is.

        Raises TargetUnknownError.
        """
        if not _is_name(name) or not self._path(name).exists():
            raise self._unknown(name)
        return self._path(name)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _unknown(self, name: str) -> TargetUnknownError:
        known = ", ".join(self.names()[:20]) or "none"
        return TargetUnknownError(
            f"the appliance has no target {name!a} (it has: {known}); add it there with: pcg appliance target add",
            target=name,
        )


def _is_name(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text) is not None
