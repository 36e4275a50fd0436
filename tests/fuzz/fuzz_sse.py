"""Fuzzes the event stream parser and the step protocol with atheris: `./run fuzz -max_total_time=60`.

Arguments are libFuzzer's. An input that fails is written to the working directory; give its path to try it again.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["noukai_sdk"]):
    from tests.fuzz.target import SEEDS, one_input


def main() -> None:
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as corpus:
        arguments = sys.argv
        if all(argument.startswith("-") for argument in sys.argv[1:]):
            for number, seed in enumerate(SEEDS):
                (Path(corpus) / f"seed-{number}").write_bytes(seed)
            arguments = [*sys.argv, corpus]
        atheris.Setup(arguments, one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
