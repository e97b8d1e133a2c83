"""This file is one run of the fuzzer: `python -m tests.fuzz.fuzz_one TARGET [libFuzzer's options] [corpus…]`."""

import sys

import atheris  # type: ignore[import-untyped,unused-ignore]

with atheris.instrument_imports(include=["gateway.tunnel", "gateway.kit.strictjson"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
