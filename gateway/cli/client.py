"""This file is the console as the command line sees it: its HTTP API, and its events as they happen."""

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar
from uuid import UUID

import aiohttp
from pydantic import BaseModel, ValidationError

from gateway.cli.arguments import path
from gateway.cli.exits import AnsweredError
from gateway.cli.session import Session, SessionUnreadableError
from gateway.cli.stream import Events, NotAConsoleError
from gateway.console.api.models import WatchedEvent
from gateway.contract.problems import Problem
from gateway.identity import tls
from gateway.identity.pinned import ConsoleUnreachableError
from gateway.kit import moments
from gateway.kit.answers import read_whole
from gateway.kit.backoff import Backoff
from gateway.kit.clock import SystemClock
from gateway.kit.connector import Connector
from gateway.kit.errors import GatewayError, Remedy

PATIENCE = aiohttp.ClientTimeout(total=60, connect=15)
WATCH_PATIENCE = aiohttp.ClientTimeout(total=None, connect=15, sock_read=60)
OTHER_HOST = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h."""
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 60
ANSWER_LIMIT = 16 * 1024 * 1024
Answer = TypeVar("Answer", bound=BaseModel)


NOT_YET, NO_LONGER = 9, 10
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of the same."""


class CertificateOutOfTimeError(GatewayError):
    """By this machine's clock the console's certificate has not begun, or has ended."""

    code = "cli.certificate_out_of_time"
    remedy = Remedy.OPERATOR


class ConsoleNotTrustedError(GatewayError):
    """The certificate is not of the console one signed in to."""

    code = "cli.console_not_trusted"
    remedy = Remedy.OPERATOR


