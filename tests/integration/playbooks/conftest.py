"""This file is what the tests of running Ansible share."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.kit.clock import SystemClock
from gateway.playbooks.ansible import PROJECT, AnsiblePlaybooks
from tests.integration.playbooks.machine import SSHD, Machine, machine

HERE = Path(__file__).parent


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine to sign in to."""
    if SSHD is None or os.geteuid() != 0:
        pytest.skip("needs root and sshd: apt-get install openssh-server")
    async with machine(tmp_path) as one:
        yield one


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Playbooks for these tests, under the configuration that is used in earnest."""
    shutil.copytree(HERE / "project", tmp_path / "project")
    shutil.copy(PROJECT / "ansible.cfg", tmp_path / "project")
    shutil.copytree(PROJECT / "tasks", tmp_path / "project" / "tasks")
    return tmp_path / "project"


@pytest.fixture
def playbooks(there: Machine, project: Path) -> AnsiblePlaybooks:
    """The port under test."""
    return AnsiblePlaybooks(clock=SystemClock(), project=project, ssh_port=there.port, reach_within=10)
