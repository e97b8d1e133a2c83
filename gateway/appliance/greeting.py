"""This file is the greeting on the command channel: what the appliance says of itself, and what it does when welcomed.

::

    hello: who, what is offered, next event, epoch, open commands ──>
                                                <── welcome: the console's time, the last event it has, the epoch
    higher epoch: this appliance was put back to an older state. It drops what is over and counts on behind the console.
    newer trust: kept, and said so.
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog
from pydantic import ValidationError

import gateway
from gateway.appliance.identity import Identity, Joined
from gateway.commands.journal import Journal
from gateway.contract.accounts import SealingKey
from gateway.contract.identity import Hardware
from gateway.contract.messages import MOST_OPEN, FromAppliance, Hello, Offers, Welcome, from_console
from gateway.contract.version import IDENTITY_SINCE, OLDEST_SPOKEN, PROTOCOL
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.channel import Channel

log = structlog.get_logger(__name__)

WELCOME_LIMIT = 20.0


class ConversationError(GatewayError):
    """The console says something that cannot be understood."""

    code = "link.not_understood"


class JournalBehindError(GatewayError):
    """The console knows more of this appliance than the appliance itself."""

    code = "journal.behind"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Self:
    """What the appliance says of itself that stays the same while it runs."""

    boot_id: UUID
    hardware: Hardware


@dataclass(frozen=True, slots=True)
class Greeter:
    """Greets consoles in the name of one appliance."""

    identity: Identity
    journal: Journal
    itself: Self

    async def greet(
        self, channel: Channel, offers: Offers, *, sealing_key: SealingKey | None = None, last_seq: int = 0
    ) -> Welcome:
        """Say hello and take the welcome in; what it says is on the disk when this returns.

        Raises ConversationError, JournalBehindError or NotPairedError.
        """
        known = await asyncio.to_thread(self.identity.member)
        hello = self._hello(known, offers, sealing_key)
        await say(channel, hello.model_copy(update={"last_seq": last_seq}))
        welcome = await _welcome(channel)
        if welcome.protocol >= IDENTITY_SINCE:
            await self._follow(welcome, known)
        if welcome.acknowledged > self.journal.last_event:
            raise JournalBehindError(
                f"the console has event {welcome.acknowledged}, this appliance's journal ends at "
                f"{self.journal.last_event}: its disk was restored from an older copy; restore a newer one"
            )
        await self.journal.acknowledge(welcome.acknowledged)
        await asyncio.to_thread(self.identity.told, welcome.server_time)
        return welcome

    def _hello(self, known: Joined, offers: Offers, sealing_key: SealingKey | None) -> Hello:
        return Hello(
            protocol=PROTOCOL,
            software=gateway.__version__,
            boot_id=self.itself.boot_id,
            accounts=offers.accounts,
            targets=offers.targets,
            next_event=self.journal.last_event + 1,
            epoch=known.epoch,
            open_commands=self.journal.open_commands()[:MOST_OPEN],
            hardware=self.itself.hardware,
            trust_version=known.trust.version,
            sealing_key=sealing_key,
            policy=offers.policy,
            command_key=known.command_key,
            acknowledged=self.journal.acknowledged,
            halted=offers.halted,
        )

    async def _follow(self, welcome: Welcome, known: Joined) -> None:
        """Do as the console says. The epoch is kept last: cut before that, all of it is said and done again."""
        await self.journal.abandon(welcome.ended_commands)
        if welcome.epoch > known.epoch:
            log.warning(
                "this appliance was put back to an older state; it goes on behind what the console knows",
                epoch=welcome.epoch,
                dropped=len(welcome.ended_commands),
            )
            await self.journal.resume_after(welcome.acknowledged)
            await asyncio.to_thread(self.identity.in_epoch, welcome.epoch)


async def say(channel: Channel, message: FromAppliance) -> None:
    """Send one message."""
    await channel.send(message.model_dump_json())


async def _welcome(channel: Channel) -> Welcome:
    try:
        async with asyncio.timeout(WELCOME_LIMIT):
            welcome = from_console.validate_json(await channel.receive())
    except (ValidationError, TimeoutError) as fault:
        raise ConversationError("whoever answers does not welcome an appliance: is it a console?") from fault
    if not isinstance(welcome, Welcome) or not OLDEST_SPOKEN <= welcome.protocol <= PROTOCOL:
        raise ConversationError("the console speaks no protocol version that this appliance speaks: upgrade the older")
    return welcome
