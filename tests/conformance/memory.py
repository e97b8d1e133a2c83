"""This file is the conformance suite's eye and hand in the cloud in memory."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.clouds.port import Cloud
from tests.conformance.world import TEMPLATE, Seen
from tests.fakes.cloud import MemoryCloud


@dataclass(slots=True)
class MemoryWorld:
    cloud: MemoryCloud = field(default_factory=lambda: MemoryCloud(boot_seconds=math.inf))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Cloud]:
        async with self.cloud.connect("lab") as connection:
            yield connection

    @asynccontextmanager
    async def connect_with_wrong_password(self) -> AsyncIterator[Cloud]:
        self.cloud.sign_in_refused = True
        async with self.connect() as connection:
            yield connection

    async def machines(self) -> list[Seen]:
        self.cloud.answer()
        return [
            Seen(
                name=one.name,
                folder=one.folder.rpartition("/")[2],
                instance_uuid=one.instance_uuid,
                cpus=one.cpus,
                memory_mib=one.memory_mib,
                powered_on=one.powered_on,
                mac=one.mac,
                guest_metadata=one.guest_metadata,
                guest_userdata=one.guest_userdata,
            )
            for one in self.cloud.machines.values()
        ]

    async def folders(self) -> list[str]:
        return sorted(one.rpartition("/")[2] for one in self.cloud.folders)

    async def add_folder(self, name: str) -> None:
        self.cloud.folders.add(name)

    async def remove_folder(self, name: str) -> None:
        self.cloud.folders.discard(name)

    async def sessions(self) -> int:
        return self.cloud.sessions

    async def end_sessions(self) -> None:
        """Sessions in memory do not end by themselves."""

    async def add_stranger(self, name: str, *, folder: str) -> None:
        self.cloud.add_foreign(name, folder)

    async def add_template(self, path: str) -> None:
        self.cloud.templates.add(path)

    async def remove_templates(self) -> None:
        self.cloud.templates = {TEMPLATE}

    async def destroy(self, name: str) -> None:
        self.cloud.vanish(name)

    async def move(self, name: str, *, folder: str) -> None:
        self.cloud.folders.add(folder)
        self.cloud.named(name).folder = folder

    async def strip(self, name: str) -> None:
        self.cloud.named(name).owner = None

    async def give_address(self, name: str, address: str) -> None:
        for one in self.cloud.machines.values():
            if one.name == name:
                one.address = address

    async def slow_clones(self, seconds: float) -> None:
        self.cloud.clone_seconds = seconds

    async def fail_next_clone(self) -> None:
        self.cloud.failing_clones.add(self.cloud.clones_begun + 1)
