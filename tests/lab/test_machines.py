"""This file is what a lab promises of its machines: real ones, and as vCenter says."""

import asyncio
from pathlib import Path

import pytest

from gateway.lab.labs import Lab
from tests.lab.customer import Customer, mac_of, ssh, until

pytestmark = pytest.mark.lab

UUID = "5030aaaa-0000-4000-8000-000000000001"


async def reached(lab: Lab, key: Path, address: str, command: str) -> str:
    """Run a command on a machine as soon as it lets us in."""
    async with asyncio.timeout(60):
        while (answer := await ssh(lab, key, address, command))[0] == 255:  # noqa: ASYNC110 - nobody would tell
            await asyncio.sleep(0.3)
    assert answer[0] == 0, answer[1]
    return answer[1]


async def test_a_cloned_vm_lives_and_dies_as_a_real_machine(
    lab: Lab, vcenter: Customer, key: Path, public_key: str
) -> None:
    vm = vcenter.clone_node("node-a", public_key, numCPUs=4, memoryMB=4096, instanceUuid=UUID)
    assert (vm.config.hardware.numCPU, vm.config.hardware.memoryMB, vm.config.instanceUuid) == (4, 4096, UUID)

    address = await until(lambda: vm.guest.ipAddress)
    assert vm.guest.hostName == "node-a"
    assert vm.guest.toolsRunningStatus == "guestToolsRunning"
    assert [(nic.macAddress, list(nic.ipAddress)) for nic in vm.guest.net] == [(mac_of(vm), [address])]

    told = await reached(lab, key, address, "hostname && cat /sys/class/net/eth0/address && cloud-init status --wait")
    assert told.split()[:2] == ["node-a", mac_of(vm)]
    assert "status: done" in told
    await reached(lab, key, address, "echo kept | sudo tee /etc/kept && sync")

    vcenter.done(vm.PowerOffVM_Task())
    await until(lambda: lab.machines()[0].state == "off")
    assert not vm.guest.ipAddress
    vcenter.done(vm.PowerOnVM_Task())
    again = await until(lambda: vm.guest.ipAddress)
    assert "kept" in await reached(lab, key, again, "cat /etc/kept")

    vcenter.remove(vm)
    await until(lambda: not lab.machines() and not list(lab.directory.machines.iterdir()))


async def test_three_machines_boot_in_parallel_and_are_three(
    lab: Lab, vcenter: Customer, key: Path, public_key: str
) -> None:
    vms = [vcenter.clone_node(f"many-{index}", public_key) for index in range(3)]
    addresses = [await until(lambda vm=vm: vm.guest.ipAddress) for vm in vms]

    async with asyncio.TaskGroup() as group:
        question = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"
        asked = [group.create_task(reached(lab, key, address, question)) for address in addresses]

    assert len(set(addresses)) == len({mac_of(vm) for vm in vms}) == 3
    assert len({task.result() for task in asked}) == 3


async def test_a_machine_can_run_containers_but_not_set_the_clock_or_leave(
    lab: Lab, vcenter: Customer, key: Path, public_key: str
) -> None:
    vm = vcenter.clone_node("worker", public_key)
    address = await until(lambda: vm.guest.ipAddress)

    await reached(lab, key, address, "sudo modprobe overlay && sudo modprobe br_netfilter && ! sudo modprobe nosuch")
    await reached(lab, key, address, "sudo sysctl -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1")
    await reached(lab, key, address, "! sudo date -s '2001-01-01 00:00'")
    away = f"sudo ip route add 10.214.0.0/16 via 10.213.0.1; ! timeout 2 ping -c1 -W1 {lab.uplink_outside}"
    await reached(lab, key, address, away)

    for package in sorted(lab.artifacts.glob("*")):
        status, told = await ssh(lab, key, address, f"cat > {package.name}", stdin=package.read_bytes())
        assert status == 0, told
    told = await reached(
        lab, key, address, "sha256sum --check --quiet SHA256SUMS && sudo dpkg -i *.deb >log 2>&1 && sudo ctr version"
    )
    assert "Server:" in told


async def test_a_machine_that_cannot_boot_fails_alone(lab: Lab, vcenter: Customer, key: Path, public_key: str) -> None:
    broken = vcenter.clone("broken", power_on=False)
    moid = await until(lambda: [one.moid for one in lab.machines() if one.name == "broken"])
    upper = lab.directory.machines / moid[0] / "upper"
    upper.mkdir(parents=True)
    (upper / "usr").write_text("where a system should be")
    vcenter.done(broken.PowerOnVM_Task())
    await until(lambda: [one.state for one in lab.machines()] == ["failed"])

    healthy = vcenter.clone_node("healthy", public_key)
    await until(lambda: healthy.guest.ipAddress)


async def test_a_reset_boots_again_and_a_guest_that_powers_off_is_off_in_vcenter(
    lab: Lab, vcenter: Customer, key: Path, public_key: str
) -> None:
    vm = vcenter.clone_node("restless", public_key)
    address = await until(lambda: vm.guest.ipAddress)
    first = await reached(lab, key, address, "cat /proc/sys/kernel/random/boot_id")

    vcenter.done(vm.ResetVM_Task())
    address = await until(lambda: vm.guest.ipAddress)
    assert await reached(lab, key, address, "cat /proc/sys/kernel/random/boot_id") != first

    second = await reached(lab, key, address, "cat /proc/sys/kernel/random/boot_id")
    vm.RebootGuest()
    await until(lambda: lab.machines()[0].state != "running")
    await until(lambda: lab.machines()[0].state == "running")
    assert await reached(lab, key, address, "cat /proc/sys/kernel/random/boot_id") != second

    await ssh(lab, key, address, "sudo systemctl poweroff")
    await until(lambda: vm.runtime.powerState == "poweredOff")
