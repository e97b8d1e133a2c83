"""This file is the conformance suite's eye and hand in the lab's vCenter.

It shares nothing with the adapter: it is pyVmomi's own blocking transport, in a thread, signed in as the user to
whom the lab's fault rules do not apply.
"""

import asyncio
import json
import os
import socket
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from time import sleep
from typing import Any, TypeAlias
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from pyVmomi import SoapStubAdapter, vim, vmodl

from gateway.clouds.accounts import CloudAccount
from gateway.clouds.port import Cloud
from gateway.clouds.vsphere.cloud import connect
from gateway.lab import vcenter_program
from gateway.lab.settings import LabSettings
from tests.conformance.world import Seen

Foreign: TypeAlias = Any
"""pyVmomi has no types."""

USER, EYE, PASSWORD = "administrator@vsphere.local", "hypervisor@lab", "s3cret <&> Pässword"
READY = "vcenter: ready"


def built() -> Path:
    """Return the lab's vCenter, built once for each state of its sources and shared with the lab."""
    return vcenter_program.prepare(LabSettings().cache, say=print)


@dataclass(frozen=True, slots=True)
class Running:
    """A vCenter process and its three doors."""

    server: str
    door: int
    control: Path
    thumbprint: str


@contextmanager
def running(directory: Path, *options: str) -> Iterator[Running]:
    """Run a vCenter of its own until the body is left."""
    certificate, key, thumbprint = write_certificate(directory)
    (directory / "password").write_text(PASSWORD)
    port, door = free_port(), free_port()
    control = directory / "control"
    arguments = {
        "-listen": f"127.0.0.1:{port}",
        "-door": f"127.0.0.1:{door}",
        "-door-user": EYE,
        "-user": USER,
        "-control": control,
        "-password-file": directory / "password",
        "-tls-cert": certificate,
        "-tls-key": key,
    }
    # The kernel ends vCenter when the tests are killed, too.
    command = [
        "setpriv",
        "--pdeathsig",
        "TERM",
        built(),
        *(str(piece) for pair in arguments.items() for piece in pair),
        *options,
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == READY, (directory / "log").read_text()
        await_door(door)
        yield Running(f"127.0.0.1:{port}", door, control, thumbprint)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def await_door(port: int) -> None:
    """Wait until the door is open; it opens beside the others, so that vCenter may be ready a moment earlier."""
    for _ in range(1500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        sleep(0.02)
    raise AssertionError("the vCenter's door stays closed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_certificate(directory: Path) -> tuple[Path, Path, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vcenter.lab")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=36500))
    certificate = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (directory / "tls.crt").write_bytes(certificate.public_bytes(pem))
    (directory / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return directory / "tls.crt", directory / "tls.key", certificate.fingerprint(hashes.SHA256()).hex(":").upper()


class VCenterWorld:
    """The lab's vCenter as the tests see it."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._stub = SoapStubAdapter(host="127.0.0.1", port=-running.door, version="vim.version.v8_0_3_0")
        self.content = vim.ServiceInstance("ServiceInstance", self._stub).RetrieveContent()
        self.content.sessionManager.Login(userName=EYE, password=PASSWORD)
        self._added: list[Any] = []

    def close(self) -> None:
        try:
            self.content.sessionManager.Logout()
        finally:
            self._stub.DropConnections()

    def account(self, **changes: Foreign) -> CloudAccount:
        settings = {
            "server": self.running.server,
            "user": USER,
            "password": SecretStr(PASSWORD),
            "thumbprint": self.running.thumbprint,
        }
        return CloudAccount.model_validate(settings | changes)

    def connect(self) -> AbstractAsyncContextManager[Cloud]:
        return connect(self.account())

    def connect_with_wrong_password(self) -> AbstractAsyncContextManager[Cloud]:
        return connect(self.account(password=SecretStr("wrong")))

    async def machines(self) -> list[Seen]:
        return await asyncio.to_thread(self._machines)

    async def folders(self) -> list[str]:
        return await asyncio.to_thread(lambda: sorted(one["name"] for one in self._all(vim.Folder, "name").values()))

    async def sessions(self) -> int:
        return len(await asyncio.to_thread(self._session_keys))

    async def end_sessions(self) -> None:
        manager = self.content.sessionManager
        await asyncio.to_thread(lambda: manager.TerminateSession(sessionId=self._session_keys()))

    async def add_stranger(self, name: str, *, folder: str) -> None:
        await asyncio.to_thread(self._clone_template, name, folder, template=False)

    async def add_half_made(self, name: str, *, folder: str, instance_uuid: UUID) -> None:
        """Put a machine there as a clone leaves it that is not complete: with its identity, without guest data."""
        await asyncio.to_thread(self._clone_template, name, folder, template=False, instance_uuid=str(instance_uuid))

    async def add_template(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        self._added.append(await asyncio.to_thread(self._clone_template, name, folder, template=True))

    async def remove_templates(self) -> None:
        for one in self._added:
            await asyncio.to_thread(one.Destroy_Task)
        self._added.clear()

    async def destroy(self, name: str) -> None:
        machine = await asyncio.to_thread(self._named, vim.VirtualMachine, name)
        if self._property(machine, "runtime.powerState") == "poweredOn":
            await self._done(machine.PowerOffVM_Task)
        await self._done(machine.Destroy_Task)

    async def add_folder(self, name: str) -> None:
        await asyncio.to_thread(self._folder, name)

    async def remove_folder(self, name: str) -> None:
        folder = await asyncio.to_thread(self._named, vim.Folder, name)
        await self._done(folder.Destroy_Task)

    async def move(self, name: str, *, folder: str) -> None:
        machine = await asyncio.to_thread(self._named, vim.VirtualMachine, name)
        target = await asyncio.to_thread(self._folder, folder)
        await self._done(lambda: target.MoveIntoFolder_Task(list=[machine]))

    async def strip(self, name: str) -> None:
        machine = await asyncio.to_thread(self._named, vim.VirtualMachine, name)
        settings = await asyncio.to_thread(self._property, machine, "config.extraConfig")
        bare = [vim.option.OptionValue(key=one.key, value="") for one in settings if one.key.startswith("pcg.")]
        await self._done(lambda: machine.ReconfigVM_Task(spec=vim.vm.ConfigSpec(extraConfig=bare)))

    async def give_address(self, name: str, address: str) -> None:
        machine = await asyncio.to_thread(self._named, vim.VirtualMachine, name)
        setting = vim.option.OptionValue(key="SET.guest.ipAddress", value=address)
        await self._done(lambda: machine.ReconfigVM_Task(spec=vim.vm.ConfigSpec(extraConfig=[setting])))

    async def slow_clones(self, seconds: float) -> None:
        await self.rule(method="CloneVM_Task", outcome="task_delay", delay_ms=int(seconds * 1000))

    async def fail_next_clone(self) -> None:
        await self.rule(method="CloneVM_Task", outcome="task_fault", fault="NoDiskSpace", count=1)

    async def rule(self, **rule: str | int) -> None:
        await asyncio.to_thread(self.control, "POST", "/rules", rule)

    async def rules(self) -> list[dict[str, Any]]:
        rules: list[dict[str, Any]] = await asyncio.to_thread(self.control, "GET", "/rules")
        return rules

    def control(self, method: str, path: str, body: object = None) -> Foreign:
        connection = HTTPConnection("lab")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(os.fspath(self.running.control))
        try:
            connection.request(method, path, json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status < 300, answer
            return answer
        finally:
            connection.close()

    def _session_keys(self) -> list[str]:
        sessions = self._property(self.content.sessionManager, "sessionList")
        return [one.key for one in sessions if one.userName == USER]

    def _machines(self) -> list[Seen]:
        paths = ("name", "parent", "config", "runtime.powerState")
        names = {one: seen["name"] for one, seen in self._all(vim.Folder, "name").items()}
        machines = self._all(vim.VirtualMachine, *paths).values()
        return [_seen(one, names[one["parent"]]) for one in machines if not one["config"].template]

    def _clone_template(self, name: str, folder: str, *, template: bool, instance_uuid: str | None = None) -> Foreign:
        """Clone with the eye's own hand, into a folder below the datacenter's, which is made if need be."""
        parent = self._folder(folder)
        location = vim.vm.RelocateSpec(
            pool=self._property(self._named(vim.ComputeResource, "DC0_C0"), "resourcePool"),
            datastore=self._named(vim.Datastore, "LocalDS_0"),
        )
        config = vim.vm.ConfigSpec(instanceUuid=instance_uuid)
        spec = vim.vm.CloneSpec(location=location, template=template, powerOn=False, config=config)
        task = self._named(vim.VirtualMachine, "debian-12").CloneVM_Task(folder=parent, name=name, spec=spec)
        return self._wait(task)

    def _folder(self, name: str) -> Foreign:
        """Return a folder below the datacenter's own, made if need be; with an empty name that one itself."""
        root = self._property(self._named(vim.Datacenter, "DC0"), "vmFolder")
        try:
            return root.CreateFolder(name) if name else root
        except vim.fault.DuplicateName as fault:
            return fault.object

    async def _done(self, begin: Callable[[], Any]) -> Foreign:
        return await asyncio.to_thread(lambda: self._wait(begin()))

    def _wait(self, task: Foreign) -> Foreign:
        while (state := self._property(task, "info.state")) not in {"success", "error"}:
            sleep(0.01)
        assert state == "success", self._property(task, "info.error")
        return self._property(task, "info.result")

    def _named(self, kind: Foreign, name: str) -> Foreign:
        found = [one for one, seen in self._all(kind, "name").items() if seen["name"] == name]
        assert found, f"no {kind.__name__} {name}"
        return found[0]

    def _property(self, reference: Foreign, path: str) -> Foreign:
        start = vmodl.query.PropertyCollector.ObjectSpec(obj=reference)
        return self._read(start, type(reference), (path,))[reference].get(path)

    def _all(self, kind: Foreign, *paths: str) -> dict[Any, dict[str, Any]]:
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [kind], recursive=True)
        collector = vmodl.query.PropertyCollector
        onwards = collector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
        found = self._read(collector.ObjectSpec(obj=view, skip=True, selectSet=[onwards]), kind, paths)
        view.DestroyView()
        return found

    def _read(self, start: Foreign, kind: Foreign, paths: tuple[str, ...]) -> dict[Any, dict[str, Any]]:
        collector = vmodl.query.PropertyCollector
        wanted = collector.PropertySpec(type=kind, pathSet=list(paths))
        answer = self.content.propertyCollector.RetrievePropertiesEx(
            specSet=[collector.FilterSpec(propSet=[wanted], objectSet=[start])], options=collector.RetrieveOptions()
        )
        return {one.obj: {each.name: each.val for each in one.propSet} for one in (answer.objects if answer else [])}


def _seen(properties: dict[str, Any], folder: str) -> Seen:
    config = properties["config"]
    settings = {one.key: one.value for one in config.extraConfig}
    cards = [one for one in config.hardware.device if isinstance(one, vim.vm.device.VirtualEthernetCard)]
    return Seen(
        name=properties["name"],
        folder=folder,
        instance_uuid=UUID(config.instanceUuid),
        cpus=config.hardware.numCPU,
        memory_mib=config.hardware.memoryMB,
        powered_on=properties["runtime.powerState"] == "poweredOn",
        mac=cards[0].macAddress,
        guest_metadata=_decoded(settings, "guestinfo.metadata"),
        guest_userdata=_decoded(settings, "guestinfo.userdata"),
    )


def _decoded(settings: dict[str, str], key: str) -> str | None:
    if key not in settings:
        return None
    assert settings[f"{key}.encoding"] == "base64"
    return b64decode(settings[key]).decode()
