"""This file is what is promised of machines that are prepared: real ones, in a lab."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import JsonValue
from pyVmomi import vim

from gateway.contract.clusters import MachineFacts
from gateway.lab import labs, launch
from gateway.lab.labs import Lab
from gateway.lab.settings import LabSettings
from gateway.playbooks.ansible import PROJECT
from gateway.playbooks.port import PlaybookRun, Target
from gateway.provisioning import guestdata
from tests.integration.playbooks import appliance
from tests.integration.playbooks.machine import marked_seconds, namespace_of_cell_under, processes
from tests.lab import customer

pytestmark = pytest.mark.lab

NAMES = ("demo-control-plane-0", "demo-workers-0", "demo-workers-1")
ADMIN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl {{ lookup('pipe','id') }}"


@dataclass(frozen=True)
class Nodes:
    """Machines that have booted, and what the appliance keeps of them."""

    lab: Lab
    directory: Path
    targets: list[Target]

    def run(self, playbook: str, **variables: JsonValue) -> PlaybookRun:
        return PlaybookRun(
            playbook=playbook,
            targets=self.targets,
            user=guestdata.USER,
            ssh_key=self.directory / "key",
            known_hosts=self.directory / "known_hosts",
            variables=variables,
        )

    def prepare(self, artifacts: Path | None = None) -> PlaybookRun:
        return self.run(
            "prepare",
            pcg_artifacts=str(artifacts or self.lab.artifacts),
            pcg_ssh_authorized_keys=[ADMIN_KEY],
            pcg_ntp_servers=["10.0.0.1"],
        )

    async def ask(self, command: str, *, of: int = 0) -> str:
        """Run a command on a machine, over SSH, as Ansible's user."""
        options = ["-q", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        user = f"{guestdata.USER}@{self.targets[of].address}"
        argv = self.lab.inside(["ssh", *options, "-i", self.directory / "key", user, command])
        process = await asyncio.create_subprocess_exec(*argv, stdin=DEVNULL, stdout=PIPE)
        async with asyncio.timeout(30):
            told, _ = await process.communicate()
        return told.decode()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three machines in a lab of their own, booted as the gateway has them boot."""
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")
    directory = tmp_path_factory.mktemp("appliance")
    settings = LabSettings(pcg_lab_state=tmp_path_factory.mktemp("labs") / "state")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "key"], check=True)
    process = launch.start("playbooks", settings, leash=True, say=print)
    lab = labs.attach("playbooks", settings=settings)
    yield Nodes(lab, directory, asyncio.run(boot(lab, (directory / "key.pub").read_text())))
    asyncio.run(labs.down("playbooks", settings=settings))
    assert process.stdin
    process.stdin.close()
    process.wait()


@pytest.fixture(scope="module")
def prepared(nodes: Nodes) -> dict[str, Any]:
    """What the first preparation of the machines has told."""
    told: dict[str, Any] = asyncio.run(ended(nodes, nodes.prepare()))
    assert "changed" in told, told
    return told


async def boot(lab: Lab, public_key: str) -> list[Target]:
    async with customer.customer(lab) as vcenter:
        vms = []
        for name in NAMES:
            vm = vcenter.clone(name, power_on=False)
            told = guestdata.meta_data(instance=uuid4(), host_name=name).replace("{mac}", customer.mac_of(vm))
            texts = {"metadata": told, "userdata": guestdata.user_data(authorized_key=public_key)}
            options = {f"guestinfo.{part}": base64.b64encode(text.encode()).decode() for part, text in texts.items()}
            options |= {f"guestinfo.{part}.encoding": "base64" for part in texts}
            extra = [vim.option.OptionValue(key=key, value=value) for key, value in options.items()]
            vcenter.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=extra)))
            vcenter.done(vm.PowerOnVM_Task())
            vms.append(vm)
        return [Target(vm.name, await customer.until(lambda vm=vm: vm.guest.ipAddress)) for vm in vms]


@asynccontextmanager
async def started(nodes: Nodes, run: PlaybookRun, *, project: Path = PROJECT) -> AsyncIterator[Process]:
    """Start the run in an appliance inside the data centre; leaving kills the appliance."""
    argv = nodes.lab.inside(appliance.COMMAND)
    process = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, cwd=appliance.ROOT)
    assert process.stdin
    process.stdin.write(appliance.wish(run, project=project))
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(nodes: Nodes, run: PlaybookRun, *, project: Path = PROJECT) -> Any:  # noqa: ANN401 - as printed
    async with started(nodes, run, project=project) as process, asyncio.timeout(200):
        assert process.stdout
        return json.loads(await process.stdout.read())


async def test_machines_are_prepared_side_by_side_and_a_second_time_changes_nothing(
    nodes: Nodes, prepared: dict[str, Any]
) -> None:
    second = await ended(nodes, nodes.prepare())

    assert second["changed"] == dict.fromkeys(NAMES, 0)
    for name in NAMES:
        assert prepared["facts"][name] == second["facts"][name]
        facts = MachineFacts.model_validate(second["facts"][name])
        assert facts.os
        assert facts.os.startswith("Debian GNU/Linux 12")
        assert facts.container_runtime
        assert facts.container_runtime.startswith("containerd 1.")
        assert facts.kernel
        assert facts.time_sync
        assert facts.cpus
        assert facts.memory_mib
        assert facts.swap_off is True


async def test_a_prepared_machine_is_as_kubernetes_needs_it(nodes: Nodes, prepared: dict[str, Any]) -> None:
    assert (await nodes.ask("hostname; getent hosts $(hostname)")).split()[:2] == [NAMES[0], "127.0.1.1"]
    assert await nodes.ask("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/bridge/bridge-nf-call-iptables") == "1\n1\n"
    assert await nodes.ask("readlink /etc/systemd/system/swap.target") == "/dev/null\n"
    assert "SystemdCgroup = true" in await nodes.ask("cat /etc/containerd/config.toml")
    assert "Server:" in await nodes.ask("sudo ctr version")
    assert "passwordauthentication no" in await nodes.ask("sudo sshd -T")


async def test_exactly_the_administrators_of_the_last_wish_may_sign_in(nodes: Nodes, prepared: dict[str, Any]) -> None:
    assert await nodes.ask("sudo cat ~pcg-admin/.ssh/authorized_keys") == ADMIN_KEY + "\n"
    one = replace(nodes.prepare(), targets=nodes.targets[1:2])

    await ended(nodes, replace(one, variables={**one.variables, "pcg_ssh_authorized_keys": []}))

    assert await nodes.ask("sudo cat ~pcg-admin/.ssh/authorized_keys", of=1) == ""
    assert "changed" in await ended(nodes, one)  # as it was, for the other tests


async def test_a_package_that_is_not_what_it_was_is_never_carried_over(
    nodes: Nodes, prepared: dict[str, Any], tmp_path: Path
) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(nodes.lab.artifacts, artifacts)
    package = next(artifacts.glob("runc*.deb"))
    package.write_bytes(package.read_bytes() + b"one byte more")
    sums = (artifacts / "SHA256SUMS").read_text().splitlines(keepends=True)
    (artifacts / "SHA256SUMS").write_text("".join(sorted(sums, reverse=True)) + sums[0])  # other sums: look again

    told = await ended(nodes, nodes.prepare(artifacts))

    assert told["code"] == "playbook.failed"
    assert "task Verify the packages on the appliance" in told["message"]
    assert "runc" in told["message"]


async def test_what_a_killed_appliance_began_on_a_machine_ends_within_seconds_even_as_root(
    nodes: Nodes, project: Path
) -> None:
    seconds = marked_seconds()
    async with started(nodes, nodes.run("sleep_as_root", given=seconds), project=project):
        await asleep(nodes, seconds, count=2)

    await asleep(nodes, seconds, count=0)


async def test_a_run_ends_what_a_silent_earlier_run_has_left_on_the_machines(nodes: Nodes, project: Path) -> None:
    seconds = marked_seconds()
    async with started(nodes, nodes.run("sleep_as_root", given=seconds), project=project) as silent:
        await asleep(nodes, seconds, count=2)
        for pid in processes(namespace=namespace_of_cell_under(silent.pid)):
            os.kill(pid, signal.SIGSTOP)  # its connections stay, and say nothing more

        assert "changed" in await ended(nodes, nodes.run("begin"), project=project)

        assert await sleepers(nodes, seconds) == 0


async def asleep(nodes: Nodes, seconds: str, *, count: int) -> None:
    """Wait until so many processes sleep so many seconds on the first machine."""
    async with asyncio.timeout(20):
        while await sleepers(nodes, seconds) != count:  # noqa: ASYNC110 - another machine's processes
            await asyncio.sleep(0.2)  # each look is an SSH connection


async def sleepers(nodes: Nodes, seconds: str) -> int:
    return len((await nodes.ask(f"pgrep -x sleep -a | grep -F {seconds}")).splitlines())
