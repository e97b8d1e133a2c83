"""This file is what cloud-init is told at a machine's first boot: who may sign in, its name, its network; pure.

Everybody who can read the virtual machine can read this, so nothing in it is secret. Texts are made by a JSON
dumper, and JSON is YAML: no value can break out of its place.
"""

import json
from uuid import UUID

from pydantic import JsonValue

from gateway.clouds.port import MAC_PLACEHOLDER

USER = "pcg"
"""The user that Ansible signs in as. It is Ansible's alone: each run ends every other session of it."""

_LOGIND = "/etc/systemd/logind.conf.d/50-pcg.conf"
_SESSIONS = "/etc/systemd/system/session-.scope.d/50-pcg.conf"
_SSHD = "/etc/ssh/sshd_config.d/10-pcg.conf"

_FILES = {
    # A session's end takes everything in it along, what sudo started too: no module outlives its connection.
    _LOGIND: "[Login]\nKillUserProcesses=yes\n",
    # Whoever ignores the polite signal gets the other one after this, not after systemd's 90 seconds.
    _SESSIONS: "[Scope]\nTimeoutStopSec=5s\n",
    # A connection that died without a word is noticed within 45 seconds. sshd takes the first value it reads,
    # so this file must sort before cloud-init's own (50-cloud-init.conf).
    _SSHD: (
        "ClientAliveInterval 15\nClientAliveCountMax 3\nTCPKeepAlive yes\nUsePAM yes\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\n"
    ),
}

_TAKE_EFFECT = (
    # All is written before logind and sshd first start where cloud-init runs as early as Debian and Ubuntu have it.
    # For templates in which it does not; harmless where it does.
    "systemctl daemon-reload",
    "loginctl show-session | grep -qx KillUserProcesses=yes || systemctl try-restart systemd-logind.service",
    "systemctl try-reload-or-restart ssh.service sshd.service 2>/dev/null || true",
)


def user_data(*, authorized_key: str) -> str:
    """Return the cloud-config for a machine that the appliance, holder of that key's other half, may set up."""
    user: dict[str, JsonValue] = {
        "name": USER,
        "gecos": "private cloud gateway",
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "lock_passwd": True,
        "ssh_authorized_keys": [authorized_key.strip()],
    }
    files: list[JsonValue] = [
        {"path": path, "content": content, "owner": "root:root", "permissions": "0644"}
        for path, content in _FILES.items()
    ]
    config: dict[str, JsonValue] = {
        "users": [user],  # without "default" in the list, the template's own first user is not made
        "disable_root": True,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,  # a template's host keys would be shared by all its clones
        "no_ssh_fingerprints": True,
        "preserve_hostname": False,
        "locale": False,  # it needs a package that small templates lack, and then reports an error
        "manage_etc_hosts": False,  # ours to write, by Ansible
        "package_update": False,
        "package_upgrade": False,
        "apt": {"preserve_sources_list": True},
        "write_files": files,
        "runcmd": [["sh", "-c", command] for command in _TAKE_EFFECT],
    }
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def meta_data(*, instance: UUID, host_name: str) -> str:
    """Return cloud-init's instance data; the MAC address in it is still to be filled in (MAC_PLACEHOLDER)."""
    interface: dict[str, JsonValue] = {
        "match": {"macaddress": MAC_PLACEHOLDER},
        "dhcp4": True,
        "dhcp-identifier": "mac",  # by default it comes from the machine id, which careless templates share
    }
    told: dict[str, JsonValue] = {
        "instance-id": str(instance),
        "local-hostname": host_name,
        "wait-on-network": {"ipv4": True},
        "network": {"version": 2, "ethernets": {"first": interface}},
    }
    return json.dumps(told, indent=1) + "\n"
