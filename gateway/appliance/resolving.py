"""This file is how a target is found and dialled: resolved once, judged, and dialled at an address that was judged.

Judging and dialling are two steps: what is to be dialled is written down in between.

Name lookups block a thread each and are given few of their own: a name server that does not answer holds up other
lookups at worst, never the audit log, the journal or a target that is given by its address.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address

from gateway.appliance import reach
from gateway.appliance.reach import Address, AddressRefusedError, Network
from gateway.appliance.targets import Target
from gateway.kit.errors import GatewayError, Remedy

NOT_OURS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What the system says of an address that is not its own, or of a kind that it has none of."""
LOOKUPS = 16
"""Lookups under way at a time."""
MOST_TRIED = 6
"""Addresses of a target that are dialled; as many fit into one line of the audit log, which names them before."""


class TargetUnreachableError(GatewayError):
    """The target does not answer."""

    code = "stream.target_unreachable"
    remedy = Remedy.RETRY


def look_up(host: str) -> list[str]:
    """Return the addresses of a name, as the system's resolver gives them; blocks. OSError when there are none."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(_with_zone(one[4]) for one in found))


def is_own(address: Address) -> bool:
    """Tell whether an address is this machine's: only one of its own can be taken. Nothing is sent.

    Raises AddressRefusedError when the system does not tell, for instance because it has no file descriptor left.
    """
    # Where a packet to the address would come from is no sign: for all but an interface's first that is another.
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError as fault:
        if fault.errno in NOT_OURS:
            return False
        why = f"the system does not tell whether it is the appliance itself: {fault.strerror}"
        raise AddressRefusedError(str(address), why) from fault
    return True


@dataclass(frozen=True, slots=True)
class Dialled:
    """An open connection to a target, and the address it goes to."""

    connection: socket.socket
    address: Address


class Dialler:
    """Finds and dials targets; `close` it."""

    def __init__(
        self,
        *,
        look_up: Callable[[str], Sequence[str]] = look_up,
        deny: Collection[Network] = reach.DENY,
        own: Callable[[Address], bool] = is_own,
    ) -> None:
        self._look_up = look_up
        self._deny = deny
        self._own = own
        self._threads = ThreadPoolExecutor(max_workers=LOOKUPS, thread_name_prefix="look-up")

    def close(self) -> None:
        """Let go of the threads; a lookup under way is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def judge(self, target: Target, *, within: float) -> tuple[Address, ...]:
        """Return addresses of the target's that may be dialled, at most MOST_TRIED; all that it has were judged.

        Nothing is sent to them. Raises AddressRefusedError, or TargetUnreachableError, within `within` seconds.
        """
        try:
            async with asyncio.timeout(within):
                found = await self._addresses(target.host)
        except TimeoutError as fault:
            raise TargetUnreachableError(f"the target did not answer within {within:g} seconds") from fault
        return reach.judge(found, allow=target.networks, deny=self._deny, own=self._own)[:MOST_TRIED]

    async def connect(self, judged: Sequence[Address], port: int, *, within: float) -> Dialled:
        """Return a connection to one of the addresses, which were judged; the caller closes it.

        Each is tried in turn, for its share of the time. Raises TargetUnreachableError within `within` seconds.
        """
        faults: list[OSError] = []
        for address in judged:
            try:
                async with asyncio.timeout(within / len(judged)):
                    return Dialled(await _connected(address, port), address)
            except OSError as fault:  # TimeoutError is one
                faults.append(fault)
        said = " and ".join(dict.fromkeys(_in_words(fault) for fault in faults))
        raise TargetUnreachableError(f"the target cannot be reached: {said}") from faults[0]

    async def _addresses(self, host: str) -> Sequence[str]:
        with contextlib.suppress(ValueError):
            return [str(ip_address(host))]
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host)
        except (OSError, UnicodeError) as fault:
            raise TargetUnreachableError("the target's name cannot be resolved by the appliance") from fault


async def _connected(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(0)
        await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection


def _in_words(fault: OSError) -> str:
    """Return what the system says and no more: asyncio's own text names the address."""
    if isinstance(fault, TimeoutError) or fault.errno == errno.ETIMEDOUT:
        return "no answer"
    return os.strerror(fault.errno).lower() if fault.errno else "it failed"


def _with_zone(address: tuple[object, ...]) -> str:
    """Return an address as text, with its zone if it has one, so that the rules see it."""
    text = str(address[0])
    return f"{text}%{address[3]}" if len(address) == 4 and address[3] and "%" not in text else text
