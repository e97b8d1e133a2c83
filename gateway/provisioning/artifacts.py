"""This file is the packages that the appliance brings to machines, and whether they are there at all."""

from pathlib import Path

from gateway.kit.errors import GatewayError, Remedy


class ArtifactsMissingError(GatewayError):
    """The packages that machines need are not on the appliance."""

    code = "appliance.artifacts_missing"
    remedy = Remedy.OPERATOR


def check(directory: Path) -> None:
    """See that the directory holds packages and their sums, before a machine is made that could not be prepared.

    Whether the sums are right is checked when the packages are used. Raises ArtifactsMissingError.
    """
    if not (directory / "SHA256SUMS").is_file() or not any(directory.glob("*.deb")):
        raise ArtifactsMissingError(
            f"{directory} on the appliance does not hold *.deb files and their SHA256SUMS: fill it as "
            "docs/operations.md says, or name another directory with --artifacts",
            directory=str(directory),
        )
