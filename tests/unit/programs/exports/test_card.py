"""A model card says what happened: what was shown, how far training came, and each score in its own unit."""

from __future__ import annotations

from typing import Any

import pytest

from sightweave.core import catalog
from sightweave.programs.exports._card import card
from sightweave.verbs import exporting

PARTS = {name: {"kind": name} for name in ("encoder", "connector", "fusion", "language_model")}
RECIPE = {"data": [{"kind": "scenes"}], "model": PARTS}


def split(**task: Any) -> list[dict[str, Any]]:
    score = {"value": 0.5, "low": 0.25, "high": 0.75}
    return [
        {"split": "test", "tasks": [{"task": "vqa", "metric": "m", "score": score, "controls": {}, **task}]}
    ]


def test_what_was_seen_and_done_is_not_what_was_planned() -> None:
    facts = {
        "pictures_shown": 28_640,
        "distinct_pictures_shown": 28_000,
        "pictures_in_data": 1_000_000,
        "samples_shown": 90_000,
        "steps": 7,
        "steps_planned": 9,
        "interrupted": True,
    }
    made = card("x", RECIPE, facts, [])
    assert "composed and trained with Sightweave" in made
    assert (
        "showed 28,640 pictures, 28,000 of them distinct, out of 1,000,000 in the data, with 90,000" in made
    )
    assert "- steps: 7\n- steps planned: 9\n" in made
    assert "- training was stopped early" in made


def test_a_composition_that_was_not_trained_says_so() -> None:
    made = card("x", RECIPE, {}, [])
    assert "composed with Sightweave" in made
    assert "\nThis model was not trained." in made


def test_facts_of_earlier_versions_claim_nothing_of_what_was_seen() -> None:
    made = card("x", RECIPE, {"steps": 5, "pictures": 1_000_000}, [])
    assert "composed and trained" in made
    assert "1,000,000" not in made
    assert "stopped" not in made


def test_scores_have_their_metrics_unit() -> None:
    assert "| 50.0 % | 25.0 % to 75.0 % |  |" in card("x", RECIPE, {}, split())
    plain = split(facts={"m": {"unit": "nats per token"}}, controls={"no_image": {"value": 2.0}})
    assert "| 0.5 nats per token | 0.25 nats per token to 0.75 nats per token | 2 nats per token |" in card(
        "x", RECIPE, {}, plain
    )
    unknown = split(score={"value": 0.5, "low": None, "high": None})
    assert "| 50.0 % | not known |  |" in card("x", RECIPE, {}, unknown)


@pytest.mark.parametrize("kind", catalog.kinds("programs.exports"))
def test_each_program_says_how_it_opens_the_files_and_what_it_gets_wrong(kind: str) -> None:
    program = catalog.module("programs.exports", kind)
    layouts = ["", *getattr(program, "USES", {})]
    found = [exporting._use(program, program.Config(**({"layout": one} if one else {}))) for one in layouts]
    assert len(set(found)) == len(layouts)
    for use in found:
        assert "```" in use
        assert use.endswith(program.LIMITS)
