"""An encoder-decoder with relative positions and T5's other words keeps what every language model keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contracts._compose import Case, compose, samples
from contracts.test_decoding import Recording, close, full_logits
from contracts.test_packing import check_equal

from sightweave.models.language_models import encoder_decoder
from sightweave.models.nn.block import Block
from sightweave.programs.generation import Options, generate

T5: dict[str, Any] = {
    "position": "relative",
    "head_dim": 6,
    "feed_forward": "geglu",
    "scale_scores": False,
    "tie_embeddings": False,
}
CASES = [Case("memory", (), "encoder_decoder"), Case("concat", (), "encoder_decoder")]


@pytest.mark.parametrize("settings", [{"share": False, "pack_to": 1000}, {"share": True}], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_packed_and_branched_equal_separate(case: Case, settings: dict[str, Any]) -> None:
    model, processor = compose(case, language_model=T5)
    check_equal(model, processor, samples(), **settings)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_token_by_token_equals_recomputing_and_a_batch_equals_each_alone(case: Case) -> None:
    model, processor = compose(case, language_model=T5)
    for one in samples():
        record = Recording()
        generate(model, processor, [one], Options(max_tokens=9, decoding=record))
        ids = [int(step[0]) for step in record.ids]
        expected = full_logits(model, processor, one, ids)
        torch.testing.assert_close(torch.cat(record.logits), expected, atol=1e-5, rtol=1e-5)
    options = Options(max_tokens=9, decoding=Recording(ends=3))
    alone = [generate(model, processor, [one], options)[0] for one in samples()]
    close(generate(model, processor, samples(), options), alone)


def test_a_fusion_gets_heads_that_share_the_width() -> None:
    """As mT5's do not, whose heads have a width of their own."""
    case = Case("cross_attention", (), "encoder_decoder")
    model, processor = compose(case, language_model=T5 | {"num_heads": 6})
    assert model.language_model.blocks[0].attention.num_heads == 6
    assert model.fusion.layers[0].attention.num_heads == 2
    assert model(processor.batch(samples()[:2])).logits.isfinite().all()


def test_the_order_of_words_is_seen() -> None:
    model, _ = compose(CASES[0], language_model=T5)
    relative = model.language_model.relative
    forward, back = torch.arange(5)[None], torch.arange(4, -1, -1)[None]
    assert not relative(forward, forward).equal(relative(back, back))


def test_computing_blocks_again_gives_the_same_gradients() -> None:
    """Also those of the numbers that all blocks add to their scores."""
    found = []
    for recomputes in (False, True):
        model, processor = compose(CASES[0], language_model=T5)
        for block in model.modules():
            if isinstance(block, Block):
                block.recomputes = recomputes
        model.train()(processor.batch(samples()[:3])).logits.square().sum().backward()
        found.append({name: weight.grad for name, weight in model.named_parameters()})
    tables = [name for name in found[0] if "relative" in name]
    assert len(tables) == 2
    assert all(found[0][name].abs().sum() > 0 for name in tables)
    assert all(grad is None or found[1][name].equal(grad) for name, grad in found[0].items())


def test_the_head_may_be_scaled_and_may_be_the_table() -> None:
    torch.manual_seed(0)
    sizes = {"dim": 16, "num_heads": 4, "encoder_depth": 1, "decoder_depth": 1}
    hidden = torch.randn(3, 16)
    tied = encoder_decoder.Config(**sizes, scale_head=True).build(vocab_size=10)
    torch.testing.assert_close(tied.head(hidden), hidden @ tied.token_embedding.table.weight.T / 4)
    own = encoder_decoder.Config(**sizes, tie_embeddings=False).build(vocab_size=10)
    torch.testing.assert_close(own.head(hidden), hidden @ own.output.weight.T)
