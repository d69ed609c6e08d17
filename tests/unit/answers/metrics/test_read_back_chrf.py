"""Read-back chrF equals sacreBLEU's chrF of the texts that are read; its other cases are in test_read_back."""

import numpy as np
import pytest
import sacrebleu

from sightweave.answers.metrics import read_back_chrf
from sightweave.answers.scoring import pictures, readers
from sightweave.core.types import Sample
from sightweave.data.datasets import scenes
from sightweave.data.inputs.image_files import load
from sightweave.data.tasks import image_translation


def test_it_is_the_librarys_score() -> None:
    dataset = scenes.Config(signs=1, tasks=("image_translation",)).build(split="validation")
    found: list[Sample] = [
        image_translation.Config().build().sample(dataset[number][0]) for number in range(3)
    ]
    images = [load(sample.media[0]) for sample in found]
    metric = read_back_chrf.Config().build()
    score = float(metric.total(metric.rows(images, found).sum(0)))

    read = pictures.read_back("test", images, found, readers.TemplateReader())
    texts = [" ".join(said) for said, _ in read]
    references = [" ".join(sign.text for sign in pictures.signs_of("test", sample)) for sample in found]
    assert score == pytest.approx(sacrebleu.corpus_chrf(texts, [references]).score / 100)
    assert np.isnan(metric.total(np.zeros(19)))
