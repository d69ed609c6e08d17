"""How long a training of two threads takes next to busy programs: python -m benchmarks.neighbours [--rounds 5] [--steps 3].

For each way in which threads may wait at the barriers of OpenMP, a process trains the small model of the quick demo with two
threads; one more process trains with one thread. The processes take turns: each makes a few updates alone, then the same
number next to a busy loop that may run on any core, next to one that is bound to a core, and next to two. Each time is
divided by the time of the first row's process alone in the same round, with the same batches. The table has medians and
ranges over the rounds. Other programs that run meanwhile disturb it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks._harness import table

_ROOT = Path(__file__).parent.parent
_RECIPE = _ROOT / "recipes" / "demo_quick.yaml"
_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")

ONE = "one thread"
SETTINGS: dict[str, dict[str, str]] = {
    "default of libgomp": {"GOMP_SPINCOUNT": "300000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=PASSIVE (ours)": {"OMP_WAIT_POLICY": "PASSIVE"},
    ONE: {},
}
"""The environment of each process, by the name of its row."""
LOADS = ("alone", "busy loop", "busy loop on one core", "two busy loops")


class Training:
    """A training in a process of its own, which makes updates on demand."""

    def __init__(self, name: str, threads: int, folder: Path) -> None:
        others = {key: value for key, value in os.environ.items() if key not in _VARIABLES}
        paths = os.pathsep.join(
            filter(None, [str(_ROOT / "src"), str(_ROOT), os.environ.get("PYTHONPATH", "")])
        )
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.neighbours",
                "--child",
                str(folder),
                "--threads",
                str(threads),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env={**others, **SETTINGS[name], "PYTHONPATH": paths},
        )

    def steps(self, count: int) -> float:
        """Makes some updates; returns the seconds that they took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the training ended with status {self._process.wait()}")
        return float(json.loads(line))

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def load(kind: str) -> Iterator[None]:
    """A busy loop for the duration of the block, or nothing if the kind is "alone"."""
    if kind == LOADS[0]:
        yield
        return

    core = max(os.sched_getaffinity(0))
    bind = f"import os; os.sched_setaffinity(0, {{{core}}})\n" if kind == LOADS[2] else ""
    count = 2 if kind == LOADS[3] else 1
    loops = [subprocess.Popen([sys.executable, "-c", f"{bind}while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.2)  # until they have started
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--steps", type=int, default=3, help="updates in each turn (default: 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads of the training (default: 2)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _train(options.child, options.threads)
        return

    times: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        trainings: dict[str, Training] = {}
        for number, name in enumerate(SETTINGS):
            threads = 1 if name == ONE else options.threads
            trainings[name] = Training(name, threads, Path(folder) / str(number))
            stack.callback(trainings[name].close)
            trainings[name].steps(2)  # the first updates allocate memory

        for number in range(options.rounds):
            for kind in LOADS:
                for name, training in trainings.items():
                    with load(kind):
                        times.setdefault((name, kind), []).append(training.steps(options.steps))
            print(f"# round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)

    _show(times, options.steps)


def _show(times: Mapping[tuple[str, str], list[float]], steps: int) -> None:
    first = times[next(iter(SETTINGS)), LOADS[0]]
    rows = []
    for name in SETTINGS:
        cells = [name, f"{statistics.median(times[name, LOADS[0]]) / steps:.3f} s"]
        for kind in LOADS:
            ratios = [one / other for one, other in zip(times[name, kind], first, strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        rows.append(cells)
    print(table(["threads wait by", "an update alone", *LOADS], rows))


# What runs in the process of a training.


def _train(folder: Path, threads: int) -> None:
    """Trains; before each update, waits until it is asked for."""
    import sightweave

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    left, began = 0, 0.0

    def report(_row: Mapping[str, Any]) -> None:
        nonlocal left, began
        left -= 1
        if left > 0:
            return
        if began:
            answers.write(f"{time.perf_counter() - began}\n")
            answers.flush()
        left, began = int(sys.stdin.readline()), time.perf_counter()

    sightweave.train(
        str(_RECIPE),
        "train.stages.0.steps=1",
        "train.stages.1.steps=100000",
        "train.log_every=1",
        "train.validate_every=0",
        "train.check=false",
        f"train.num_threads={threads}",
        out=folder,
        evaluate=False,
        progress=report,
    )


if __name__ == "__main__":
    main()
