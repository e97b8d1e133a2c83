"""This file is an appliance in a process of its own: told what to run on standard input, it prints how that ended.

It can be killed, and it can be started in another network.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter

from gateway.kit.clock import SystemClock
from gateway.kit.errors import GatewayError
from gateway.playbooks.ansible import AnsiblePlaybooks
from gateway.playbooks.port import PlaybookRun, TaskSeen

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "tests.integration.playbooks.appliance"]
"""To be started in ROOT."""

runs: TypeAdapter[PlaybookRun] = TypeAdapter(PlaybookRun)


def wish(run: PlaybookRun, *, project: Path, port: int = 22) -> bytes:
    """Return what to write to the process's standard input."""
    told = {"project": str(project), "port": port, "run": runs.dump_python(run, mode="json")}
    return json.dumps(told).encode() + b"\n"


async def main() -> None:
    told = json.loads(sys.stdin.readline())
    playbooks = AnsiblePlaybooks(clock=SystemClock(), project=Path(told["project"]), ssh_port=told["port"])

    async def ignore(_seen: TaskSeen) -> None:
        pass

    try:
        result = await playbooks.run(runs.validate_python(told["run"]), on_task=ignore)
    except GatewayError as error:
        print(json.dumps({"code": error.code, "message": error.message}))  # noqa: T201 - it is how we are heard
    else:
        print(json.dumps(asdict(result)))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
