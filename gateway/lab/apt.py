"""This file is how the lab downloads packages just as this machine does: same archives, same proxies."""

from dataclasses import dataclass
from pathlib import Path

from gateway.kit.errors import GatewayError, Remedy
from gateway.lab import programs

KEPT_OPTIONS = ("Acquire::http", "Acquire::https", "Acquire::Check-Valid-Until", "Acquire::Check-Date")


class NoPackageSourceError(GatewayError):
    """This machine's apt knows no archive that the image could be made from."""

    code = "lab.no_package_source"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Sources:
    """Apt sources: what stands in the file, and the suffix by which apt knows which of its two forms that is."""

    text: str
    suffix: str


def sources_for(suite: str, etc: Path = Path("/etc/apt")) -> Sources:
    """Return this machine's apt sources for Debian `suite` with its updates and security.

    Raises NoPackageSourceError when this machine has sources, but none for that suite.
    """
    one_line = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    lines = [
        line
        for path in one_line
        if path.exists()
        for line in path.read_text(encoding="utf-8").splitlines()
        if _line_serves(line, suite)
    ]
    stanzas = [
        stanza
        for path in sorted((etc / "sources.list.d").glob("*.sources"))
        for stanza in path.read_text(encoding="utf-8").split("\n\n")
        if _stanza_serves(stanza, suite)
    ]
    if stanzas:
        return Sources("\n\n".join(_without_comments(stanza) for stanza in stanzas) + "\n", ".sources")
    if lines:
        return Sources("\n".join(lines) + "\n", ".list")
    raise NoPackageSourceError(f"apt on this machine has no source for Debian {suite}: add one to {etc}/sources.list.d")


def network_options() -> list[str]:
    """Return this machine's apt options that decide how archives are reached, as apt.conf lines."""
    shown = programs.run(["apt-config", "dump", *KEPT_OPTIONS])
    return [line.rstrip(";") for line in shown.splitlines() if line.startswith(KEPT_OPTIONS) and '""' not in line]


def _line_serves(line: str, suite: str) -> bool:
    words = [word for word in line.split() if not word.startswith(("[", "signed-by", "arch=")) and word != "]"]
    return len(words) > 3 and words[0] == "deb" and words[2].split("-")[0] == suite and "main" in words[3:]


def _stanza_serves(stanza: str, suite: str) -> bool:
    fields = {
        name.strip().lower(): value.split()
        for name, found, value in (line.partition(":") for line in _without_comments(stanza).splitlines())
        if found
    }
    return (
        "deb" in fields.get("types", [])
        and fields.get("enabled", ["yes"]) != ["no"]
        and "main" in fields.get("components", [])
        and any(one.split("-")[0] == suite for one in fields.get("suites", []))
    )


def _without_comments(stanza: str) -> str:
    return "\n".join(line for line in stanza.splitlines() if line.strip() and not line.startswith("#"))
