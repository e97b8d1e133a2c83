"""This file is a console in a process of its own: `python -m tests.unit.tunnel.attacked DIRECTORY` says its port."""

import asyncio
import sys
from pathlib import Path

from tests.fakes.ends import Ends
from tests.unit.tunnel.sessions import console, echo


async def main() -> None:
    async with console(Ends(Path(sys.argv[1])), on_stream=echo) as end:
        sys.stdout.write(f"{end.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
