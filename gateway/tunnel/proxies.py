"""This file is the roads through a company's proxy: HTTP CONNECT (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928, 1929).

A proxy is not trusted: what it says is bounded in size and time, is asked once and never followed. Its credentials go
to it and nowhere else.
"""

import asyncio
import base64
import re
import socket
from dataclasses import dataclass, field
from typing import Literal

import h11
import python_socks
from python_socks.async_.asyncio import Proxy

from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.answers import retry_after
from gateway.tunnel.roads import DialError, Direct, Road

ANSWER_LIMIT = 20.0
HEADER_LIMIT = 16 * 1024
TALK_LIMIT = 64 * 1024
"""Bytes of everything a proxy may say before it connects, interim answers included."""
NOT_KNOWN = ("Unexpected SOCKS authentication", "No acceptable authentication", "Username and password")
"""How the SOCKS library begins to say that a proxy wants credentials, or others: it has no code for that."""
SHAPE = re.compile(r"(http|socks5)://([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})/?", re.ASCII)


class ProxyError(DialError):
    """The proxy does not lead to the console."""

    code = "tunnel.proxy"


class ProxySettingError(GatewayError):
    """The setting of the proxy, or of its credentials, is wrong."""

    code = "tunnel.proxy_setting"
    remedy = Remedy.OPERATOR


class ProxyUnreachableError(ProxyError):
    """The proxy itself cannot be reached."""

    code = "tunnel.proxy_unreachable"


class ProxyAuthenticationError(ProxyError):
    """The proxy wants credentials, or others."""

    code = "tunnel.proxy_authentication"
    remedy = Remedy.OPERATOR


class ProxyRefusedError(ProxyError):
    """The proxy's rules do not allow the connection."""

    code = "tunnel.proxy_refused"
    remedy = Remedy.OPERATOR


class ProxyFailedError(ProxyError):
    """The proxy could not reach the console, or is too busy."""

    code = "tunnel.proxy_failed"


class ProxyBrokenError(ProxyError):
    """What answers at the proxy's address does not behave as a proxy."""

    code = "tunnel.proxy_broken"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password that nothing shows."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    @classmethod
    def parse(cls, line: str) -> "Credentials":
        """Parse user:password, one line. Raises ProxySettingError, which does not say what was there."""
        user, colon, password = line.partition(":")
        if not colon or not user or not password or not line.isprintable():
            raise ProxySettingError("the proxy's credentials file holds something else than one line user:password")
        return cls(user, password)


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """Where a proxy is, what it speaks, and who we are to it."""

    kind: Literal["http", "socks5"]
    host: str
    port: int
    credentials: Credentials | None = None

    @classmethod
    def parse(cls, text: str, credentials: Credentials | None = None) -> "ProxyAddress":
        """Parse http://HOST:PORT or socks5://HOST:PORT. Raises ProxySettingError."""
        if "@" in text:
            raise ProxySettingError(
                "credentials do not belong into the proxy's address, where others can read them: write "
                "user:password into a file and name it in proxy_credentials_file"
            )
        found = SHAPE.fullmatch(text.strip())
        if found is None or not 0 < int(found[3]) < 65536:
            raise ProxySettingError("a proxy's address is http://HOST:PORT or socks5://HOST:PORT and no more")
        kind: Literal["http", "socks5"] = "http" if found[1] == "http" else "socks5"
        if kind == "socks5" and credentials is not None:
            _fit_for_socks(credentials)
        return cls(kind, found[2].strip("[]").lower(), int(found[3]), credentials)

    def __str__(self) -> str:
        return f"{self.kind}://{authority(self.host, self.port)}"


def authority(host: str, port: int) -> str:
    """Return host:port as URLs and CONNECT write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def through(address: ProxyAddress) -> Road:
    """Return the road through that proxy."""
    return HttpProxy(address) if address.kind == "http" else Socks5(address)


@dataclass(frozen=True, slots=True)
class HttpProxy:
    """Through a proxy that is asked to CONNECT, once."""

    address: ProxyAddress
    limit: float = ANSWER_LIMIT
    road: Road = field(default_factory=Direct)

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a socket connected to host and port. Raises a ProxyError."""
        connected = await _reached(self.address, self.road)
        try:
            async with asyncio.timeout(self.limit):
                await self._ask(connected, authority(host, port))
        except BaseException as fault:
            connected.close()
            if isinstance(fault, OSError):
                raise _silent(self.address, fault, limit=self.limit) from fault
            raise
        return connected

    async def _ask(self, connected: socket.socket, target: str) -> None:
        loop = asyncio.get_running_loop()
        talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_LIMIT)
        request = h11.Request(method="CONNECT", target=target, headers=self._headers(target))
        await loop.sock_sendall(connected, talk.send(request) or b"")
        talk.send(h11.EndOfMessage())
        answer = await self._answer(connected, talk)
        if not 200 <= answer.status_code < 300:
            raise self._refusal(answer, target)
        if talk.trailing_data[0]:
            # In TLS it is us who speak first: what comes now is from the proxy itself.
            raise ProxyBrokenError(f"the proxy {self.address} says it is connected and then goes on in plain HTTP")

    def _headers(self, target: str) -> list[tuple[str, str]]:
        headers = [("Host", target), ("User-Agent", "private-cloud-gateway")]
        if self.address.credentials is not None:
            both = f"{self.address.credentials.user}:{self.address.credentials.password}".encode()
            headers.append(("Proxy-Authorization", f"Basic {base64.b64encode(both).decode()}"))
        return headers

    async def _answer(self, connected: socket.socket, talk: h11.Connection) -> h11.Response:
        loop, taken = asyncio.get_running_loop(), 0
        while taken < TALK_LIMIT:
            try:
                event = talk.next_event()
            except h11.RemoteProtocolError as fault:
                raise ProxyBrokenError(f"the proxy {self.address} does not answer as HTTP would have it") from fault
            if isinstance(event, h11.Response):
                return event
            if event is h11.NEED_DATA:
                piece = await loop.sock_recv(connected, 4096)
                if not taken and not piece.startswith(b"HTTP/"[: len(piece)]):
                    raise ProxyBrokenError(f"what answers at {self.address} does not speak HTTP")
                taken += len(piece)
                talk.receive_data(piece)
        raise ProxyBrokenError(f"the proxy {self.address} says more than {TALK_LIMIT} bytes and no answer")

    def _refusal(self, answer: h11.Response, target: str) -> ProxyError:
        status = answer.status_code
        said = f"{status} {_plain(answer.reason)}".strip()
        if status == 407:
            return self._not_known(answer)
        if status >= 500 or status == 429:
            message = f"the proxy {self.address} cannot connect to {target}: {said}; look at its log"
            return ProxyFailedError(message, status=status, retry_after=retry_after(_header(answer, b"retry-after")))
        if status < 400:
            message = f"the proxy {self.address} sends us elsewhere ({said}): sign in at its page, or ask who runs it"
            return ProxyRefusedError(message, status=status)
        message = f"the proxy {self.address} refuses a connection to {target}: {said}; have it allowed"
        return ProxyRefusedError(message, status=status)

    def _not_known(self, answer: h11.Response) -> ProxyAuthenticationError:
        schemes = _schemes(answer)
        wanted = f" (it takes {', '.join(schemes)})" if schemes else ""
        if schemes and "basic" not in {one.lower() for one in schemes}:
            way = "only Basic is spoken here: have the proxy take it, or let this machine through without"
        elif self.address.credentials is None:
            way = "write user:password into a file and name it in proxy_credentials_file"
        else:
            way = "user or password is wrong: it was tried once, so that no account is locked"
        return ProxyAuthenticationError(f"the proxy {self.address} wants credentials{wanted}: {way}", status=407)


