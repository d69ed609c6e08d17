"""What a page says of scores: all that is there, nothing that is not."""

import dataclasses

import numpy as np
import pytest

from sightweave.pages.scores import can, controls, evaluation
from sightweave.programs.evaluation import calibration
from sightweave.programs.evaluation.scores import Evaluation, MetricFacts, TaskScores, TypeScores
from sightweave.programs.evaluation.statistics import Estimate

MANY = ("no_image", "shuffled_image", "blank_image", "jpeg_30", "blurred")


def part(**more) -> dict:
    return {
        "count": 40,
        "pictures": 20,
        "correct": 30,
        "unparsed": 3,
        "score": Estimate(0.75, 0.6, 0.86),
        "chance": 0.25,
        "majority": 0.31,
        "neighbour": 0.38,
        "controls": {name: Estimate(0.2 + n / 100, 0.1, 0.3) for n, name in enumerate(MANY)},
        "gain": Estimate(0.47, 0.3, 0.6),
        **more,
    }


def whole(**more) -> dict:
    """An evaluation with all fields, as its JSON has it."""
    metrics = {"exact_match": Estimate(0.75, 0.6, 0.86), "ter": Estimate(0.4, 0.3, 0.5), "spice": None}
    metrics["surprise"] = Estimate(1.5, 1.25, 1.75)
    kinds = tuple(
        TypeScores(type=name, majority_answer="red", metrics=metrics, **part()) for name in ("color", "count")
    )
    task = TaskScores(
        task="vqa",
        metric="exact_match",
        detectable=0.085,
        gain_p=0.0002,
        leakage=Estimate(-0.11, -0.2, -0.02),
        metrics=metrics,
        facts={
            "ter": MetricFacts(less_is_better=True, signature="nrefs:1|case:lc"),
            "surprise": MetricFacts(unit="nats per token"),
            "exact_match": MetricFacts(totals={"yes_ratio": 0.625}),
        },
        calibration=calibration.calibration(np.linspace(0.9, 0.1, 20), np.arange(20) < 10),
        uses_image="yes",
        sentence="vqa uses the image: yes",
        types=kinds,
        **part(),
    )
    found = Evaluation(
        split="held-out",
        seed=0,
        count=80,
        pictures=20,
        tasks=(task,),
        uses_image="yes",
        sentence="This model uses the image: yes. It uses it in vqa.",
        notes=("vqa: spice was not computed: there is no Java.",),
        **more,
    )
    return found.to_json()


def cells(row: dict, where: str = "cells") -> dict:
    return {cell["name"]: (cell["value"], *cell["small"]) for cell in row[where]}


def test_every_number_stands_beside_the_score():
    shown = evaluation(whole(), list(MANY))
    total, color, _ = shown["tasks"][0]["rows"]
    assert total["score"] == {"value": "75.0", "range": "60.0 to 86.0"}
    assert cells(total) == {
        "gain": ("+47.0", "+30.0 to +60.0", "p < 0.001"),
        "leakage": ("\u221211.0", "\u221220.0 to \u22122.0"),
        "detectable": ("8.5",),
        "unparsed": ("3", "7.5 %"),
    }
    assert cells(total, "others") == {
        "chance": ("25.0",),
        "majority": ("31.0",),
        "text only": ("38.0",),
        "no image": ("20.0", "10.0 to 30.0"),
        "wrong image": ("21.0", "10.0 to 30.0"),
        "grey image": ("22.0", "10.0 to 30.0"),
        "jpeg 30": ("23.0", "10.0 to 30.0"),
        "blurred": ("24.0", "10.0 to 30.0"),
    }
    assert [len(columns) for columns in shown["others"]] == [6, 2]  # narrow enough for any screen
    assert cells(color)["leakage"] == ("",)
    assert total["bar"]["lines"] == [("neighbour", 82.0), ("majority", 68.0), ("chance", 56.0)]
    assert [number for number, _ in total["bar"]["controls"]] == [0, 1, 2, 3, 4]
    assert "answer of the nearest training prompt 38.0 %" in total["said"]


def test_a_control_keeps_its_mark_over_all_splits():
    one, other = whole(), whole()
    for scores in (other["tasks"][0], *other["tasks"][0]["types"]):
        scores["controls"] = {"blurred": scores["controls"]["blurred"]}
    marks = controls([one, other])
    assert marks == list(MANY)
    shown = evaluation(other, marks)
    assert [column["mark"] for column in shown["others"][0] if "mark" in column] == [4]
    assert [number for number, _ in shown["tasks"][0]["rows"][0]["bar"]["controls"]] == [4]


