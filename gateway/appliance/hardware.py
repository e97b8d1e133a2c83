"""This file is what the appliance's machine says of itself, by which a copy of it is told from the original."""

from pathlib import Path
from uuid import UUID

from gateway.contract.identity import Hardware

PRODUCT_UUID = Path("/sys/class/dmi/id/product_uuid")
"""The SMBIOS UUID of the machine; vSphere gives each copy of one another. Only root may read it."""
UNSET = {UUID(int=0), UUID(int=2**128 - 1)}
"""What firmware says that was given none (SMBIOS 3.7, 7.2.1)."""
LONGEST = 64


def read(product_uuid: Path = PRODUCT_UUID, *, device_key_in_tpm: bool = False) -> Hardware:
    """Return what can be read of the machine; what cannot be read is left out."""
    return Hardware(system_uuid=_uuid(product_uuid), device_key_in_tpm=device_key_in_tpm)


def _uuid(path: Path) -> UUID | None:
    try:
        with path.open("rb") as file:
            found = UUID(file.read(LONGEST).decode().strip())
    except (OSError, ValueError):
        return None
    return None if found in UNSET else found
