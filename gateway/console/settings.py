"""This file is every setting of the console, read from PCG_CONSOLE_… once, at start."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.kit.errors import GatewayError, Remedy

DNS_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?\.)*"
    r"(?!\d+\Z)[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
)
"""RFC 1123; the last label is not a number, for that would be an IP address gone wrong."""


class ConsoleSettingsError(GatewayError):
    """A setting of the console is wrong."""

    code = "console.settings"
    remedy = Remedy.OPERATOR


class ConsoleSettings(BaseSettings):
    """What whoever runs a console may choose."""

    model_config = SettingsConfigDict(env_prefix="PCG_CONSOLE_", frozen=True, extra="forbid")

    state: Path = Field(
        default=Path("/var/lib/private-cloud-gateway/console"),
        description="directory of the console's state; made with mode 0700, must be the console's alone",
    )
    listen: str = Field(
        default="0.0.0.0",  # noqa: S104 - appliances and people call from elsewhere
        description="address to listen on",
    )
    api_port: int = Field(default=8443, ge=0, le=65535, description="TCP port of the HTTPS API; 0 takes a free one")
    tunnel_port: int = Field(
        default=8444, ge=0, le=65535, description="TCP port that appliances' tunnels call; 0 takes a free one"
    )
    hosts: Annotated[list[str], NoDecode] = Field(
        default=["localhost", "127.0.0.1"],
        min_length=1,
        description="host names and addresses the console is reached by, separated by commas; all are in its "
        "certificate, the first is in registration tokens",
    )
    database: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the database, with an asynchronous driver; by default SQLite in the state "
        "directory",
    )
    recoveries: int = Field(
        default=10,
        ge=0,
        le=1000,
        description="how often within 30 days a gateway that has lost its certificate may come back by itself; "
        "then a person approves",
    )
    grace: float = Field(
        default=10.0, ge=0.0, le=300.0, description="seconds that running requests may take when the console stops"
    )

    @field_validator("hosts", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("hosts")
    @classmethod
    def _can_be_in_a_certificate(cls, value: list[str]) -> list[str]:
        for one in value:
            if not (_is_address(one) or DNS_NAME.fullmatch(one)):
                raise ValueError(
                    f"{one!r} is neither an IP address nor a DNS name: write console.example.com or 10.0.0.5"
                )
        return value

    @property
    def database_url(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database or f"sqlite+aiosqlite:///{self.state / 'console.sqlite'}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def read(**chosen: object) -> ConsoleSettings:
    """Return the settings: those chosen, then the environment's, then the defaults. Raises ConsoleSettingsError."""
    try:
        return ConsoleSettings(**chosen)  # type: ignore[arg-type]
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ConsoleSettingsError(f"the setting {name} is wrong: {message}", setting=name) from None
