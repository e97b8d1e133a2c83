"""This file is how a test is in a network namespace for a moment, and calls out of one."""

import asyncio
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.tunnel.roads import tune

CLONE_NEWNET = 0x40000000


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Be in a network namespace while the body runs: a socket stays in the one that it was made in."""
    libc = ctypes.CDLL(None, use_errno=True)
    home, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        assert libc.setns(there, CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert libc.setns(home, CLONE_NEWNET) == 0
    finally:
        os.close(home)
        os.close(there)


@dataclass(frozen=True)
class RoadFrom:
    """The road out of a namespace."""

    namespace: str

    async def connect(self, host: str, port: int) -> socket.socket:
        with inside(self.namespace):
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        tune(made)
        try:
            async with asyncio.timeout(15):
                await asyncio.get_running_loop().sock_connect(made, (host, port))
        except BaseException:
            made.close()
            raise
        return made
