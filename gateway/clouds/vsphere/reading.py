"""This file is how properties are read: many objects and many properties in one call, nothing lazily."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyVmomi import vim, vmodl

from gateway.clouds.vsphere.foreign import Kind, Reference, Structure
from gateway.clouds.vsphere.soap import Wire

Collector = vmodl.query.PropertyCollector
Properties = dict[str, Any]


async def of(
    collector: Reference, references: Iterable[Any], paths: Sequence[str], *, kind: Kind = vim.ManagedEntity
) -> dict[Any, Properties]:
    """Return the properties of the given objects; those that are gone are left out, as are unset properties."""
    starts = [Collector.ObjectSpec(obj=reference) for reference in references]
    return await _retrieve(collector, starts, {kind: paths}) if starts else {}


async def below(
    collector: Reference, start: Reference, *, steps: Sequence[Any], wanted: Mapping[Any, Sequence[str]]
) -> dict[Any, Properties]:
    """Return the properties of what `steps` (TraversalSpecs) reach from `start`, `start` itself included.

    `wanted` says which properties by type; what is of another type is passed through and not returned.
    """
    return await _retrieve(collector, [Collector.ObjectSpec(obj=start, selectSet=list(steps))], wanted)


def step(kind: Kind, path: str, *, name: str | None = None, then: Iterable[str] = ()) -> Structure:
    """Return a TraversalSpec: from objects of `kind` along the property `path`, and on by the steps named `then`."""
    onwards = [Collector.SelectionSpec(name=one) for one in then]
    return Collector.TraversalSpec(name=name, type=kind, path=path, skip=False, selectSet=onwards)


async def _retrieve(
    collector: Reference, starts: list[Any], wanted: Mapping[Any, Sequence[str]]
) -> dict[Any, Properties]:
    request = Collector.FilterSpec(
        propSet=[Collector.PropertySpec(type=kind, pathSet=list(paths), all=False) for kind, paths in wanted.items()],
        objectSet=starts,
        reportMissingObjectsInResults=True,
    )
    wire: Wire = collector._stub  # noqa: SLF001 - pyVmomi documents its underscored names as public
    session = wire.sessions
    try:
        return await _pages(collector, request)
    except vim.fault.NotAuthenticated:
        if wire.sign_in_again is None:
            raise
    await wire.sign_in_again(session)
    return await _pages(collector, request)


async def _pages(collector: Reference, request: Structure) -> dict[Any, Properties]:
    found: dict[Any, Properties] = {}
    page = await collector.RetrievePropertiesEx(specSet=[request], options=Collector.RetrieveOptions())
    while page is not None:
        for content in page.objects or []:
            _refuse_unauthenticated(content)
            found[content.obj] = {one.name: one.val for one in content.propSet or []}
        page = await collector.ContinueRetrievePropertiesEx(token=page.token) if page.token else None
    return found


def _refuse_unauthenticated(content: Structure) -> None:
    """Raise when the properties are missing because the session has ended; vCenter may answer so too."""
    for missing in content.missingSet or []:
        if isinstance(missing.fault, vim.fault.NotAuthenticated):
            raise missing.fault
