"""Packing the embedded world into rows: speed, fill, and what samples of a row see of one another.

python -m benchmarks.pack [--nanovlm PATH] [--quick]

The lengths are those of the bundles of `recipes/demo.yaml`, in its own order. "Padding" gives each its own row, as long as
the longest of the pool. What a sample sees of another one is the gradient of its loss in the other's embeddings.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import _nanovlm
from benchmarks._harness import parse, show
from benchmarks._shapes import SHAPES
from sightweave import recipe
from sightweave.core.batch import Batch
from sightweave.data.inputs.collate import IGNORE, bundle
from sightweave.data.inputs.order import Mix
from sightweave.data.inputs.packing import best_fit, fewest_rows
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.template import Encoded
from sightweave.data.reading.dataset import task_of
from sightweave.models.loss import training_loss
from sightweave.models.vlm import VLM

ROW = 1024
POOLS = (16, 64, 256)
PICTURES = 1536
MARKS = {256: "97 % filled"}
SHARE_MARK = 0.01
"""Of a training step's time."""
Packer = Callable[[Sequence[int], int], list[list[int]]]


def demo(pictures: int) -> tuple[VLM, Processor, list[list[Encoded]]]:
    """The demo's model, its processor, and the samples of its first pictures."""
    path = Path(__file__).parent.parent / "recipes" / "demo.yaml"
    read = recipe.read(str(path))
    sources = [one.build(split=one.splits[0]) for one in read.data]
    tokenizer = read.build_tokenizer(sources)
    torch.manual_seed(0)
    model = read.model.build(vocab_size=tokenizer.vocab_size)
    processor, tasks = read.build_processor(tokenizer, model, ()), read.build_tasks()
    mix = Mix([len(source) for source in sources], seed=read.seed)
    records = (sources[source][index] for source, index in map(mix.at, range(pictures)))
    samples = [[processor.encode(tasks[task_of(one)].sample(one)) for one in group] for group in records]
    return model, processor, samples


