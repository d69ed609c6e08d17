"""Two evaluations whose answers are known, beside one another."""

import json
from dataclasses import replace
from math import comb

import numpy as np
import pytest
import scipy.stats

from sightweave.answers.metrics import exact_match
from sightweave.core.errors import DataError, RecipeError
from sightweave.programs.evaluation import statistics
from sightweave.programs.evaluation.beside import Key, beside
from sightweave.programs.evaluation.scores import Answer, Evaluation, Item, TaskScores
from sightweave.programs.evaluation.statistics import Estimate, wilson


def item(number: int, said: str, *, per_picture: int = 1, **more) -> Item:
    """The right answer is ``yes``."""
    values = {
        "id": f"q{number}",
        "group": f"p{number // per_picture}",
        "task": "vqa",
        "type": "",
        "prompt": f"question {number}?",
        "references": ("yes",),
        "answer": Answer(
            text=said,
            parsed=said,
            right=said.casefold() == "yes",
            logprob=-0.5,
            finish="stop",
            image=f"p{number}",
        ),
    }
    return Item(**{**values, **more})


def evaluation(items, split: str = "held out", metric: str = "exact_match") -> Evaluation:
    """Only the names of the metrics and the items matter here."""
    names = dict.fromkeys(one.task for one in items)
    none = Estimate(0.0, 0.0, 0.0)
    tasks = tuple(
        TaskScores(
            task=name,
            metric=metric,
            count=0,
            pictures=0,
            correct=0,
            unparsed=0,
            score=none,
            chance=None,
            majority=0.0,
        )
        for name in names
    )
    return Evaluation(split=split, seed=0, count=len(items), pictures=0, tasks=tasks, items=tuple(items))


def said(words: str, **more) -> list[Item]:
    """One item for each letter: y is right, others are wrong answers."""
    return [item(n, "yes" if letter == "y" else letter, **more) for n, letter in enumerate(words)]


FIRST, SECOND = "y" * 30 + "n" * 10, "y" * 18 + "n" * 12 + "y" * 3 + "n" * 3 + "m" * 4


def test_both_scores_and_every_test_of_their_difference():
    found = beside([evaluation(said(FIRST))], [evaluation(said(SECOND))], names=("A", "B"))
    (task,) = found.tasks
    assert (found.count, found.pictures, task.count, task.pictures) == (40, 40, 40, 40)
    t39 = scipy.stats.t.ppf(0.975, 39)
    for side, count in ((task.first, 30), (task.second, 21)):
        one = wilson(count, 40, quantile=t39)
        assert (side.value, side.low, side.high) == pytest.approx((one.value, one.low, one.high))
    assert (task.both_right, task.first_only, task.second_only, task.both_wrong) == (18, 12, 3, 7)
    assert task.mcnemar_p == pytest.approx(2 * sum(comb(15, k) for k in range(4)) / 2**15)
    right = [
        np.array([(letter == "y", 1.0) for letter in words], dtype=np.float64) for words in (FIRST, SECOND)
    ]
    groups = [f"p{n}" for n in range(40)]
    test = statistics.paired_test(*right, groups, exact_match.ExactMatch().total, is_share=True)
    assert task.difference == test.difference
    assert (task.p, task.p_holm, task.detectable) == (test.p_two_sided, test.p_two_sided, test.detectable)
    assert task.difference.value == pytest.approx(9 / 40)
    assert task.verdict == "first"
    assert "A is better: 75.0 against 52.5 %; difference +22.5 points" in task.sentence
    assert task.types[0].first_only == 12
    assert found.text.startswith(task.sentence)


def test_it_is_the_same_the_other_way_round():
    one = beside([evaluation(said(FIRST))], [evaluation(said(SECOND))]).tasks[0]
    other = beside([evaluation(said(SECOND))], [evaluation(said(FIRST))]).tasks[0]
    assert other.difference.value == -one.difference.value
    assert (other.first_only, other.second_only) == (one.second_only, one.first_only)
    assert (other.mcnemar_p, other.verdict) == (one.mcnemar_p, "second")
    assert other.p == pytest.approx(one.p, abs=0.005)


