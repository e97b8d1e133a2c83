"""This file is the routes with which people take gateways in: tokens that pair one anew, and fingerprints compared."""

from datetime import timedelta

from gateway.console.api import models, views
from gateway.console.api.models import Nothing
from gateway.console.api.routes import Call


async def make_repair_token(
    call: Call[models.OneGateway, Nothing, models.NewRepairToken],
) -> models.FreshRegistrationToken:
    """Make a registration token that pairs this gateway anew, in its place."""
    body, tokens = call.body, call.rooms.tokens
    life, author = timedelta(hours=body.hours), call.caller.user
    token, text = await tokens.repair(call.scope, call.path.name, life=life, author=author, confirm=body.confirm)
    shown = views.token(token, now=call.rooms.clock.now())
    return models.FreshRegistrationToken(**dict(shown), token=text)


async def confirm(call: Call[models.OneGateway, Nothing, models.WordsRead]) -> models.GatewayView:
    """Let a gateway work, whose fingerprint a person has read on the appliance."""
    said, author = call.body.words, call.caller.user
    gateway = await call.rooms.confirming.confirm(call.scope, call.path.name, said, author=author)
    return views.gateway(gateway, now=call.rooms.clock.now())
