"""Metrics that cannot be computed, and answers that cannot be read: said, counted, and never the end of an evaluation."""

from __future__ import annotations

import dataclasses
import importlib.util
import json

import numpy as np
import pytest

from sightweave.answers.metrics import multiple_choice, pope
from sightweave.core.types import Medium, Prediction, Sample
from sightweave.data.tasks import captioning, translation, vqa
from sightweave.programs.evaluation.program import evaluate
from sightweave.programs.evaluation.scores import Evaluation

needs_no_mecab = pytest.mark.skipif(
    importlib.util.find_spec("MeCab") is not None, reason="MeCab is installed, so Japanese is cut into words"
)
JAPANESE = "\u3053\u308c\u306f\u8d64\u3044\u72ac\u3067\u3059\u3002"


def picture(number: int) -> Medium:
    return Medium(np.full((4, 4, 3), number, np.uint8), f"picture/{number}")


def translations(count: int = 6) -> list[Sample]:
    task = translation.Config().build()
    return [
        task.sample(
            translation.Record(
                id=f"t{n}",
                images=(picture(n),),
                source=f"This is red dog {n}.",
                targets=(f"{n} {JAPANESE}",),
                source_language="en",
                target_language="ja",
            )
        )
        for n in range(count)
    ]


def questions(count: int = 6) -> list[Sample]:
    task = vqa.Config().build()
    return [
        task.sample(
            vqa.Record(
                id=f"q{n}",
                images=(picture(n),),
                question="Which?",
                answers=("blue",),
                options=("red", "green", "blue"),
            )
        )
        for n in range(count)
    ]


def says_references(samples, texts, *, write):
    return [Prediction(sample.references[0], likelihoods=()) for sample in samples]


@needs_no_mecab
@pytest.mark.parametrize(
    "metrics", [("chrf", "sacre_bleu"), ("sacre_bleu", "chrf"), ("sacre_bleu",), ("sacre_bleu", "ter")]
)
def test_without_mecab_japanese_has_its_other_scores_and_the_other_tasks_theirs(metrics) -> None:
    config = translation.Config(metrics=metrics)
    found = evaluate(
        [*translations(), *questions()], says_references, tasks={"translation": config}, controls=()
    )
    (words, asked) = found.tasks
    stand_in = next((name for name in metrics if name == "chrf"), "exact_match")
    assert (words.metric, words.score.value) == (stand_in, pytest.approx(1))
    assert words.metrics["sacre_bleu"] is None
    assert (asked.task, asked.score.value) == ("vqa", 1)
    (why,) = [note for note in found.notes if "sacre_bleu was not computed" in note]
    assert "was not computed: the tokenizer 'ja-mecab' needs MeCab" in why
    said = f"translation: the score is {stand_in}, because sacre_bleu could not be computed."
    assert (said in found.notes) is (metrics[0] == "sacre_bleu")
    again = Evaluation.from_json(json.loads(json.dumps(found.to_json())), found.predictions())
    assert again == found


@needs_no_mecab
def test_a_single_task_whose_only_metric_lacks_its_tools_is_scored_by_exact_match() -> None:
    config = translation.Config(metrics=("sacre_bleu",))
    found = evaluate(translations(), says_references, tasks={"translation": config}, controls=())
    assert (found.tasks[0].metric, found.tasks[0].score.value) == ("exact_match", 1)
    assert found.tasks[0].metrics["sacre_bleu"] is None


def test_a_first_metric_that_does_not_fit_leaves_the_other_tasks_their_scores() -> None:
    """CIDEr-D needs ten pictures; the captions of six are scored by the next metric."""
    task = captioning.Config().build()
    captions = [
        task.sample(
            captioning.Record(id=f"c{n}", images=(picture(n),), captions=(f"a red dog {n} on the grass",))
        )
        for n in range(6)
    ]
    config = captioning.Config(metrics=("cider_d", "rouge_l"))
    found = evaluate([*captions, *questions()], says_references, tasks={"captioning": config}, controls=())
    assert [(each.task, each.metric, each.score.value) for each in found.tasks] == [
        ("captioning", "rouge_l", pytest.approx(1)),
        ("vqa", "exact_match", 1),
    ]
    assert "captioning: the score is rouge_l, because cider_d could not be computed." in found.notes
    assert sum("cider_d was not computed" in note for note in found.notes) == 1


def test_what_names_no_option_is_counted_as_unread() -> None:
    said = ["C", "The answer is blue.", "A dog, I think", "red or blue", "I cannot tell.", ""]

    def predict(samples, texts, *, write):
        return [Prediction(text, likelihoods=()) for text, _ in zip(said, samples, strict=True)]

    config = vqa.Config(metrics=(multiple_choice.Config(), "exact_match"))
    (task,) = evaluate(questions(), predict, tasks={"vqa": config}, controls=()).tasks
    assert (task.count, task.correct, task.unparsed) == (6, 2, 4)
    assert task.facts["multiple_choice"].totals == {"unread": pytest.approx(4 / 6)}
    config = vqa.Config(metrics=("exact_match", multiple_choice.Config()))
    (task,) = evaluate(questions(), predict, tasks={"vqa": config}, controls=()).tasks
    assert task.unparsed == 1  # exact match reads every text; the other metric says how many it cannot
    assert task.facts["multiple_choice"].totals == {"unread": pytest.approx(4 / 6)}


def test_yes_and_no_that_are_not_said_are_unread_and_no_guess() -> None:
    said = ["Yes.", "I see it, so the answer is yes.", "No", "It is unclear.", "Perhaps a dog", "yes"]
    samples = [dataclasses.replace(one, options=(), references=("yes",)) for one in questions()]

    def predict(samples, texts, *, write):
        return [Prediction(text, likelihoods=()) for text, _ in zip(said, samples, strict=True)]

    config = vqa.Config(metrics=(pope.Config(parser="stated"),))
    (task,) = evaluate(samples, predict, tasks={"vqa": config}, controls=()).tasks
    assert (task.correct, task.unparsed) == (3, 2)
    assert task.facts["pope"].totals["yes_ratio"] == pytest.approx(3 / 6)
    assert task.facts["pope"].totals["precision"] == 1
