"""Cross-attention projects the media for all of its layers at once, and leaves tokens without media as they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sightweave.core.batch import MediaEmbeddings
from sightweave.models.fusions._base import plain_tokens
from sightweave.models.fusions.cross_attention import Config, CrossAttention


def fusion(every: int = 1) -> CrossAttention:
    """Three gated layers with norms that differ."""
    torch.manual_seed(0)
    made = Config(gate=0.5, every=every).build(dim=16, num_heads=2, depth=3 * every)
    for layer in made.layers:
        nn.init.uniform_(layer.media_norm.weight, 0.5, 1.5)
    return made


def one_by_one(made: CrossAttention, media: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [layer.attention.keys_values(layer.media_norm(media)) for layer in made.layers]


def flat(keys_values: list[tuple[Tensor, ...]]) -> list[Tensor]:
    return [part for pair in keys_values for part in pair]


def test_keys_and_values_of_all_layers_and_their_gradients_are_those_of_each_layer() -> None:
    made, found = fusion(), []
    media = torch.randn(2, 5, 16, requires_grad=True)
    for keys_values in (made._keys_values(media), one_by_one(made, media)):
        parts = flat(keys_values)
        loss = sum((part * (place + 1)).square().sum() for place, part in enumerate(parts))
        weights = [
            p for name, p in made.named_parameters() if ".k." in name or ".v." in name or "media" in name
        ]
        found.append([*parts, *torch.autograd.grad(loss, [media, *weights])])
    for together, alone in zip(*found, strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


def test_layers_that_are_not_plain_project_one_by_one() -> None:
    class Doubling(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    made, media = fusion(), torch.randn(2, 5, 16)
    made.layers[1].attention.v = Doubling(16, 16, bias=False)
    for found, expected in zip(flat(made._keys_values(media)), flat(one_by_one(made, media)), strict=True):
        assert torch.equal(found, expected)


def test_tokens_without_media_stay_as_they_are() -> None:
    made, hidden = fusion(every=2), torch.randn(2, 4, 16)
    row = torch.tensor([0, 0])
    media = MediaEmbeddings(torch.randn(2, 16), item=row, row=row, segment=row, branch=row)
    look = made.before_block(plain_tokens(hidden), media, None)
    assert look is not None
    changed = look(2, hidden)
    assert torch.equal(changed[1], hidden[1])
    assert not torch.isclose(changed[0], hidden[0]).all(1).any()
    assert look(3, hidden) is hidden


def test_without_any_media_nothing_acts_before_a_block() -> None:
    made, hidden = fusion(), torch.randn(1, 4, 16)
    none = torch.zeros(0, dtype=torch.int64)
    media = MediaEmbeddings(torch.zeros(0, 16), none, none, none, none)
    assert made.before_block(plain_tokens(hidden), media, None) is None