def race(
    packers: dict[str, Packer], lengths: Sequence[int], pool: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """For each its megatokens a second of CPU time and the share of its rows that is filled, over all whole pools."""
    pools = [lengths[start : start + pool] for start in range(0, len(lengths) - pool + 1, pool)]
    tokens, found = sum(map(sum, pools)), {}
    seconds: dict[str, list[float]] = {name: [] for name in packers}
    for name, packer in packers.items():
        packed = [packer(one, ROW) for one in pools]
        _check(name, pools, packed)
        found[name] = tokens / (ROW * sum(map(len, packed)))
    for _ in range(rounds):
        for name, packer in packers.items():
            start = time.process_time()
            for one in pools:
                packer(one, ROW)
            seconds[name].append(time.process_time() - start)
    return {name: (tokens / statistics.median(seconds[name]) / 1e6, fill) for name, fill in found.items()}


def _check(name: str, pools: Sequence[Sequence[int]], packed: Sequence[list[list[int]]]) -> None:
    for lengths, rows in zip(pools, packed, strict=True):
        everyone = sorted(number for row in rows for number in row)
        if everyone != list(range(len(lengths))) or any(sum(lengths[i] for i in row) > ROW for row in rows):
            raise SystemExit(f"{name} loses something, or overfills a row")


def step_seconds(model: VLM, processor: Processor, samples: Sequence[list[Encoded]]) -> tuple[float, int]:
    """CPU time of a forward and backward pass over packed pictures, and the tokens in it."""
    batch = processor.batch([one for group in samples for one in group], pack_to=ROW)
    assert batch.target is not None
    times = []
    for _ in range(4):
        start = time.process_time()
        training_loss(model(batch), batch).backward()
        times.append(time.process_time() - start)
    return statistics.median(times[1:]), int(batch.target.valid.sum())


def leak(model: VLM, batch: Batch, of: torch.Tensor) -> tuple[float, float]:
    """Largest gradient of the second sample's loss in the first one's embeddings and in its own.

    Args:
        model: Any with a fusion in the sequence.
        batch: One row of two samples with one picture each.
        of: int64 S: 0 and 1, the sample of each token.
    """
    assert batch.target is not None
    labels = batch.target.labels.masked_fill(of[None] != 1, IGNORE)
    alone = dataclasses.replace(batch, target=dataclasses.replace(batch.target, labels=labels))
    text: list[torch.Tensor] = []

    def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        text.append(output)

    handle = model.language_model.token_embedding.register_forward_hook(keep)
    output = model(alone)
    handle.remove()
    assert output.media is not None
    output.media.embeddings.retain_grad()
    training_loss(output, alone).backward()
    words, images = text[0].grad, output.media.embeddings.grad
    assert words is not None
    assert images is not None
    other, own = (
        max(float(words[0, of == which].abs().max()), float(images[output.media.item == which].abs().max()))
        for which in (0, 1)
    )
    return other, own


def leaks(
    model: VLM, processor: Processor, samples: Sequence[list[Encoded]], nanovlm: str
) -> list[list[str]]:
    """Rows of the table: ours, our model under nanoVLM's mask and positions, and nanoVLM's own model."""
    batch = processor.batch([group[0] for group in samples[:2]], share=False, pack_to=ROW)
    target = batch.target
    assert target is not None
    assert target.ids.shape[0] == 1
    nothing = torch.zeros_like(target.segment)
    joined = dataclasses.replace(
        target,
        ar=torch.ones_like(nothing),
        segment=nothing,
        branch=nothing,
        positions=torch.arange(target.ids.shape[1])[None],
        plain=True,
    )
    of = target.segment[0]
    found = {
        "sightweave": leak(model, batch, of),
        "its model, one causal row": leak(model, dataclasses.replace(batch, target=joined), of),
    }
    if nanovlm:
        found["nanovlm, its own model"] = _nanovlm.leak(SHAPES["tiny"], nanovlm)
    rows = []
    for name, (other, own) in found.items():
        if not own or (name == "sightweave" and other):
            raise SystemExit(f"{name}: gradient {other} in the other sample's embeddings, {own} in its own")
        said = f"{other:.1e} beside {own:.1e} in its own"
        rows.append(["gradient in another sample of the row", name, said, "", "", "", ""])
    rows[0][-1] = "0"
    return rows


def main() -> list[list[str]]:
    options = parse(__doc__)
    if options.core >= 0:
        os.sched_setaffinity(0, {options.core})
    torch.set_num_threads(1)
    nanovlm = next((one.option for one in options.who if one.name == "nanovlm"), "")
    model, processor, samples = demo(PICTURES // 3 if options.shapes == ["4M"] else PICTURES)
    for parameter in model.parameters():
        if not parameter.any():  # nothing flows through what starts at zero, and then nothing could leak
            torch.nn.init.normal_(parameter, std=0.1)
    lengths = [one.length for group in samples for one in bundle(group)]
    packers: dict[str, Packer] = {"nanovlm": _nanovlm.packer(nanovlm)} if nanovlm else {}
    packers |= {"best fit alone": best_fit, "sightweave": fewest_rows}
    rows, speed = [], 0.0
    for pool in POOLS:
        found = race(packers, lengths, pool, options.rounds)
        speed = found["sightweave"][0]
        label = f"pack {pool} bundles into rows of {ROW:,}"
        rows.append([label, "padding", f"{_padded(lengths, pool):.1%} filled", "", "", "", ""])
        for name, (rate, fill) in found.items():
            rows.append([label, name, f"{rate:.2f} Mtok/s, {fill:.1%} filled", "", "", "", ""])
        rows[-1][-1] = MARKS.get(pool, "")
    seconds, tokens = step_seconds(model, processor, samples[:16])
    share = tokens / speed / 1e6 / seconds
    name = f"packing beside a training step ({tokens / seconds / 1e3:.1f} ktok/s)"
    rows.append([name, "sightweave", f"{share:.3%} of it", "", "", "", f"< {SHARE_MARK:.0%}"])
    return rows + leaks(model, processor, samples, nanovlm)


def _padded(lengths: Sequence[int], pool: int) -> float:
    pools = [lengths[start : start + pool] for start in range(0, len(lengths) - pool + 1, pool)]
    return sum(map(sum, pools)) / sum(max(one) * len(one) for one in pools)


if __name__ == "__main__":
    show(main())
