"""This file is fuzzing by hand: `python -m tests.fuzz SECONDS [TARGET…]` divides the time among the targets."""

import sys

from tests.fuzz.running import fuzz
from tests.fuzz.targets import TARGETS


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    chosen = sys.argv[2:] or list(TARGETS)
    for name in chosen:
        done = fuzz(name, max(1, seconds // len(chosen)))
        sys.stdout.write(done.stderr[-2000:])
        if done.returncode:
            sys.exit(f"{name}: the fuzzer found something; the bytes are in the file it names")


if __name__ == "__main__":
    main()
