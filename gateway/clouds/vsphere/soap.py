"""This file is the wire to vCenter: pyVmomi's messages over aiohttp, so that no call needs a thread.

pyVmomi writes the requests and reads the answers; only its transport is replaced. A method of a managed
object therefore returns an awaitable (`await machine.PowerOffVM_Task()`), and reading a property by
attribute is refused, because that would be one round trip each: properties are read in batches (reading.py).

The pieces of pyVmomi that this leans on (SerializeRequest, SoapResponseDeserializer, InvokeMethod) are not
promised by it, which is why its version is pinned; docs/decisions/0007-vsphere-transport.md weighs that.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from xml.parsers.expat import ExpatError

import aiohttp
from pyVmomi import vim
from pyVmomi.SoapAdapter import SoapResponseDeserializer, SoapStubAdapterBase

from gateway.clouds.port import CloudCertificateError, CloudUnreachableError
from gateway.clouds.vsphere.foreign import Method, Reference, Structure
from gateway.kit.errors import GatewayError

API_VERSION = "vim.version.v7_0"
"""The oldest vCenter we speak to; newer ones answer in the version they are asked in."""
SESSION_COOKIE = "vmware_soap_session"
LIMITS = aiohttp.ClientTimeout(total=120, sock_connect=10, sock_read=60)
CONNECTIONS = 16
LARGEST_ANSWER = 256 * 1024 * 1024
PARSE_IN_THREAD = 128 * 1024
"""Answers longer than this many bytes are parsed off the event loop: it takes about 1 ms per 10 kB."""

SignIn = Callable[[int], Awaitable[None]]
BEFORE_A_SESSION = frozenset({"RetrieveServiceContent", "Login"})


class LazyReadError(GatewayError):
    """A property of a vCenter object was read by attribute, which would block."""

    code = "vsphere.lazy_read"


class Wire(SoapStubAdapterBase):  # type: ignore[misc] # pyVmomi has no types
    """Carries pyVmomi's calls to one vCenter and keeps the session's cookie.

    `sessions` counts the sessions so far. `sign_in_again` is called with the number of the one that vCenter no
    longer knows; the call is then sent once more. vCenter refuses such a call before it does anything, so that
    is safe for every call.
    """

    def __init__(self, http: aiohttp.ClientSession, server: str) -> None:
        super().__init__(version=API_VERSION)
        self.requestContext: dict[str, str] = {}
        self.server = server
        self.cookie = ""
        self.sessions = 0
        self.sign_in_again: SignIn | None = None
        self._http = http

    def InvokeMethod(self, mo: Reference, info: Method, args: Structure) -> Awaitable[Any]:  # noqa: N802 - pyVmomi's name
        """Return the call as an awaitable; pyVmomi calls this for every method of a managed object."""
        return self._called(mo, info, args)

    def InvokeAccessor(self, mo: Reference, info: Method) -> Structure:  # noqa: N802 - pyVmomi's name
        """Refuse to read a property by attribute."""
        raise LazyReadError(f"{info.name} of {mo} was read by attribute: read it with reading.py, in a batch")

    async def _called(self, mo: Reference, info: Method, args: Structure) -> Structure:
        request = self.SerializeRequest(mo, info, args)
        session = self.sessions
        try:
            return await self._sent(request, info)
        except vim.fault.NotAuthenticated:
            if self.sign_in_again is None or info.wsdlName in BEFORE_A_SESSION:
                raise
        await self.sign_in_again(session)
        return await self._sent(request, info)

    async def _sent(self, request: bytes, info: Method) -> Structure:
        body = await self._answer(request)
        try:
            if len(body) > PARSE_IN_THREAD:
                answer = await asyncio.to_thread(self._parsed, body, info)
            else:
                answer = self._parsed(body, info)
        except (ExpatError, AttributeError, TypeError, KeyError, ValueError) as fault:
            raise CloudUnreachableError(
                f"{self.server} answers with something that is not the vSphere API: is it a vCenter?",
                server=self.server,
                method=info.wsdlName,
            ) from fault
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _parsed(self, body: bytes, info: Method) -> Structure:
        return SoapResponseDeserializer(self).Deserialize(body, info.result)

    async def _answer(self, request: bytes) -> bytes:
        """Send one request and return the body of the answer, a result or a fault."""
        headers = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": self.versionId}
        if self.cookie:
            headers["Cookie"] = self.cookie
        try:
            async with self._http.post(f"https://{self.server}/sdk", data=request, headers=headers) as response:
                body = await self._body(response)
                if response.status not in {HTTPStatus.OK, HTTPStatus.INTERNAL_SERVER_ERROR}:
                    raise CloudUnreachableError(
                        f"{self.server} answers {response.status} {response.reason}: it is busy, starting, "
                        "or not a vCenter",
                        server=self.server,
                        status=response.status,
                    )
                self._keep_cookie(response)
                return body
        except (aiohttp.ClientError, ssl.SSLError, OSError, TimeoutError) as fault:
            raise transport_error(fault, server=self.server) from fault

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        pieces = bytearray()
        async for piece in response.content.iter_any():
            pieces += piece
            if len(pieces) > LARGEST_ANSWER:
                raise CloudUnreachableError(f"{self.server} sends an answer without end", server=self.server)
        return bytes(pieces)

    def _keep_cookie(self, response: aiohttp.ClientResponse) -> None:
        """Keep the session's cookie as it was written: vCenter quotes its value and wants the quotes back."""
        for line in response.headers.getall("Set-Cookie", []):
            pair = line.partition(";")[0].strip()
            if pair.startswith(f"{SESSION_COOKIE}="):
                self.cookie = pair


def transport_error(fault: Exception, *, server: str) -> GatewayError:
    """Return what a failure below SOAP means, in our words."""
    match fault:
        case aiohttp.ServerFingerprintMismatch():
            shown = fault.got.hex(":").upper()
            return CloudCertificateError(
                f"{server} shows the certificate {shown}, not the one the account trusts: if that is right, "
                "store the account again with this thumbprint",
                server=server,
                shown=shown,
            )
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return CloudCertificateError(
                f"the certificate of {server} is not trusted here: store the account with its thumbprint "
                f"(openssl s_client -connect {server} </dev/null | openssl x509 -noout -fingerprint -sha256), "
                "or add its authority to this machine's trust store",
                server=server,
            )
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return CloudUnreachableError(f"{server} does not speak TLS: is it a vCenter?", server=server)
        case TimeoutError():
            return CloudUnreachableError(f"{server} does not answer in time", server=server)
        case aiohttp.ClientConnectorError():
            return CloudUnreachableError(f"cannot connect to {server}: {fault.os_error.strerror}", server=server)
        case _:
            return CloudUnreachableError(f"the connection to {server} broke: {type(fault).__name__}", server=server)
