"""This file is a TPM for tests: Debian's swtpm, a whole TPM 2.0 in a process, with a seed of its own each."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

PATIENCE = 20
LOOK_EVERY = 0.02

needed = pytest.mark.skipif(
    shutil.which("swtpm") is None or find_spec("tpm2_pytss") is None,
    reason="no TPM to try with: Debian's swtpm, or the extra tpm, is not installed",
)


@contextmanager
def running(state: Path) -> Iterator[str]:
    """Run a TPM that keeps its seed in `state`, and yield how it is reached."""
    state.mkdir(exist_ok=True)
    port = _free_neighbours()
    address = "bindaddr=127.0.0.1"
    with ExitStack() as stack:
        process = subprocess.Popen(
            [
                *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init,startup-clear"),
                *("--server", f"type=tcp,port={port},{address}", "--ctrl", f"type=tcp,port={port + 1},{address}"),
            ],
        )
        stack.callback(process.wait, timeout=PATIENCE)
        stack.callback(process.terminate)
        _until_it_listens(process, port)
        yield f"swtpm:host=127.0.0.1,port={port}"


def _until_it_listens(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(LOOK_EVERY)
        else:
            return
    raise AssertionError("swtpm does not come up")


def _free_neighbours() -> int:
    """Return the first of two free ports next to each other: that is where a client looks for the second."""
    for _ in range(100):
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port
    raise AssertionError("there are no two free ports next to each other")
