"""This file is how the fuzzer is started: in a process of its own, with the seeds, within a time."""

import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
ROOT = Path(__file__).parents[2]
ONE_INPUT_SECONDS, MEGABYTES, LONGEST = 5, 512, 4096
# A process keeps the peak memory of the one it replaced, and libFuzzer reads that peak: what a large test run once held
# would be taken for a hoard of the target's. A shell between them forks, so that the count begins anew.
FORKED = ("sh", "-c", '"$@"; exit $?', "fuzz")


def fuzz(name: str, seconds: int) -> subprocess.CompletedProcess[str]:
    """Fuzz a target for so many seconds; a return code above 0 means that something was found.

    What it learns on the way goes to a directory that is thrown away: the seeds stay few and readable.
    """
    found = ROOT / ".cache" / "fuzz"
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as learned:
        command = [
            *FORKED, sys.executable, "-m", "tests.fuzz.fuzz_one", name,
            f"-max_total_time={seconds}", f"-timeout={ONE_INPUT_SECONDS}", f"-rss_limit_mb={MEGABYTES}",
            f"-max_len={LONGEST}", f"-artifact_prefix={found}/{name}-", "-print_final_stats=1", "-verbosity=0",
            learned, str(CORPUS / name),
        ]  # fmt: skip
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds + 120)
