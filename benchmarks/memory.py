"""Memory and time of training adapters on a small language model, beside PEFT: python -m benchmarks.memory [--quick].

A language model of the shape of SmolLM2-135M reads 8 rows of up to 124 tokens, of which the first 49 are a picture's
embeddings and all others are learnt. Both have the same random weights and adapters of rank 16 that begin alike, and must
give the same losses over the first steps. Each works in a process of its own, in turns with the other.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks._harness import Entry, Result, environment, last_core, race, table
from benchmarks._shapes import SHAPES, Work

SHAPE = SHAPES["135M"]
WORK = Work("adapt", 8, 124, 75)
LAYERS = {"qv": "queries and values", "all": "every linear layer"}
MOST_GB = 2.0
_ROOT = Path(__file__).parent.parent
HEADER = ("adapters on", "who", "peak above the weights, GB", "CPU seconds a step", "beside PEFT", "aim")


def rows(layers: str, results: Sequence[Result]) -> list[list[str]]:
    """The weights are what the model has without adapters."""
    found = []
    for one in results:
        above = one.megabytes * 2**20 / 1e9 - 4 * one.parameters / 1e9
        speed = results[0].seconds / one.seconds
        aim = f"{MOST_GB:g} GB, 1.00" if one is results[-1] else ""
        found.append([LAYERS[layers], one.name, f"{above:.2f}", f"{one.seconds:.2f}", f"{speed:.2f}", aim])
        print(f"# {' '.join(found[-1])}", file=sys.stderr, flush=True)
    return found


def main() -> list[list[str]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each contestant")
    parser.add_argument("--quick", action="store_true", help="queries and values only, three rounds")
    parser.add_argument("--core", type=int, default=last_core(), help="the core that both are bound to")
    given = parser.parse_args()
    kinds, rounds = (["qv"], 3) if given.quick else (list(LAYERS)[::-1], given.rounds)
    found = []
    with tempfile.TemporaryDirectory() as name:
        code = (
            "import sys, pathlib; from benchmarks import _peft, _shapes; "
            "_peft.write_weights(_shapes.SHAPES[sys.argv[1]], pathlib.Path(sys.argv[2]))"
        )
        subprocess.run(
            [sys.executable, "-c", code, SHAPE.name, name], check=True, cwd=_ROOT, env=environment()
        )
        for layers in kinds:
            who = [
                Entry("Transformers and PEFT", "benchmarks._peft", layers),
                Entry("sightweave", "benchmarks._adapters", layers),
            ]
            results = race(who, SHAPE, WORK, Path(name), rounds=rounds, core=given.core, warm=5)
            found += rows(layers, results)
    return found


if __name__ == "__main__":
    from sightweave.core.device import processor_name

    cells = main()
    print(f"\n{processor_name()}, one core, fp32\n\n{table(HEADER, cells)}")
