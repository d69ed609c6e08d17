"""The proof lets our own models pass, and finds each fault that is planted in them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from sightweave.core.batch import TokenSequence
from sightweave.core.errors import CheckpointError
from sightweave.models.language_models import decoder_only, encoder_decoder, encoder_only
from sightweave.models.language_models._base import LanguageModel
from sightweave.models.nn.adapter_proof import NEEDED, prove

IDS = torch.arange(3, 3 + NEEDED)


def model(kind: Any, **fields: Any) -> Any:
    torch.manual_seed(0)
    made = kind.Config(dim=16, num_heads=2, **fields).build(vocab_size=40, num_answers=3).eval()
    for parameter in made.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return made


def theirs(ours: LanguageModel) -> Any:
    """What the same model makes of one text, in its plainest form."""

    def read(ids: Tensor) -> Tensor:
        zeros = torch.zeros_like(ids)
        tokens = TokenSequence(
            ids, zeros, zeros + torch.arange(ids.shape[1]), zeros - 1, zeros + 1, zeros, zeros, zeros == 0
        )
        both = dataclasses.replace(tokens, ar=zeros)
        memory = ours.encode(ours.embed(ids), both) if ours.form == "encoder_decoder" else None
        hidden = ours.run(ours.embed(ids), both if ours.form == "classify" else tokens, memory=memory)
        return hidden if ours.form == "classify" else ours.head(hidden[0])[None]

    return read


@pytest.mark.parametrize("position", ["rotary", "learned"])
@pytest.mark.parametrize("kind", [decoder_only, encoder_decoder, encoder_only])
def test_our_own_models_pass(kind: Any, position: str) -> None:
    ours = model(kind, position=position)
    prove(ours, theirs(ours), IDS)


def test_other_numbers_are_found() -> None:
    ours = model(decoder_only)
    with pytest.raises(CheckpointError, match="read by itself its outputs differ by"):
        prove(ours, lambda ids: theirs(ours)(ids) + 0.1, IDS)


class Counting(decoder_only.DecoderOnly):
    """Works positions out from the order of the tokens."""

    def run(self, hidden: Tensor, tokens: TokenSequence, **more: Any) -> Tensor:
        cache = more.get("cache")
        start = 0 if cache is None else cache.longest
        index = torch.arange(start, start + hidden.shape[1]).expand_as(tokens.positions)
        return super().run(hidden, dataclasses.replace(tokens, positions=index), **more)


class Leaking(decoder_only.DecoderOnly):
    """Lets packed texts see one another."""

    def run(self, hidden: Tensor, tokens: TokenSequence, **more: Any) -> Tensor:
        return super().run(hidden, dataclasses.replace(tokens, segment=tokens.segment * 0), **more)


class Branchless(decoder_only.DecoderOnly):
    """Lets branches see one another."""

    def run(self, hidden: Tensor, tokens: TokenSequence, **more: Any) -> Tensor:
        return super().run(hidden, dataclasses.replace(tokens, branch=tokens.branch * 0), **more)


class Padded(decoder_only.DecoderOnly):
    """Takes padding for words, which a cache then holds."""

    def run(self, hidden: Tensor, tokens: TokenSequence, **more: Any) -> Tensor:
        return super().run(hidden, dataclasses.replace(tokens, valid=tokens.valid | True), **more)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (Counting, "packed after another text"),
        (Leaking, "packed after another text"),
        (Branchless, "after a shared prefix"),
        (Padded, "with a cache"),
    ],
)
def test_a_planted_fault_is_found(kind: type[LanguageModel], fault: str) -> None:
    ours = model(decoder_only, position="learned")
    expected = theirs(ours)
    ours.__class__ = kind
    with pytest.raises(CheckpointError, match=f"{fault}.*differ by"):
        prove(ours, expected, IDS)
