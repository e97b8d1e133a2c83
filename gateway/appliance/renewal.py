"""This file is when and how a certificate is followed by the next, over the channel that the present one has opened.

::

    granted ── half of its life, by the console's time ── renew ──┬── renewed ── kept, one rename ── turned over
                                                           ^      ├── refused: later ─┐
                                                           └──────┴── no answer ──────┘   the same request again

What is turned over is used from the next call on; who has called before makes the next call before leaving the last.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.appliance.consoletime import ConsoleTime
from gateway.appliance.identity import GrantWrongError, Identity
from gateway.contract.identity import Renew, RenewalRefused, Renewed
from gateway.identity import joinstate
from gateway.kit.clock import Clock

log = structlog.get_logger(__name__)

HALF = 0.5
SPREAD = 0.1
"""By how much of its life the renewal of a certificate may come before or after the half of it."""
LOOK_EVERY = 3600.0
"""Seconds after which is looked again whether it is time, and the console's time is kept."""
ANSWER_LIMIT = 60.0
AGAIN_AFTER = 3 * 3600.0
"""Seconds after which is asked again when there was no answer or a refusal: well below what a console allows a day."""

Say = Callable[[Renew], Awaitable[None]]


def moment(not_before: datetime, not_after: datetime, *, spread: float) -> datetime:
    """Return when a certificate is to be renewed; `spread`, in [0, 1), says where in the time that there is for it."""
    return not_before + (not_after - not_before) * (HALF - SPREAD + 2 * SPREAD * spread)


def due(not_before: datetime, not_after: datetime, *, now: datetime, spread: float) -> bool:
    """Tell whether a certificate is to be renewed by now, by the console's time."""
    return now >= moment(not_before, not_after, spread=spread)


def spread_of(certificate: x509.Certificate) -> float:
    """Return a number in [0, 1) that is the same for one certificate at each start, and any for another."""
    return int.from_bytes(certificate.fingerprint(hashes.SHA256())[:6], "big") / 2**48


class Turnover:
    """Tells everybody who has called with the certificate that there is another one."""

    def __init__(self) -> None:
        self.number = 0
        self._turned = asyncio.Event()

    def turn(self) -> None:
        """The certificate in use is another one now."""
        self.number += 1
        self._turned.set()
        self._turned = asyncio.Event()

    async def after(self, number: int) -> None:
        """Wait until it is another certificate than the one in use when `number` was read."""
        while self.number == number:
            await self._turned.wait()


class Renewal:
    """Renews the certificate over one channel."""

    def __init__(self, identity: Identity, time: ConsoleTime, turnover: Turnover, *, clock: Clock) -> None:
        self._identity = identity
        self._time = time
        self._turnover = turnover
        self._clock = clock
        self._answer: asyncio.Future[Renewed | RenewalRefused] | None = None

    async def run(self, say: Say) -> None:
        """Ask for the next certificate when it is time. `say` sends to the console; this ends by cancellation only.

        Once there is another one this channel is about to be left, and asks for nothing more.
        """
        renewed = False
        while not renewed:
            wait = await asyncio.to_thread(self._look)
            if wait > 0:
                await self._clock.sleep(min(wait, LOOK_EVERY))
                continue
            renewed = await self._renewed(say)
            if not renewed:
                await self._clock.sleep(AGAIN_AFTER)
        await asyncio.Event().wait()

    def answered(self, answer: Renewed | RenewalRefused) -> None:
        """Take what the console answers; an answer that nobody waits for any more changes nothing."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _look(self) -> float:
        """Return in how many seconds the certificate is to be renewed, and keep what time it is at the console."""
        now = self._time.now()
        if now is None:
            return LOOK_EVERY
        self._identity.told(now)
        certificate = self._identity.certificate()
        life = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return (moment(*life, spread=spread_of(certificate)) - now) / timedelta(seconds=1)

    async def _renewed(self, say: Say) -> bool:
        renew = await asyncio.to_thread(self._question)
        self._answer = asyncio.get_running_loop().create_future()
        await say(renew)
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                answer = await self._answer
        except TimeoutError:
            log.warning("the console does not answer the request for the next certificate")
            return False
        return await self._taken(answer)

    def _question(self) -> Renew:
        request, join = self._identity.next_request(), self._identity.member().join
        proof = joinstate.prove(join, request.encode())
        return Renew(request=request, join_number=join.number, join_proof=proof)

    async def _taken(self, answer: Renewed | RenewalRefused) -> bool:
        if isinstance(answer, RenewalRefused):
            log.warning("the console renews no certificate", code=answer.problem.code, reason=answer.problem.message)
            return False
        try:
            joined = await asyncio.to_thread(self._identity.granted, answer.granted)
        except GrantWrongError as fault:
            log.warning("the console granted a certificate that is of no use", code=fault.code, reason=fault.message)
            return False
        log.info("certificate renewed", number=joined.join.number)
        self._turnover.turn()
        return True
