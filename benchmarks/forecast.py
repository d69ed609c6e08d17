"""What `sightweave forecast` predicts, and what training takes: python -m benchmarks.forecast [--quick] [--paper].

Eight recipes from 1 to 14 million weights, on one thread. Each is forecast in one process and trained in another. Memory is
the peak of the resident memory above what the process held before the model was built. Time is CPU time of an update, since
the machine may be shared: trial and training take turns in one process, twice; medians.
With --paper: models of 150 M, 2 B and 8 B weights on 8, 64 and 512 devices, computed and not measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks._harness import environment, table

_ROOT = Path(__file__).parent.parent
_WARM, _ROUNDS = 4, 2
"""Updates before the first that is timed, and turns of trial and training."""
_TIMED = "timed"

CNN = {"kind": "cnn", "channels": [32, 64, 128, 128], "blocks": [0, 0, 0, 1], "norm": "group"}
VIT = {"kind": "vit", "image_size": 96, "patch_size": 8, "dim": 128, "depth": 4, "num_heads": 4}
SMALL_VIT = {"kind": "vit", "image_size": 96, "patch_size": 8, "dim": 256, "depth": 4, "num_heads": 4}
DECODER = {"kind": "decoder_only", "dim": 128, "depth": 4, "num_heads": 4, "hidden_dim": 256}
LARGE = {"kind": "decoder_only", "dim": 384, "depth": 6, "num_heads": 6, "hidden_dim": 1024}
SEQ2SEQ = {"kind": "encoder_decoder", "dim": 128, "num_heads": 4, "encoder_depth": 2, "decoder_depth": 3}


def _recipe(
    encoder: Mapping[str, Any],
    language_model: Mapping[str, Any],
    stage: Mapping[str, Any],
    *,
    fusion: Any = "concat",
    connector: Any = "linear",
    precision: str = "fp32",
    steps: int = 20,
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
    "14 M, packed, bf16": _recipe(
        SMALL_VIT, LARGE, {"batch_size": 8, "pack_to": 512}, connector=SHUFFLE, precision="bf16"
    ),
    "14 M, recomputed": _recipe(
        SMALL_VIT,
        LARGE,
        {"batch_size": 8, "gradient_checkpointing": True},
        connector=SHUFFLE,
    ),
    "14 M, language model frozen": _recipe(
        SMALL_VIT, LARGE, {"batch_size": 8, "parts": ["encoder", "connector"]}, connector=SHUFFLE
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
    """The forecast."""
    from sightweave.verbs.forecasting import forecast

    (stage,) = forecast(recipe, now=time.process_time).stages
    weights = sum(part.trained + part.frozen for part in stage.parts)
    return {"bytes": stage.memory.total, "weights": weights, "memory": stage.memory.to_json()}


def _measure(values: Mapping[str, Any]) -> dict[str, Any]:
    """Peak of the resident memory of a training run, above what the process held before the model was built."""
    from sightweave.core.device import keep_freed_memory

    keep_freed_memory()
    started: list[int] = []
    _train(values, [], before=lambda: started.append(_status("VmRSS")))
    return {"bytes": _status("VmHWM") - started[0]}


def _time(values: Mapping[str, Any]) -> dict[str, Any]:
    """Trials and training take turns in one process, as other programs change the speed of this one."""
    import torch

    from sightweave.core.device import keep_freed_memory

    keep_freed_memory()
    predicted, measured = [], []
    for _ in range(_ROUNDS):
        stamps: list[float] = []
        predicted.append(_train(values, stamps))
        each = [after - before for before, after in pairwise(stamps[_WARM:])]
        measured.append(sum(each) / len(each))
        torch.set_num_threads(1)
    phases = [dataclasses.asdict(one) for one in predicted]
    return {
        "predicted": statistics.median(one.total for one in predicted),
        "measured": statistics.median(measured),
        "phases": phases[0],
    }


def _train(values: Mapping[str, Any], stamps: list[float], before: Callable[[], None] = lambda: None) -> Any:
    """Predicts the time of a step by a trial if `stamps` are wanted, trains, and notes the CPU time after each update."""
    import torch

    from sightweave.core.device import choose_precision, set_threads
    from sightweave.models.parts import enter_training
    from sightweave.programs.forecasting import timing
    from sightweave.programs.forecasting.workload import Workload
    from sightweave.programs.training.trainer import Trainer, TrainingData
    from sightweave.programs.training.work import prepare
    from sightweave.verbs.building import composed
    from sightweave.verbs.sources import build_sources, read_recipe

    recipe = read_recipe(values)
    set_threads(1)
    precision = choose_precision(recipe.train.precision, torch.device("cpu"))
    sources = build_sources(recipe, None, "train")
    torch.manual_seed(recipe.seed)
    recipe.build_tokenizer(sources)  # once before, so that its own memory is not counted
    before()
    run = composed(recipe, sources, torch.device("cpu"))

    class Timed(Trainer):
        """Notes the CPU time after each update."""

        def _count(self, *args: Any) -> None:
            super()._count(*args)
            stamps.append(time.process_time())

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
        found = None
        if recipe.title == _TIMED:
            (stage,) = recipe.train.stages
            prepare(run.model, stage, stage.lora)
            enter_training(run.model, stage.parts)
            workload = Workload(trainer.feeds[0])
            found = timing.measured(run.model, workload, precision, threads=1, now=time.process_time)
            rehearsal = timing.rehearse(run.model, workload, precision, seconds=20.0, now=time.process_time)
            if rehearsal.seconds is not None:
                found = found.with_total(rehearsal.seconds)
        trainer.run()
    return found


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields[name].split()[0]) << 10


def rows(names: Sequence[str]) -> list[list[str]]:
    found = []
    for name in names:
        recipe = RECIPES[name]
        predicted, measured = _child("predict", recipe), _child("measure", recipe)
        timed = _child("time", {**recipe, "title": _TIMED})
        memory = predicted["bytes"] / measured["bytes"] - 1
        seconds = timed["predicted"] / timed["measured"] - 1
        found.append(
            [
                name,
                f"{predicted['weights'] / 1e6:.1f} M",
                f"{predicted['bytes'] / 2**20:.0f} MiB",
                f"{measured['bytes'] / 2**20:.0f} MiB",
                f"{memory:+.1%}",
                f"{timed['predicted']:.3f}",
                f"{timed['measured']:.3f}",
                f"{seconds:+.1%}",
            ]
        )
        print(f"# {' | '.join(found[-1])}", file=sys.stderr)
        print(f"#   {predicted['memory']} {timed['phases']}", file=sys.stderr, flush=True)
    return found


@dataclasses.dataclass(frozen=True)
class Paper:
    """A model that is only computed."""

    encoder: Mapping[str, Any]
    language_model: Mapping[str, Any]
    vocab_size: int
    factor: int
    """Of the pixel shuffle."""
    images: int
    """Images of a microstep on each device."""
    recomputes: bool


def _vit(dim: int, depth: int, *, side: int, patch: int) -> dict[str, Any]:
    shape = {"dim": dim, "depth": depth, "num_heads": dim // 64 if dim != 1152 else 16}
    return {"kind": "vit", "image_size": side, "patch_size": patch, **shape}


def _decoder(dim: int, depth: int, hidden: int, *, heads: int, kv_heads: int) -> dict[str, Any]:
    heads_of = {"num_heads": heads, "num_kv_heads": kv_heads}
    return {"kind": "decoder_only", "dim": dim, "depth": depth, "hidden_dim": hidden, **heads_of}


PAPER = {
    "150 M": Paper(
        _vit(512, 8, side=224, patch=16),
        _decoder(640, 20, 1792, heads=10, kv_heads=5),
        vocab_size=49_152,
        factor=2,
        images=64,
        recomputes=False,
    ),
    "2 B": Paper(
        _vit(1152, 27, side=378, patch=14),
        _decoder(2048, 24, 6144, heads=32, kv_heads=8),
        vocab_size=49_152,
        factor=3,
        images=64,
        recomputes=True,
    ),
    "8 B": Paper(
        _vit(1152, 27, side=378, patch=14),
        _decoder(4096, 32, 14_336, heads=32, kv_heads=8),
        vocab_size=128_256,
        factor=3,
        images=64,
        recomputes=True,
    ),
}
COUNTS = (8, 64, 512)
PAPER_HEADER = (
    *("model", "H100s", "layout", "memory per device", "tokens per step", "step", "of the peak"),
    *("exchange", "bound by"),
)


def paper() -> list[list[str]]:
    """Computed, not measured: the same batch on each device, so that more devices take larger steps."""
    import torch

    from sightweave.programs.forecasting.devices import device
    from sightweave.programs.forecasting.forecast import StagePlan, size
    from sightweave.programs.forecasting.stages import simulated, spread
    from sightweave.verbs import forecasting
    from sightweave.verbs.sources import read_recipe

    h100 = device("h100")
    found = []
    for one in PAPER.values():
        stage = {"batch_size": one.images, "pack_to": 2048, "gradient_checkpointing": one.recomputes}
        connector = {"kind": "pixel_shuffle", "factor": one.factor}
        recipe = read_recipe(_recipe(one.encoder, one.language_model, stage, connector=connector, steps=2))
        planned = forecasting.plan(recipe, None)

        def build(model: Any = recipe.model, vocab_size: int = one.vocab_size) -> Any:
            with torch.device("meta"):
                return model.build(vocab_size=vocab_size)

        stage_plan = StagePlan.of(build, planned.workloads[0], precision="bf16", quantized={}, is_cpu=False)
        alone = simulated(stage_plan, h100.usable_bytes)
        weights = sum(part.trained for part in alone.forecast.parts)
        for count in COUNTS:
            found_here = spread(stage_plan, alone, h100, count)
            step = found_here.time
            share = alone.forecast.flops_of_step / (step.total * h100.flops)
            is_bound = step.communication > step.gradients
            found.append(
                [
                    f"{weights / 1e9:.2f} B",
                    f"{count}",
                    found_here.layout,
                    f"{size(found_here.memory.total)}{'' if found_here.fits else ' (does not fit)'}",
                    f"{alone.forecast.tokens * count:,.0f}",
                    f"{step.total:.3f} s",
                    f"{share:.0%}",
                    f"{step.communication:.3f} s",
                    "exchange" if is_bound else "computing",
                ]
            )
            print(f"# {' | '.join(found[-1])}", file=sys.stderr, flush=True)
    return found


_CHILDREN = {"predict": _predict, "measure": _measure, "time": _time}
"""What a process of its own is asked for."""


def main() -> list[list[str]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the first two recipes only")
    parser.add_argument("--only", default="", help="recipes whose names contain this")
    parser.add_argument("--child", choices=sorted(_CHILDREN), help=argparse.SUPPRESS)
    parser.add_argument("--paper", action="store_true", help="large models on many devices, computed")
    given = parser.parse_args()
    if given.paper:
        print(f"\ncomputed, not measured\n\n{table(PAPER_HEADER, paper())}")
        return []
    if given.child:
        print(json.dumps(_CHILDREN[given.child](json.load(sys.stdin))))
        return []

    names = [name for name in RECIPES if given.only in name]
    return rows(names[:2] if given.quick else names)


if __name__ == "__main__":
    cells = main()
    if cells:
        from sightweave.core.device import processor_name

        print(f"\n{processor_name()}, one thread\n\n{table(HEADER, cells)}")
