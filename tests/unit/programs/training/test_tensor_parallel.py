"""What tensor parallelism does not support is refused; the split itself is tested with several processes."""

from __future__ import annotations

from typing import Any

import pytest
from contracts._compose import Case, compose

from sightweave.core.errors import RecipeError
from sightweave.models.adapters.lora import Lora
from sightweave.models.vlm import VLM
from sightweave.programs.training import tensor_parallel
from sightweave.programs.training.settings import Settings, Stage


def model(fusion: str = "concat", form: str = "decoder_only", **fields: Any) -> VLM:
    return compose(Case(fusion, (), form), language_model=fields)[0]


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        (
            Stage(steps=1, name="tune", parts=("language_model",), lora={"language_model": Lora()}),
            {},
            r"stage 'tune' trains adapters \(lora of language_model\)",
        ),
        (
            Stage(steps=1, parts=("connector",)),
            {"quantize": {"language_model": "int8"}},
            "train.quantize has language_model, .* Remove quantize",
        ),
        (
            Stage(steps=1),
            {"validate_samples": 3},
            "train.validate_samples is 3; .* Set validate_samples to 0",
        ),
    ],
)
def test_settings_that_need_whole_weights_are_refused(
    stage: Stage, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=f"mesh.tp is 2, but {message}.*or set mesh.tp to 1"):
        tensor_parallel.check(Settings(stages=(stage,), **settings), 2)


def test_features_may_be_cached() -> None:
    tensor_parallel.check(Settings(stages=(Stage(steps=1, parts=("connector",), cache_features=8),)), 2)


@pytest.mark.parametrize(
    ("fusion", "form"), [("cross_attention", "encoder_decoder"), ("bilinear", "encoder_only")]
)
def test_other_language_models_are_refused(fusion: str, form: str) -> None:
    name = {"encoder_decoder": "EncoderDecoder", "encoder_only": "EncoderOnly"}[form]
    with pytest.raises(
        RecipeError, match=f"mesh.tp is 2, but the language model is a {name}, .*mesh.shard to true"
    ):
        tensor_parallel.check_model(model(fusion, form), 2)


@pytest.mark.parametrize(
    ("size", "fields", "message"),
    [
        (
            3,
            {"num_heads": 4},
            "mesh.tp is 3, which does not divide model.language_model.num_heads, which is 4",
        ),
        (
            4,
            {"num_heads": 4, "num_kv_heads": 2},
            "does not divide model.language_model.num_kv_heads, which is 2",
        ),
        (
            4,
            {"num_heads": 4, "hidden_dim": 30},
            r"hidden_dim, which is 30. .* set hidden_dim to a multiple of 4",
        ),
    ],
)
def test_sizes_that_cannot_be_split_are_refused(size: int, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        tensor_parallel.check_model(model(**fields), size)


def test_a_model_that_can_be_split_is_accepted() -> None:
    made = model(num_heads=4, num_kv_heads=2)
    assert tensor_parallel.check_model(made, 2) is made.language_model


def test_an_image_tokenizer_is_refused() -> None:
    made = model(num_heads=4)
    made.image_tokenizer = object()  # type: ignore[assignment]  # the check looks at its presence only
    with pytest.raises(RecipeError, match=r"the model has an image tokenizer.*Set mesh.tp to 1"):
        tensor_parallel.check_model(made, 2)
