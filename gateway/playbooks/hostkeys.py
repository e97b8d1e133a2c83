"""This file is how a machine's SSH host key is forgotten when the machine is removed.

The next machine of that name is another one and has another key; without this it would be taken for an impostor.
"""

from pathlib import Path

from gateway.kit.files import write_whole


def forget(known_hosts: Path, name: str) -> None:
    """Strike every key filed under `name` out of the file; does nothing when there is none."""
    if not known_hosts.exists():
        return
    lines = known_hosts.read_text().splitlines(keepends=True)
    kept = [line for line in lines if name not in line.split(" ", 1)[0].split(",")]
    if kept != lines:
        write_whole(known_hosts, "".join(kept).encode())
