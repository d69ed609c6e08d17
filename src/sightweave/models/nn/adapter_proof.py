"""The proof that another library's language model keeps its own numbers here, and that packing and a cache change none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from sightweave.core.batch import Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.errors import CheckpointError

_CLOSE = 1e-3
"""Difference that rounding may leave, as a share of the largest number."""
_LENGTHS = [3, 2, 4, 3]
"""Tokens of a trunk, of its two branches, and of another text."""
NEEDED = sum(_LENGTHS)
"""Tokens that the proof asks about."""
_VECTORS = [field.name for field in dataclasses.fields(TokenSequence) if field.name != "plain"]


class Readable(Protocol):
    """What the proof asks of a language model."""

    @property
    def form(self) -> str:
        """``causal``, ``encoder_decoder`` or ``classify``."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """Ids ``B S`` to embeddings ``B S D``."""
        ...

    def encode(self, hidden: Tensor, tokens: TokenSequence) -> Memory:
        """The memory of an encoder-decoder."""
        ...

    def run(
        self,
        hidden: Tensor,
        tokens: TokenSequence,
        *,
        cache: Cache | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """All blocks and the last norm: ``B S D``."""
        ...

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states ``R D`` to logits ``R V``."""
        ...


@torch.no_grad()
def prove(model: Readable, theirs: Callable[[Tensor], Tensor], ids: Tensor) -> None:
    """Asks about a few tokens in every way in which programs ask.

    Args:
        model: In evaluation mode.
        theirs: Ids ``1 S`` (source and target alike) to what the library itself makes of them: ``1 S V``, or ``1 S D`` for a
            model that classifies.
        ids: int64 T: ordinary tokens, as many as `NEEDED`.

    Raises:
        CheckpointError: which way gives other numbers, and by how much.
    """
    trunk, first, second, other = torch.split(ids, _LENGTHS)
    texts = [torch.cat([trunk, first]), torch.cat([trunk, second]), other]
    alone = [_read(model, [_text(text)]) for text in texts]
    _compare("read by itself", alone, [theirs(text[None])[0] for text in texts])
    rows = [_text(text, segment=number) for number, text in enumerate(texts)]
    _compare(
        "packed after another text", torch.split(_read(model, rows), [len(text) for text in texts]), alone
    )
    if model.form == "classify":
        return
    if model.form == "causal":
        branches = [_text(one, start=len(trunk), branch=n + 1) for n, one in enumerate((first, second))]
        shared = torch.split(_read(model, [_text(trunk), *branches]), _LENGTHS[:3])
        found = [torch.cat([shared[0], one]) for one in shared[1:]]
        _compare("after a shared prefix", found, alone[:2])
    _compare("with a cache", [_read_step_by_step(model, text) for text in texts], alone)


def _text(ids: Tensor, *, start: int = 0, segment: int = 0, branch: int = 0) -> TokenSequence:
    ids = ids[None]
    ones = torch.ones_like(ids)
    return TokenSequence(
        ids=ids,
        labels=ones * -100,
        positions=ones.cumsum(1) - 1 + start,
        item=-ones,
        ar=ones,
        segment=ones * segment,
        branch=ones * branch,
        valid=ones.bool(),
    )


def _joined(parts: Sequence[TokenSequence], ar: int) -> TokenSequence:
    joined = {name: torch.cat([getattr(part, name) for part in parts], 1) for name in _VECTORS}
    return dataclasses.replace(parts[0], **joined | {"ar": joined["ar"] * ar})  # type: ignore[arg-type]  # all of them tensors


def _read(model: Readable, parts: Sequence[TokenSequence]) -> Tensor:
    """What the model makes of one row of texts; an encoder-decoder reads each as source and as target."""
    memory = None
    if model.form == "encoder_decoder":
        source = _joined(parts, 0)
        memory = model.encode(model.embed(source.ids), source)
    tokens = _joined(parts, 0 if model.form == "classify" else 1)
    hidden = model.run(model.embed(tokens.ids), tokens, memory=memory)[0]
    return hidden if model.form == "classify" else model.head(hidden)


def _read_step_by_step(model: Readable, ids: Tensor) -> Tensor:
    """One token after the other, beside a row that has one token more."""
    memory, cache = None, Cache(2)
    if model.form == "encoder_decoder":
        source = _joined([_text(ids)], 0)
        memory = model.encode(model.embed(source.ids).expand(2, -1, -1), _twice(source))
    tokens = _twice(_text(ids[:2]))
    tokens.valid[0, 1] = False
    found = [_head(model, tokens, cache, memory)]
    for step in range(1, len(ids)):
        tokens = _twice(_text(ids[step : step + 1], start=step))
        tokens.positions[1] += 1
        found.append(_head(model, tokens, cache, None))
    return torch.cat(found)


def _head(model: Readable, tokens: TokenSequence, cache: Cache, memory: Memory | None) -> Tensor:
    """Logits of the first row's first token."""
    return model.head(model.run(model.embed(tokens.ids), tokens, cache=cache, memory=memory)[0, :1])


def _twice(tokens: TokenSequence) -> TokenSequence:
    return dataclasses.replace(tokens, **{name: getattr(tokens, name).repeat(2, 1) for name in _VECTORS})


def _compare(way: str, found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        difference = float((one - other).abs().max())
        if not difference <= _CLOSE * (1 + float(other.abs().max())):
            raise CheckpointError(f"{way}, its outputs differ by {difference:.2g}")
