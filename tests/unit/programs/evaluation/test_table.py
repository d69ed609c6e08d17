"""The table for the terminal shows every number that a reader needs."""

import io

from rich.console import Console

from sightweave.programs.evaluation.scores import Evaluation, TaskScores, TypeScores
from sightweave.programs.evaluation.statistics import Estimate
from sightweave.programs.evaluation.table import as_table


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
        uses_image="yes",
        types=(kind,),
    )
    found = Evaluation(split="scenes", seed=0, count=40, pictures=20, tasks=(task,))
    out = io.StringIO()
    Console(file=out, width=200).print(as_table(found))
    text = out.getvalue()
    for words in (
        "scenes: 40 prompts on 20 pictures",
        "75.0 (60.0..86.0)",
        "+45.0 (+30.0..+60.0)",
        "yes",
    ):
        assert words in text
    row = next(line for line in text.splitlines() if "side [left]" in line)
    assert "25.0" in row
    assert "31.0" in row
    assert " 30.0 " in row
