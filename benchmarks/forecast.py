"""What `sightweave forecast` predicts, and what training takes: python -m benchmarks.forecast [--quick] [--paper].

Eight recipes, from a few hundred thousand to 60 million weights, on one thread. Each is forecast in one process and trained in
another. Memory is the peak of the resident memory above what the process held before the model was built. Time is CPU time of an
update, as the machine may be shared: predicted from a trial, measured as the median over blocks of updates.
With --paper: models of 150 M, 2 B and 8 B weights on 8, 64 and 512 devices, computed and not measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._harness import environment, table

_ROOT = Path(__file__).parent.parent
_WARM, _BLOCK = 4, 4
"""Updates before the first that is timed, and updates of one block."""

CNN = {"kind": "cnn", "channels": [32, 64, 128, 128], "blocks": [0, 0, 0, 1], "norm": "group"}
VIT = {"kind": "vit", "image_size": 96, "patch_size": 8, "dim": 128, "depth": 4, "num_heads": 4}
SMALL_VIT = {"kind": "vit", "image_size": 96, "patch_size": 8, "dim": 384, "depth": 6, "num_heads": 6}
DECODER = {"kind": "decoder_only", "dim": 128, "depth": 4, "num_heads": 4, "hidden_dim": 256}
LARGE = {"kind": "decoder_only", "dim": 512, "depth": 8, "num_heads": 8, "hidden_dim": 1536}
SEQ2SEQ = {"kind": "encoder_decoder", "dim": 128, "num_heads": 4, "encoder_depth": 2, "decoder_depth": 3}


def _recipe(
    encoder: Mapping[str, Any],
    language_model: Mapping[str, Any],
    stage: Mapping[str, Any],
    *,
    fusion: Any = "concat",
    connector: Any = "linear",
    precision: str = "fp32",
    steps: int = 32,
) -> dict[str, Any]:
    return {
        "data": [{"kind": "scenes", "size": 2000}],
        "model": {
            "encoder": encoder,
            "connector": connector,
            "fusion": fusion,
            "language_model": language_model,
        },
        "inputs": {"vocab_size": 2048, "max_length": 512},
        "train": {
            "device": "cpu",
            "precision": precision,
            "num_threads": 1,
            "num_workers": 1,
            "check": False,
            "stages": [{"steps": steps, **stage}],
        },
    }


MUON = {"name": "muon", "lr": 1.0e-3, "muon_lr": 0.01}
WORDS = {"learn": "words", "words": "regions", "parts": ["encoder", "connector", "token_embedding"]}
SHUFFLE = {"kind": "pixel_shuffle", "factor": 2}
RECIPES = {
    "demo, words": _recipe(CNN, DECODER, {**WORDS, "batch_size": 32, "augment": True, "optimizer": MUON}),
    "demo, answers": _recipe(CNN, DECODER, {"batch_size": 8, "optimizer": MUON}),
    "ViT, accumulated": _recipe(
        VIT, DECODER, {"batch_size": 4, "gradient_accumulation_steps": 2}, connector=SHUFFLE
    ),
    "cross-attention": _recipe(VIT, DECODER, {"batch_size": 8}, fusion="cross_attention"),
    "encoder-decoder": _recipe(CNN, SEQ2SEQ, {"batch_size": 8}, fusion="memory"),
    "ViT, packed, bf16": _recipe(
        SMALL_VIT, LARGE, {"batch_size": 8, "pack_to": 512}, connector=SHUFFLE, precision="bf16", steps=24
    ),
    "40 M, recomputed": _recipe(
        SMALL_VIT,
        LARGE,
        {"batch_size": 8, "gradient_checkpointing": True},
        connector=SHUFFLE,
        steps=24,
    ),
    "40 M, language model frozen": _recipe(
        SMALL_VIT, LARGE, {"batch_size": 8, "parts": ["encoder", "connector"]}, connector=SHUFFLE, steps=24
    ),
}
HEADER = (
    "recipe",
    "weights",
    "memory: predicted",
    "measured",
    "error",
    "CPU s a step: predicted",
    "measured",
    "error",
)


def _child(what: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.forecast", "--child", what],
        input=json.dumps(recipe),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=_ROOT,
        env=environment(),
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _predict(recipe: Mapping[str, Any]) -> dict[str, Any]:
    from sightweave.verbs.forecasting import forecast

    found = forecast(recipe, now=time.process_time)
    (stage,) = found.stages
    weights = sum(part.trained + part.frozen for part in stage.parts)
    return {
        "bytes": stage.memory.total,
        "seconds": stage.time.total,
        "weights": weights,
        "memory": stage.memory.to_json(),
        "phases": stage.to_json()["step_seconds_by_phase"],
    }


def _measure(values: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    from sightweave.core.device import choose_precision, keep_freed_memory, set_threads
    from sightweave.programs.training.trainer import Trainer, TrainingData
    from sightweave.verbs.building import composed
    from sightweave.verbs.sources import build_sources, read_recipe

    keep_freed_memory()
    recipe = read_recipe(values)
    set_threads(1)
    precision = choose_precision(recipe.train.precision, torch.device("cpu"))
    sources = build_sources(recipe, None, "train")
    torch.manual_seed(recipe.seed)
    recipe.build_tokenizer(sources)  # once before, so that its own memory is not counted

    start = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    run = composed(recipe, sources, torch.device("cpu"))
    stamps: list[float] = []

    class Timed(Trainer):
        """Notes the CPU time at the end of each update."""

        def _count(self, *args: Any) -> None:
            stamps.append(time.process_time())
            super()._count(*args)

    with tempfile.TemporaryDirectory() as folder:
        trainer = Timed(
            run.model,
            run.processor,
            TrainingData(sources, recipe.build_tasks()),
            recipe.train,
            precision=precision,
            out=Path(folder),
            seed=recipe.seed,
            save=lambda *_: None,
        )
        trainer.run()
    blocks = stamps[_WARM::_BLOCK]
    each = [(after - before) / _BLOCK for before, after in zip(blocks, blocks[1:], strict=False)]
    return {"bytes": _status("VmHWM") - start, "seconds": statistics.median(each)}


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields[name].split()[0]) << 10


def rows(names: Sequence[str]) -> list[list[str]]:
    found = []
    for name in names:
        predicted, measured = _child("predict", RECIPES[name]), _child("measure", RECIPES[name])
        memory = predicted["bytes"] / measured["bytes"] - 1
        seconds = predicted["seconds"] / measured["seconds"] - 1
        found.append(
            [
                name,
                f"{predicted['weights'] / 1e6:.1f} M",
                f"{predicted['bytes'] / 2**20:.0f} MiB",
                f"{measured['bytes'] / 2**20:.0f} MiB",
                f"{memory:+.1%}",
                f"{predicted['seconds']:.3f}",
                f"{measured['seconds']:.3f}",
                f"{seconds:+.1%}",
            ]
        )
        print(
            f"# {' | '.join(found[-1])}  {predicted['memory']} {predicted['phases']}",
            file=sys.stderr,
            flush=True,
        )
    return found


def main() -> list[list[str]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the first two recipes only")
    parser.add_argument("--only", default="", help="recipes whose names contain this")
    parser.add_argument("--child", choices=["predict", "measure"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        work = _predict if given.child == "predict" else _measure
        print(json.dumps(work(json.load(sys.stdin))))
        return []

    names = [name for name in RECIPES if given.only in name]
    return rows(names[:2] if given.quick else names)


if __name__ == "__main__":
    cells = main()
    if cells:
        from sightweave.core.device import processor_name

        print(f"\n{processor_name()}, one thread\n\n{table(HEADER, cells)}")
