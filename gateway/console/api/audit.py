"""This file is the routes of the audit log as evidence."""

from gateway.console.api.auditmodels import AuditLine, AuditPage, AuditRoots, ListLines, RootView
from gateway.console.api.models import Nothing
from gateway.console.api.routes import Call
from gateway.console.store import audit


async def sign(call: Call[Nothing, Nothing, Nothing]) -> AuditRoots:
    """Sign the audit log as it stands, unless nothing was written since, and return all its roots."""
    tenant = call.caller.tenant
    found = await call.rooms.notary.sign(tenant, "export")
    shown = [
        RootView(
            log=one.log,
            number=one.number,
            head=one.head,
            at=one.at,
            why=one.why,
            key=one.key,
            signature=one.signature,
        )
        for one in found.roots
    ]
    return AuditRoots(log=str(tenant), key=found.key, roots=shown)


async def list_lines(call: Call[Nothing, ListLines, Nothing]) -> AuditPage:
    """List the audit log's lines, the oldest first, as they are chained."""
    async with call.rooms.store.reading(call.scope) as rows:
        found = await audit.links(rows, after=call.query.after, limit=call.query.limit)
    return AuditPage(items=[AuditLine(number=one.number, line=one.line, differs=one.differs) for one in found])
