"""This file is every setting of the appliance."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ApplianceSettings(BaseSettings):
    """Read from the environment, prefix PCG_APPLIANCE_; options of the command line come first."""

    model_config = SettingsConfigDict(env_prefix="PCG_APPLIANCE_", frozen=True, extra="ignore")

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
    reconnect_first: float = Field(
        default=1.0, gt=0, description="seconds, upper limit of the first pause before the console is called again"
    )
    reconnect_cap: float = Field(default=60.0, gt=0, description="seconds, upper limit of any such pause")
