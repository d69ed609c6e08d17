"""The table for the terminal shows every number that a reader needs."""

import dataclasses
import io

from rich.console import Console

from sightweave.programs.evaluation.scores import Evaluation, MetricFacts, TaskScores, TypeScores
from sightweave.programs.evaluation.statistics import Estimate
from sightweave.programs.evaluation.table import score_table, show


def test_the_table_shows_scores_controls_and_gains():
    kind = TypeScores(
        type="side [left]",
        count=40,
        pictures=20,
        correct=30,
        unparsed=2,
        score=Estimate(0.75, 0.6, 0.86),
        chance=0.25,
        majority=0.31,
        majority_answer="left",
        controls={"no_image": Estimate(0.3, 0.2, 0.4)},
        gain=Estimate(0.45, 0.3, 0.6),
    )
    task = TaskScores(
        task="vqa",
        metric="exact_match",
        count=40,
        pictures=20,
        correct=30,
        unparsed=2,
        score=Estimate(0.75, 0.6, 0.86),
        chance=None,
        majority=0.31,
        detectable=0.123,
        metrics={
            "exact_match": Estimate(0.75, 0.6, 0.86),
            "loss_gap": Estimate(1.5, 1.25, 2.0),
            "ter": None,
            "pope": Estimate(0.5, 0.4, 0.6),
        },
        facts={
            "loss_gap": MetricFacts(unit="nats per token"),
            "ter": MetricFacts(less_is_better=True, signature="case:lc"),
            "pope": MetricFacts(totals={"yes_ratio": 0.25}),
        },
        uses_image="yes",
        types=(kind,),
    )
    found = Evaluation(
        split="scenes",
        seed=0,
        count=40,
        pictures=20,
        tasks=(task,),
        sentence="This model uses the image: yes. It uses it in vqa.",
        notes=("One was left out.",),
    )
    out = io.StringIO()
    Console(file=out, width=80).print()
    show(found, Console(file=out, width=80))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "scenes: 40 prompts on 20 images",
        "75.0 (60.0..86.0)",
        "+45.0 (+30.0..+60.0)",
        "This model uses the image: yes",
        "1.500 (1.250..2.000) nats per token",
        "not computed",
        "lower is better; case:lc",
        "yes ratio 25.0",
        "detected four times in five: vqa",
        "12.3",
        "note: One was left out.",
    ):
        assert words in text
    scores, controls = [line for line in text.splitlines() if "side [left]" in line]
    assert "25.0" in scores
    assert "31.0" in scores
    assert " 30.0 " in controls


def test_many_controls_make_several_tables():
    names = ("no_image", "shuffled_image", "blank_image", "jpeg_30", "blurred", "rotated_options")
    shares = {name: Estimate(0.123, 0.0, 0.2) for name in names}
    common = {"count": 4, "pictures": 4, "correct": 1, "unparsed": 0, "score": Estimate(0.25, 0.1, 0.9)}
    kind = TypeScores(
        type="a", chance=None, majority=0.5, majority_answer="no", controls=shares, neighbour=0.375, **common
    )
    task = TaskScores(
        task="translation",
        metric="exact_match",
        chance=None,
        majority=0.5,
        neighbour=0.375,
        controls=shares,
        gain=Estimate(-0.123, -0.456, -0.001),
        uses_image="no",
        needs_image=False,
        types=(kind,),
        **common,
    )
    out = io.StringIO()
    found = Evaluation(split="s", seed=0, count=4, pictures=4, tasks=(task,))
    show(found, Console(file=out, width=80))
    text = out.getvalue()
    assert text.count("12.3") == 2 * len(names) + 1
    assert "37.5" in text
    gains = text.splitlines().index(next(line for line in text.splitlines() if "-12.3 (-45.6..-0.1)" in line))
    assert [line.split()[-1] for line in text.splitlines()[gains : gains + 2]] == ["not", "needed"]


def test_a_drawn_part_of_a_split_says_of_how_many():
    values = Evaluation(
        split="test", seed=0, count=900, pictures=500, pictures_total=1560, tasks=()
    ).to_json()
    assert score_table(Evaluation.from_json(values)).title == "test: 900 prompts on 500 of 1,560 images"
    del values["pictures_total"]  # as an earlier version wrote it
    assert score_table(Evaluation.from_json(values)).title == "test: 900 prompts on 500 images"


def test_why_no_use_of_the_image_is_shown_stands_above_the_table():
    sentence = "vqa uses the image: no - 76.7 % with it, 40.0 % by the answer of the nearest training prompt."
    common = {"count": 30, "pictures": 10, "correct": 23, "unparsed": 0, "score": Estimate(0.767, 0.5, 0.9)}
    task = TaskScores(
        task="vqa",
        metric="vqa",
        chance=None,
        majority=0.1,
        gain=Estimate(0.433, 0.184, 0.645),
        uses_image="no",
        sentence=sentence,
        **common,
    )
    for shown, changed in ((True, {}), (True, {"uses_image": "hardly"}), (False, {"uses_image": "yes"})):
        one = Evaluation(
            split="s", seed=0, count=30, pictures=10, tasks=(dataclasses.replace(task, **changed),)
        )
        out = io.StringIO()
        show(one, Console(file=out, width=120))
        assert (sentence in out.getvalue()) is shown
