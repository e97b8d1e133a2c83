"""This file is how a running appliance takes over the identity with which it was paired anew, by another process."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from gateway.appliance.identity import Identity, NotPairedError
from gateway.kit import supervise
from gateway.kit.clock import Clock

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds after which is looked again whether there is another identity."""


async def keep(calls: Callable[[], Coroutine[Any, Any, None]], identity: Identity, *, clock: Clock) -> None:
    """Run `calls` until cancelled, from the start again with each new identity: its first call waits for nothing.

    What was opened with the identity before is closed, and what it has waited for is of no concern to the new one.
    """
    while True:
        device = await asyncio.to_thread(_device, identity)
        async with supervise.running(calls=calls()):
            while await asyncio.to_thread(_device, identity) in (device, None):
                await clock.sleep(LOOK_EVERY)
        log.info("this appliance was paired anew: calling with its new identity")


def _device(identity: Identity) -> int | None:
    """Return which device key is in use; None when that cannot be read, of which the calls themselves will say more."""
    try:
        return identity.member().device
    except NotPairedError:
        return None
