"""What is asked of a medium by its modality."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from contracts.series import modality

from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Medium
from sightweave.data.inputs import modalities
from sightweave.data.inputs.media import image

SERIES = modality.Loader.example(1)
PICTURE = image.noise(1, 20, 20)


def test_media_are_grouped_in_order() -> None:
    assert modalities.by_modality([PICTURE, SERIES, PICTURE]) == {"image": [0, 2], modality.__name__: [1]}


def test_copies_are_found_within_a_modality() -> None:
    copy = Medium(np.array(SERIES.source), "copy", modality=SERIES.modality)
    names = modalities.contents([PICTURE, SERIES, copy, modality.Loader.example(2)])
    assert names[SERIES] == names[copy]
    assert len(set(names.values())) == 3
    assert modalities.digest(SERIES) == modalities.digest(copy) != modalities.digest(PICTURE)


def test_what_a_model_does_not_read_is_named() -> None:
    modalities.refuse_unknown([PICTURE], {"image": None}, "sample 'a'")
    with pytest.raises(DataError, match=r"sample 'a': has 'series-1' .* but this model reads image;"):
        modalities.refuse_unknown([PICTURE, SERIES], {"image": None}, "sample 'a'")


def test_an_unknown_modality_is_an_error() -> None:
    with pytest.raises(RecipeError, match=r"no media kind 'sond'"):
        modalities.loader_class("sond")


def test_images_need_no_torch() -> None:
    code = (
        "import sys, numpy as np; from sightweave.core.types import Medium; from sightweave.data.inputs import modalities; "
        "one = Medium(np.zeros((4, 4, 3), np.uint8), 'a'); modalities.check(one); modalities.digest(one); "
        "modalities.contents([one]); print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"
