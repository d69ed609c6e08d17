"""Evaluating a run with all controls, beside an older checkout: python -m benchmarks.evaluate --against PATH [--quick].

Both evaluate the same run from nothing, in turns and on one core: pictures are drawn, answers asked in every pass, scores
computed, and the report written. Without ``--run`` a run is trained first (``recipes/demo_quick.yaml``, some minutes).
Before anything is timed, both must give the same answer wherever they asked the same prompt with the same picture, but for
ties: answers of one likelihood.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._harness import ONE_THREAD, last_core, table

CONTROLS = ("no_image", "shuffled_image", "blank_image", "other_sense")
MARK = 1.5
_ROUNDING = 1e-3
_MOST_TIES = 1e-4
"""Share of prompts with two answers that are equally likely."""
_ROOT = Path(__file__).parent.parent
_SERVE = """
import json, os, resource, sys, time
run, controls, core = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
if core >= 0:
    os.sched_setaffinity(0, {core})
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import torch
torch.set_num_threads(1)
from sightweave import api
for line in sys.stdin:
    command = json.loads(line)
    wall, cpu = time.perf_counter(), time.process_time()
    # The old name of max_images, which older checkouts have.
    api.evaluate(run, pictures=command["pictures"], controls=controls, out=command["out"], fresh=True)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answers.write(json.dumps({"cpu": cpu, "wall": wall, "megabytes": peak}) + "\\n")
    answers.flush()
"""
Said = dict[tuple[str, ...], tuple[str, float]]
"""Answer and log-probability by (split, id, pass, picture)."""


class Process:
    """One checkout's evaluation in its own process on one core."""

    def __init__(self, checkout: Path, run: Path, core: int) -> None:
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(checkout / "src")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(run), ",".join(CONTROLS), str(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def evaluate(self, pictures: int, out: Path) -> dict[str, float]:
        """CPU and wall seconds of one evaluation, and the peak of memory so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"pictures": pictures, "out": str(out)}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"an evaluation ended with exit code {self._process.wait()}")
        found: dict[str, float] = json.loads(line)
        return found

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def said(folder: Path) -> Said:
    """What was said in every pass."""
    found: Said = {}
    for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").split("\n"):
        if not line:
            continue
        row = json.loads(line)
        passes: dict[str, Any] = {"image": row, **row["controls"]}
        for name, one in passes.items():
            found[row["split"], row["id"], name, one["image"]] = one["answer"], one["logprob"]
    return found


def compare(first: Said, second: Said) -> int:
    """The number of prompts that both asked, once all of their answers agree."""
    common = first.keys() & second.keys()
    ties = 0
    for key in sorted(common):
        (answer, logprob), (other, other_logprob) = first[key], second[key]
        ties += answer != other
        # Two answers that are equally likely but for rounding may change places; more than a few are a fault.
        if abs(logprob - other_logprob) > _ROUNDING or ties > _MOST_TIES * len(common):
            raise SystemExit(
                f"the answers to {key} differ: {answer!r} ({logprob:.4f}) and {other!r} ({other_logprob:.4f})"
            )
    if 2 * len(common) < max(len(first), len(second)):
        raise SystemExit(f"only {len(common)} of {len(first)} and {len(second)} prompts are the same")
    return len(common)


def race(checkouts: dict[str, Path], run: Path, pictures: int, rounds: int, core: int) -> list[list[str]]:
    """Takes turns; the first turn of each is compared and not timed."""
    with tempfile.TemporaryDirectory() as name:
        folders = {who: Path(name) / str(number) for number, who in enumerate(checkouts)}
        processes = {who: Process(checkout, run, core) for who, checkout in checkouts.items()}
        times: dict[str, list[dict[str, float]]] = {who: [] for who in checkouts}
        for number in range(1 + rounds):
            for who, process in processes.items():
                times[who].append(process.evaluate(pictures, folders[who]))
                print(f"# round {number}, {who}: {times[who][-1]['cpu']:.2f} CPU s", file=sys.stderr)
            if not number:
                count = compare(*map(said, folders.values()))
                print(f"# {count} answers agree", file=sys.stderr)
        for process in processes.values():
            process.close()
    medians = {
        who: {key: statistics.median(one[key] for one in each[1:]) for key in each[0]}
        for who, each in times.items()
    }
    measure = next(iter(medians.values()))
    return [
        [
            f"evaluate, {pictures} pictures a split",
            who,
            f"{one['cpu']:.2f}",
            f"{measure['cpu'] / one['cpu']:.2f}",
            f"{measure['wall'] / one['wall']:.2f}",
            f"{one['megabytes']:.0f}",
            "" if one is measure else f"{MARK}",
        ]
        for who, one in medians.items()
    ]


def train(folder: Path) -> Path:
    """A run to evaluate."""
    recipe = _ROOT / "recipes" / "demo_quick.yaml"
    command = [sys.executable, "-m", "sightweave", "train", str(recipe), "--out", str(folder)]
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(_ROOT / "src")}
    settings = ["train.num_threads=1", "evaluate.max_images=1"]
    subprocess.run([*command, *settings], check=True, env=environment, stdout=sys.stderr)
    return folder


def main() -> list[list[str]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, required=True, metavar="PATH", help="the older checkout")
    parser.add_argument(
        "--run", type=Path, metavar="PATH", help="the run to evaluate; by default one is trained"
    )
    parser.add_argument("--pictures", type=int, default=200, help="pictures of each split")
    parser.add_argument("--rounds", type=int, default=3, help="timed evaluations by each checkout")
    parser.add_argument("--quick", action="store_true", help="40 pictures")
    parser.add_argument("--core", type=int, default=last_core(), help="the core that both are bound to")
    given = parser.parse_args()
    checkouts = {"before": given.against.resolve(), "now": _ROOT}
    with tempfile.TemporaryDirectory() as name:
        run = given.run or train(Path(name) / "run")
        pictures = 40 if given.quick else given.pictures
        return race(checkouts, run.resolve(), pictures, given.rounds, given.core)


HEADER = ("work", "who", "CPU seconds", "speed by CPU time", "by wall time", "peak MB", "aim")

if __name__ == "__main__":
    rows = main()
    print(table(HEADER, rows))
