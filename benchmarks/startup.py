"""From the start of a process: help, imports, the first answer of a 95 M model: python -m benchmarks.startup [--quick]."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks._harness import Options, environment, parse, show, weights
from benchmarks._shapes import SHAPES, Shape

SKETCHES = {
    "torch alone": "import torch",
    "import sightweave": "import sightweave",
    "help": "import sys; sys.argv = ['sightweave', '--help']; from sightweave.cli import app; app(standalone_mode=False)",
    "what inference needs: sightweave": "import sightweave.programs.generation",
    "what inference needs: transformers": "from transformers import Idefics3ForConditionalGeneration",
}
_PREPARE = "import torch; torch.set_num_threads(1); import sys, pathlib; from benchmarks import _shapes; "
ANSWERS = {
    "transformers": _PREPARE + "from benchmarks import _transformers as side; ",
    "sightweave": _PREPARE + "from benchmarks import _sightweave as side; ",
}
_ANSWER = (
    "shape = _shapes.SHAPES[sys.argv[1]]; "
    "one = side.Contestant(shape, pathlib.Path(sys.argv[2])); "
    "print(one.prepare(_shapes.Work('generate', 1, shape.image_tokens + 8, 8))()['ids'].tolist())"
)
_WRITE = (
    "import sys, pathlib; from benchmarks import _sightweave, _shapes; from safetensors.torch import load_file; "
    "from sightweave.core.checkpoint import write_folder; "
    "source, target = map(pathlib.Path, sys.argv[1:]); "
    "write_folder(target, {'model': _sightweave.rename(load_file(source / 'model.safetensors'))})"
)


def run(code: str, arguments: Sequence[str], core: int) -> tuple[float, float, str]:
    """CPU seconds, peak megabytes and output of a fresh process."""

    def bind() -> None:
        if core >= 0:
            os.sched_setaffinity(0, {core})

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    meter = "import resource as r; m = r.getrusage(r.RUSAGE_SELF); sys.stderr.write(str(m.ru_maxrss))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; {meter}", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
        preexec_fn=bind,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, int(done.stderr.split()[-1]) / 1024, done.stdout


def turns(
    codes: Mapping[str, tuple[str, Sequence[str]]], options: Options
) -> dict[str, tuple[float, float, str]]:
    """Medians of several rounds; each contestant starts once to bring its files into memory."""
    found: dict[str, list[tuple[float, float, str]]] = {name: [] for name in codes}
    for _ in range(options.rounds + 1):
        for name, (code, arguments) in codes.items():
            found[name].append(run(code, arguments, options.core))
    return {
        name: (statistics.median(t for t, _, _ in all_[1:]), all_[-1][1], all_[-1][2])
        for name, all_ in found.items()
    }


def first_answer(shape: Shape, options: Options) -> list[list[str]]:
    """Each reads its own kind of checkpoint; ours is checked byte by byte."""
    with weights(shape) as theirs, tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "checkpoint"
        subprocess.run([sys.executable, "-c", _WRITE, str(theirs), str(own)], check=True, env=environment())
        places = {"transformers": theirs, "sightweave": own}
        codes = {name: (code + _ANSWER, (shape.name, str(places[name]))) for name, code in ANSWERS.items()}
        found = turns(codes, options)
    if found["sightweave"][2] != found["transformers"][2]:
        raise SystemExit(f"the answers differ: {found['sightweave'][2]} and {found['transformers'][2]}")
    name = f"start to first 8 tokens, {shape.name}"
    rows = [_row(name, who, *value[:2], found["transformers"][0]) for who, value in found.items()]
    rows[-1][-1] = "2.5"
    return rows


def imports(options: Options) -> list[list[str]]:
    found = turns({name: (code, ()) for name, code in SKETCHES.items()}, options)
    base = found["what inference needs: transformers"][0]
    return [_row(name, "", *value[:2], base) for name, value in found.items()]


def _row(name: str, who: str, seconds: float, megabytes: float, base: float) -> list[str]:
    return [name, who, f"{seconds:.3f}", f"{base / seconds:.2f}", "", f"{megabytes:.0f}", ""]


def main() -> list[list[str]]:
    options = parse(__doc__)
    return imports(options) + first_answer(SHAPES[options.shapes[0]], options)


if __name__ == "__main__":
    show(main())
