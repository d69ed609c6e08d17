"""Each trick alone, at the 95 M shape: python -m benchmarks.kernels. Times are CPU time of this process on one core."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks._harness import parse, table
from benchmarks._shapes import SHAPES, Shape

Step = Callable[[], object]


def tricks(shape: Shape) -> dict[str, tuple[Step, Step]]:
    """What is usual, and what is done instead."""
    torch.manual_seed(0)
    return {
        "fused AdamW for torch's default loop": _adamw(shape),
        "logits where a label is (256 of 1,024)": _logits(shape),
        "is_causal for a mask, 1,024 tokens": _causal(shape),
        "enable_gqa for repeated keys": _grouped(shape),
        "own RMSNorm for F.rms_norm": _rms_norm(shape),
        "signed-sine rotary by roll": _rotary(shape),
        "index_copy for masked_scatter": _marks(shape),
        "folded query group in decoding": _folded(shape),
        "Muon: products of small matrices for those of wide ones, 128 x 1,152": _muon(),
        "bf16 matmul for fp32": _bf16(),
    }


def _adamw(shape: Shape) -> tuple[Step, Step]:
    def stepper(fused: bool) -> Step:
        weights = [nn.Parameter(torch.randn(shape.hidden_dim, shape.dim)) for _ in range(30)]
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        return torch.optim.AdamW(weights, fused=fused, foreach=False).step

    return stepper(False), stepper(True)


def _logits(shape: Shape) -> tuple[Step, Step]:
    hidden = torch.randn(1024, shape.dim, requires_grad=True)
    table_ = torch.randn(shape.vocab_size, shape.dim)
    labels = torch.full((1024,), -100)
    labels[::4] = torch.arange(256)

    def everywhere() -> None:
        F.cross_entropy(F.linear(hidden, table_), labels).backward()

    def where_labelled() -> None:
        at = (labels >= 0).nonzero().squeeze(1)
        F.cross_entropy(F.linear(hidden[at], table_), labels[at]).backward()

    return everywhere, where_labelled


def _heads(
    shape: Shape, length: int, kv_length: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    width, kv_length = shape.dim // shape.heads, kv_length or length
    return (
        torch.randn(1, shape.heads, length, width),
        torch.randn(1, shape.kv_heads, kv_length, width),
        torch.randn(1, shape.kv_heads, kv_length, width),
    )


def _causal(shape: Shape) -> tuple[Step, Step]:
    q, k, v = _heads(shape, 1024)
    mask = torch.ones(1024, 1024, dtype=torch.bool).tril()
    attend = F.scaled_dot_product_attention
    return (
        lambda: attend(q, k, v, attn_mask=mask, enable_gqa=True),
        lambda: attend(q, k, v, is_causal=True, enable_gqa=True),
    )


def _grouped(shape: Shape) -> tuple[Step, Step]:
    q, k, v = _heads(shape, 256)
    groups, attend = shape.heads // shape.kv_heads, F.scaled_dot_product_attention
    return (
        lambda: attend(q, k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1), is_causal=True),
        lambda: attend(q, k, v, is_causal=True, enable_gqa=True),
    )


def _folded(shape: Shape) -> tuple[Step, Step]:
    q, k, v = _heads(shape, 1, 512)
    groups, attend = shape.heads // shape.kv_heads, F.scaled_dot_product_attention
    return (
        lambda: attend(q, k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)),
        lambda: attend(q.unflatten(1, (shape.kv_heads, groups)).squeeze(3), k, v).flatten(1, 2).unsqueeze(2),
    )


def _rms_norm(shape: Shape) -> tuple[Step, Step]:
    from sightweave.models.nn.norm import RMSNorm

    x, own = torch.randn(1024, shape.dim, requires_grad=True), RMSNorm(shape.dim)
    weight = torch.ones(shape.dim, requires_grad=True)
    return (
        lambda: F.rms_norm(x, (shape.dim,), weight, 1e-6).sum().backward(),
        lambda: own(x).sum().backward(),
    )


def _rotary(shape: Shape) -> tuple[Step, Step]:
    from sightweave.models.nn.position import Rotary, rotate

    x = torch.randn(4, shape.heads, 256, shape.dim // shape.heads)
    rotation = Rotary(x.shape[-1])(torch.arange(256)[None])
    cos, sin = rotation[0], rotation[1].abs()

    def usual() -> torch.Tensor:
        left, right = x.chunk(2, -1)
        return x * cos + torch.cat([-right, left], -1) * sin

    return usual, lambda: rotate(x, rotation)


def _marks(shape: Shape) -> tuple[Step, Step]:
    hidden, image = torch.randn(1024, shape.dim), torch.randn(4 * shape.image_tokens, shape.dim)
    is_mark = torch.arange(1024) % 256 < shape.image_tokens
    marks = is_mark.nonzero().squeeze(1)
    return (
        lambda: hidden.masked_scatter(is_mark[:, None].expand_as(hidden), image),
        lambda: hidden.index_copy(0, marks, image),
    )


def _muon() -> tuple[Step, Step]:
    from sightweave.programs.training.optimizers import orthogonalise

    matrices = torch.randn(3, 128, 1152)

    def usual() -> torch.Tensor:
        x = matrices / matrices.norm(dim=(1, 2), keepdim=True)
        for _ in range(5):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.775, alpha=2.0315), x, beta=3.4445)
        return x

    return usual, lambda: orthogonalise(matrices)


def _bf16() -> tuple[Step, Step]:
    plain = torch.randn(256, 256)
    half = plain.bfloat16()
    return lambda: plain @ plain, lambda: half @ half


def median_seconds(step: Step, rounds: int) -> float:
    """CPU time of one call, of many where one is short."""
    step()
    start = time.process_time()
    step()
    repeats = max(1, int(0.02 / max(1e-6, time.process_time() - start)))
    times = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(repeats):
            step()
        times.append((time.process_time() - start) / repeats)
    return statistics.median(times)


def main() -> str:
    options = parse(__doc__)
    if options.core >= 0:
        os.sched_setaffinity(0, {options.core})
    torch.set_num_threads(1)
    rows = []
    for name, (usual, ours) in tricks(SHAPES[options.shapes[0]]).items():
        before, after = median_seconds(usual, options.rounds), median_seconds(ours, options.rounds)
        rows.append([name, f"{before * 1e3:.3f}", f"{after * 1e3:.3f}", f"{before / after:.2f}"])
    return table(("trick", "usual ms", "instead ms", "speed"), rows)


if __name__ == "__main__":
    print(main())
