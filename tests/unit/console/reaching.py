"""This file is what tests of streams wait for and look at: a data session, and the audit log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.kit.errors import GatewayError
from gateway.tunnel.session import Session
from gateway.tunnel.stream import Stream
from tests.fakes.console import Console, paired_appliance
from tests.fakes.targets import Data, data_of


@asynccontextmanager
async def data_open(console: Console, *targets: str) -> AsyncIterator[Data]:
    data = await data_of(await paired_appliance(console), *targets)
    async with data.open():
        await reachable(console)
        yield data


async def reachable(console: Console, gateway: str = "dc1", *, key: str | None = None, wanted: bool = True) -> None:
    async def so() -> bool:
        said = await console.ask("GET", f"/api/v1/gateways/{gateway}/targets", key=key)
        return bool(said.body["reachable"]) is wanted

    await until(so)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - what is waited for is asked of the console
            await asyncio.sleep(0.02)


OF_STREAMS = "?action=tunnel.stream"


async def entries(console: Console, query: str = OF_STREAMS, *, key: str | None = None) -> list[dict[str, Any]]:
    """Return the newest entries of the audit log, those of streams unless something else is asked for."""
    said = await console.ask("GET", f"/api/v1/audit{query}", key=key)
    assert said.status == 200, said
    found: list[dict[str, Any]] = said.body["items"]
    return found


async def outcomes(console: Console, wanted: int) -> list[str]:
    """Wait until so many entries are there and return their outcomes, the oldest first."""

    async def there() -> bool:
        return len(await entries(console)) >= wanted

    await until(there)
    return [one["outcome"] for one in reversed(await entries(console))]


async def over(session: Session) -> GatewayError:
    async with asyncio.timeout(10):
        return await session.closed()


async def cut(stream: Stream, *, within: float = 5.0) -> None:
    """See that an open stream is cut in time."""
    async with asyncio.timeout(within):
        with pytest.raises(GatewayError):
            await stream.read()
