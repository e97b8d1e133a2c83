"""This file is how the names in a CloudPlacement become objects of vCenter."""

from collections.abc import Iterable

from pyVmomi import vim

from gateway.clouds.port import AmbiguousNameError, NotThereError, Placement
from gateway.clouds.vsphere import references
from gateway.clouds.vsphere.foreign import Reference
from gateway.clouds.vsphere.tree import Thing, Tree
from gateway.contract.clusters import CloudPlacement

MOST_NAMED = 10
"""How many choices an error lists before it says how many more there are."""


def resolved(tree: Tree, wish: CloudPlacement) -> Placement:
    """Look every name up in the tree. Raises NotThereError or AmbiguousNameError.

    A name may also be a path below its datacenter, whole (/linux/debian-12) or the end of one: that is how one of
    several objects of the same name is meant.
    """
    datacenter = _choose("datacenter", wish.datacenter, tree.of(vim.Datacenter), where="in this vCenter")
    where = f"in datacenter {datacenter.name}"
    inside = datacenter.reference
    template = _template(tree, wish.template, datacenter=datacenter)
    compute = _choose(
        "compute cluster", wish.compute_cluster, tree.of(vim.ComputeResource, datacenter=inside), where=where
    )
    reached = f"that compute cluster {compute.name} reaches"
    chosen = {
        "datacenter": datacenter.reference,
        "template": template.reference,
        "compute_cluster": compute.reference,
        "resource_pool": _pool(tree, wish.resource_pool, compute=compute),
        "datastore": _choose(
            "datastore", wish.datastore, _datastores(tree, compute, named=wish.datastore is not None), where=reached
        ).reference,
        "folder": _folder(tree, wish.folder, datacenter=datacenter),
    }
    if wish.network is not None:
        chosen["network"] = _choose("network", wish.network, _networks(tree, compute), where=reached).reference
    return Placement(wish=wish, ids={role: references.text_of(one) for role, one in chosen.items()})


def located(tree: Tree, wish: CloudPlacement) -> Placement:
    """Look up only where machines are looked for: the datacenter. Raises NotThereError or AmbiguousNameError."""
    datacenter = _choose("datacenter", wish.datacenter, tree.of(vim.Datacenter), where="in this vCenter")
    return Placement(wish=wish, ids={"datacenter": references.text_of(datacenter.reference)})


def _template(tree: Tree, name: str, *, datacenter: Thing) -> Thing:
    machines = list(tree.of(vim.VirtualMachine, datacenter=datacenter.reference))
    templates = [one for one in machines if one.is_template]
    if _fitting(name, machines) and not _fitting(name, templates):
        raise NotThereError(
            f"{name!r} in datacenter {datacenter.name} is a virtual machine and no template: convert it to a "
            f"template first, or name one of: {_listed(templates)}",
            kind="template",
            name=name,
        )
    return _choose("template", name, templates, where=f"in datacenter {datacenter.name}")


def _pool(tree: Tree, name: str | None, *, compute: Thing) -> Reference:
    root = compute.properties["resourcePool"]
    if name is None:
        return root
    pools = [one for one in tree.of(vim.ResourcePool) if tree.within(one.reference, root)]
    return _choose("resource pool", name, pools, where=f"in compute cluster {compute.name}").reference


def _folder(tree: Tree, name: str | None, *, datacenter: Thing) -> Reference:
    root = datacenter.properties["vmFolder"]
    if name is None:
        return root
    folders = [one for one in tree.of(vim.Folder) if tree.within(one.reference, root)]
    return _choose("VM folder", name, folders, where=f"in datacenter {datacenter.name}").reference


def _datastores(tree: Tree, compute: Thing, *, named: bool) -> list[Thing]:
    """Return the datastores the compute cluster reaches; for a default only those that can take new disks."""
    reached = [one for one in tree.of(vim.Datastore) if one.reference in compute.properties.get("datastore", [])]
    return [one for one in reached if named or one.is_usable_datastore]


def _networks(tree: Tree, compute: Thing) -> list[Thing]:
    reached = [one for one in tree.of(vim.Network) if one.reference in compute.properties.get("network", [])]
    return [one for one in reached if not one.is_uplink]


def _choose(kind: str, name: str | None, things: Iterable[Thing], *, where: str) -> Thing:
    """Return the one thing that is meant: the only one of that name, or the only one there is."""
    choices = list(things)
    fitting = choices if name is None else _fitting(name, choices)
    match fitting:
        case [one]:
            return one
        case []:
            meant = kind if name is None else f"{kind} {name!r}"
            raise NotThereError(f"no {meant} {where}; there are: {_listed(choices)}", kind=kind, name=name)
        case _ if name is None:
            raise AmbiguousNameError(
                f"there are {len(fitting)} {kind}s {where}: name one of {_listed(fitting)}", kind=kind, name=name
            )
        case _:
            raise AmbiguousNameError(
                f"{len(fitting)} {kind}s {where} are named {name!r}: give the path of one: {_listed(fitting)}",
                kind=kind,
                name=name,
            )


def _fitting(name: str, things: Iterable[Thing]) -> list[Thing]:
    """Return what a name means: after a slash a whole path, else the end of one."""
    if name.startswith("/"):
        return [one for one in things if one.path == name[1:]]
    return [one for one in things if one.path == name or one.path.endswith(f"/{name}")]


def _listed(things: Iterable[Thing]) -> str:
    """Return the choices for a sentence: by name, or by path where names repeat."""
    choices = list(things)
    names = [one.name for one in choices]
    texts = sorted(f"/{one.path}" if names.count(one.name) > 1 else one.name for one in choices)
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return ", ".join(texts[:MOST_NAMED]) + more or "none"
