"""Against plain torch, written another way: attention, resampler, and the blocks of an encoder-decoder."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightweave.core.batch import Features, Memory, TokenSequence
from sightweave.models.connectors import resampler
from sightweave.models.language_models import encoder_decoder


def tokens(ids: Tensor, *, ar: int, plain: bool) -> TokenSequence:
    zeros = torch.zeros_like(ids)
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return TokenSequence(
        ids, zeros - 100, positions, zeros - 1, zeros + ar, zeros, zeros, zeros == 0, plain=plain
    )


def randomise(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6) * weight


def naive_attention(
    asking: Tensor, seen: Tensor, part: nn.Module, heads: int, hidden: Tensor | None = None
) -> Tensor:
    """One head after the other, by the definition; `hidden` is True where nothing may be seen."""
    width = asking.shape[-1] // heads
    q, k, v = asking @ part.q.weight.T, seen @ part.k.weight.T, seen @ part.v.weight.T
    made = []
    for head in range(heads):
        cut = slice(head * width, (head + 1) * width)
        scores = q[..., cut] @ k[..., cut].transpose(-1, -2) / math.sqrt(width)
        if hidden is not None:
            scores = scores.masked_fill(hidden, -torch.inf)
        made.append(scores.softmax(-1) @ v[..., cut])
    return torch.cat(made, -1) @ part.out.weight.T


def test_the_resampler_is_flamingos() -> None:
    torch.manual_seed(0)
    ours = resampler.Config(num_queries=5, depth=2, num_heads=4).build(in_dim=12, out_dim=16, grid=(1, 3, 3))
    randomise(ours)
    values = torch.randn(2, 9, 12)
    inputs = values @ ours.inputs.weight.T + ours.inputs.bias
    x = ours.queries.expand(2, -1, -1)
    for layer in ours.layers:
        queries = rms(x, layer.query_norm.weight)
        seen = torch.cat([rms(inputs, layer.input_norm.weight), queries], 1)
        x = x + naive_attention(queries, seen, layer.attention, 4)
        wide = F.gelu(rms(x, layer.feed_forward_norm.weight) @ layer.feed_forward.up.weight.T)
        x = x + wide @ layer.feed_forward.down.weight.T
    torch.testing.assert_close(
        ours(Features(values, (1, 3, 3))), rms(x, ours.norm.weight), atol=1e-5, rtol=1e-5
    )


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch speaks of a fast path that it has not
@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_the_encoder_decoder_is_the_pre_norm_transformer_of_torch(position: str) -> None:
    torch.manual_seed(0)
    dim, heads, wide, vocabulary = 16, 4, 24, 30
    ours = encoder_decoder.Config(
        dim=dim,
        encoder_depth=2,
        decoder_depth=2,
        num_heads=heads,
        hidden_dim=wide,
        feed_forward="relu",
        norm="layer",
        position=position,
        max_length=20,
    ).build(vocab_size=vocabulary)
    randomise(ours)
    settings = {
        "dropout": 0.0,
        "batch_first": True,
        "norm_first": True,
        "layer_norm_eps": 1e-6,
        "activation": "relu",
    }
    theirs = nn.Transformer(dim, heads, 2, 2, wide, bias=True, **settings).eval()
    for block, layer in zip(ours.encoder_blocks, theirs.encoder.layers, strict=True):
        copy_attention(block.attention, layer.self_attn)
        copy_rest(block, layer, [("attention_norm", "norm1"), ("feed_forward_norm", "norm2")])
    for block, layer in zip(ours.blocks, theirs.decoder.layers, strict=True):
        copy_attention(block.attention, layer.self_attn)
        copy_attention(block.memory_attention, layer.multihead_attn)
        norms = [("attention_norm", "norm1"), ("memory_norm", "norm2"), ("feed_forward_norm", "norm3")]
        copy_rest(block, layer, norms)
    copy_norm(ours.encoder_norm, theirs.encoder.norm)
    copy_norm(ours.norm, theirs.decoder.norm)
    source, target = torch.randint(0, vocabulary, (2, 7)), torch.randint(0, vocabulary, (2, 5))
    read, written = tokens(source, ar=0, plain=False), tokens(target, ar=1, plain=True)
    memory = ours.encode(ours.embed(source), read)
    found = ours.head(ours.run(ours.embed(target), written, memory=memory).flatten(0, 1))

    table = ours.token_embedding.table.weight
    places = added_positions(ours, position, dim)
    hidden = theirs(
        table[source] + places[:7],
        table[target] + places[:5],
        tgt_mask=torch.ones(5, 5).triu(1).bool(),
        tgt_is_causal=True,
    )
    torch.testing.assert_close(found, hidden.flatten(0, 1) @ table.T, atol=1e-4, rtol=1e-5)


def added_positions(ours: nn.Module, position: str, dim: int) -> Tensor:
    if position == "learned":
        return ours.positions.table.weight
    angles = torch.tensor([[p / 10_000 ** (2 * i / dim) for i in range(dim // 2)] for p in range(20)])
    return torch.cat([angles.sin(), angles.cos()], -1)


def copy_attention(ours: nn.Module, theirs: nn.MultiheadAttention) -> None:
    theirs.in_proj_weight.data.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
    theirs.in_proj_bias.data.zero_()
    theirs.out_proj.weight.data.copy_(ours.out.weight)
    theirs.out_proj.bias.data.zero_()


def copy_norm(ours: nn.LayerNorm, theirs: nn.LayerNorm) -> None:
    theirs.load_state_dict(ours.state_dict())
    theirs.eps = ours.eps


def copy_rest(block: nn.Module, layer: nn.Module, norms: list[tuple[str, str]]) -> None:
    for mine, its in norms:
        copy_norm(getattr(block, mine), getattr(layer, its))
    layer.linear1.weight.data.copy_(block.feed_forward.up.weight)
    layer.linear2.weight.data.copy_(block.feed_forward.down.weight)
    layer.linear1.bias.data.zero_()
    layer.linear2.bias.data.zero_()


def test_a_decoder_without_a_memory_says_what_it_needs() -> None:
    ours = encoder_decoder.Config(dim=16, num_heads=4).build(vocab_size=10)
    target = tokens(torch.zeros(1, 3, dtype=torch.long), ar=1, plain=True)
    with pytest.raises(ValueError, match="needs a memory"):
        ours.run(ours.embed(target.ids), target)


def test_a_rows_own_memory_alone_is_read() -> None:
    torch.manual_seed(0)
    ours = encoder_decoder.Config(dim=16, num_heads=4).build(vocab_size=10)
    randomise(ours)
    target = tokens(torch.randint(0, 10, (2, 3)), ar=1, plain=True)
    hidden = torch.randn(2, 4, 16)
    zeros = torch.zeros(2, 4, dtype=torch.long)

    def run(hidden: Tensor, valid: Tensor) -> Tensor:
        return ours.run(ours.embed(target.ids), target, memory=Memory(hidden, zeros, zeros, valid))

    everything = torch.ones(2, 4, dtype=torch.bool)
    changed = hidden.clone()
    changed[1] += 1
    assert torch.equal(run(hidden, everything)[0], run(changed, everything)[0])
    cut = everything.clone()
    cut[:, 3] = False
    changed = hidden.clone()
    changed[:, 3] += 1
    assert torch.equal(run(hidden, cut), run(changed, cut))
    assert not torch.allclose(run(hidden, everything), run(changed, everything))
