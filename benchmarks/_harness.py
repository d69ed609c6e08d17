"""Contestants as processes that take turns: one core, medians of CPU time, outputs compared before anything is timed."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks._shapes import SHAPES, Shape, Work

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Entry:
    """Who takes part."""

    name: str
    module: str
    option: str = ""


def entries(nanovlm: str | None) -> list[Entry]:
    """Transformers first: it is the measure of the others."""
    found = [Entry("transformers", "benchmarks._transformers")]
    if nanovlm:
        found.append(Entry("nanovlm", "benchmarks._nanovlm", nanovlm))
    return [*found, Entry("sightweave", "benchmarks._sightweave")]


class Process:
    """One contestant in its own process on one core; told by JSON lines what to do."""

    def __init__(self, entry: Entry, shape: Shape, folder: Path, core: int) -> None:
        self.entry = entry
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks._harness",
                entry.module,
                shape.name,
                str(folder),
                entry.option,
                str(core),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env=environment(),
        )

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.entry.name} ended with exit code {self._process.wait()} on {command}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def environment() -> dict[str, str]:
    """That of this process, with one thread and our own sources first."""
    path = os.pathsep.join(filter(None, [str(_ROOT / "src"), str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": path}


@dataclass
class Result:
    """One contestant's part in one race."""

    name: str
    seconds: float
    """Median of process CPU time of a step."""
    megabytes: float
    """Peak of memory above what it had after its imports."""
    parameters: int
    gflops: float
    """Best matmul of its own process, measured between the steps."""


def race(
    who: Sequence[Entry], shape: Shape, work: Work, folder: Path, *, rounds: int, core: int, warm: int = 2
) -> list[Result]:
    """Takes turns step by step; first makes sure that all give the same."""
    with ExitStack() as stack:
        processes = [stack.enter_context(Process(entry, shape, folder, core)) for entry in who]
        prepared = [process.ask(do="prepare", work=work.plain()) for process in processes]
        for _ in range(max(1, warm)):  # training: the second comparison finds wrong gradients, too
            _compare(who, [process.ask(do="step")["output"] for process in processes])
        memory = [process.ask(do="memory")["megabytes"] for process in processes]
        seconds: list[list[float]] = [[] for _ in who]
        gflops = [0.0] * len(who)
        for _ in range(rounds):
            for index, process in enumerate(processes):
                gflops[index] = max(gflops[index], process.ask(do="matmul")["gflops"])
                seconds[index].append(process.ask(do="step")["cpu"])
    return [
        Result(entry.name, statistics.median(times), megabytes, one["parameters"], best)
        for entry, times, megabytes, one, best in zip(who, seconds, memory, prepared, gflops, strict=True)
    ]


def _compare(who: Sequence[Entry], outputs: Sequence[Mapping[str, Any]]) -> None:
    for entry, output in zip(who[1:], outputs[1:], strict=True):
        for key, value in outputs[0].items():
            first, other = np.asarray(value), np.asarray(output[key])
            if first.shape != other.shape or not np.allclose(first, other, rtol=1e-4, atol=1e-5):
                raise SystemExit(
                    f"{entry.name} and {who[0].name} differ in {key}: {other.tolist()} and {first.tolist()}"
                )


@contextmanager
def weights(shape: Shape) -> Iterator[Path]:
    """A folder with the weights that everybody loads."""
    with tempfile.TemporaryDirectory() as folder:
        code = (
            "import sys, pathlib; from benchmarks import _transformers, _shapes; "
            "_transformers.write_weights(_shapes.SHAPES[sys.argv[1]], pathlib.Path(sys.argv[2]))"
        )
        subprocess.run(
            [sys.executable, "-c", code, shape.name, folder], check=True, cwd=_ROOT, env=environment()
        )
        yield Path(folder)


def last_core() -> int:
    """The core to work on: the last that this process may use."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in [header, *rows]
    ]
    return "\n".join(
        f"| {line} |" for line in [lines[0], " | ".join("-" * width for width in widths), *lines[1:]]
    )


HEADER = ("work", "who", "CPU seconds", "speed", "of the matmul peak", "memory MB", "aim")


def report(name: str, results: Sequence[Result], flops: float | None) -> list[list[str]]:
    """Rows of the table: speed beside the first contestant's, and the share of the best matmul anyone reached."""
    peak = max(result.gflops for result in results)
    rows = []
    for result in results:
        share = "" if flops is None else f"{flops / result.seconds / 1e9 / peak:.0%}"
        speed = results[0].seconds / result.seconds
        rows.append(
            [name, result.name, f"{result.seconds:.3f}", f"{speed:.2f}", share, f"{result.megabytes:.0f}", ""]
        )
        print(f"# {' '.join(rows[-1])}", file=sys.stderr, flush=True)
    return rows


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    who: list[Entry]
    shapes: list[str]
    rounds: int
    core: int


def parse(description: str | None) -> Options:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--nanovlm", metavar="PATH", help="a checkout of nanoVLM, which then takes part, too")
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each contestant")
    parser.add_argument("--quick", action="store_true", help="the small shape only, three rounds")
    parser.add_argument("--core", type=int, default=last_core(), help="the core that all are bound to")
    given = parser.parse_args()
    shapes, rounds = (["4M"], 3) if given.quick else (["95M", "4M"], given.rounds)
    return Options(entries(given.nanovlm), shapes, rounds, given.core)


def show(rows: Sequence[Sequence[str]]) -> None:
    """Prints the table with the processor's name, which every such number needs."""
    from sightweave.core.device import processor_name

    print(f"\n{processor_name()}, one core, fp32\n\n{table(HEADER, rows)}")


# Below: what runs in the contestant's process.


def _memory() -> float:
    """Megabytes that this process holds now."""
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0]) / 1024


def _peak_memory() -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmHWM"].split()[0]) / 1024


def _matmul_gflops() -> float:
    """Best of the sizes 512, 1024 and 2048."""
    import torch

    best = 0.0
    for side in (512, 1024, 2048):
        left, right = torch.ones(side, side), torch.ones(side, side)
        start = time.process_time()
        left @ right
        best = max(best, 2 * side**3 / (time.process_time() - start) / 1e9)
    return best


def _serve(module: str, shape: str, folder: str, option: str, core: str) -> None:
    answers = os.fdopen(os.dup(1), "w")  # whatever the contestants print goes elsewhere
    os.dup2(2, 1)
    if int(core) >= 0:
        os.sched_setaffinity(0, {int(core)})
    import torch

    torch.set_num_threads(1)
    contestant_class = importlib.import_module(module).Contestant
    start = _memory()
    contestant, step = None, None
    for line in sys.stdin:
        command = json.loads(line)
        answer: dict[str, Any] = {}
        if command["do"] == "prepare":
            contestant = contestant_class(SHAPES[shape], Path(folder), option)
            step = contestant.prepare(Work(**command["work"]))
            answer = {"parameters": contestant.parameters}
        elif command["do"] == "step":
            assert step is not None
            cpu, wall = time.process_time(), time.perf_counter()
            output = step()
            answer = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
            answer["output"] = {key: value.tolist() for key, value in output.items()}
        elif command["do"] == "matmul":
            answer = {"gflops": _matmul_gflops()}
        elif command["do"] == "memory":
            answer = {"megabytes": _peak_memory() - start}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
