"""This file is what is seen of names, addresses and ports: the probes below TLS."""

import asyncio
import errno
import ipaddress
import socket
from dataclasses import dataclass

from gateway.appliance.doctor.verdicts import Knock, Knocked

DNS_LIMIT = 10.0
NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EACCES, errno.EPERM}
NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


@dataclass(frozen=True, slots=True)
class Looked:
    """What a name came to: addresses, or that there is no such name, or (neither) that nobody answered."""

    host: str
    addresses: tuple[str, ...] = ()
    unknown: bool = False


def is_literal(host: str) -> bool:
    """Tell whether a host is an address already."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def look_up(host: str, *, within: float = DNS_LIMIT) -> Looked:
    """Ask the name servers for every address of a host."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as fault:
        return Looked(host, unknown=fault.errno in NO_SUCH_NAME)
    except UnicodeError:
        return Looked(host, unknown=True)
    except TimeoutError:
        return Looked(host)
    return Looked(host, tuple(dict.fromkeys(str(one[4][0]) for one in found)))


async def knock(address: str, port: int, *, within: float, tunnel: bool = False) -> Knock:
    """Open a TCP connection to one address and close it again."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as tried:
        tried.settimeout(0)
        try:
            async with asyncio.timeout(within):
                await loop.sock_connect(tried, (address, port))
        except OSError as fault:  # TimeoutError is one
            return Knock(address, port, _answer(fault), tunnel)
    return Knock(address, port, Knocked.OPEN, tunnel)


def _answer(fault: OSError) -> Knocked:
    if isinstance(fault, ConnectionRefusedError | ConnectionResetError):
        return Knocked.REFUSED
    return Knocked.NO_ROUTE if fault.errno in NO_ROUTE else Knocked.SILENT
