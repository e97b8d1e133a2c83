"""This file is where the lab keeps things: a cache that survives and a state directory that does not."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LabSettings(BaseSettings):
    """Read from the environment; every lab of one machine should agree on them."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    pcg_cache: Path | None = None
    """What is built or downloaded once: file system images, artifacts, programs. Wins over XDG_CACHE_HOME."""

    xdg_cache_home: Path | None = None
    """The user's cache directory; the lab's cache is `private-cloud-gateway` below it. Default ~/.cache."""

    pcg_lab_state: Path = Field(default=Path("/var/lib/private-cloud-gateway/labs"))
    """One directory for each lab: its secrets, logs and machines' disks. Not on tmpfs and not on an overlay."""

    @property
    def cache(self) -> Path:
        """Return the cache directory, absolute."""
        chosen = self.pcg_cache or (self.xdg_cache_home or Path.home() / ".cache") / "private-cloud-gateway"
        return chosen.expanduser().absolute()

    @property
    def state(self) -> Path:
        """Return the directory of labs, absolute."""
        return self.pcg_lab_state.expanduser().absolute()