def test_where_they_differ_is_listed():
    found = beside([evaluation(said(FIRST))], [evaluation(said(SECOND))])
    kinds = [(pair.kind, pair.first.id, pair.gap) for pair in found.pairs]
    assert kinds[:12] == [("first_only", f"q{n}", 1.0) for n in range(18, 30)]
    assert kinds[12:15] == [("second_only", f"q{n}", -1.0) for n in range(30, 33)]
    assert kinds[15:] == [("both_wrong", f"q{n}", 0.0) for n in range(36, 40)]  # n against n is no difference
    row = json.loads(json.dumps(list(found.rows())))[-1]
    assert (row["first"]["answer"], row["second"]["answer"], row["image"]) == ("n", "m", "p39")
    assert json.loads(json.dumps(found.to_json()))["tasks"][0]["first_only"] == 12


def test_questions_that_share_a_picture_are_drawn_together():
    """Every question eight times is no new evidence for the draws, but McNemar's test takes it for some."""
    once = beside([evaluation(said("yyyyyynnnnyy"))], [evaluation(said("nnnyyynnnnyy"))]).tasks[0]
    words = ["".join(letter * 8 for letter in text) for text in ("yyyyyynnnnyy", "nnnyyynnnnyy")]
    often = beside(*([evaluation(said(text, per_picture=8))] for text in words)).tasks[0]
    assert (once.pictures, often.pictures, often.count) == (12, 12, 96)
    assert often.p == once.p
    assert often.mcnemar_p < 0.001 < once.mcnemar_p


def test_types_weigh_the_same_and_holm_counts_the_tasks():
    def both(words: str) -> list[Item]:
        colors = [replace(one, type="color") for one in said(words)]
        counts = [replace(one, id=f"c{n}", type="count") for n, one in enumerate(said(words[:10]))]
        return [*colors, *counts, *(replace(one, task="reasoning") for one in said(words))]

    found = beside([evaluation(both(FIRST))], [evaluation(both(SECOND))])
    questions, reasons = found.tasks
    assert [kind.type for kind in questions.types] == ["color", "count"]
    assert questions.first.value == pytest.approx((0.75 + 1.0) / 2)
    assert questions.difference.value == pytest.approx((9 / 40 + 0) / 2)
    # They never differ there, but in ten pictures only: a difference must be large to be found.
    assert 0.3 < questions.types[1].detectable < 0.45
    assert [questions.p_holm, reasons.p_holm] == statistics.holm([questions.p, reasons.p])
    assert reasons.p_holm > reasons.p
    assert [questions.mcnemar_holm, reasons.mcnemar_holm] == statistics.holm(
        [questions.mcnemar_p, reasons.mcnemar_p]
    )


def test_samples_of_one_alone_are_named_and_count_nowhere():
    first = evaluation(said(FIRST))
    second = evaluation([*said(SECOND)[5:], item(99, "yes")])
    found = beside([first], [second])
    assert found.count == 35
    one, first = wilson(25, 35, quantile=scipy.stats.t.ppf(0.975, 34)), found.tasks[0].first
    assert (first.value, first.low, first.high) == pytest.approx((one.value, one.low, one.high))
    assert found.first_alone == tuple(Key("held out", "vqa", f"q{n}") for n in range(5))
    assert found.second_alone == (Key("held out", "vqa", "q99"),)
    assert "5 more were asked in the first only, such as 'q0'" in found.text
    assert found.to_json()["second_alone"] == [{"split": "held out", "task": "vqa", "id": "q99"}]


def test_ids_that_come_twice_are_matched_in_their_order():
    twice = [replace(one, id=f"q{n % 20}") for n, one in enumerate(said(FIRST))]
    found = beside([evaluation(twice)], [evaluation(twice)])
    assert (found.count, found.pairs) == (40, ())
    assert found.tasks[0].verdict == "none"
    assert found.tasks[0].p == 1.0


