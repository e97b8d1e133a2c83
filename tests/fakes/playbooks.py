"""This file is Ansible in memory: it remembers what it was asked to run."""

import asyncio
from dataclasses import dataclass, field

from gateway.playbooks.port import OnTask, PlaybookResult, PlaybookRun, TaskSeen


@dataclass
class MemoryPlaybooks:
    """Runs nothing and says that all is well, or raises `fails` if it is set."""

    runs: list[PlaybookRun] = field(default_factory=list)
    fails: Exception | None = None

    async def run(self, run: PlaybookRun, *, on_task: OnTask) -> PlaybookResult:
        self.runs.append(run)
        for target in run.targets:
            await on_task(TaskSeen(target=target.name, task="a task", changed=True, done=1))
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        names = [target.name for target in run.targets]
        return PlaybookResult(facts={name: {"os": "Debian"} for name in names}, changed=dict.fromkeys(names, 1))
