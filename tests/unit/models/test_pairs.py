"""Which fusion works with which language model."""

import sys
import types

import pytest

from sightweave.core import catalog
from sightweave.core.errors import RecipeError
from sightweave.models.fusions import memory
from sightweave.models.language_models import decoder_only
from sightweave.models.pairs import declared, legal_pairs, refusal


def test_the_pairs_are_those_of_the_declared_places() -> None:
    pairs = legal_pairs()
    assert pairs["concat", "decoder_only"]
    assert pairs["memory", "encoder_decoder"]
    assert not pairs["memory", "decoder_only"]
    assert pairs["bilinear", "encoder_only"]
    assert not pairs["bilinear", "encoder_decoder"]


def test_a_refusal_names_the_partners_of_both() -> None:
    fusion = memory.Config().build(dim=32, num_heads=2, depth=1)
    model = decoder_only.Config(dim=32, depth=1, num_heads=2).build(vocab_size=64)
    assert type(fusion) is declared("models.fusions", "memory")
    assert refusal(fusion, model).endswith(
        "Fusions for DecoderOnly: addition, concat, cross_attention. Language models for "
        "MemoryFusion: encoder_decoder, from_transformers."
    )


@pytest.mark.parametrize("family", ["models.fusions", "models.language_models"])
def test_every_config_names_the_class_that_it_builds(family: str) -> None:
    for kind in catalog.kinds(family):
        part = declared(family, kind)
        assert part.__module__ == f"sightweave.{family}.{kind}"
        assert part.places if family == "models.fusions" else part.offers


def test_a_kind_that_does_not_name_its_class_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("lab_without_a_part")
    module.Config = type("Config", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lab_without.a_part", module)
    with pytest.raises(RecipeError, match=r"'lab_without.a_part': its Config has no method part\(\)"):
        declared("models.language_models", "lab_without.a_part")
