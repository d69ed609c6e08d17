"""QK-norm at a high learning rate: the attention scores of a small model that learns stay bounded; without it, they grow."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sightweave.core.batch import TokenSequence
from sightweave.models.language_models import decoder_only
from sightweave.models.nn.attention import Attention
from sightweave.models.nn.position import rotate

VOCAB, HALF, ROWS = 32, 12, 16
LR = 2e-3
"""Learning rate of recipes/drawing.yaml, which is multiplied."""
STEPS = 120
BOUND = 50.0


def sequences(generator: torch.Generator) -> TokenSequence:
    """Random codes that are said twice: the second half can only be known by attending to the first."""
    half = torch.randint(1, VOCAB, (ROWS, HALF), generator=generator)
    ids = torch.cat((half, half), 1)
    zeros = torch.zeros_like(ids)
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return TokenSequence(ids, ids, positions, zeros - 1, zeros + 1, zeros, zeros, zeros == 0, plain=True)


def recording(found: list[float]) -> Callable[..., None]:
    """A hook that records the largest absolute score of an attention."""

    def hook(attention: Attention, args: tuple[Tensor, ...], named: dict[str, object]) -> None:
        hidden, rotation = args[0], named["rotation"]
        queries = attention.q(hidden).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        queries = queries if attention.q_norm is None else attention.q_norm(queries)
        keys, _ = attention.keys_values(hidden, rotation)  # type: ignore[arg-type]  # blocks pass a rotation
        scores = rotate(queries, rotation) @ keys.transpose(-1, -2) / math.sqrt(attention.head_dim)  # type: ignore[arg-type]  # as above
        found.append(float(scores.detach().tril().abs().max()))

    return hook


def trained(*, qk_norm: bool, factor: float) -> tuple[list[float], float]:
    """The largest score of each step, and the last loss."""
    torch.manual_seed(0)
    config = decoder_only.Config(dim=64, depth=2, num_heads=2, hidden_dim=128, qk_norm=qk_norm)
    model = config.build(vocab_size=VOCAB)
    found: list[float] = []
    for block in model.blocks:
        block.attention.register_forward_pre_hook(recording(found), with_kwargs=True)

    optimizer = torch.optim.AdamW(model.parameters(), lr=LR * factor)
    generator = torch.Generator().manual_seed(1)
    largest, loss = [], torch.tensor(0.0)
    for _ in range(STEPS):
        tokens = sequences(generator)
        hidden = model.run(model.embed(tokens.ids), tokens)
        logits = model.head(hidden[:, HALF - 1 : -1].flatten(0, 1))
        loss = F.cross_entropy(logits, tokens.ids[:, HALF:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        largest.append(max(found))
        found.clear()
    return largest, float(loss.detach())


@pytest.mark.slow
def test_scores_are_bounded_with_qk_norm_and_grow_without() -> None:
    """Chameleon (arXiv:2405.09818), section 2.3, at a size for one core: the same model and data at 8 times the rate."""
    bounded, _ = trained(qk_norm=True, factor=8)
    growing, _ = trained(qk_norm=False, factor=8)
    assert max(bounded) < BOUND
    assert max(growing[-20:]) > BOUND
    assert max(growing[-20:]) > 5 * max(growing[:5])
