"""Checks that another library's language model gives the same outputs here as there, also with packing and a cache."""

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
"""Largest accepted rounding difference, as a fraction of the largest value."""
_LENGTHS = [3, 2, 4, 3]
"""Numbers of tokens of a trunk, its first branch, its second branch, and another text."""
NEEDED = sum(_LENGTHS)
"""Number of tokens that the check needs."""
_VECTORS = [field.name for field in dataclasses.fields(TokenSequence) if field.name != "plain"]
"""The fields of a token sequence with a value for each token."""


class Readable(Protocol):
    """The methods of a language model that the check calls."""

    @property
    def form(self) -> str:
        """Form of the model: ``causal``, ``encoder_decoder`` or ``classify``."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings ``B S D`` of ids ``B S``."""
        ...

    def encode(self, hidden: Tensor, tokens: TokenSequence) -> Memory:
        """Encodes the source of an encoder-decoder into its memory."""
        ...

    def run(
        self,
        hidden: Tensor,
        tokens: TokenSequence,
        *,
        cache: Cache | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Runs all blocks and the final norm; returns ``B S D``."""
        ...

    def head(self, hidden: Tensor) -> Tensor:
        """Logits ``R V`` of hidden states ``R D``."""
        ...


@torch.no_grad()
def prove(model: Readable, theirs: Callable[[Tensor], Tensor], ids: Tensor) -> None:
    """Runs a few tokens in every way that programs use, and compares the outputs.

    Args:
        model: A model in evaluation mode.
        theirs: Function from ids ``1 S`` (both source and target) to the library's own output: logits ``1 S V``, or
            hidden states ``1 S D`` if the model classifies.
        ids: `NEEDED` ordinary tokens (int64 T).

    Raises:
        CheckpointError: outputs differ; the message says in which way and by how much.
    """
    trunk, first, second, other = torch.split(ids, _LENGTHS)
    texts = [torch.cat([trunk, first]), torch.cat([trunk, second]), other]

    # Compare each text alone with the library's own output; the other ways are then compared with these outputs.
    alone = [_outputs(model, [_text(text)]) for text in texts]
    _compare("read by itself", alone, [theirs(text[None])[0] for text in texts])

    # Pack all texts in one row.
    parts = [_text(text, segment=number) for number, text in enumerate(texts)]
    lengths = [len(text) for text in texts]
    _compare("packed after another text", torch.split(_outputs(model, parts), lengths), alone)
    if model.form == "classify":
        return

    # Continue a common trunk with two branches.
    if model.form == "causal":
        start = len(trunk)
        parts = [_text(trunk), _text(first, start=start, branch=1), _text(second, start=start, branch=2)]
        of_trunk, of_first, of_second = torch.split(_outputs(model, parts), _LENGTHS[:3])
        branched = [torch.cat([of_trunk, of_first]), torch.cat([of_trunk, of_second])]
        _compare("after a shared prefix", branched, alone[:2])

    _compare("with a cache", [_outputs_step_by_step(model, text) for text in texts], alone)


def _text(ids: Tensor, *, start: int = 0, segment: int = 0, branch: int = 0) -> TokenSequence:
    """Creates one row of ordinary tokens whose positions begin at `start`."""
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
    """Concatenates the parts to one row, which is causal if `ar` is 1 and bidirectional if it is 0."""
    joined = {}
    for name in _VECTORS:
        joined[name] = torch.cat([getattr(part, name) for part in parts], 1)
    joined["ar"] = joined["ar"] * ar

    return dataclasses.replace(parts[0], **joined)  # type: ignore[arg-type]  # all of them tensors


def _outputs(model: Readable, parts: Sequence[TokenSequence]) -> Tensor:
    """The model's outputs for one row of texts; an encoder-decoder reads each text as source and as target."""
    memory = None
    if model.form == "encoder_decoder":
        source = _joined(parts, 0)
        memory = model.encode(model.embed(source.ids), source)

    tokens = _joined(parts, 0 if model.form == "classify" else 1)
    hidden = model.run(model.embed(tokens.ids), tokens, memory=memory)[0]
    return hidden if model.form == "classify" else model.head(hidden)


def _outputs_step_by_step(model: Readable, ids: Tensor) -> Tensor:
    """The outputs with a cache, computed one token at a time, next to a row that is one token longer."""
    memory, cache = None, Cache(2)
    if model.form == "encoder_decoder":
        source = _joined([_text(ids)], 0)
        memory = model.encode(model.embed(source.ids).expand(2, -1, -1), _repeated(source))

    # The first row begins with one token and padding, the second with two tokens.
    tokens = _repeated(_text(ids[:2]))
    tokens.valid[0, 1] = False
    outputs = [_first_logits(model, tokens, cache, memory)]

    for step in range(1, len(ids)):
        tokens = _repeated(_text(ids[step : step + 1], start=step))
        tokens.positions[1] += 1
        outputs.append(_first_logits(model, tokens, cache, None))

    return torch.cat(outputs)


def _first_logits(model: Readable, tokens: TokenSequence, cache: Cache, memory: Memory | None) -> Tensor:
    """Logits of the first row's first token."""
    return model.head(model.run(model.embed(tokens.ids), tokens, cache=cache, memory=memory)[0, :1])


def _repeated(tokens: TokenSequence) -> TokenSequence:
    """Repeats a row, giving two equal rows."""
    return dataclasses.replace(tokens, **{name: getattr(tokens, name).repeat(2, 1) for name in _VECTORS})


def _compare(way: str, outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Compares outputs with the expected ones.

    Raises:
        CheckpointError: some outputs differ by more than rounding.
    """
    for actual, wanted in zip(outputs, expected, strict=True):
        difference = float((actual - wanted).abs().max())
        if not difference <= _CLOSE * (1 + float(wanted.abs().max())):
            raise CheckpointError(f"{way}, its outputs differ by {difference:.2g}")
