"""This file is who may come in at the tunnel's port: the gateway that a client certificate names, and nobody else.

Whatever a caller says of itself, in its address or in a message, counts for nothing here.
"""

from gateway.console.records import Gateway
from gateway.console.store import doors, gateways
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
from gateway.identity.authority import RequestRefusedError, gateway_of
from gateway.kit.errors import GatewayError, Remedy


class SessionRefusedError(GatewayError):
    """The gateway may not connect."""

    code = "relay.refused"
    remedy = Remedy.OPERATOR


async def gateway_behind(store: Store, certificate: bytes) -> Gateway:
    """Return the gateway whose current certificate (DER, its chain verified by TLS) this is.

    Raises SessionRefusedError when it names none, one that was removed, or is not the gateway's current one.
    """
    try:
        gateway_id, serial = gateway_of(certificate)
    except (RequestRefusedError, ValueError) as fault:
        raise SessionRefusedError("the client certificate names no gateway") from fault
    tenant = await doors.tenant_of_gateway(store, gateway_id)
    if tenant is None:
        raise SessionRefusedError("the gateway was removed from the console: pair it again with a new token")
    async with store.reading(Scope(tenant)) as rows:
        gateway = await gateways.by_id(rows, gateway_id)
    if gateway.certificate_serial != serial:
        raise SessionRefusedError(
            "the client certificate is not the gateway's current one: remove the gateway and pair it again"
        )
    return gateway
