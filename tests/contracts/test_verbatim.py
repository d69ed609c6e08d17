"""Whoever says a reference letter by letter is fully right: every metric of every task, whatever the reference looks like.

What is taken off answers (endings, quotes, white space) must be taken off references too, or off neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sightweave.core import catalog
from sightweave.core.types import Sample
from sightweave.data.tasks import captioning, conversation, reasoning, translation, vqa

ENDS = (
    "",
    ".",
    "..",
    "...",
    "!",
    "?",
    "\u3002",
    "\uff01",
    "\uff1f",
    "\u2026",
    " .",
    '"',
    "'",
    "\u201d",
    ")",
    ":",
    ";",
    ",",
    "%",
    " ",
    "\n",
)
STARTS = (
    "",
    "the ",
    "The ",
    "a ",
    "A ",
    "an ",
    "'",
    '"',
    "\u201c",
    "\u300c",
    "(",
    "$",
    "-",
    "+",
    ".",
    " ",
    "\t",
    "no ",
    "Answer ",
)
_WORDS = (
    "red 9 a.m U.S Acme Inc e.g 3.5 1,000 10% two none yes No don't dont it's dog-house A B "
    "\u7ea2\u8272 \u72d7"
    " \u8d64\u8272 \u0e41\u0e21\u0e27 caf\u00e9 cafe\u0301 Stra\u00dfe C# 5' ... ? . --- \U0001f600 :) x;d "
    "x:p [red] {red} isn't"
)
WORDS = _WORDS.split()

texts = st.builds(
    lambda start, words, end: start + " ".join(words) + end,
    st.sampled_from(STARTS),
    st.lists(
        st.sampled_from(WORDS) | st.text("abcdeXYZ0123 .,'-", min_size=1, max_size=6), min_size=1, max_size=5
    ),
    st.sampled_from(ENDS),
).filter(lambda text: bool(text.strip()))


def _vqa(text: str, number: int) -> Sample:
    record = vqa.Record(
        id=f"s{number}", images=(), question=f"What? {number}", answers=(text,), options=("x y z", text)
    )
    return vqa.Config().build().sample(record)


def _reasoning(text: str, number: int) -> Sample:
    record = reasoning.Record(
        id=f"s{number}", images=(), question="What?", answers=(text,), rationale="So it is."
    )
    return dataclasses.replace(reasoning.Config().build().sample(record), options=("x y z", text))


def _captioning(text: str, number: int) -> Sample:
    record = captioning.Record(id=f"s{number}", images=(), captions=(text,))
    return dataclasses.replace(captioning.Config().build().sample(record), options=("x y z", text))


def _translation(text: str, number: int) -> Sample:
    record = translation.Record(
        id=f"s{number}", images=(), source="Hm", targets=(text,), source_language="en", target_language="de"
    )
    return dataclasses.replace(translation.Config().build().sample(record), options=("x y z", text))


def _conversation(text: str, number: int) -> Sample:
    turns = (conversation.Turn("user", ("What?",)), conversation.Turn("assistant", (text,)))
    record = conversation.Record(id=f"s{number}", images=(), turns=turns)
    return dataclasses.replace(conversation.Config().build().sample(record), options=("x y z", text))


TASKS: dict[str, tuple[Callable[[str, int], Sample], Callable[[str], str | None]]] = {
    "vqa": (_vqa, vqa.Config().build().parse),
    "reasoning": (_reasoning, reasoning.Config().build().parse),
    "captioning": (_captioning, captioning.Config().build().parse),
    "translation": (_translation, translation.Config().build().parse),
    "conversation": (_conversation, conversation.Config().build().parse),
}

METRICS = (
    "exact_match",
    "anls",
    "relaxed_accuracy",
    "vqa_official",
    "vqa_evalai",
    "multiple_choice",
    "gqa_open",
    "nlvr2_consistency",
    "rouge_l",
    "chrf",
    "ter",
)
"""Metrics that any reference can be scored by, when every answer is its reference."""
ELSEWHERE = {
    "bleu": "too short texts have no 4-grams: effective_order is 1, below",
    "sacre_bleu": "the same",
    "cider_d": "weighs words by the other pictures: below",
    "pope": "references are yes or no: below",
    "vqa_lavis": "by its reference program, 'two' against ten 'two' scores 0",
    "both_images_right": "needs two pictures of one sentence: below",
    "circular_choice": "needs every rotation: below",
    "gqa_binary": "the same code as gqa_open",
    "gqa_consistency": "needs entailed questions: below",
    "gqa_distribution": "a sum over groups: below",
    "gqa_plausibility": "needs the official choices",
    "gqa_validity": "needs the official choices",
    "chair": "references are no captions of objects",
    "choice_likelihood": "likelihoods, not texts",
    "contrastive": "likelihoods, not texts",
    "loss_gap": "likelihoods, not texts",
    "comet": "another program",
    "region_match": "texts of regions, compared as such",
    "box_f1": "needs boxes",
    "structure_bleu": "needs boxes",
    "read_back": "images, not texts",
    "read_back_chrf": "images, not texts",
    "drawn_attributes": "images, not texts",
    "kid": "images, not texts",
    "background_psnr": "images, not texts",
    "meteor": "another program",
    "spice": "another program",
}


def answered(task: str, texts: Sequence[str], **tags: str) -> tuple[list[str | None], list[Sample]]:
    """The references said to the letter, as each task reads them."""
    make, parse = TASKS[task]
    samples = [make(text, number) for number, text in enumerate(texts)]
    said = [parse(f"So it is. Answer: {text}" if task == "reasoning" else text) for text in texts]
    # Ten people gave the same answer, as accuracies by vote need.
    return said, [
        dataclasses.replace(one, references=one.references * 10, tags={**one.tags, **tags}) for one in samples
    ]


def score(metric: Any, said: Sequence[str | None], samples: Sequence[Sample]) -> float:
    return float(metric.total(metric.rows(said, samples).sum(0)))


def test_every_metric_is_accounted_for() -> None:
    assert sorted([*METRICS, *ELSEWHERE]) == sorted(catalog.kinds("answers.metrics"))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", METRICS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(text=texts)
@example(text="9 a.m.")
@example(text="U.S.")
@example(text="Acme Inc.")
@example(text="...")
@example(text="\u300c\u7ea2\u8272\u3002\u300d")
@example(text=" the end. ")
def test_a_reference_said_verbatim_is_fully_right(task: str, kind: str, text: str) -> None:
    said, samples = answered(task, [text], type="query", consistency="c")
    metric = catalog.config_class("answers.metrics", kind)().build()
    best = 0.0 if getattr(metric, "less_is_better", False) else 1.0
    if kind == "rouge_l" and not _has_tokens(text):
        return
    if kind == "chrf" and not "".join(text.split()):
        return
    assert score(metric, said, samples) == pytest.approx(best, abs=1e-9), (text, said, samples[0].references)


def _has_tokens(text: str) -> bool:
    """Whether anything but punctuation is left for the metrics of captions."""
    from sightweave.answers.scoring import ngrams

    sample = Sample(id="x", task="captioning", parts=(), references=(text,))
    return bool(ngrams.tokenised("x", [text], [sample])[0][0])


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(text=texts)
@example(text="\u7ea2\u8272")
def test_texts_too_short_for_bleu_have_a_score_beside_it(task: str, text: str) -> None:
    said, samples = answered(task, [text])
    for kind in ("bleu", "sacre_bleu"):
        metric = catalog.config_class("answers.metrics", kind)().build()
        sums = metric.rows(said, samples).sum(0)
        beside = float(metric.totals(sums)["effective_order"])
        if kind == "sacre_bleu" or _has_tokens(text):
            assert max(float(metric.total(sums)), 0 if np.isnan(beside) else beside) == pytest.approx(
                1, abs=1e-6
            )


@pytest.mark.parametrize("task", TASKS)
def test_captions_said_verbatim_score_best_by_cider(task: str) -> None:
    texts = [f"A dog{n} runs, at {n} a.m., to the U.S. house{n}." for n in range(12)]
    said, samples = answered(task, texts)
    assert score(
        catalog.config_class("answers.metrics", "cider_d")().build(), said, samples
    ) == pytest.approx(10)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("parser", ["official", "exact", "stated"])
def test_yes_and_no_said_verbatim_are_right(task: str, parser: str) -> None:
    said, samples = answered(task, ["yes", "no", "Yes", "No"])
    metric = catalog.config_class("answers.metrics", "pope")(parser=parser).build()
    assert score(metric, said, samples) == 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(text=texts)
def test_sets_of_samples_are_right_where_each_is(text: str) -> None:
    """A sentence with two pictures, a question with all rotations, entailed questions, and groups of GQA."""
    made = {
        kind: catalog.config_class("answers.metrics", kind)().build()
        for kind in ELSEWHERE
        if kind[:3] in ("bot", "cir", "gqa")
    }
    other = "quite another"
    said, samples = answered("translation", [text, other], contrast="x")
    pair = [dataclasses.replace(one, group=one.id) for one in samples]
    assert score(made["both_images_right"], said, pair) == 1

    said, samples = answered("vqa", [text, text], circle="c")
    turned = [
        dataclasses.replace(one, options=options, references=(text,))
        for one, options in zip(samples, (("x y z", text), (text, "x y z")), strict=True)
    ]
    assert score(made["circular_choice"], said, turned) == 1

    said, samples = answered("vqa", [text, other], entailed="s1", group_global="g")
    assert score(made["gqa_consistency"], said, samples) == 1
    single = [dataclasses.replace(one, references=one.references[:1]) for one in samples]
    assert score(made["gqa_distribution"], said, single) == 0
