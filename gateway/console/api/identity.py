"""This file is the routes of a gateway's identity: coming back without a certificate, and what people decide."""

from gateway.console.api import models, views
from gateway.console.api.models import Nothing
from gateway.console.api.routes import Call
from gateway.contract.identity import RecoveryChallenge, RecoveryFinish, RecoveryResult, RecoveryStart


async def start_recovery(call: Call[Nothing, Nothing, RecoveryStart]) -> RecoveryChallenge:
    """Answer the first question of a gateway that has lost its certificate."""
    return await call.rooms.recovery.start(call.body, address=call.address)


async def finish_recovery(call: Call[Nothing, Nothing, RecoveryFinish]) -> RecoveryResult:
    """Take a gateway back that has lost its certificate."""
    return await call.rooms.recovery.finish(call.body, address=call.address)


async def revoke(call: Call[models.OneGateway, Nothing, models.RevokeGateway]) -> models.GatewayView:
    """Take a gateway's identity away; what it has open is cut within seconds."""
    reason, author = call.body.reason, call.caller.user
    gateway = await call.rooms.rulings.revoke(call.scope, call.path.name, reason=reason, author=author)
    return views.gateway(gateway, now=call.rooms.clock.now())


async def release(call: Call[models.OneGateway, Nothing, Nothing]) -> models.GatewayView:
    """End a gateway's quarantine or pause: one machine is left, and it is the right one."""
    gateway = await call.rooms.rulings.release(call.scope, call.path.name, author=call.caller.user)
    return views.gateway(gateway, now=call.rooms.clock.now())


async def approve_recovery(call: Call[models.OneGateway, Nothing, Nothing]) -> models.GatewayView:
    """Let a gateway come back that has done so too often by itself."""
    gateway = await call.rooms.rulings.approve_recovery(call.scope, call.path.name, author=call.caller.user)
    return views.gateway(gateway, now=call.rooms.clock.now())