def test_further_metrics_with_what_one_must_know_of_them():
    task = evaluation(whole(), list(MANY))["tasks"][0]
    exact, ter, spice, surprise = task["further"]
    assert exact["totals"] == [("yes ratio", "62.5")]
    assert (ter["is_less"], ter["signature"], ter["value"]["value"]) == (True, "nrefs:1|case:lc", "40.0")
    assert (spice["value"], spice["why"]) == (None, "there is no Java.")
    assert surprise["value"] == {"value": "1.5", "range": "1.25 to 1.75"}
    assert surprise["unit"] == "nats per token"
    assert [kind["name"] for kind in task["by_type"]] == ["color", "count"]


def test_calibration_in_words_and_drawings():
    one = evaluation(whole(), list(MANY))["tasks"][0]["calibration"]
    assert "most confident answers keeps errors under 5 %" in one["sentence"]
    assert (one["sure"], one["right"]) == ("50.0", "50.0")
    assert one["reliability"].startswith("<svg")
    assert one["risk"].startswith("<svg")
    assert len(one["bins"]) == 15


def test_what_it_can_is_a_headline_and_a_line_per_task():
    found = whole()
    found["tasks"][0]["gains"] = {
        name: {"value": 0.4, "low": 0.3, "high": 0.5} for name in ("no_image", "neighbour")
    }
    (one,) = can([found])
    assert (one["headline"], one["verdict"]) == ("This model uses the image: yes. It uses it in vqa.", "yes")
    (line,) = one["tasks"]
    assert (line["name"], line["score"]["value"], line["says"]) == ("vqa", "75.0", "uses the image")
    assert (line["rival"], line["reached"]) == ("text only", "38.0")  # the best way that does not look
    assert (line["bar"]["score"], line["bar"]["reached"]) == (156.0, 82.0)


@pytest.mark.parametrize(
    ("word", "needs", "says"),
    [
        ("yes", True, "uses the image"),
        ("hardly", True, "gains from the image, perhaps little"),
        ("no", True, "shows no use of the image"),
        ("no", False, "does not need the image"),
        ("hardly", False, "does not need the image"),
        ("unknown", True, "use of the image not known"),
        ("a word of a later version", True, "use of the image not known"),
    ],
)
def test_each_verdict_is_said_in_words(word, needs, says):
    found = whole()
    found["tasks"][0] |= {"uses_image": word, "needs_image": needs}
    assert can([found])[0]["tasks"][0]["says"] == says


def test_a_score_in_another_unit_is_no_per_cent_and_has_no_bar():
    found = whole()
    found["tasks"][0]["facts"]["exact_match"] = dataclasses.asdict(MetricFacts(unit="points"))
    row = evaluation(found, list(MANY))["tasks"][0]["rows"][0]
    assert row["score"]["value"] == "0.75"
    assert row["bar"] is None


def test_what_earlier_versions_did_not_know_is_left_out():
    kind = {
        "type": "color",
        "count": 40,
        "score": {"value": 0.75, "low": 0.6, "high": 0.9},
        "metrics": {"exact_match": 0.75, "bleu": 0.5, "gone": None},
    }
    task = {**kind, "task": "vqa", "metric": "exact_match", "types": [kind], "signatures": {"bleu": "4-gram"}}
    old = {"split": "", "tasks": [task]}
    shown = evaluation(old, controls([old]))
    assert shown["columns"] == []
    assert shown["tasks"][0]["rows"][0]["score"]["value"] == "75.0"
    bleu, gone = shown["tasks"][0]["further"]
    assert bleu["value"] == {"value": "50.0", "range": ""}
    assert bleu["signature"] == "4-gram"
    assert gone["value"] is None
    assert shown["tasks"][0]["calibration"] is None
    assert can([old])[0]["headline"] == ""
    assert can([old])[0]["tasks"][0]["use"] == "unknown"
    assert can([old])[0]["tasks"][0]["reached"] == ""
    bare = {"tasks": [{"task": "vqa"}]}
    assert evaluation(bare, [])["tasks"][0]["rows"][0]["score"] is None
    assert can([bare])[0]["tasks"] == []
