"""This file is the map of a lab: its addresses, and what lies where in its directory.

<state>/<name>/            0700
  birth.json               written by whoever starts the lab: number, process, times
  status.json              written by the supervisor, whole, at each change
  supervisor.log  vcenter.log  dnsmasq.log
  password  tls.crt  tls.key  control.sock
  modules/                 /lib/modules of every machine
  machines/<moid>/         upper/ work/ root/ (mount point) containerd/ guestinfo.env console.log
"""

from dataclasses import dataclass
from pathlib import Path

BRIDGE = "dc0"
GATEWAY_ADDRESS = "10.213.0.1"
VCENTER_ADDRESS = "10.213.0.2"
NETWORK_BITS = 24
DHCP_FIRST, DHCP_LAST = "10.213.0.50", "10.213.0.199"
DOMAIN = "dc.lab"
VCENTER_NAME = f"vcenter.{DOMAIN}"
DOOR = "127.0.0.1:8080"
"""vCenter's second entrance, for the hypervisor alone; loopback, so no machine reaches it."""

USER = "administrator@vsphere.local"
DOOR_USER = "hypervisor@lab"
TEMPLATE = "debian-12"

LARGEST_NUMBER = 254


def uplink_outside(number: int) -> str:
    """Return the address at which the root namespace can be reached from inside lab `number`."""
    return f"10.214.{number}.1"


def uplink_inside(number: int) -> str:
    """Return lab `number`'s own address on its uplink."""
    return f"10.214.{number}.2"


def uplink_interface(number: int) -> str:
    """Return the name of the uplink's end in the root namespace; whoever has made it owns the number."""
    return f"pcglab{number}"


def group_name(name: str, number: int) -> str:
    """Return the name of a lab's cgroups."""
    return f"{name}-{number}"


@dataclass(frozen=True, slots=True)
class LabDirectory:
    """Where each file of one lab lies."""

    path: Path

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.path.name

    @property
    def birth(self) -> Path:
        """How the lab was started."""
        return self.path / "birth.json"

    @property
    def status(self) -> Path:
        """How the lab is."""
        return self.path / "status.json"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor and the hypervisor say."""
        return self.path / "supervisor.log"

    @property
    def password(self) -> Path:
        """The password of vCenter's users."""
        return self.path / "password"

    @property
    def certificate(self) -> Path:
        """vCenter's certificate, its own authority."""
        return self.path / "tls.crt"

    @property
    def key(self) -> Path:
        """vCenter's private key."""
        return self.path / "tls.key"

    @property
    def control(self) -> Path:
        """The socket for fault rules."""
        return self.path / "control.sock"

    @property
    def modules(self) -> Path:
        """What machines see as /lib/modules."""
        return self.path / "modules"

    @property
    def machines(self) -> Path:
        """One directory a machine."""
        return self.path / "machines"
