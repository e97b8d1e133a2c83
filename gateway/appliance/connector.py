"""This file is what aiohttp opens connections with when they have to take a road of ours.

aiohttp knows HTTP proxies of its own, but neither SOCKS nor a connection inside a WebSocket, and would connect itself.
"""

import asyncio
import errno
import hashlib
import socket
import ssl
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from cryptography import x509
from cryptography.hazmat.primitives import serialization

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
        self.key_seen: str | None = None
        """SHA-256 of the last server's SubjectPublicKeyInfo, hexadecimal; inside another TLS, that of the inner one."""
        self.only_key: str | None = None
        """Once set, whoever shows another key is hung up on: the second question goes to who answered the first."""

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
        certificate = shown.getpeercert(binary_form=True) if shown is not None else None
        self.issuer_seen, self.key_seen = _issuer(certificate), _key(certificate)
        if self.only_key is not None and self.key_seen != self.only_key:
            made[0].abort()
            changed = OSError(errno.EPROTO, "the server shows another key than a moment ago")
            raise client_error(req.connection_key, changed)
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


def _key(certificate: bytes | None) -> str | None:
    try:
        public = x509.load_der_x509_certificate(certificate or b"").public_key()
    except ValueError:
        return None
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()
