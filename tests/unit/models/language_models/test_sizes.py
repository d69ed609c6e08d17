"""Language models that cannot be built say why; defaults are what they are said to be."""

from __future__ import annotations

import pytest

from sightweave.models.language_models import decoder_only, encoder_decoder, encoder_only
from sightweave.models.language_models.decoder_only import default_hidden_dim


def test_a_classifier_needs_answers() -> None:
    with pytest.raises(ValueError, match="the list is empty"):
        encoder_only.Config().build(vocab_size=300)


@pytest.mark.parametrize("module", [decoder_only, encoder_decoder, encoder_only])
@pytest.mark.parametrize("field", ["norm", "feed_forward", "position"])
def test_unknown_words_are_refused(module: object, field: str) -> None:
    with pytest.raises(ValueError, match="wrong-word"):
        module.Config(**{field: "wrong-word"}).build(vocab_size=300, num_answers=2)


@pytest.mark.parametrize("module", [decoder_only, encoder_decoder, encoder_only])
@pytest.mark.parametrize("heads", [0, 5])
def test_heads_that_do_not_divide_are_refused(module: object, heads: int) -> None:
    with pytest.raises(ValueError, match="heads"):
        module.Config(dim=32, num_heads=heads).build(vocab_size=300, num_answers=2)


def test_the_hidden_width_keeps_the_parameters_near_those_of_four_times_the_width() -> None:
    assert default_hidden_dim(128, "gelu") == 512
    assert default_hidden_dim(128, "swiglu") == 352
    assert 3 * default_hidden_dim(576, "swiglu") == pytest.approx(2 * 4 * 576, rel=0.05)
