"""Compositions beside one another: what is compared, what is found, and what cannot be compared."""

import dataclasses

import answered
import numpy as np
import pytest

from sightweave.answers.metrics import cider_d, exact_match
from sightweave.comparison.compositions import Answered, side_by_side
from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Prediction
from sightweave.programs.evaluation import statistics
from sightweave.programs.evaluation.program import evaluate

ASKED = answered.samples(80)
METRICS = (exact_match.Config(),)


def run(where, is_right, *, asked=ASKED, splits=("scenes",), metrics=METRICS) -> Answered:
    evaluations = [answered.evaluated(asked, is_right, split=split) for split in splits]
    return Answered(where=where, evaluations=evaluations, metrics=lambda task: metrics)


def noisy(seed: int, share: float):
    draws = np.random.default_rng(seed).random(len(ASKED))
    return lambda n: bool(draws[n] < share)


def test_means_and_differences_are_those_of_the_crossed_statistics():
    grid = {
        "concat": [run(f"concat-seed{n}", noisy(n, 0.5)) for n in range(3)],
        "addition": [run(f"addition-seed{n}", noisy(10 + n, 0.9)) for n in range(3)],
        "memory": [run(f"memory-seed{n}", noisy(20 + n, 0.5)) for n in range(3)],
    }
    found = side_by_side(grid, against="concat")
    (column,) = found.columns
    assert (column.name, column.metric, column.unit) == ("vqa", "exact_match", "%")
    assert (column.samples, column.pictures) == (80, 40)
    rows = {
        name: np.array(
            [[[float(item.answer.right), 1.0] for item in one.evaluations[0].items] for one in runs]
        )
        for name, runs in grid.items()
    }
    groups, types = [s.group for s in ASKED], [s.tags["type"] for s in ASKED]
    total = exact_match.ExactMatch().total
    by_hand = statistics.crossed_mean(rows["addition"], groups, total, strata=types, is_share=True)
    assert found.scores["addition"]["vqa"].mean == by_hand
    assert found.scores["addition"]["vqa"].runs == pytest.approx(rows["addition"][..., 0].mean(1))
    assert [(one.composition, one.against) for one in found.differences] == [
        ("addition", "concat"),
        ("memory", "concat"),
    ]
    strong, weak = found.differences
    test = statistics.crossed_difference(
        rows["addition"], rows["concat"], groups, total, strata=types, is_share=True
    )
    assert (strong.difference, strong.p, strong.detectable) == (
        test.difference,
        test.p_two_sided,
        test.detectable,
    )
    assert strong.p_holm == pytest.approx(2 * strong.p)
    assert strong.p_holm < 0.05 < weak.p_holm
    assert strong.covers_seeds


def test_controls_and_baselines_are_means_over_the_runs():
    def sighted(asked, *, reads):
        """A run that reads the number in its picture, and answers another way where there is none."""

        def predict(some, texts, *, write):
            said = []
            for one in some:
                right = one.media and (reads or one.media[0].key == one.group)
                said.append(Prediction(one.references[0] if right else "wrong"))
            return said

        controls = ("no_image", "shuffled_image")
        return evaluate(asked, predict, controls=controls, can_score=False)

    asked = [
        dataclasses.replace(
            one,
            parts=(
                Part("user", Medium(np.full((2, 2, 3), n // 2, np.uint8), one.group)),
                *one.parts,
            ),
        )
        for n, one in enumerate(ASKED)
    ]
    runs = [
        Answered(where=f"{n}", evaluations=[sighted(asked, reads=n == 1)], metrics=lambda task: METRICS)
        for n in range(2)
    ]
    score = side_by_side({"run": runs}, against="run").scores["run"]["vqa"]
    assert score.others["no_image"] == 0
    assert score.others["shuffled_image"] == pytest.approx(0.5)  # one of the two answers by the words
    assert not {"majority", "neighbour"} & set(score.others)  # without training data there are none
    assert score.gain == pytest.approx(0.5)
    assert score.uses_image == ("yes", "no")


def test_one_seed_says_that_seeds_are_not_covered():
    found = side_by_side({"a": [run("a", noisy(0, 0.5))], "b": [run("b", noisy(1, 0.5))]}, against="b")
    (difference,) = found.differences
    assert (difference.composition, difference.against) == ("a", "b")
    assert not difference.covers_seeds


def test_one_composition_has_no_difference():
    found = side_by_side({"run": [run("seed0", noisy(0, 0.5)), run("seed1", noisy(1, 0.5))]}, against="run")
    assert found.differences == ()
    assert found.scores["run"]["vqa"].mean.low < found.scores["run"]["vqa"].mean.value


def test_every_split_is_a_column():
    grid = {name: [run(name, noisy(n, 0.5), splits=("one", "two"))] for n, name in enumerate("ab")}
    found = side_by_side(grid, against="a")
    assert [column.name for column in found.columns] == ["vqa (one)", "vqa (two)"]
    assert [one.column for one in found.differences] == ["vqa (one)", "vqa (two)"]


def test_other_samples_are_one_error_that_names_both_runs():
    first = run("out/a", noisy(0, 0.5))
    fewer = run("out/b", noisy(0, 0.5), asked=ASKED[:70])
    with pytest.raises(
        DataError, match="out/a and out/b cannot be compared in vqa: 80 samples in the first and 70"
    ):
        side_by_side({"a": [first], "b": [fewer]}, against="a")
    others = run("out/c", noisy(0, 0.5), asked=answered.samples(80, prefix="other"))
    with pytest.raises(
        DataError,
        match=r"out/a and out/c .*sample 1 \('q0'\) differs: its id is 'q0' in the first and 'other0'",
    ):
        side_by_side({"a": [first], "c": [others]}, against="a")
    changed = [dataclasses.replace(ASKED[0], references=("x",)), *ASKED[1:]]
    with pytest.raises(DataError, match="its references is"):
        side_by_side({"a": [first, run("out/d", noisy(0, 0.5), asked=changed)]}, against="a")


def test_other_splits_or_metrics_are_one_error_that_names_both_runs():
    first, other = run("out/a", noisy(0, 0.5)), run("out/b", noisy(0, 0.5), splits=("dev",))
    with pytest.raises(
        DataError, match=r"out/a and out/b .* vqa in scenes by exact_match, the second vqa in dev by"
    ):
        side_by_side({"a": [first], "b": [other]}, against="a")


def test_a_metric_that_the_recipe_does_not_name_is_said():
    wrong = run("out/a", noisy(0, 0.5), metrics=(cider_d.Config(),))
    with pytest.raises(
        DataError, match=r"vqa was scored by exact_match, which its recipe does not list for vqa .* cider_d"
    ):
        side_by_side({"a": [wrong]}, against="a")


def test_answers_that_do_not_give_their_score_are_refused():
    mixed = dataclasses.replace(
        answered.evaluated(ASKED, lambda n: True), items=answered.evaluated(ASKED, lambda n: n < 40).items
    )
    odd = Answered(where="out/a", evaluations=[mixed], metrics=lambda task: (exact_match.Config(),))
    with pytest.raises(DataError, match=r"out/a: its answers score 0\.5 in vqa, but its evaluation has 1;"):
        side_by_side({"a": [odd]}, against="a")
