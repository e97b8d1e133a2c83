"""This file is what provisioning asks of a cloud; every adapter keeps these promises (tests/conformance).

Every method may raise the errors below and no other; an adapter translates its library's errors once.
"Looks first" means: finds what an earlier, interrupted call has made, and adopts it.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from gateway.contract.clusters import CloudPlacement, PoolRole
from gateway.contract.inventory import Inventory
from gateway.kit.errors import GatewayError, Remedy

MAC_PLACEHOLDER: Final = "{mac}"
"""Stands in a machine's guest metadata for the MAC address of its first interface, until the machine is cloned."""


class CloudUnreachableError(GatewayError):
    """The cloud does not answer."""

    code = "cloud.unreachable"
    remedy = Remedy.RETRY


class CloudSignInError(GatewayError):
    """The cloud refuses the account's user or password."""

    code = "cloud.sign_in"
    remedy = Remedy.OPERATOR


class CloudCertificateError(GatewayError):
    """The cloud shows a certificate that the account does not trust."""

    code = "cloud.certificate"
    remedy = Remedy.OPERATOR


class CloudPermissionError(GatewayError):
    """The account may not do this."""

    code = "cloud.permission"
    remedy = Remedy.OPERATOR


class NotThereError(GatewayError):
    """A named object is not in the cloud."""

    code = "cloud.not_there"
    remedy = Remedy.CALLER


class AmbiguousNameError(GatewayError):
    """A name fits several objects, or was left out where there is more than one to choose from."""

    code = "cloud.ambiguous"
    remedy = Remedy.CALLER


class NameTakenError(GatewayError):
    """A machine of that name is there and is not ours."""

    code = "cloud.name_taken"
    remedy = Remedy.CALLER


class CloudTaskError(GatewayError):
    """The cloud began a task and reports that it failed."""

    code = "cloud.task_failed"
    remedy = Remedy.OPERATOR


class MachineGoneError(GatewayError):
    """A machine was removed by somebody else while we worked on it."""

    code = "cloud.machine_gone"
    remedy = Remedy.RETRY


class MachineInaccessibleError(GatewayError):
    """A machine of ours is there, but the cloud cannot reach what it is made of."""

    code = "cloud.machine_inaccessible"
    remedy = Remedy.OPERATOR


class FolderNotEmptyError(GatewayError):
    """The cluster's own folder cannot be removed, for something that is not known as the cluster's is in it."""

    code = "cloud.folder_not_empty"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Placement:
    """A CloudPlacement whose names were looked up; `ids` are the adapter's own references, by role.

    `disk_mib` is what the template's disks hold together; 0 where the template was not looked up.
    """

    wish: CloudPlacement
    ids: dict[str, str]
    disk_mib: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """Which machine of which cluster a virtual machine is; written on the machine when it is cloned."""

    cluster: UUID
    cluster_name: str
    pool: str
    role: PoolRole
    ordinal: int

    @property
    def machine_name(self) -> str:
        """The VM's name and host name."""
        return f"{self.cluster_name}-{self.pool}-{self.ordinal}"


@dataclass(frozen=True, slots=True)
class MachineWish:
    """One machine to be cloned.

    `guest_metadata` and `guest_userdata` are handed to cloud-init as guestinfo; they hold no secret, for
    everybody who can read the VM can read them. MAC_PLACEHOLDER in `guest_metadata` stands for the MAC
    address of the machine's first interface, which is known only once it is cloned.
    """

    owner: Owner
    instance_uuid: UUID
    cpus: int
    memory_mib: int
    guest_metadata: str
    guest_userdata: str


@dataclass(frozen=True, slots=True)
class CloudMachine:
    """One machine as the cloud shows it; `id` is the adapter's reference and lives as long as the machine."""

    id: str
    name: str
    instance_uuid: UUID
    owner: Owner
    powered_on: bool
    cpus: int
    memory_mib: int
    address: str | None
    disk_mib: int = 0
    """What its disks hold together, at most."""


NoteTask = Callable[[str], Awaitable[None]]
"""Writes a running task's id down, on disk, before anybody waits for the task."""


class Cloud(Protocol):
    """A signed-in cloud account."""

    async def inventory(self) -> Inventory:
        """Return what there is to choose from."""

    async def resolve(self, wish: CloudPlacement) -> Placement:
        """Look up every name; changes nothing.

        Raises NotThereError or AmbiguousNameError, naming the object and, where they are few, the choices.
        """

    async def locate(self, wish: CloudPlacement) -> Placement:
        """Look up only where machines are looked for, the datacenter; changes nothing.

        For who removes: the template, network, datastore or folder a cluster was made from may be gone by then.
        What it returns is enough for `machines` and `tidy`. Raises NotThereError or AmbiguousNameError.
        """

    async def machines(self, cluster: UUID, placement: Placement) -> list[CloudMachine]:
        """Return every machine of the cluster, wherever in the placement's datacenter; none when there are none.

        They are told by what was written on them (`Owner`), not by their name or folder: an operator may have moved
        them, and the folder in the wish may have changed since. Cheap enough to be asked among thousands of others.
        """

    async def clone(
        self, wish: MachineWish, placement: Placement, *, note: NoteTask, noted: str | None
    ) -> CloudMachine:
        """Clone a machine, powered off, and return it. Looks first: one with that instance UUID is adopted.

        `note` is given the task's id as soon as there is one; `noted` is the id an interrupted attempt wrote
        down, which is waited for if the cloud still knows it. A half-made machine is completed (guest data
        written) before it is returned. Raises NameTakenError, MachineInaccessibleError, CloudTaskError and the
        rest.
        """

    async def settle(self, noted: str) -> None:
        """Wait until a noted task has ended, well or badly; returns at once when the cloud no longer knows it.

        Who gives up on machines whose clones were cut settles those first: a clone goes on without us, and
        `machines` need not show what it is still making.
        """

    async def settle_unnoted(self) -> None:
        """Wait until every clone that this account has under way at this moment has ended, well or badly.

        For who was cut between asking for a clone and writing its task down: nobody knows which task it is.
        """

    async def power_on(self, machine: CloudMachine) -> None:
        """Power the machine on; does nothing when it is on."""

    async def address(self, machine: CloudMachine) -> str:
        """Wait until the machine's tools report a usable address and return it; the caller sets the limit.

        Loopback, link-local, unspecified and multicast addresses are not usable. Raises MachineGoneError.
        """

    async def remove(self, machine: CloudMachine) -> None:
        """Power the machine off, hard, and destroy it with its disks; does nothing when it is gone."""

    async def tidy(self, cluster: UUID, cluster_name: str, placement: Placement) -> None:
        """Remove what was made for the cluster besides machines: its folder, wherever in the datacenter.

        Does nothing when it is gone. Raises FolderNotEmptyError, and leaves the folder, when something is in it:
        machines that are not the cluster's, or can no longer be told to be (their marks lost, or inaccessible).
        """


Connect = Callable[[str], AbstractAsyncContextManager[Cloud]]
"""Signs in to the account of that name; leaving signs out. Raises the errors above and AccountUnknownError."""
