"""This file is that a refused password is sent once, whoever asks and however often."""

from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from pyVmomi import vim

from gateway.clouds.accounts import CloudAccount
from gateway.clouds.port import CloudSignInError
from gateway.clouds.vsphere.connection import Session

ACCOUNT = CloudAccount(server="vc", user="u", password=SecretStr("wrong"))


class RefusingManager:
    """A session manager whose password has been changed."""

    def __init__(self) -> None:
        self.asked = 0

    async def Login(self, **credentials: str) -> None:  # noqa: N802 - vSphere's name
        self.asked += 1
        assert credentials["password"] == "wrong"
        raise vim.fault.InvalidLogin


async def test_a_password_refused_in_the_middle_is_not_sent_again() -> None:
    manager = RefusingManager()
    wire = SimpleNamespace(cookie="old", sessions=1)
    session = Session(wire, ACCOUNT)  # type: ignore[arg-type]
    session._content = SimpleNamespace(sessionManager=manager)
    for _ in range(5):
        with pytest.raises(CloudSignInError):
            await session.sign_in_again(1)
    assert manager.asked == 1
