"""Every explainer explains every composition, or says why it cannot and which ones can."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from contracts._compose import CASES, Case, compose, picture, sample
from contracts.series import modality

from sightweave.core import catalog
from sightweave.core.errors import RecipeError
from sightweave.core.explanation import Explanation
from sightweave.data.inputs import transforms
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.tokenizer import Tokenizer
from sightweave.models.vlm import VLM
from sightweave.programs.explanation import FAMILY, explain
from sightweave.programs.generation import generate

KINDS = catalog.kinds(FAMILY)
ALWAYS = ["gradient_x_input", "integrated_gradients", "occlusion"]
BY_ATTENTION = ["attention", "relevancy", "rollout"]
PROMPT = sample("both", "compare this picture", picture(6), "with that one", picture(7))
NO_ATTENTION = ("addition", "memory-add")


def asked(case: Case) -> dict[str, str]:
    if case.form == "classify":
        return {"answer": "blue"}
    return {"answer": "a blue box", "word": "blue"}


def able(case: Case) -> list[str]:
    """The methods that can explain a composition whose encoder is a ViT."""
    is_blind = str(case).startswith(NO_ATTENTION) or case.language_model.startswith("from_transformers")
    return ALWAYS + ([] if is_blind else BY_ATTENTION)


def check(found: Explanation, processor: Processor, names: list[str], shape: tuple[int, ...]) -> None:
    assert [one.name for one in found.media] == names
    for one in found.media:
        assert one.values.shape == shape
        assert one.values.dtype == np.float32
        assert np.isfinite(one.values).all()
        assert np.abs(one.values).max() > 0
        assert one.values.max() > one.values.min()
    if found.token_values is None:
        return
    prompt = processor.encode(PROMPT, with_target=False)
    texts = [item for item in (*prompt.trunk.item, *prompt.prompt.item) if item < 0]
    assert len(found.tokens) == len(found.token_values) == len(texts)
    assert np.abs(found.token_values).max() > 0
    assert "compare" in "".join(found.tokens)
    assert found.unit


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_composition_is_explained_or_refused_with_the_methods_that_can(case: Case) -> None:
    model, processor = compose(case, encoder="vit")
    for kind in KINDS:
        if kind in able(case):
            found = explain(model, processor, PROMPT, kind, **asked(case))
            check(found, processor, ["picture-6", "picture-7"], (4, 4))
            if found.completeness_error is not None:
                assert found.completeness_error < 0.01
                total = float(sum(one.values.sum() for one in found.media) + found.token_values.sum())
                assert np.sign(total) in (-1, 1)
        else:
            methods = ", ".join(sorted(able(case)))
            with pytest.raises(
                RecipeError, match=rf"{kind} cannot explain this answer: .*: {re.escape(methods)}\."
            ):
                explain(model, processor, PROMPT, kind, **asked(case))


SHAPES = {"linear": (4, 4), "mlp": (4, 4), "pixel_shuffle": (4, 4), "pool": (4, 4), "resampler": (4, 4)}


@pytest.mark.parametrize("connector", catalog.kinds("models.connectors"))
@pytest.mark.parametrize("encoder", ["vit", "cnn"])
def test_values_lie_on_the_encoders_grid_whatever_the_connector_makes_of_it(
    encoder: str, connector: str
) -> None:
    case = Case("concat", (), "decoder_only")
    model, processor = compose(case, encoder=encoder, connector=connector)
    _, rows, columns = model.encoder.grid()
    kinds = [*able(case), *["grad_cam"] * (encoder == "cnn")]
    for kind in kinds:
        found = explain(model, processor, PROMPT, kind, **asked(case))
        assert [one.values.shape for one in found.media] == [(rows, columns)] * 2, kind
        assert all(np.abs(one.values).max() > 0 for one in found.media), kind
        assert (found.token_values is None) == (kind == "grad_cam")


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_without_media_has_values_for_its_words_only(kind: str) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"), encoder="cnn")
    prompt = sample("text", "how many cats are there ?")
    if kind == "grad_cam":
        with pytest.raises(RecipeError, match="the prompt has no media"):
            explain(model, processor, prompt, kind, answer="two")
        return
    found = explain(model, processor, prompt, kind, answer="two")
    assert found.media == ()
    assert found.token_values is not None
    assert np.abs(found.token_values).max() > 0
    assert found.medium_share == 0


@pytest.mark.parametrize("kind", ALWAYS)
def test_media_of_any_size_have_a_value_for_each_place(kind: str) -> None:
    model, processor = with_series()
    short, long = modality.Loader.example(3), modality.Loader.example(9)
    prompt = sample("series", picture(1), "compare", short, "with", long)
    found = explain(model, processor, prompt, kind, answer="the ball is red", word="red")
    sizes = [-(-len(one.source) // 4) for one in (short, long)]
    assert [one.values.shape for one in found.media] == [(4, 4), (sizes[0],), (sizes[1],)]
    assert [one.modality for one in found.media] == ["image", modality.__name__, modality.__name__]
    assert all(np.abs(one.values).max() > 0 for one in found.media)


def with_series() -> tuple[VLM, Processor]:
    from contracts._compose import small, tokenizer
    from contracts.series import encoder

    model, _ = compose(Case("concat", (), "decoder_only"), encoder="vit")
    ears = encoder.Config().build()
    joint = small("models.connectors", "linear").build(
        in_dim=ears.dim, out_dim=model.language_model.dim, grid=ears.grid()
    )
    both = VLM(
        model.encoder, model.connector, model.fusion, model.language_model, {modality.__name__: (ears, joint)}
    )
    words: Tokenizer = tokenizer()
    processor = Processor(
        tokenizer=words,
        transform=transforms.Config(size=model.encoder.image_size),
        layout=both.layout,
        media={modality.__name__: modality.Config()},
    )
    return both, processor


@pytest.mark.parametrize("kind", KINDS)
def test_explaining_leaves_the_model_as_it_was_even_for_others_that_use_it(kind: str) -> None:
    model, processor = compose(Case("memory", (), "encoder_decoder"), encoder="cnn")
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = [True] * len(list(model.parameters()))
    model.requires_grad_(True)

    def said(_: Any) -> str:
        (answer,) = generate(model, processor, [PROMPT])
        return answer.text

    model.eval()
    expected = said(0)
    model.train()
    with ThreadPoolExecutor(2) as pool:
        model.eval()
        others = [pool.submit(said, number) for number in range(4)]
        first = explain(model, processor, PROMPT, kind, answer="a blue box")
        assert [one.result() for one in others] == [expected] * 4
    again = explain(model, processor, PROMPT, kind, answer="a blue box")

    for one, two in zip(first.media, again.media, strict=True):
        np.testing.assert_allclose(one.values, two.values, rtol=1e-5, atol=1e-7)
    assert [one.requires_grad for one in model.parameters()] == wanted
    assert all(one.grad is None for one in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(one._forward_hooks for one in model.modules())
    assert not any(getattr(one, "record", None) for one in model.modules())
