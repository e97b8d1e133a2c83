"""This file is every setting of the appliance."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.audit import syslog


class ApplianceSettings(BaseSettings):
    """Read from the environment, prefix PCG_APPLIANCE_; options of the command line come first."""

    model_config = SettingsConfigDict(
        env_prefix="PCG_APPLIANCE_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    state: Path = Field(
        default=Path("/var/lib/private-cloud-gateway/appliance"),
        description="directory for keys, accounts and the journal; made with mode 0700",
    )
    artifacts: Path = Field(
        default=Path("/usr/share/private-cloud-gateway/artifacts"),
        description="directory of the packages that are brought to machines, with their SHA256SUMS",
    )
    token_file: Path | None = Field(
        default=None,
        description="file that holds a registration token; read when not paired yet, and removed once paired",
    )
    device_key: str = Field(
        default="auto",
        description="where a new device key is made: auto (in the machine's TPM if it has one that answers, in a file "
        "otherwise), file, or the TCTI of a TPM that must be used, such as device:/dev/tpmrm0",
    )
    reconnect_first: float = Field(
        default=1.0, gt=0, description="seconds, upper limit of the first pause before the console is called again"
    )
    reconnect_cap: float = Field(default=60.0, gt=0, description="seconds, upper limit of any such pause")
    proxy: str | None = Field(
        default=None,
        description="proxy that leads to the console, http://HOST:PORT or socks5://HOST:PORT; credentials do not "
        "belong in it",
    )
    proxy_credentials_file: Path | None = Field(
        default=None, description="file that holds user:password for the proxy, one line; keep it at mode 0600"
    )
    tunnel: Literal["auto", "direct", "nested"] = Field(
        default="auto",
        description="how the tunnel travels: straight to the console's tunnel port, inside a WebSocket on its API, or "
        "whichever is found to work",
    )
    outer_trust: Path | None = Field(
        default=None,
        description="PEM file of the authority of whoever opens TLS on the way to the console's API, if the system "
        "does not know it; the tunnel itself trusts nobody but the console",
    )
    data_sessions: int = Field(
        default=1, ge=1, le=4, description="connections to the console that carry streams to targets, beside the first"
    )
    audit_syslog: str | None = Field(
        default=None,
        description="collector that gets each line of the audit log as syslog (RFC 5424), udp://HOST:PORT, "
        "tcp://HOST:PORT (octet counting) or tls://HOST:PORT; ports 514, 601 and 6514 when left out",
    )
    audit_syslog_trust: Path | None = Field(
        default=None,
        description="PEM file of the authority of a collector that is called with tls://, if the system does not "
        "know it",
    )
    audit_file: Path | None = Field(
        default=None,
        description="file that each line of the audit log is also appended to; on another disk it outlives this one",
    )

    @field_validator("audit_syslog")
    @classmethod
    def _can_be_called(cls, value: str | None) -> str | None:
        if value is not None:
            syslog.address(value)
        return value


class Caller(BaseSettings):
    """What the environment tells of who runs a command; nothing that anybody sets by hand."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    sudo_user: str | None = Field(default=None, description="who called sudo, as sudo says")
