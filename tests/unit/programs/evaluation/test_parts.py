"""The parts of an answer survive JSON bit by bit, and nothing else is taken for them."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest

from sightweave.programs.evaluation import parts


def test_texts_and_images_come_back_in_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    given = ("a red ", PIL.Image.fromarray(pixels), "", PIL.Image.fromarray(pixels[::-1]))
    found = parts.read(json.loads(json.dumps(parts.plain(given))))
    assert [type(one) is str for one in found] == [True, False, True, False]
    assert found[::2] == given[::2]
    for one, other in zip(found[1::2], given[1::2], strict=True):
        assert isinstance(one, PIL.Image.Image)
        assert isinstance(other, PIL.Image.Image)
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("values", ["text", [7], [{}], [{"png": "@"}], [{"png": "AAAA"}], [{"png": 3}]])
def test_other_values_are_refused(values: object) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        parts.read(values)  # type: ignore[arg-type]  # that is the test
