"""This file is how names become objects of vCenter, on trees made by hand."""

from typing import Any

import pytest
from pyVmomi import vim

from gateway.clouds.port import AmbiguousNameError, NotThereError
from gateway.clouds.vsphere import inventory, placement
from gateway.clouds.vsphere.tree import Tree
from gateway.contract.clusters import CloudPlacement

WISH = CloudPlacement(account="lab", template="debian-12")


def a_datacenter(name: str) -> dict[Any, dict[str, Any]]:
    """A datacenter with a folder `linux`, a template in it, one host cluster, one datastore and one network."""
    datacenter = vim.Datacenter(f"datacenter-{name}")
    folders = {kind: vim.Folder(f"group-{kind}-{name}") for kind in ("vm", "host", "datastore", "network")}
    linux = vim.Folder(f"group-linux-{name}")
    compute, pool = vim.ClusterComputeResource(f"domain-{name}"), vim.ResourcePool(f"resgroup-{name}")
    datastore, network = vim.Datastore(f"datastore-{name}"), vim.Network(f"network-{name}")
    return {
        datacenter: {"name": name, **{f"{kind}Folder": folder for kind, folder in folders.items()}},
        **{folder: {"name": kind, "parent": datacenter} for kind, folder in folders.items()},
        linux: {"name": "linux", "parent": folders["vm"]},
        vim.VirtualMachine(f"vm-{name}"): {"name": "debian-12", "parent": linux, "config.template": True},
        compute: {
            "name": "C0",
            "parent": folders["host"],
            "resourcePool": pool,
            "datastore": [datastore],
            "network": [network],
        },
        pool: {"name": "Resources", "parent": compute},
        datastore: {"name": "DS0", "parent": folders["datastore"], "summary.accessible": True},
        network: {"name": "VM Network", "parent": folders["network"]},
    }


def tree(*more: dict[Any, dict[str, Any]]) -> Tree:
    found = a_datacenter("DC0")
    for one in more:
        found |= one
    return Tree(found)


def machine(name: str, *, moid: str, **properties: object) -> dict[Any, dict[str, Any]]:
    return {
        vim.VirtualMachine(moid): {
            "name": name,
            "parent": vim.Folder("group-vm-DC0"),
            "config.template": True,
            **properties,
        }
    }


def test_everything_left_out_is_the_only_one_there_is() -> None:
    assert placement.resolved(tree(), WISH).ids == {
        "datacenter": "Datacenter:datacenter-DC0",
        "template": "VirtualMachine:vm-DC0",
        "compute_cluster": "ClusterComputeResource:domain-DC0",
        "resource_pool": "ResourcePool:resgroup-DC0",
        "datastore": "Datastore:datastore-DC0",
        "folder": "Folder:group-vm-DC0",
    }


def test_a_network_is_looked_up_only_when_it_is_named() -> None:
    wish = WISH.model_copy(update={"network": "VM Network"})
    assert placement.resolved(tree(), wish).ids["network"] == "Network:network-DC0"


def test_a_missing_template_is_told_in_full() -> None:
    wish = WISH.model_copy(update={"template": "x"})
    with pytest.raises(NotThereError) as caught:
        placement.resolved(tree(machine("alpine", moid="vm-2")), wish)
    assert caught.value.message == "no template 'x' in datacenter DC0; there are: alpine, debian-12"


def test_many_choices_are_cut_short() -> None:
    many = [machine(f"t{number:02}", moid=f"vm-{number}") for number in range(20)]
    with pytest.raises(NotThereError, match=r"debian-12, t00, .*, t08 and 11 more$"):
        placement.resolved(tree(*many), WISH.model_copy(update={"template": "x"}))


def test_where_there_is_none_that_is_said() -> None:
    found = {one: seen for one, seen in a_datacenter("DC0").items() if not isinstance(one, vim.Datastore)}
    with pytest.raises(NotThereError, match="no datastore that compute cluster C0 reaches; there are: none"):
        placement.resolved(Tree(found), WISH)


