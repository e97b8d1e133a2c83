"""This file is what a vCenter offers, told as an Inventory."""

from pyVmomi import vim

from gateway.clouds.vsphere.foreign import Kind
from gateway.clouds.vsphere.tree import Thing, Tree
from gateway.contract.inventory import Datastore, Inventory, Template

GIB = 1024**3


def told(tree: Tree, *, product: str) -> Inventory:
    """Return the tree in the contract's shape, everything sorted by name."""
    machines = list(tree.of(vim.VirtualMachine))
    return Inventory(
        product=product,
        datacenters=_names(tree, vim.Datacenter),
        compute_clusters=_names(tree, vim.ComputeResource),
        resource_pools=sorted({one.path for one in tree.of(vim.ResourcePool) if not _is_root(one)}),
        datastores=sorted((_datastore(tree, one) for one in tree.of(vim.Datastore)), key=lambda one: one.name),
        networks=sorted({one.name for one in tree.of(vim.Network) if not one.is_uplink}),
        folders=_vm_folders(tree),
        templates=sorted(
            (_template(tree, one) for one in machines if one.is_template), key=lambda one: (one.name, one.datacenter)
        ),
        machines=sum(not one.is_template for one in machines),
    )


def _names(tree: Tree, kind: Kind) -> list[str]:
    return sorted({one.name for one in tree.of(kind)})


def _is_root(pool: Thing) -> bool:
    return isinstance(pool.properties.get("parent"), vim.ComputeResource)


def _vm_folders(tree: Tree) -> list[str]:
    """Return the folders that machines can be put into, as paths below their datacenter."""
    roots = [one.properties["vmFolder"] for one in tree.of(vim.Datacenter) if "vmFolder" in one.properties]
    folders = list(tree.of(vim.Folder))
    return sorted({one.path for one in folders for root in roots if tree.within(one.reference, root)})


def _datacenter(tree: Tree, thing: Thing) -> str:
    return tree.thing(thing.datacenter).name if thing.datacenter is not None else ""


def _datastore(tree: Tree, thing: Thing) -> Datastore:
    return Datastore(
        name=thing.name,
        datacenter=_datacenter(tree, thing),
        free_gib=round(thing.properties.get("summary.freeSpace", 0) / GIB, 1),
        capacity_gib=round(thing.properties.get("summary.capacity", 0) / GIB, 1),
        accessible=thing.is_usable_datastore,
    )


def _template(tree: Tree, thing: Thing) -> Template:
    return Template(
        name=thing.name, datacenter=_datacenter(tree, thing), guest=thing.properties.get("config.guestFullName")
    )
