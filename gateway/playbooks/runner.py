"""This file is the first process of a run's own namespaces: it drives ansible-runner and dies with the appliance.

As process 1 of its namespace it takes every other process of the run with it when it ends, however it ends;
the kernel sees to that. It ends when Ansible does, when it is killed, or when its standard input ends, which
is when the appliance that holds the other end is gone.

What is not obvious about ansible-runner (2.4.3): it copies this process's environment to
`artifacts/<id>/command`, which is why ours is made by the appliance from nothing; it turns host key checking
off unless told otherwise; it stalls when an event handler does, which is why ours only enqueues.
"""

import collections
import os
import queue
import resource
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

import ansible_runner

from gateway.playbooks import events, wire
from gateway.playbooks.mounts import close_the_door

SSH_OPTIONS = (
    "-F /dev/null -o ControlMaster=auto -o ControlPersist=60s -o BatchMode=yes -o IdentitiesOnly=yes "
    "-o IdentityAgent=none -o ForwardAgent=no -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={known_hosts} "
    "-o GlobalKnownHostsFile=/dev/null -o HashKnownHosts=no -o CheckHostIP=no -o UpdateHostKeys=no -o LogLevel=ERROR "
    "-o ServerAliveInterval=15 -o ServerAliveCountMax=3"
)


class Reporter:
    """Writes lines to the appliance from a thread of its own, so that a slow reader never stalls Ansible."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        # Unbounded, and bounded after all: by the number of a playbook's tasks times its machines.
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def say(self, line: wire.Line) -> None:
        """Have the line written soon."""
        self._lines.put(wire.write_line(line))

    def finish(self) -> None:
        """Wait until everything is written."""
        self._lines.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            self._stream.write(line)
            self._stream.flush()


class Listener:
    """Takes ansible-runner's events."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._said: collections.deque[str] = collections.deque(maxlen=12)
        self._stats: dict[str, Any] = {}

    def __call__(self, event: dict[str, Any]) -> bool:
        """Report what matters of an event; returning False keeps ansible-runner from writing it to a file."""
        for line in events.lines_of(event):
            self._reporter.say(line)
        kind = event.get("event", "")
        if kind == "playbook_on_stats":
            self._stats = event.get("event_data") or {}
        elif not kind.startswith(("runner_", "playbook_")) and event.get("stdout"):
            self._said.append(event["stdout"])
        return False

    def ended(self, exit_code: int) -> wire.Ended:
        """Return the last line of the run."""
        return wire.Ended(
            exit_code=exit_code,
            failed=events.machines_in(self._stats, "failures"),
            unreachable=events.machines_in(self._stats, "dark"),
            said=wire.printable(" ".join(self._said)),
        )


def lay_out(private: Path, order: wire.Order) -> dict[str, str]:
    """Write what Ansible reads into the private directory and return Ansible's own environment variables."""
    for name in ("env", "home", "sockets", "tmp"):
        (private / name).mkdir(mode=0o700)
    (private / "hosts.json").write_text(order.inventory)
    (private / "env" / "extravars").write_text(order.variables)
    (private / "key").symlink_to(order.ssh_key)
    (private / "known_hosts").symlink_to(order.known_hosts)
    return {
        "PATH": f"{Path(order.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(private / "home"),
        "TMPDIR": str(private / "tmp"),
        "ANSIBLE_CONFIG": str(Path(order.project) / "ansible.cfg"),
        "ANSIBLE_HOME": str(private / "home" / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(private / "tmp"),
        "ANSIBLE_PRIVATE_KEY_FILE": str(private / "key"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(private / "sockets"),
        "ANSIBLE_SSH_ARGS": SSH_OPTIONS.format(known_hosts=private / "known_hosts"),
    }


def carry_out(order: wire.Order, reporter: Reporter) -> None:
    """Run the playbook and report."""
    private = close_the_door(writable=Path(order.known_hosts))
    listener = Listener(reporter)
    outcome = ansible_runner.run(
        private_data_dir=str(private),
        project_dir=order.project,
        playbook=f"playbooks/{order.playbook}.yml",
        inventory=str(private / "hosts.json"),
        envvars=lay_out(private, order),
        forks=order.forks,
        fact_cache_type="none",
        quiet=True,
        settings={"suppress_output_file": True},
        ident="run",
        event_handler=listener,
    )
    reporter.say(listener.ended(outcome.rc))


def _first_line() -> bytes:
    read = b""
    while not read.endswith(b"\n"):
        chunk = os.read(0, 65536)
        if not chunk:
            sys.exit("the appliance has gone before it gave an order")
        read += chunk
    return read


def _die_with_the_appliance() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


def main() -> None:
    """Read the order, carry it out, and end; what Ansible prints never mixes with what we say."""
    if os.getpid() != 1:
        sys.exit("this is the first process of a namespace that the appliance makes; it cannot be run by hand")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reporter = Reporter(os.fdopen(os.dup(1), "wb"))  # dup gives a descriptor that no child inherits
    os.dup2(2, 1)
    order = wire.read_order(_first_line())
    threading.Thread(target=_die_with_the_appliance, daemon=True).start()
    try:
        carry_out(order, reporter)
    except Exception as fault:  # noqa: BLE001 - the top of a process; the appliance is told and the process ends
        said = wire.printable(f"{type(fault).__name__}: {fault}")
        reporter.say(wire.Ended(exit_code=1, failed=[], unreachable=[], said=said))
    reporter.finish()
    os._exit(0)  # not sys.exit: nothing may hold the end up


if __name__ == "__main__":
    main()