def test_two_datacenters_have_to_be_told_apart() -> None:
    both = tree(a_datacenter("DC1"))
    with pytest.raises(AmbiguousNameError, match="there are 2 datacenters in this vCenter: name one of DC0, DC1"):
        placement.resolved(both, WISH)
    ids = placement.resolved(both, WISH.model_copy(update={"datacenter": "DC1"})).ids
    assert {reference.rpartition("-")[2] for reference in ids.values()} == {"DC1"}


def test_a_name_that_fits_two_is_asked_back_with_paths_and_each_path_means_one() -> None:
    found = tree(machine("debian-12", moid="vm-2"))
    with pytest.raises(AmbiguousNameError) as caught:
        placement.resolved(found, WISH)
    assert caught.value.message == (
        "2 templates in datacenter DC0 are named 'debian-12': give the path of one: /debian-12, /linux/debian-12"
    )
    for path, reference in {"linux/debian-12": "vm-DC0", "/linux/debian-12": "vm-DC0", "/debian-12": "vm-2"}.items():
        ids = placement.resolved(found, WISH.model_copy(update={"template": path})).ids
        assert ids["template"] == f"VirtualMachine:{reference}"


def test_a_virtual_machine_that_is_no_template_is_said_to_be_one() -> None:
    found = tree(machine("plain", moid="vm-2", **{"config.template": False}))
    with pytest.raises(NotThereError, match="'plain' in datacenter DC0 is a virtual machine and no template"):
        placement.resolved(found, WISH.model_copy(update={"template": "plain"}))


def test_a_datastore_in_maintenance_is_no_default_but_can_be_named() -> None:
    found = a_datacenter("DC0")
    found[vim.Datastore("datastore-DC0")]["summary.maintenanceMode"] = "inMaintenance"
    with pytest.raises(NotThereError, match="no datastore"):
        placement.resolved(Tree(found), WISH)
    assert placement.resolved(Tree(found), WISH.model_copy(update={"datastore": "DS0"})).ids["datastore"]


def test_a_folder_and_a_pool_can_be_paths() -> None:
    pool = {vim.ResourcePool("resgroup-2"): {"name": "prod", "parent": vim.ResourcePool("resgroup-DC0")}}
    wish = WISH.model_copy(update={"folder": "linux", "resource_pool": "C0/prod"})
    ids = placement.resolved(tree(pool), wish).ids
    assert (ids["folder"], ids["resource_pool"]) == ("Folder:group-linux-DC0", "ResourcePool:resgroup-2")


def test_locating_asks_for_nothing_but_the_datacenter() -> None:
    wish = CloudPlacement(account="lab", template="gone", network="gone", datastore="gone", folder="gone")
    assert placement.located(tree(), wish).ids == {"datacenter": "Datacenter:datacenter-DC0"}


def test_names_are_shown_as_people_wrote_them() -> None:
    found = tree(machine("a%2fb 100%25", moid="vm-2"))
    assert "a/b 100%" in [one.name for one in inventory.told(found, product="p").templates]
    wish = WISH.model_copy(update={"template": "a/b 100%"})
    assert placement.resolved(found, wish).ids["template"] == "VirtualMachine:vm-2"


def test_the_inventory_leaves_out_uplinks_hidden_pools_and_templates_among_machines() -> None:
    uplink = vim.dvs.DistributedVirtualPortgroup("dvportgroup-1")
    found = tree(
        {uplink: {"name": "uplinks", "tag": [vim.Tag(key="SYSTEM/DVS.UPLINKPG")]}},
        machine("plain", moid="vm-2", **{"config.template": False}),
    )
    told = inventory.told(found, product="p")
    assert (told.networks, told.resource_pools, told.machines, told.folders) == (["VM Network"], [], 1, ["linux"])
