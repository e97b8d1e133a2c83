"""This file is a signed-in connection to a vCenter: who opens it signs out by leaving it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import structlog
from pyVmomi import vim, vmodl

from gateway.clouds.accounts import CloudAccount
from gateway.clouds.port import CloudSignInError
from gateway.clouds.vsphere import faults
from gateway.clouds.vsphere.foreign import Reference, Structure
from gateway.clouds.vsphere.soap import CONNECTIONS, LIMITS, Wire
from gateway.clouds.vsphere.watching import Watch
from gateway.kit.clock import Clock
from gateway.kit.connector import Connector
from gateway.kit.errors import GatewayError
from gateway.kit.supervise import running

USER_AGENT = "private-cloud-gateway"
LOCALE = "en"
"""vCenter words its faults in the session's language; ours are English."""
SIGN_OUT_LIMIT = 5.0

log = structlog.get_logger(__name__)


class Session:
    """Signs in, signs in again when vCenter has ended the session, and out."""

    def __init__(self, wire: Wire, account: CloudAccount) -> None:
        self._wire = wire
        self._account = account
        self._one_at_a_time = asyncio.Lock()
        self._refused = False
        self._content: Any = None

    @property
    def content(self) -> Structure:
        """The entry points of vCenter; only after `sign_in`."""
        return self._content

    async def sign_in(self) -> None:
        """Sign in once. Raises CloudSignInError, CloudCertificateError or CloudUnreachableError.

        A refused password is never sent again: vCenter locks accounts after a few wrong ones.
        """
        if self._refused:
            raise CloudSignInError("vCenter has refused the user or the password before: store the account again")
        self._wire.cookie = ""
        try:
            if self._content is None:
                self._content = await vim.ServiceInstance("ServiceInstance", self._wire).RetrieveServiceContent()
            await self._content.sessionManager.Login(
                userName=self._account.user, password=self._account.password.get_secret_value(), locale=LOCALE
            )
        except vmodl.MethodFault as fault:
            error = faults.error_of(fault)
            self._refused = isinstance(error, CloudSignInError)
            raise error from fault
        self._wire.sessions += 1

    async def sign_in_again(self, session: int) -> None:
        """Sign in again unless somebody else has done so since `session` was the current one."""
        async with self._one_at_a_time:
            if self._wire.sessions == session:
                log.info("session ended by vcenter, signing in again", server=self._account.server)
                await self.sign_in()

    async def sign_out(self) -> None:
        """End the session in vCenter; an unreachable one ends it by itself after its idle time."""
        self._wire.sign_in_again = None
        try:
            async with asyncio.timeout(SIGN_OUT_LIMIT):
                await self._content.sessionManager.Logout()
        except (GatewayError, vmodl.MethodFault, TimeoutError) as fault:
            log.info("could not sign out of vcenter", server=self._account.server, error=type(fault).__name__)


class Connection:
    """What the adapter's parts share: entry points, the wire and the watch."""

    def __init__(self, session: Session, wire: Wire, watch: Watch) -> None:
        self._session = session
        self.wire = wire
        self.watch = watch

    @property
    def content(self) -> Structure:
        """vCenter's entry points."""
        return self._session.content

    @property
    def collector(self) -> Reference:
        """What properties are read with."""
        return self._session.content.propertyCollector


@asynccontextmanager
async def signed_in(account: CloudAccount, *, clock: Clock) -> AsyncIterator[Connection]:
    """Sign in to the account's vCenter, sign out on leaving."""
    async with aiohttp.ClientSession(
        connector=Connector(_fingerprint(account.thumbprint), limit=CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=LIMITS,
        headers={"User-Agent": USER_AGENT},
    ) as http:
        wire = Wire(http, account.server)
        session = Session(wire, account)
        await session.sign_in()
        try:
            wire.sign_in_again = session.sign_in_again
            watch = Watch(session.content.propertyCollector, clock=clock)
            async with running(watch=watch.run()):
                yield Connection(session, wire, watch)
        finally:
            await session.sign_out()


def _fingerprint(thumbprint: str | None) -> aiohttp.Fingerprint | None:
    """Return what the certificate is checked with: exactly this one, or the machine's trust store."""
    return aiohttp.Fingerprint(bytes.fromhex(thumbprint.replace(":", ""))) if thumbprint else None
