"""The model as a whole: what it asks of its inputs, and what it says of itself."""

from __future__ import annotations

import pytest
import torch
from contracts._compose import CASES, Case, compose, picture, sample, samples
from torch import Tensor, nn

from sightweave.models.encoders import cnn
from sightweave.models.fusions import cross_attention
from sightweave.models.language_models import decoder_only

CONCAT = Case("concat", (), "decoder_only")


def test_the_layout_follows_the_parts() -> None:
    layout = compose(CONCAT, connector="pool")[0].layout
    assert (layout.form, layout.in_sequence, layout.tokens_per_image, layout.grid) == (
        "causal",
        True,
        4,
        (2, 2),
    )
    layout = compose(Case("cross_attention", (), "encoder_decoder"), connector="resampler")[0].layout
    assert (layout.form, layout.in_sequence, layout.tokens_per_image, layout.grid) == (
        "encoder_decoder",
        False,
        5,
        None,
    )
    assert compose(Case("bilinear", (), "encoder_only"))[0].layout.bidirectional == "all"


def test_without_a_target_it_stops_after_the_media() -> None:
    model, processor = compose(CONCAT)
    batch = processor.media_batch([sample("a", picture(1), "what ?", answer="red ball")], words="captions")
    output = model(batch)
    assert output.logits is None
    assert output.media.embeddings.shape == (16, 32)
    assert output.region_logits.shape == (16, model.language_model.vocab_size)


@pytest.mark.parametrize("connector", ["linear", "pool"])
def test_marks_and_embeddings_that_do_not_match_are_refused_with_both_numbers(connector: str) -> None:
    model, _ = compose(CONCAT, connector="pixel_shuffle")
    _, other = compose(CONCAT, connector=connector, encoder="vit")
    wrong = {"linear": 16, "pool": 4}[connector]
    batch = other.batch([sample("a", picture(1), "what ?")])
    if wrong == model.layout.tokens_per_image:
        assert torch.isfinite(model(batch).logits).all()
        return
    with pytest.raises(
        ValueError, match=r"medium 0 of the batch has 16 image tokens in the text but 4 embeddings"
    ):
        model(batch)


def test_media_in_another_order_than_their_marks_are_refused() -> None:
    model, processor = compose(CONCAT)
    batch = processor.batch([sample("a", picture(1), picture(2), "what ?")])
    item = batch.target.item
    batch.target.item = torch.where(item >= 0, 1 - item, item)
    with pytest.raises(ValueError, match="are in different orders"):
        model(batch)


def test_marks_without_media_are_refused() -> None:
    model, processor = compose(CONCAT)
    batch = processor.batch([sample("a", picture(1), "what ?")])
    batch.media = {}
    with pytest.raises(ValueError, match="concat: the text has image tokens, but the batch has no"):
        model(batch)


@pytest.mark.parametrize("language_model", ["decoder_only", "encoder_decoder", "encoder_only"])
def test_learned_positions_end_with_a_clear_word(language_model: str) -> None:
    case = Case("addition", (), language_model)
    model, processor = compose(case, language_model={"position": "learned", "max_length": 12})
    assert torch.isfinite(model(processor.batch([sample("short", picture(1), "how ?")])).logits).all()
    with pytest.raises(ValueError, match="outside the 12 learned positions; raise max_length"):
        model(processor.batch([sample("long", picture(1), "how many " * 20)]))


@pytest.mark.parametrize("position", ["sinusoidal", "rotary"])
def test_very_long_rows_run(position: str) -> None:
    model, processor = compose(CONCAT, language_model={"position": position, "max_length": 12})
    with torch.inference_mode():
        logits = model(processor.batch([sample("long", picture(1), "how many " * 700)])).logits
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    "fields",
    [
        {"norm": "layer", "feed_forward": "relu", "position": "learned"},
        {"qk_norm": True, "num_kv_heads": 2, "bias": True, "tie_embeddings": False},
        {"normalise_embeddings": True, "feed_forward": "relu2", "position": "sinusoidal", "dropout": 0.1},
    ],
)
def test_other_words_of_the_decoder_learn_too(fields: dict[str, object]) -> None:
    model, processor = compose(CONCAT, language_model=fields)
    model(processor.batch(samples())).logits.sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_the_sketch_of_twelve_lines_written_by_a_user_trains() -> None:
    class Sketch(nn.Module):
        def __init__(
            self, text_encoder: nn.Module, image_encoder: nn.Module, fusion_layer: nn.Module
        ) -> None:
            super().__init__()
            self.text_encoder, self.image_encoder, self.fusion_layer = (
                text_encoder,
                image_encoder,
                fusion_layer,
            )
            self.project = nn.Linear(image_encoder.dim, text_encoder.dim)

        def forward(self, text: Tensor, image: Tensor) -> Tensor:
            words = self.text_encoder.embed(text)
            seen = self.project(self.image_encoder(image).values)
            return self.text_encoder.head(self.fusion_layer(words, seen).mean(1))

    torch.manual_seed(0)
    speaker = decoder_only.Config(dim=32, depth=1, num_heads=4).build(vocab_size=20)
    eyes = cnn.Config(image_size=16, channels=(16, 32), blocks=(0, 0)).build()
    joint = cross_attention.Config(gate=0.5).build(dim=32, num_heads=4, depth=1)
    model = Sketch(speaker, eyes, joint)
    text, image = torch.randint(0, 20, (4, 3)), torch.randn(4, 3, 16, 16)
    text[:] = text[0]  # only the picture tells the rows apart
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(text, image), torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize("case", CASES, ids=str)
def test_intermediates_are_named_where_they_are_asked_for(case: Case) -> None:
    model, processor = compose(case)
    batch = processor.batch(samples())
    plain, named = model(batch), model(batch, with_named=True)
    assert plain.named == {}
    torch.testing.assert_close(named.logits, plain.logits, atol=0, rtol=0)

    found = named.named
    blocks = [name for name in found if name.startswith("block_")]
    assert blocks == [f"block_{number}" for number in range(len(blocks))]
    assert blocks
    rows, width = batch.target.ids.shape
    for name in ("words", "fused", "states", *blocks):
        assert found[name].shape == (rows, width, model.language_model.dim), name
    torch.testing.assert_close(model.language_model.head(found["pooled"]), plain.logits)

    # An explanation asks how an answer depends on them.
    (gradient,) = torch.autograd.grad(named.logits.sum(), found["block_0"])
    assert gradient.abs().sum() > 0
