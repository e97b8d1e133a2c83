"""This file is the one lab that the lab's tests share, and the key that opens its machines."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.lab import labs, launch
from gateway.lab.labs import Lab
from gateway.lab.settings import LabSettings
from tests.lab.customer import Customer, customer


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> LabSettings:
    """The machine's own cache, so that an image is built once; a state directory of this run."""
    return LabSettings(pcg_lab_state=tmp_path_factory.mktemp("labs") / "state")


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="session")
def public_key(key: Path) -> str:
    return key.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="session")
def lab(settings: LabSettings) -> Iterator[Lab]:
    process = launch.start("shared", settings, leash=True, say=print)
    yield labs.attach("shared", settings=settings)
    asyncio.run(labs.down("shared", settings=settings))
    assert process.stdin
    process.stdin.close()
    process.wait()


@pytest.fixture
async def vcenter(lab: Lab) -> AsyncIterator[Customer]:
    """A customer's session; what the test leaves behind in vCenter is removed."""
    async with customer(lab) as session:
        yield session
        await lab.faults.clear()
        await asyncio.to_thread(session.remove_all)
