"""Read-back match and chrF: what is written in an image counts, and a copy of the source is worth nothing."""

import numpy as np
import pytest
from PIL import Image

from sightweave.answers.metrics import background_psnr, read_back, read_back_chrf
from sightweave.core.errors import DataError
from sightweave.data.datasets import scenes
from sightweave.data.inputs.image_files import load
from sightweave.data.tasks import image_translation

TASK = image_translation.Config().build()


def samples(count: int = 3) -> list:
    dataset = scenes.Config(signs=1, tasks=("image_translation",)).build(split="scenes")
    return [TASK.sample(dataset[index][0]) for index in range(count)]


SAMPLES = samples()
TARGETS = [load(sample.target_image) for sample in SAMPLES]
SOURCES = [load(sample.media[0]) for sample in SAMPLES]


def score(metric: object, images: list) -> float:
    return float(metric.total(metric.rows(images, SAMPLES).sum(0)))  # type: ignore[attr-defined]


def test_the_reference_image_is_the_ceiling() -> None:
    assert score(read_back.Config().build(), TARGETS) == 1
    assert score(read_back_chrf.Config().build(), TARGETS) == pytest.approx(1)
    assert score(read_back.Config().build(), [Image.fromarray(pixels) for pixels in TARGETS]) == 1


def test_a_copy_of_the_source_keeps_the_background_and_translates_nothing() -> None:
    assert score(read_back.Config().build(), SOURCES) == 0
    assert score(read_back_chrf.Config().build(), SOURCES) < 0.4
    assert score(background_psnr.Config().build(), SOURCES) == 100


def test_a_missing_image_is_wrong() -> None:
    metric = read_back.Config().build()
    assert metric.rows([None, *TARGETS[1:]], SAMPLES).tolist() == [[0, 1], [1, 1], [1, 1]]
    assert np.isnan(metric.total(np.zeros(2)))


@pytest.mark.parametrize("kind", [read_back, read_back_chrf, background_psnr])
def test_other_answers_are_errors(kind: object) -> None:
    metric = kind.Config().build()  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"scores drawn images, but the answer to .* is the text 'bat'"):
        metric.rows(["bat"], SAMPLES[:1])
    with pytest.raises(DataError, match=r"is float64 \(4, 4, 3\); give uint8"):
        metric.rows([np.zeros((4, 4, 3))], SAMPLES[:1])
    with pytest.raises(
        DataError, match=r"none of 1 answer\(s\) has an image; answer with a writer that draws"
    ):
        metric.rows([None], SAMPLES[:1])
    with pytest.raises(DataError, match=r"0 image\(s\) for 1 sample"):
        metric.rows([], SAMPLES[:1])
