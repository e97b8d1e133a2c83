"""This file is how a gateway's message is read at the door: strictly, bounded, and cleaned before anything sees it."""

from typing import cast

from pydantic import JsonValue, ValidationError

from gateway.console import hygiene
from gateway.console.admission import SessionRefusedError
from gateway.contract.messages import MESSAGE_LIMIT, FromAppliance, Hello, from_appliance
from gateway.contract.version import OLDEST_SPOKEN, PROTOCOL
from gateway.kit.errors import GatewayError
from gateway.kit.strictjson import NotStrictJsonError, parse_strict_json

DEPTH = 24
"""Objects and lists that may be open at once: more than any message has."""


class PeerBrokeProtocolError(GatewayError):
    """The appliance said something that has no place there."""

    code = "relay.protocol_broken"


class ProtocolTooOldError(SessionRefusedError):
    """The appliance speaks only versions of the protocol that this console no longer does."""

    code = "relay.protocol_too_old"


def agreed(hello: Hello) -> int:
    """Return the version that both speak. Raises ProtocolTooOldError."""
    protocol = min(hello.protocol, PROTOCOL)
    if protocol < OLDEST_SPOKEN:
        raise ProtocolTooOldError(
            f"the appliance speaks protocol {hello.protocol} and the console {OLDEST_SPOKEN} or newer: "
            "update the appliance"
        )
    return protocol


def parsed(text: str) -> FromAppliance:
    """Return what a message says. Raises PeerBrokeProtocolError."""
    try:
        document = parse_strict_json(text.encode(), limit=MESSAGE_LIMIT, depth=DEPTH)
        return from_appliance.validate_python(hygiene.cleaned(cast("JsonValue", document)))
    except ValidationError as fault:
        kinds = ", ".join(sorted({f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in fault.errors()}))
        raise PeerBrokeProtocolError(f"a message cannot be understood ({kinds[:500]})") from None
    except (NotStrictJsonError, UnicodeEncodeError):
        raise PeerBrokeProtocolError("a message cannot be understood: it is no JSON that can be read one way") from None
