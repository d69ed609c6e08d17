"""Fusions refuse what they cannot do; what they look at is their own row's."""

from __future__ import annotations

import pytest
import torch

from sightweave.models.fusions import addition, bilinear, concat, cross_attention, memory


def test_impossible_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="rank must be 1 or more \\(got 0\\)"):
        bilinear.Config(rank=0).build(dim=8, num_heads=2, depth=1)
    with pytest.raises(ValueError, match="every must be a number of blocks, 1 or more \\(got 0\\)"):
        cross_attention.Config(every=0).build(dim=8, num_heads=2, depth=1)
    with pytest.raises(ValueError, match="concatenate, add or attend \\(got 'glue'\\)"):
        memory.MemoryFusion(dim=8, num_heads=2, join="glue")


@pytest.mark.parametrize(("every", "count"), [(1, 5), (2, 3), (5, 1), (9, 1)])
def test_gated_layers_come_every_so_often(every: int, count: int) -> None:
    assert len(cross_attention.Config(every=every).build(dim=8, num_heads=2, depth=5).layers) == count


def test_concat_puts_the_image_before_the_text() -> None:
    text, image = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    joined = concat.Config().build(dim=8, num_heads=2, depth=1)(text, image)
    assert torch.equal(joined[:, :4], image)
    assert torch.equal(joined[:, 4:], text)


def test_addition_adds_one_vector_to_all_words_of_a_row() -> None:
    torch.manual_seed(0)
    made = addition.Config(gate=2.0).build(dim=8, num_heads=2, depth=1)
    text, image = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    added = made(text, image) - text
    mean = image.mean(1)
    normal = mean / mean.square().mean(-1, keepdim=True).add(1e-6).sqrt()
    expected = 2.0 * (normal @ made.projection.weight.T)
    for word in range(3):
        torch.testing.assert_close(added[:, word], expected, atol=1e-5, rtol=1e-5)


def test_bilinear_is_its_formula() -> None:
    torch.manual_seed(0)
    made = bilinear.Config(rank=3, hidden_dim=5).build(dim=8, num_heads=1, depth=1)
    question, image = torch.randn(2, 8), torch.randn(2, 1, 8)
    part = made.attention  # one picture vector: all attention goes to it
    normal = image[:, 0] / image[:, 0].square().mean(-1, keepdim=True).add(1e-6).sqrt()
    seen = normal @ part.v.weight.T @ part.out.weight.T
    asked = (question @ made.question.weight.T + made.question.bias).tanh().unflatten(-1, (3, 5))
    shown = (seen @ made.image.weight.T + made.image.bias).tanh().unflatten(-1, (3, 5))
    expected = question + (asked * shown).sum(1) @ made.product.weight.T + made.product.bias
    torch.testing.assert_close(made(question, image), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("join", "length"), [("concatenate", 7), ("add", 3), ("attend", 3)])
def test_the_joined_memory_has_the_length_that_its_kind_says(join: str, length: int) -> None:
    made = memory.Config(join=join).build(dim=8, num_heads=2, depth=1)
    assert made(torch.randn(2, 3, 8), torch.randn(2, 4, 8)).shape == (2, length, 8)
