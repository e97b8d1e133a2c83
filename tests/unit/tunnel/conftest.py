"""This file is what tests of the tunnel share."""

import pytest

from tests.fakes.ends import Ends


@pytest.fixture(scope="session")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """Two ends of a tunnel; making keys takes longer than most tests."""
    return Ends(tmp_path_factory.mktemp("ends"))
