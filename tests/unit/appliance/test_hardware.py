"""This file is the promises of what the machine says of itself."""

from pathlib import Path
from uuid import UUID

import pytest

from gateway.appliance import hardware
from gateway.contract.identity import Hardware

SYSTEM = "4c4c4544-0042-3510-8052-b4c04f4b4e32"


def test_the_systems_uuid_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    (tmp_path / "product_uuid").write_text(f"{SYSTEM}\n")
    assert hardware.read(tmp_path / "product_uuid") == Hardware(system_uuid=UUID(SYSTEM))


@pytest.mark.parametrize(
    "content", [b"", b"Not Settable\n", b"\xff" * 40, f"{UUID(int=0)}\n".encode(), b"f" * 32, b"4" * 10_000]
)
def test_firmware_that_names_none_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "product_uuid").write_bytes(content)
    assert hardware.read(tmp_path / "product_uuid").system_uuid is None


def test_a_machine_without_firmware_tables_is_left_out(tmp_path: Path) -> None:
    assert hardware.read(tmp_path / "nowhere") == Hardware()
