"""This file is what only a vCenter can do to us: certificates, permissions, lost answers, networks."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pyVmomi import vim

from gateway.clouds.port import (
    Cloud,
    CloudCertificateError,
    CloudPermissionError,
    CloudSignInError,
    CloudUnreachableError,
    NotThereError,
    Placement,
)
from gateway.clouds.vsphere.cloud import connect
from tests.conformance.vcenter import VCenterWorld, free_port
from tests.conformance.world import Cluster, a_cluster, forget, where


@pytest.fixture
async def cloud(vcenter_world: VCenterWorld) -> AsyncIterator[Cloud]:
    async with vcenter_world.connect() as connection:
        yield connection


@pytest.fixture
async def placement(cloud: Cloud) -> Placement:
    return await cloud.resolve(where())


@pytest.fixture
def cluster() -> Cluster:
    return a_cluster()


async def count(world: VCenterWorld, method: str) -> None:
    """Count the calls of a method from now on; `counted` tells how many there were."""
    await world.rule(method=method, outcome="delay", delay_ms=0)


async def counted(world: VCenterWorld) -> int:
    return sum(int(rule["seen"]) for rule in await world.rules())


async def test_a_wrong_password_is_sent_once(vcenter_world: VCenterWorld) -> None:
    await count(vcenter_world, "Login")
    with pytest.raises(CloudSignInError):
        async with vcenter_world.connect_with_wrong_password():
            pass
    assert await counted(vcenter_world) == 1


async def test_a_session_that_ends_for_many_callers_is_begun_again_once(
    vcenter_world: VCenterWorld, cloud: Cloud
) -> None:
    await count(vcenter_world, "Login")
    await vcenter_world.end_sessions()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(cloud.inventory())
    assert await counted(vcenter_world) == 1


async def test_another_certificate_than_the_trusted_one_is_refused_with_both_named(vcenter_world: VCenterWorld) -> None:
    account = vcenter_world.account(thumbprint=":".join(["AA"] * 32))
    with pytest.raises(CloudCertificateError, match=vcenter_world.running.thumbprint):
        async with connect(account):
            pass


async def test_without_a_thumbprint_the_machines_trust_store_decides(vcenter_world: VCenterWorld) -> None:
    with pytest.raises(CloudCertificateError, match="thumbprint"):
        async with connect(vcenter_world.account(thumbprint=None)):
            pass


async def test_nobody_there_is_told_as_unreachable(vcenter_world: VCenterWorld) -> None:
    with pytest.raises(CloudUnreachableError, match="cannot connect"):
        async with connect(vcenter_world.account(server=f"127.0.0.1:{free_port()}")):
            pass


async def test_something_that_is_no_vcenter_is_told_as_unreachable(vcenter_world: VCenterWorld) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    server = await asyncio.start_server(answer, sock=socket.create_server(("127.0.0.1", 0)))
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(CloudUnreachableError):
            async with connect(vcenter_world.account(server=f"127.0.0.1:{port}")):
                pass


async def test_a_missing_privilege_is_named_with_its_object(
    vcenter_world: VCenterWorld, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await vcenter_world.rule(method="CloneVM_Task", outcome="fault", fault="NoPermission")
    with pytest.raises(CloudPermissionError, match=r"lacks \S+ on \S+") as caught:
        await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
    assert caught.value.facts["privilege"]


@pytest.mark.parametrize("outcome", ["lose_reply", "reset", "unavailable"])
async def test_a_clone_whose_answer_was_lost_is_found_when_asked_again(
    vcenter_world: VCenterWorld, cloud: Cloud, placement: Placement, outcome: str
) -> None:
    cluster = a_cluster()
    await vcenter_world.rule(method="CloneVM_Task", outcome=outcome, count=1)
    with pytest.raises(CloudUnreachableError):
        await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
    await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
    assert [one.name for one in await vcenter_world.machines()].count(cluster.wish().owner.machine_name) == 1


async def test_a_half_made_machine_is_completed_only_after_all_clones_under_way(
    vcenter_world: VCenterWorld, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    wish, other = cluster.wish(), a_cluster()
    name = wish.owner.machine_name
    await vcenter_world.add_half_made(name, folder=cluster.folder, instance_uuid=wish.instance_uuid)
    await vcenter_world.slow_clones(0.7)

    async def stop(_task: str) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await cloud.clone(other.wish(), placement, note=stop, noted=None)
    machine = await cloud.clone(wish, placement, note=forget, noted=None)
    assert (machine.name, machine.owner) == (name, wish.owner)
    assert other.wish().owner.machine_name in [one.name for one in await vcenter_world.machines()]


async def test_a_clusters_machines_are_found_in_two_reads_and_their_place_in_one(
    vcenter_world: VCenterWorld, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    machines = [await cloud.clone(cluster.wish(at), placement, note=forget, noted=None) for at in range(3)]
    await count(vcenter_world, "RetrievePropertiesEx")
    located = await cloud.locate(where())
    assert await counted(vcenter_world) == 1
    assert await cloud.machines(cluster.id, located) == machines
    assert await counted(vcenter_world) == 3


@pytest.mark.parametrize("outcome", ["unavailable", "reset"])
async def test_a_vcenter_that_is_away_for_a_moment_is_waited_out_by_who_waits_for_a_task(
    vcenter_world: VCenterWorld, cloud: Cloud, placement: Placement, outcome: str
) -> None:
    await vcenter_world.slow_clones(0.3)

    async def note(_task: str) -> None:
        await vcenter_world.rule(method="RetrievePropertiesEx", outcome=outcome, count=3)

    machine = await cloud.clone(a_cluster().wish(), placement, note=note, noted=None)
    assert machine.owner.ordinal == 0


async def test_a_task_that_fails_after_its_work_is_told_and_its_machine_adopted(
    vcenter_world: VCenterWorld, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    await vcenter_world.rule(method="CloneVM_Task", outcome="task_fault_after", fault="Timedout", count=1)
    with pytest.raises(Exception, match="Timedout"):
        await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
    machine = await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
    assert await cloud.machines(cluster.id, placement) == [machine]


@pytest.mark.parametrize("network", ["VM Network", "DC0_DVPG0"])
async def test_the_first_interface_is_plugged_into_the_named_network(
    vcenter_world: VCenterWorld, cloud: Cloud, network: str
) -> None:
    cluster = a_cluster()
    placement = await cloud.resolve(where().model_copy(update={"network": network}))
    machine = await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
    [card] = await cards_of(vcenter_world, machine.name)
    plugged = card.backing
    if isinstance(plugged, vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo):
        assert plugged.port.portgroupKey == placement.ids["network"].partition(":")[2]
    else:
        assert plugged.deviceName == network


async def test_without_a_network_the_interface_stays_where_the_template_has_it(
    vcenter_world: VCenterWorld, cloud: Cloud, placement: Placement, cluster: Cluster
) -> None:
    machine = await cloud.clone(cluster.wish(), placement, note=forget, noted=None)
    [card], [origin] = await cards_of(vcenter_world, machine.name), await cards_of(vcenter_world, "debian-12")
    assert card.backing.port.portgroupKey == origin.backing.port.portgroupKey
    assert card.macAddress != origin.macAddress


async def cards_of(world: VCenterWorld, name: str) -> list[Any]:
    def look() -> list[Any]:
        devices = world._property(world._named(vim.VirtualMachine, name), "config.hardware.device")
        return [one for one in devices if isinstance(one, vim.vm.device.VirtualEthernetCard)]

    return await asyncio.to_thread(look)


async def test_a_machine_that_is_no_template_cannot_be_cloned_from(
    vcenter_world: VCenterWorld, cloud: Cloud, cluster: Cluster
) -> None:
    name = f"plain-{cluster.name}"
    await vcenter_world.add_stranger(name, folder=cluster.folder)
    with pytest.raises(NotThereError, match="no template: convert it"):
        await cloud.resolve(where(name))


async def test_the_password_and_the_guest_data_are_in_no_log(
    vcenter_world: VCenterWorld, capfd: pytest.CaptureFixture[str]
) -> None:
    async with vcenter_world.connect() as cloud:
        await vcenter_world.end_sessions()
        await cloud.inventory()
    printed = "".join(capfd.readouterr())
    assert vcenter_world.account().password.get_secret_value() not in printed
