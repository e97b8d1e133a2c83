"""This file is what counts as a console's address: https, a host, perhaps a port, and nothing else.

An API key goes to whatever the address names, so an address is refused rather than guessed at: over http the key
would be there for everybody to read, whatever pin was compared before.
"""

import re

from gateway.kit.errors import GatewayError, Remedy

SHAPE = re.compile(
    r"https://(?P<host>[A-Z0-9_][A-Z0-9_.-]{0,252}|\[[0-9A-F:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE | re.ASCII,
)


class AddressInvalidError(GatewayError):
    """This cannot be the address of a console."""

    code = "cli.address_invalid"
    remedy = Remedy.CALLER


def checked(text: str) -> str:
    """Return a console's address as https://HOST[:PORT]. Raises AddressInvalidError."""
    found = SHAPE.fullmatch(text.strip())
    if found is None or not 0 < int(found["port"] or 443) < 65536:
        raise AddressInvalidError(f"a console's address is https://HOST or https://HOST:PORT and no more{_why(text)}")
    port = f":{int(found['port'])}" if found["port"] else ""
    return f"https://{found['host'].lower()}{port}"


def _why(text: str) -> str:
    if text.strip().lower().startswith("http://"):
        return "; over http:// everybody on the way could read the API key"
    return "; the https:// is missing" if "://" not in text else ""
