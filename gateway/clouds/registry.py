"""This file is the kinds of cloud there are: one line each."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from gateway.clouds.accounts import Accounts, CloudAccount
from gateway.clouds.port import Cloud, Connect
from gateway.clouds.vsphere import cloud as vsphere

KINDS: Final[Mapping[str, Callable[[CloudAccount], AbstractAsyncContextManager[Cloud]]]] = {
    "vsphere": vsphere.connect,
}


def connect_by(accounts: Accounts) -> Connect:
    """Return how to sign in to one of the accounts in a directory, by its name."""

    @asynccontextmanager
    async def connect(name: str) -> AsyncIterator[Cloud]:
        account = accounts.read(name)
        async with KINDS[account.kind](account) as cloud:
            yield cloud

    return connect
