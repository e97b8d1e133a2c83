"""This file is how one waits until a machine that has just booted answers on its SSH port."""

import asyncio

from gateway.kit.clock import Clock
from gateway.playbooks.port import PlaybookUnreachableError, Target

ASK_EVERY = 0.5
ANSWER_WITHIN = 5.0


async def until_all_answer(targets: list[Target], *, port: int, within: float, clock: Clock) -> None:
    """Wait until every target greets as SSH does; `within` is seconds. Raises PlaybookUnreachableError."""
    silent = {target.name: target for target in targets}
    try:
        async with asyncio.timeout(within), asyncio.TaskGroup() as group:
            for target in targets:
                group.create_task(_until_one_answers(target, silent, port=port, clock=clock))
    except TimeoutError as fault:
        first = next(iter(silent.values()))
        raise PlaybookUnreachableError(
            f"machine {first.name} does not answer on port {port} of {first.address} after {within:.0f} seconds: "
            "see on its console whether it has booted, and whether a firewall stands between",
            machine=first.name,
        ) from fault


async def _until_one_answers(target: Target, silent: dict[str, Target], *, port: int, clock: Clock) -> None:
    while not await _greets(target.address, port):
        await clock.sleep(ASK_EVERY)
    del silent[target.name]


async def _greets(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            reader, writer = await asyncio.open_connection(address, port, limit=1024)
            try:
                return await reader.readexactly(4) == b"SSH-"
            finally:
                writer.close()
    except (OSError, EOFError):  # TimeoutError is an OSError
        return False
