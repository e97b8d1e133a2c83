"""This file is how the lab runs other programs, and how it says that one failed."""

import asyncio
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gateway.kit.errors import GatewayError, Remedy

DEFAULT_LIMIT = 60.0


class ProgramFailedError(GatewayError):
    """A program the lab relies on ended with an error."""

    code = "lab.program_failed"
    remedy = Remedy.OPERATOR


def run(
    argv: Sequence[str | Path],
    *,
    limit: float = DEFAULT_LIMIT,
    where: Path | None = None,
) -> str:
    """Run `argv` to its end within `limit` seconds and return its standard output.

    Raises ProgramFailedError with the end of its error output.
    """
    try:
        done = subprocess.run(
            [str(part) for part in argv],
            capture_output=True,
            text=True,
            timeout=limit,
            cwd=where,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise ProgramFailedError(f"{argv[0]} could not be run to its end: {fault}") from fault
    if done.returncode != 0:
        raise _failed(argv, done.returncode, done.stderr or done.stdout)
    return done.stdout


async def run_soon(argv: Sequence[str | Path], *, limit: float = DEFAULT_LIMIT) -> str:
    """Do as `run` does, without keeping the event loop; cancellation ends the program."""
    process = await asyncio.create_subprocess_exec(
        *(str(part) for part in argv),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limit):
            output, errors = await process.communicate()
    except TimeoutError as fault:
        raise ProgramFailedError(f"{argv[0]} did not end within {limit:.0f} s") from fault
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise _failed(argv, process.returncode or 1, errors.decode(errors="replace"))
    return output.decode(errors="replace")


def _failed(argv: Sequence[str | Path], status: int, errors: str) -> ProgramFailedError:
    told = " | ".join(errors.strip().splitlines()[-5:])
    words = " ".join(str(part) for part in argv[:4])
    return ProgramFailedError(f"{words} ended with status {status}: {told}", program=str(argv[0]), status=status)