class Client:
    """One signed-in conversation with a console."""

    def __init__(self, http: aiohttp.ClientSession, *, url: str, project: str) -> None:
        self._http = http
        self._url = url
        self.project = project

    @classmethod
    @asynccontextmanager
    async def open(cls, session: Session) -> AsyncIterator["Client"]:
        """Open a client for a session."""
        try:
            trust = tls.client(session.trust)
        except (ValueError, ssl.SSLError) as fault:
            raise SessionUnreadableError("the session's authority is damaged: run `pcg login` again") from fault
        headers = {"Authorization": f"Bearer {session.key.get_secret_value()}"}
        connector = Connector(trust)
        async with aiohttp.ClientSession(session.url, headers=headers, connector=connector, timeout=PATIENCE) as http:
            yield cls(http, url=session.url, project=session.project)

    async def ask(self, method: str, where: str, answer: type[Answer], *, body: BaseModel | None = None) -> Answer:
        """Send a request below /api/v1 and return its answer.

        Raises AnsweredError (the console says no), ConsoleUnreachableError or NotAConsoleError.
        """
        text = await self._send(method, where, body)
        try:
            return answer.model_validate_json(text)
        except ValidationError as fault:
            raise NotAConsoleError("the answer cannot be read: is this a console of the same version?") from fault

    async def tell(self, method: str, where: str) -> None:
        """Send a request that has no answer. Raises as `ask` does."""
        await self._send(method, where, None)

    async def watch(
        self, *, cluster: str | None = None, command: UUID | None = None, after: int = 0
    ) -> AsyncGenerator[WatchedEvent | ConsoleUnreachableError, None]:
        """Yield events as they happen, for ever, over cuts and restarts of the console, none twice, none left out.

        While the console does not answer or cannot now, yields the error each time it has been tried again in vain.
        Raises AnsweredError (the console says no), ConsoleNotTrustedError, CertificateOutOfTimeError or
        NotAConsoleError.
        """
        backoff = Backoff(random.random, first=1.0, cap=5.0)
        while True:
            at_least = 0.0
            try:
                async with aclosing(self._watch_once(cluster, command, after)) as events:
                    async for event in events:
                        if event.position > after:
                            after, backoff.failures = event.position, 0
                            yield event
            except _CannotNowError as fault:
                at_least = fault.retry_after
                yield ConsoleUnreachableError(f"the console cannot answer now ({fault.status})")
            except aiohttp.ClientConnectorCertificateError as fault:
                raise self._not_trusted(fault) from fault
            except (aiohttp.ClientError, TimeoutError, OSError) as fault:
                yield ConsoleUnreachableError(f"the console does not answer: {str(fault) or type(fault).__name__}")
            await asyncio.sleep(max(at_least, FIRST_PAUSE + backoff.next_delay()))

    async def _watch_once(
        self, cluster: str | None, command: UUID | None, after: int
    ) -> AsyncGenerator[WatchedEvent, None]:
        query = {"after": str(after), "cluster": cluster or "", "command": str(command or "")}
        where = "/api/v1" + path("projects", self.project, "events")
        chosen = {name: value for name, value in query.items() if value}
        async with self._http.get(where, params=chosen, timeout=WATCH_PATIENCE, allow_redirects=False) as response:
            if response.status >= 500 or response.status == 429:
                raise _CannotNowError(response.status, retry_after(response.headers.get("Retry-After", "")))
            if response.status != 200:
                text = (await read_whole(response, limit=ANSWER_LIMIT)).decode(errors="replace")
                raise AnsweredError(_problem(text, response.status))
            events = Events()
            async for piece in response.content.iter_any():
                for whole in events.take(piece):
                    yield _event(whole)

    async def _send(self, method: str, where: str, body: BaseModel | None) -> str:
        document = None if body is None else body.model_dump(mode="json")
        try:
            async with self._http.request(method, f"/api/v1{where}", json=document, allow_redirects=False) as response:
                text = (await read_whole(response, limit=ANSWER_LIMIT)).decode(errors="replace")
        except aiohttp.ClientConnectorCertificateError as fault:
            raise self._not_trusted(fault) from fault
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise ConsoleUnreachableError(
                f"the console at {self._url} does not answer: {str(fault) or type(fault).__name__}"
            ) from fault
        if response.status >= 300:
            raise AnsweredError(_problem(text, response.status))
        return text

    def _not_trusted(self, fault: aiohttp.ClientConnectorCertificateError) -> GatewayError:
        shown = fault.certificate_error
        code = shown.verify_code if isinstance(shown, ssl.SSLCertVerificationError) else None
        if code in {NOT_YET, NO_LONGER}:
            now, state = moments.minute(SystemClock().now()), "has not begun yet" if code == NOT_YET else "has ended"
            return CertificateOutOfTimeError(
                f"by this machine's clock ({now}) the certificate of {self._url} {state}: set the clock right; if it "
                "is right, look at the console's own clock, and at `pcg console ca status` there"
            )
        if code in OTHER_HOST:
            return ConsoleNotTrustedError(
                f"the certificate of {self._url} is not for that host: use a name that the console was started with "
                "(`pcg console run --hosts`), or have this one added there"
            )
        return ConsoleNotTrustedError(
            f"{self._url} shows a certificate that is not of the console you signed in to: "
            "run `pcg login` again and compare the pin"
        )


class _CannotNowError(Exception):
    """The console, or a proxy before it, asks to be asked later."""

    def __init__(self, status: int, retry_after: float) -> None:
        super().__init__(status)
        self.status = status
        self.retry_after = retry_after


def retry_after(said: str) -> float:
    """Return the seconds of a header Retry-After, within reason; 0 without it. A date is not understood."""
    return float(min(int(said), LONGEST_PAUSE)) if said.isdecimal() and said.isascii() and len(said) < 10 else 0.0


def _event(whole: bytes) -> WatchedEvent:
    try:
        return WatchedEvent.model_validate_json(whole)
    except ValidationError as fault:
        raise NotAConsoleError("an event cannot be read: is this a console of the same version?") from fault


def _problem(text: str, status: int) -> Problem:
    try:
        return Problem.model_validate_json(text)
    except ValidationError as fault:
        raise NotAConsoleError(f"the answer ({status}) is not a console's: look at the address or a proxy") from fault
