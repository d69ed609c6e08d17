"""What context parallelism does not support is refused; the split itself is tested with several processes."""

from __future__ import annotations

import pytest
from contracts._compose import Case, compose

from sightweave.core.errors import RecipeError
from sightweave.models.vlm import VLM
from sightweave.programs.training import context_parallel


def model(fusion: str = "concat", form: str = "decoder_only") -> VLM:
    return compose(Case(fusion, (), form))[0]


@pytest.mark.parametrize(
    ("fusion", "form", "message"),
    [
        ("cross_attention", "encoder_decoder", "the language model is a EncoderDecoder.*Set mesh.cp to 1"),
        ("bilinear", "encoder_only", "the language model is a EncoderOnly.*Set mesh.cp to 1"),
        (
            "cross_attention",
            "decoder_only",
            r"the fusion CrossAttention also acts between the blocks \(layer\).*use the fusion concat",
        ),
    ],
)
def test_models_whose_tokens_cannot_be_split_are_refused(fusion: str, form: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"mesh.cp is 2, but {message}"):
        context_parallel.check_model(model(fusion, form), 2)


def test_concat_is_accepted() -> None:
    made = model()
    assert context_parallel.check_model(made, 2) is made.language_model


def test_an_image_tokenizer_is_refused() -> None:
    made = model()
    made.image_tokenizer = object()  # type: ignore[assignment]  # the check looks at its presence only
    with pytest.raises(RecipeError, match=r"the model has an image tokenizer.*Set mesh.cp to 1"):
        context_parallel.check_model(made, 2)
