"""Both images right: which sentences count, what they need, and where they stand."""

import numpy as np
import pytest

from sightweave.answers.metrics import both_images_right
from sightweave.answers.metrics.both_images_right import BothImagesRight
from sightweave.core.errors import DataError
from sightweave.core.types import Part, Sample
from sightweave.programs.evaluation import statistics

BAT = "This is a bat."


def sample(picture: str, *references: str, source: str = BAT, languages="en-de", contrast="other") -> Sample:
    tags = {"languages": languages, **({"contrast": contrast} if contrast else {})}
    return Sample(
        id=f"of {picture}",
        task="translation",
        parts=(Part("user", source),),
        references=references,
        group=picture,
        tags=tags,
    )


PAIR = [sample("animal", "Fledermaus"), sample("sport", "Schlaeger")]


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        (["Fledermaus", "Schlaeger"], 1),
        ([" fledermaus ", "SCHLAEGER"], 1),
        (["Fledermaus", "Fledermaus"], 0),
        (["Schlaeger", "Fledermaus"], 0),
        (["Fledermaus", None], 0),
        (["Fledermaus.", "Schlaeger"], 1),  # as in exact_match, an ending counts for nothing
        (["Fledermaus, hm", "Schlaeger"], 0),
    ],
)
def test_a_sentence_needs_all_of_its_pictures(answers, right):
    rows = both_images_right.Config().build().rows(answers, PAIR)
    assert rows.tolist() == [[0, 0], [right, 1]]


def test_case_counts_if_asked():
    assert BothImagesRight(ignore_case=False).rows(["fledermaus", "Schlaeger"], PAIR)[1, 0] == 0


def test_unicode_forms_and_all_references_are_equal():
    pair = [sample("animal", "Fledermaus"), sample("sport", "Keule", "Schl\u00e4ger")]
    assert BothImagesRight().rows(["Fledermaus", "Schla\u0308ger"], pair)[1].tolist() == [1, 1]


@pytest.mark.parametrize(
    "others",
    [
        [sample("animal", "Schlaeger")],  # the same picture again
        [sample("sport", "Schlaeger", source="A bat.")],
        [sample("sport", "batte", languages="en-fr")],
        [sample("sport", "Schlaeger", contrast="")],
        [sample("second animal", "Fledermaus")],  # whoever does not look is right with both
        [],
    ],
)
def test_what_is_no_choice_between_pictures_counts_nothing(others):
    samples = [PAIR[0], *others]
    rows = BothImagesRight().rows([one.references[0] for one in samples], samples)
    assert not rows.any()
    assert np.isnan(BothImagesRight().total(rows.sum(0)))


def test_three_pictures_of_one_sentence_are_one_trial_in_its_last_row():
    samples = [PAIR[0], sample("x", "Hund", source="A dog."), PAIR[1], sample("second animal", "Fledermaus")]
    metric = BothImagesRight()
    rows = metric.rows(["Fledermaus", "Hund", "Schlaeger", "Fledermaus"], samples)
    assert rows.tolist() == [[0, 0], [0, 0], [0, 0], [1, 1]]
    rows = metric.rows(["Fledermaus", "Hund", "Schlaeger", "Schlaeger"], samples)
    assert rows[3].tolist() == [0, 1]


def test_a_model_that_does_not_look_scores_zero_and_half_of_the_single_translations():
    sentences = [f"This is {n}." for n in range(20)]
    samples = [
        sample(f"{n}{side}", f"{n}{side}", source=source)
        for n, source in enumerate(sentences)
        for side in "ab"
    ]
    answers = [f"{one.group[:-1]}{'ab'[int(one.group[:-1]) % 2]}" for one in samples]
    assert sum(a == one.references[0] for a, one in zip(answers, samples, strict=True)) == 20
    metric = BothImagesRight()
    assert metric.total(metric.rows(answers, samples).sum(0)) == 0


def test_sentences_about_the_same_two_pictures_are_drawn_together():
    samples = [
        sample(picture, picture + str(n), source=str(n)) for picture in ("first", "last") for n in range(4)
    ]
    samples += [sample(f"third {n}", "x", contrast="") for n in range(3)]
    rows = BothImagesRight().rows([one.references[0] for one in samples], samples)
    counts = statistics.resampled_sums(rows, [one.group for one in samples], resamples=200)[:, 1]
    # Of five pictures, "last" holds all four sentences: each time it is drawn, four more count.
    assert rows[:, 1].sum() == 4
    assert {0.0, 4.0, 8.0} <= set(counts.tolist()) <= {0.0, 4.0, 8.0, 12.0, 16.0, 20.0}


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(DataError, match=r"both_images_right: 1 prediction\(s\) for 2 sample\(s\)"):
        BothImagesRight().rows(["a"], PAIR)
    with pytest.raises(
        DataError, match=r"1 ambiguous sentence\(s\) have no reference translation.*'of animal'"
    ):
        BothImagesRight().rows(["a"], [sample("animal")])
    assert BothImagesRight().rows([], []).shape == (0, 2)
