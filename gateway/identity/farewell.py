"""This file is the last word of an appliance whose site ends the pairing, signed by its device key.

The device key ends with the pairing, so the word is true for as long as anybody can check it: it needs nothing fresh,
and who hears it twice hears nothing new.
"""

import base64
from uuid import UUID

from gateway.contract.messages import Leaving
from gateway.identity import keys
from gateway.identity.challenge import digest
from gateway.identity.devicekeys import DeviceKey

DOMAIN = b"private-cloud-gateway leaving 1"


def word(gateway: UUID, device: DeviceKey) -> Leaving:
    """Return the word that a gateway leaves; it takes as long as the device key takes to sign. Raises GatewayError."""
    return Leaving(signature=base64.b64encode(device.sign(_message(gateway))).decode())


def holds(said: Leaving, gateway: UUID, *, device_key: str) -> bool:
    """Tell whether it is the word of the gateway whose device key (PEM) that is. Raises KeyUnreadableError."""
    try:
        signature = base64.b64decode(said.signature or "", validate=True)
    except ValueError:
        return False
    return keys.signed(keys.read_public(device_key), signature, _message(gateway))


def _message(gateway: UUID) -> bytes:
    return digest([DOMAIN, gateway.bytes])