@dataclass(frozen=True, slots=True)
class Socks5:
    """Through a SOCKS5 proxy, which also resolves the name."""

    address: ProxyAddress
    limit: float = ANSWER_LIMIT
    road: Road = field(default_factory=Direct)

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a socket connected to host and port. Raises a ProxyError."""
        credentials = self.address.credentials
        proxy = Proxy(
            python_socks.ProxyType.SOCKS5,
            self.address.host,
            self.address.port,
            username=credentials.user if credentials else None,
            password=credentials.password if credentials else None,
            rdns=True,
            forward=_Reached(self.address, self.road),  # type: ignore[arg-type] # of it only connect is asked
        )
        try:
            async with asyncio.timeout(self.limit):
                return await proxy.connect(host, port, timeout=2 * self.limit)
        except python_socks.ProxyError as fault:
            raise self._refusal(fault, authority(host, port)) from fault
        except OSError as fault:
            raise _silent(self.address, fault, limit=self.limit) from fault
        except ValueError as fault:
            raise ProxyBrokenError(f"the proxy {self.address} does not answer as SOCKS5 would have it") from fault

    def _refusal(self, fault: python_socks.ProxyError, target: str) -> ProxyError:
        said = _plain(str(fault).encode())
        match fault.error_code:
            case None if said.startswith(NOT_KNOWN):
                known = self.address.credentials is not None
                way = "user or password is wrong" if known else "name a file of user:password in proxy_credentials_file"
                return ProxyAuthenticationError(f"the proxy {self.address} wants credentials: {way}")
            case None | 7 | 8:
                message = f"the proxy {self.address} does not answer as SOCKS5 would have it: {said}"
                return ProxyBrokenError(message)
            case 2:
                return ProxyRefusedError(f"the proxy {self.address} refuses a connection to {target}: have it allowed")
            case _:
                return ProxyFailedError(f"the proxy {self.address} cannot connect to {target}: {said}")


@dataclass(frozen=True, slots=True)
class _Reached:
    """Lets the SOCKS library reach the proxy as we reach everything: all its addresses, our socket options."""

    address: ProxyAddress
    road: Road

    async def connect(self, **_destination: object) -> socket.socket:
        return await _reached(self.address, self.road)


async def _reached(address: ProxyAddress, road: Road) -> socket.socket:
    try:
        return await road.connect(address.host, address.port)
    except DialError as fault:
        raise ProxyUnreachableError(f"the proxy {address} cannot be reached: {fault.message}") from fault


def _silent(address: ProxyAddress, fault: OSError, *, limit: float) -> ProxyBrokenError:
    if isinstance(fault, TimeoutError):
        return ProxyBrokenError(f"the proxy {address} does not answer within {limit:.0f} seconds: is it a proxy?")
    return ProxyBrokenError(f"the proxy {address} breaks the connection off: {fault.strerror or fault}")


def _fit_for_socks(credentials: Credentials) -> None:
    for one in (credentials.user, credentials.password):
        if not one.isascii() or len(one) > 255:
            raise ProxySettingError("user and password of a SOCKS5 proxy are ASCII, 255 characters at most")


def _header(answer: h11.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for found, value in answer.headers if found == name), None)


def _schemes(answer: h11.Response) -> list[str]:
    """Return the authentication schemes a 407 offers; anything that is no token is left out."""
    offered = (value.decode("latin-1").split() for name, value in answer.headers if name == b"proxy-authenticate")
    return [words[0] for words in offered if words and re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,31}", words[0])][:5]


def _plain(said: bytes) -> str:
    """Return what a proxy says for people, with nothing in it that would play with a terminal."""
    return "".join(letter if 32 <= ord(letter) < 127 else "?" for letter in said.decode("latin-1"))[:100]
