"""This file is the site that the end-to-end tests share: a lab, a console, an appliance, as a user runs them."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.lab import labs, site
from gateway.lab.site import Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs a lab, and shares one event loop with it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lab)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_site() -> AsyncIterator[Site]:
    """One site for all; tests use clusters of their own names."""
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")
    await labs.sweep()
    async with labs.up(f"e2e-{os.getpid()}") as lab, site.open_site(lab, lab.directory.path / "site") as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def place(shared_site: Site) -> AsyncIterator[Site]:
    """The site with both programs running, whatever an earlier test did to them; no cluster is left after."""
    for program in (shared_site.console, shared_site.appliance):
        if not program.is_running:
            await program.start()
    shared_site.lab.restore_uplink()
    await shared_site.until_connected()
    yield shared_site
