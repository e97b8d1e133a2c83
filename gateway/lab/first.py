"""This file is process 1 of a lab: it adopts and reaps orphans, and ends with its one child.

It does nothing else, so that nothing can make it fail; with it, the kernel ends everything in the lab.
"""

import os
import signal
import sys


def main() -> None:
    """Run the program in argv, reap whatever becomes an orphan, and exit when the program has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for whoever started the lab
    child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)  # noqa: TID251 - handed on
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while os.wait()[0] != child:
        pass


if __name__ == "__main__":
    main()
