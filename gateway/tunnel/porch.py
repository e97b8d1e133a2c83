"""This file is how many callers may be opening TLS at the console's tunnel port at a time.

TLS costs whoever answers more than whoever calls, and nobody has shown a certificate yet. So of one network only some
are let on, and in all no more than this end can bear; the rest is cut at once, and calls again.
"""

import ipaddress
from collections import Counter
from dataclasses import dataclass, field

MOST, MOST_EACH = 400, 100
"""Callers that open TLS at a time: in all, and of one IPv4 address or IPv6 /64."""


@dataclass(slots=True)
class Porch:
    """Who is opening TLS. This machine itself counts in all only: whom it carries in, somebody has let on before."""

    most: int = MOST
    most_each: int = MOST_EACH
    _opening: "Counter[str]" = field(default_factory=Counter)

    @property
    def opening(self) -> int:
        """How many are opening TLS."""
        return self._opening.total()

    def enters(self, address: str) -> bool:
        """Take note of a caller; False when there are enough."""
        network, local = _network(address)
        if self.opening >= self.most or (self._opening[network] >= self.most_each and not local):
            return False
        self._opening[network] += 1
        return True

    def leaves(self, address: str) -> None:
        """Take note that a caller has opened TLS, or will not."""
        self._opening[_network(address)[0]] -= 1
        self._opening += Counter()  # a network of which nobody is left is forgotten


def _network(address: str) -> tuple[str, bool]:
    """Return what stands for whoever has an address, and whether it is this machine."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address, False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((found, 64), strict=False)), found.is_loopback
    plain = found if isinstance(found, ipaddress.IPv4Address) else found.ipv4_mapped
    return str(plain), bool(plain and plain.is_loopback)
