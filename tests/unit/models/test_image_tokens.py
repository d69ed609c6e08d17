"""Target images in a model: their codes are filled in, learnt, and read like other tokens."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from contracts._compose import Case, compose, nudge, picture, sample
from torch.nn import functional as F

from sightweave.core.errors import DataError
from sightweave.core.types import Part, Sample
from sightweave.data.inputs import transforms
from sightweave.data.inputs.processor import Processor
from sightweave.models.image_tokenizers.fsq import Fsq
from sightweave.models.loss import Amounts, amounts, token_loss
from sightweave.models.vlm import VLM

CASES = [Case("concat", (), "decoder_only"), Case("cross_attention", (), "encoder_decoder")]


def drawing(case: Case = CASES[0], **fields: Any) -> tuple[VLM, Processor]:
    """A tiny model that also writes pictures of 2 x 2 codes, and its processor."""
    plain, processor = compose(case, **fields)
    torch.manual_seed(1)
    tokenizer = Fsq(image_size=16, stride=8, levels=(4, 3), channels=4, max_channels=8)
    model = VLM(plain.encoder, plain.connector, plain.fusion, plain.language_model, image_tokenizer=tokenizer)
    nudge(model)
    return model.eval(), dataclasses.replace(
        processor, layout=model.layout, pictures=transforms.Config(size=16)
    )


def wanted(name: str, *content: Any, target: int, said: str = "") -> Sample:
    """A prompt whose answer is a text and a picture."""
    asked = sample(name, *content, answer=said)
    said_parts = asked.parts if said else asked.parts[:-1]
    return dataclasses.replace(asked, parts=(*said_parts, Part("assistant", picture(target), learn=True)))


def samples() -> list[Sample]:
    return [
        wanted("text", "a red ball", target=1),
        wanted("image", picture(2), "this picture in blue", target=3),
        sample("said", picture(2), "what colour is the ball ?", answer="blue"),
        wanted("both", "how many ?", target=4, said="two"),
    ]


def codes_of(model: VLM, processor: Processor, number: int) -> list[int]:
    assert model.image_tokenizer is not None
    with torch.no_grad():
        found: list[int] = (
            model.image_tokenizer.encode(processor.load_pictures([picture(number)])).flatten().tolist()
        )
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_labels_are_the_tokens_of_the_pictures(case: Case) -> None:
    model, processor = drawing(case)
    tokens = processor.layout.image_tokens
    assert tokens is not None
    assert (tokens.first, tokens.num_codes, tokens.rows, tokens.columns) == (
        processor.tokenizer.vocab_size,
        12,
        2,
        2,
    )
    batch = processor.batch(samples(), share=False)
    with torch.no_grad():
        output = model(batch)
    assert output.labels is not None
    assert output.logits is not None
    assert output.logits.shape[1] == model.vocab_size == tokens.first + tokens.size

    end = processor.tokenizer.end_id
    expected = [
        *tokens.picture(codes_of(model, processor, 1)),
        end,
        *tokens.picture(codes_of(model, processor, 3)),
        end,
        *processor.tokenizer.encode("blue"),
        end,
        *processor.tokenizer.encode("two"),
        *tokens.picture(codes_of(model, processor, 4)),
        end,
    ]
    assert output.labels.tolist() == expected
    assert tokens.hole not in expected


@pytest.mark.parametrize("case", CASES, ids=str)
def test_codes_are_read_and_bundles_packing_and_padding_change_nothing(case: Case) -> None:
    model, processor = drawing(case)
    alone = []
    for one in samples():
        batch = processor.batch([one])
        with torch.no_grad():
            output = model(batch)
        alone.append(F.cross_entropy(output.logits, _labels(output, batch), reduction="sum"))
    for settings in ({}, {"share": False}, {"pack_to": 300}):
        batch = processor.batch(samples(), **settings)
        with torch.no_grad():
            output = model(batch)
        found = F.cross_entropy(output.logits, _labels(output, batch), reduction="sum")
        torch.testing.assert_close(found, torch.stack(alone).sum(), rtol=1e-4, atol=1e-4)

    # The code before another one changes its logits.
    one = processor.batch(samples()[:1])
    assert one.pictures is not None
    other = dataclasses.replace(one, pictures=1 - one.pictures)
    with torch.no_grad():
        first, second = model(one), model(other)
    assert not torch.equal(first.labels, second.labels)
    torch.testing.assert_close(first.logits[:4], second.logits[:4])  # up to the first code
    assert not torch.allclose(first.logits[5:8], second.logits[5:8])


def _labels(output: Any, batch: Any) -> torch.Tensor:
    labels: torch.Tensor = (
        batch.target.labels.flatten()[output.at + 1] if output.labels is None else output.labels
    )
    return labels


def test_image_tokens_have_a_weight_of_their_own_in_the_loss() -> None:
    model, processor = drawing()
    batch = processor.batch([samples()[3]])
    with torch.no_grad():
        output = model(batch)
    assert output.logits is not None
    assert output.labels is not None
    each = F.cross_entropy(output.logits, output.labels, reduction="none")
    is_image = output.labels >= processor.tokenizer.vocab_size
    assert 0 < int(is_image.sum()) < len(is_image)
    weights = torch.where(is_image, 0.5, 1.0)

    found = token_loss(output, batch, image_token_weight=0.5)
    torch.testing.assert_close(found, (each * weights).sum() / weights.sum())
    assert amounts(batch, image_token_weight=0.5) == Amounts(float(weights.sum()))
    # The loss that applies the head itself is the same.
    with torch.no_grad():
        chunked = token_loss(
            model(batch, with_logits=False), batch, image_token_weight=0.5, language_model=model.with_head
        )
    torch.testing.assert_close(chunked, found)


def test_gradients_reach_the_image_vocabulary_and_not_the_tokenizer() -> None:
    model, processor = drawing()
    batch = processor.batch(samples())
    token_loss(model(batch), batch).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    vocabulary = model.language_model.image_vocabulary
    assert vocabulary is not None
    assert model.image_tokenizer is not None
    assert all(one.grad is not None and one.grad.any() for one in vocabulary.parameters())
    assert all(one.grad is None for one in model.image_tokenizer.parameters())


def test_media_of_the_prompt_and_target_images_are_kept_apart() -> None:
    one = samples()[1]
    assert [medium.key for medium in one.media] == ["picture-2"]
    assert [medium.key for medium in one.pictures] == ["picture-3"]
    assert [medium.key for medium in one.without_media().pictures] == ["picture-3"]
    assert one.without_media().media == ()
    bare = one.without_prompt()
    assert (bare.media, bare.prompt, [medium.key for medium in bare.pictures]) == ((), "", ["picture-3"])


def test_a_saved_processor_keeps_the_image_tokens(tmp_path: Any) -> None:
    from sightweave.core import checkpoint

    _, processor = drawing()
    checkpoint.write_folder(tmp_path / "saved", {}, processor.documents())
    loaded = Processor.load(tmp_path / "saved")
    assert loaded.layout == processor.layout
    assert loaded.pictures == processor.pictures


@pytest.mark.parametrize("with_target", [True, False])
def test_images_that_are_neither_shown_nor_learnt_are_refused(with_target: bool) -> None:
    _, processor = drawing()
    asked, text = Part("user", "a red ball"), Part("assistant", "blue", learn=True)
    shown, learnt = Part("assistant", picture(1)), Part("assistant", picture(1), learn=True)

    earlier = Sample(id="earlier", task="", parts=(asked, learnt, asked, text))
    with pytest.raises(
        DataError, match=r"sample 'earlier': part 1 of 4 is an image to learn, .* from part 3 on"
    ):
        processor.encode(earlier, with_target=with_target)
    with pytest.raises(DataError, match="sample 'shown': the answer contains an image with learn=False"):
        processor.encode(Sample(id="shown", task="", parts=(asked, shown)), with_target=with_target)

    # An image of an earlier answer can be read.
    found = processor.encode(
        Sample(id="read", task="", parts=(asked, shown, asked, text)), with_target=with_target
    )
    assert [medium.key for medium in found.branch_media] == ["picture-1"]
    assert found.pictures == ()


def test_answers_that_cannot_be_learnt_are_refused() -> None:
    _, processor = compose(CASES[0])
    with pytest.raises(
        DataError, match=r"sample 'text': the answer contains an image, but the model has no image"
    ):
        processor.encode(samples()[0])
