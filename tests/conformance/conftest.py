"""This file is the clouds that the conformance suite runs against."""

from collections.abc import Iterator

import pytest

from tests.conformance import vcenter
from tests.conformance.memory import MemoryWorld
from tests.conformance.vcenter import VCenterWorld
from tests.conformance.world import World


@pytest.fixture(scope="session")
def vcenter_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vcenter.Running]:
    """One vCenter for all tests: each has a cluster of its own in it."""
    with vcenter.running(tmp_path_factory.mktemp("vcenter")) as running:
        yield running


@pytest.fixture
def vcenter_world(vcenter_process: vcenter.Running) -> Iterator[VCenterWorld]:
    """The lab's vCenter, without rules of an earlier test."""
    world = VCenterWorld(vcenter_process)
    world.control("DELETE", "/rules")
    yield world
    world.close()


@pytest.fixture(params=["memory", "vcenter"])
def world(request: pytest.FixtureRequest) -> World:
    """Each cloud in turn."""
    if request.param == "memory":
        return MemoryWorld()
    found: VCenterWorld = request.getfixturevalue("vcenter_world")
    return found
