"""This file is what aiohttp opens connections with when they have to take a road of ours.

aiohttp knows HTTP proxies of its own, but neither SOCKS nor a connection inside a WebSocket, and would connect itself.
"""

import asyncio
import errno
import socket
import ssl
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from cryptography import x509

from gateway.kit.connector import Connector
from gateway.tunnel.proxies import ProxyError
from gateway.tunnel.roads import DialError, Road


class RoadConnector(Connector):
    """A Connector whose connections take `road`. A ProxyError comes out of a request as it is."""

    def __init__(self, trust: ssl.SSLContext, road: Road) -> None:
        super().__init__(trust)
        self._resolver = _Unresolved()
        self._road = road
        self.issuer_seen = "nobody"
        """Who issued the last certificate that was shown, for people."""

    async def _wrap_create_connection(
        self,
        *args: Any,  # noqa: ANN401 - aiohttp's own
        addr_infos: object,  # noqa: ARG002 - the road finds them itself
        req: aiohttp.ClientRequest,
        timeout: aiohttp.ClientTimeout,
        client_error: type[Exception] = aiohttp.ClientConnectorError,
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        try:
            connected = await self._road.connect(req.url.host or "", req.url.port or 443)
        except ProxyError:
            raise
        except DialError as fault:
            raise client_error(req.connection_key, OSError(errno.EHOSTUNREACH, fault.message)) from fault
        made = await self._wrap_existing_connection(
            *args, req=req, timeout=timeout, client_error=client_error, sock=self._adopted(connected), **kwargs
        )
        shown: ssl.SSLObject | None = made[0].get_extra_info("ssl_object")
        self.issuer_seen = _issuer(shown.getpeercert(binary_form=True)) if shown is not None else "nobody"
        return made


class _Unresolved(AbstractResolver):
    """Leaves names as they are: whoever is at the end of the road knows them, this machine perhaps not."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="0.0.0.0", port=port, family=family, proto=0, flags=0)]  # noqa: S104

    async def close(self) -> None:
        """Nothing is open."""


def _issuer(certificate: bytes | None) -> str:
    try:
        name = x509.load_der_x509_certificate(certificate or b"").issuer.rfc4514_string()
    except ValueError:
        return "nobody"
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:200]
