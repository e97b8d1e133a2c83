"""This file is how the site ends its pairing with a console: everything is cut, the console told, the identity removed.

::

    lockdown ──> the console is told, if it can be reached ──> identity removed ──> lockdown released: nothing to run

Journal, audit log, policy, accounts and targets stay. What the console has made in the data centre stays, too.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Annotated, Final

import structlog
import typer

from gateway.appliance import governing, outward
from gateway.appliance.identity import Identity, NotPairedError
from gateway.appliance.lockdown import Lockdown
from gateway.appliance.oversight import StateOption, audited, state_of
from gateway.appliance.settings import ApplianceSettings
from gateway.contract.messages import MESSAGE_LIMIT
from gateway.identity import farewell
from gateway.kit.errors import GatewayError
from gateway.tunnel.channel import ChannelClosedError
from gateway.tunnel.dialer import dial

log = structlog.get_logger(__name__)

TELL_WITHIN: Final = 10.0
TAKEN_NOTE: Final = "relay.left"
"""How the console's last word begins once it has taken note."""


def unpair(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    state: StateOption = None,
) -> None:
    """End the pairing with the console: everything is cut, and the identity is removed from this appliance.

    Journal, audit log, policy, accounts and targets stay, and so do the machines that were made.
    """
    directory = state_of(state)
    identity = Identity.open(directory)
    known = identity.paired()
    if known is None:
        raise NotPairedError("this appliance is not paired: there is nothing to end")
    governing.confirm(f"End the pairing with {known.console} as {known.gateway_name}?", yes=yes)
    locked = Lockdown(directory)
    was_asked = locked.is_asked
    with audited(directory, "unpaired", {"console": known.console, "gateway": known.gateway_name}):
        governing.ask(locked)
        governing.until_held(locked, directory)
        was_told = asyncio.run(tell(identity, _settings(state)))
        identity.forget()
    if not was_asked:
        locked.release()
    typer.echo(f"This appliance is no longer paired with {known.console}.")
    if not was_told:
        typer.echo(
            f"The console could not be told: have it remove the gateway with: pcg gateway remove {known.gateway_name}"
        )


async def tell(identity: Identity, settings: ApplianceSettings) -> bool:
    """Tell the console that the site ends the pairing; return whether it has taken note."""
    try:
        async with asyncio.timeout(TELL_WITHIN):
            return await _told(identity, settings)
    except (GatewayError, TimeoutError, OSError, ssl.SSLError) as fault:
        log.warning("the console could not be told", error=str(fault) or type(fault).__name__)
        return False


async def _told(identity: Identity, settings: ApplianceSettings) -> bool:
    known = identity.member()
    word = await asyncio.to_thread(lambda: farewell.word(known.gateway_id, identity.device()))
    async with outward.opened(settings, known.console, trust=identity.trust()) as roads:
        for attempt in range(2):  # straight, then the other way there may be
            try:
                with roads.noting() as road:
                    async with dial(
                        known.tunnel, tls=identity.tls(), road=road, message_limit=MESSAGE_LIMIT
                    ) as channel:
                        await channel.send(word.model_dump_json())
                        while True:
                            await channel.receive()
            except ChannelClosedError as last:
                return TAKEN_NOTE in last.message
            except GatewayError:
                if attempt:
                    raise
    return False


def _settings(state: Path | None) -> ApplianceSettings:
    return ApplianceSettings() if state is None else ApplianceSettings(state=state)
