"""This file is what the API says of the console's authority, to anybody: whom to trust, and how that came about."""

from aiohttp import web

from gateway.console.api.models import Nothing
from gateway.console.api.routes import Call
from gateway.contract.trust import Successions


async def authority(call: Call[Nothing, Nothing, Nothing]) -> web.Response:
    """Hand out the certificate authority in PEM; who has a pin of it compares."""
    return web.Response(text=call.rooms.authority.root, content_type="application/x-pem-file")


async def successions(call: Call[Nothing, Nothing, Nothing]) -> Successions:
    """Hand out how one root has followed another, for appliances that have missed it."""
    return call.rooms.authority.successions