def test_splits_are_kept_apart():
    splits = [evaluation(said(FIRST), split="a"), evaluation(said(FIRST), split="b")]
    found = beside(splits, [evaluation(said(SECOND), split="b")])
    assert [task.split for task in found.tasks] == ["b"]
    assert len(found.first_alone) == 40


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "prompt",
            "another question?",
            "prompt is 'question 3\\?' in the first and 'another question\\?' in the second",
        ),
        ("references", ("no",), "references is"),
        ("options", ("yes", "no"), "options is"),
    ],
)
def test_different_questions_under_one_id_are_refused(name, value, words):
    others = said(SECOND)
    others[3] = replace(others[3], **{name: value})
    with pytest.raises(
        DataError, match=f"1 of 40 samples are different questions under one id.*'q3'.*{words}"
    ):
        beside([evaluation(said(FIRST))], [evaluation(others)])


def test_nothing_in_common_is_refused():
    with pytest.raises(
        DataError, match=r"no sample is in both.*40, such as 'q0' \(vqa in a\).*the second none"
    ):
        beside([evaluation(said(FIRST), split="a")], [])
    with pytest.raises(DataError, match=r"Evaluate both on the same data, with the same split names\."):
        beside([evaluation(said(FIRST), split="a")], [evaluation(said(FIRST), split="b")])


def test_other_pictures_are_noted():
    moved = [replace(one, group=f"elsewhere/{one.group}") for one in said(FIRST)]
    found = beside([evaluation(said(FIRST))], [evaluation(moved)])
    assert "40 of 40 samples name another picture" in found.notes[0]


def test_the_metric_is_that_of_both_unless_one_is_given():
    first, second = evaluation(said("YYYY")), evaluation(said("yyyy"), metric="anls")
    with pytest.raises(DataError, match="scored by exact_match in the first and by anls in the second"):
        beside([first], [second])
    second = evaluation([item(n, "YES") for n in range(12)])
    first = evaluation([item(n, "yes") for n in range(12)])
    assert beside([first], [second]).tasks[0].difference.value == 0
    strict = {"vqa": {"kind": "exact_match", "ignore_case": False}}
    assert beside([first], [second], metrics=strict).tasks[0].difference.value == 1
    assert (
        beside([first], [second], metrics={"vqa": exact_match.Config(ignore_case=False)}).tasks[0].first.value
        == 1
    )
    assert beside([first], [second], metrics={"vqa": "anls"}).tasks[0].metric == "anls"
    with pytest.raises(RecipeError, match="anls"):
        beside([first], [second], metrics={"vqa": "anlz"})


def test_graded_scores_have_intervals_and_gaps():
    words = ("a red block on a blue table", "a red block", "a cat sits there now")
    items = [
        [item(n, word, task="captioning", references=("a red block on a table",)) for n in range(12)]
        for word in words
    ]
    found = beside([evaluation(items[0], metric="rouge_l")], [evaluation(items[2], metric="rouge_l")])
    (task,) = found.tasks
    assert task.first.value > 0.8 > 0.3 > task.second.value
    assert {pair.kind for pair in found.pairs} == {"both_wrong"}
    assert found.pairs[0].gap == pytest.approx(task.difference.value)
    assert task.mcnemar_p == 1.0


def test_few_pictures_say_nothing():
    found = beside([evaluation(said("yyyy"))], [evaluation(said("nnnn"))])
    assert found.tasks[0].verdict == "unknown"
    assert "4 picture(s) are too few to tell" in found.tasks[0].sentence


def test_one_picture_has_no_detectable_difference():
    first, second = (evaluation(said(words, per_picture=40)) for words in (FIRST, SECOND))
    task = beside([first], [second]).tasks[0]
    assert (task.pictures, task.p, task.detectable) == (1, 1.0, None)
