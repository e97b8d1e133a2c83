"""This file is `python -m tests.simulation`: many seeds, or one that is looked at closely."""

import argparse
import sys

from tests.simulation import many
from tests.simulation.run import one_seed

SEEDS = 100_000


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.simulation")
    arguments.add_argument("--seeds", type=int, default=SEEDS, help="how many seeds to run")
    arguments.add_argument("--first", type=int, default=0, help="the first of them")
    arguments.add_argument("--seed", type=int, help="run this one alone, with its log")
    arguments.add_argument("--until-first", action="store_true", help="stop at the first that breaks a promise")
    given = arguments.parse_args()
    if given.seed is not None:
        outcome = one_seed(given.seed)
        print(outcome)
        sys.exit(1 if outcome.violations else 0)
    seeds = range(given.first, given.first + given.seeds)
    bad, sentence = many.told(seeds, say=True, until_first=given.until_first)
    print(sentence)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
