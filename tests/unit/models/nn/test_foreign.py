"""Models of other libraries: made without memory, and filled with weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sightweave.core.errors import CheckpointError
from sightweave.models.nn import foreign


class Other(nn.Module):
    """A table of tokens that is tied to the head, and one of sines that is never saved."""

    sines: Tensor

    def __init__(self, words: int = 5) -> None:
        super().__init__()
        self.table = nn.Embedding(words, 4)
        self.head = nn.Linear(4, words)
        self.head.weight = self.table.weight
        self.register_buffer("logits_bias", torch.zeros(1, words))
        self.register_buffer("sines", torch.arange(6.0).sin(), persistent=False)


def test_on_the_meta_device_only_what_is_never_saved_has_values() -> None:
    with torch.device("meta"):
        made = foreign.made(Other)
    assert made.sines.equal(torch.arange(6.0).sin())
    assert all(value.is_meta for value in made.state_dict().values())
    assert made.head.weight is made.table.weight


def test_elsewhere_the_model_is_as_it_was_made() -> None:
    made = foreign.made(Other)
    assert not made.table.weight.is_meta
    assert foreign.is_on_meta() is False


@pytest.mark.parametrize("words", [3, 5, 8])
def test_tables_of_tokens_grow_and_shrink(words: int) -> None:
    theirs, ours = Other(), Other(words)
    nn.init.normal_(theirs.logits_bias)
    foreign.fill(ours, theirs.state_dict(), where="here")
    kept = min(words, 5)
    assert ours.table.weight[:kept].equal(theirs.table.weight[:kept])
    assert ours.logits_bias[0, :kept].equal(theirs.logits_bias[0, :kept])
    assert not ours.logits_bias[0, kept:].any()
    assert ours.head.weight is ours.table.weight


def test_other_shapes_and_missing_weights_are_refused_and_nothing_changes() -> None:
    ours, theirs = Other(), Other().state_dict()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"here: 1 weights have the wrong shape; logits_bias is nothing in the file"
    ):
        foreign.fill(ours, {name: one for name, one in theirs.items() if name != "logits_bias"}, where="here")
    with pytest.raises(CheckpointError, match=r"head.weight is \(5, 3\) in the file, expected \(5, 4\)"):
        foreign.fill(ours, theirs | {"head.weight": torch.zeros(5, 3)}, where="here")
    assert all(value.equal(before[name]) for name, value in ours.state_dict().items())
