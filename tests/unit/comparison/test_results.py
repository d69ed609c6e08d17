"""A comparison for its readers: tables, the text, the data and the page say the same."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from sightweave.comparison.compositions import Column, Difference, Score
from sightweave.comparison.results import (
    Budget,
    Comparison,
    Row,
    as_markdown,
    notes,
    tables,
    write,
)
from sightweave.programs.evaluation.statistics import Estimate


def row(name: str, vqa: Estimate, captions: Estimate, seeds: int) -> Row:
    return Row(
        name=name,
        labels={"model.fusion": name},
        seeds=tuple(range(seeds)),
        parameters=1_250_000,
        steps=(40, 42)[:seeds],
        minutes=(3.0, 3.5)[:seeds],
        scores={
            "vqa": Score(
                mean=vqa,
                runs=(vqa.value,) * seeds,
                others={"majority": 0.0625, "no_image": 0.25, "shuffled_image": 0.125},
                gain=vqa.value - 0.25,
                uses_image=("yes", "hardly")[:seeds],
            ),
            "captioning": Score(mean=captions, runs=(captions.value,) * seeds),
        },
    )


def difference(column: str, found: Estimate, p: float, detectable: float | None) -> Difference:
    return Difference(
        composition="addition",
        against="concat",
        column=column,
        difference=found,
        p=p / 2,
        p_holm=p,
        freedom=4.5,
        detectable=detectable,
        covers_seeds=True,
    )


def comparison(
    *, seeds: int = 2, budget: Budget | None = None, commits: tuple[str, ...] = ("a", "a")
) -> Comparison:
    facts = {"samples": 200, "pictures": 50}
    return Comparison(
        recipe="recipes/demo.yaml",
        settings=("model.fusion=concat,addition", "seed=0,1"),
        budget=budget or Budget(),
        against="concat",
        rows=(
            row("concat", Estimate(0.5, 0.25, 0.75), Estimate(1.25, 1.0, 1.5), seeds),
            row("addition", Estimate(0.125, 0.0, 0.25), Estimate(0.5, 0.25, 0.75), seeds),
        ),
        columns=(
            Column(name="vqa", split="test", task="vqa", metric="exact_match", unit="%", **facts),
            Column(name="captioning", split="test", task="captioning", metric="gap", unit="nats", **facts),
        ),
        differences=(
            difference("vqa", Estimate(-0.375, -0.5, -0.25), 0.0002, 0.125),
            difference("captioning", Estimate(0.75, -0.25, 1.75), 0.25, None),
        ),
        notes=("Said by the comparison.",),
        cells=tuple(
            {"name": f"concat-seed{n}", "processor": "p", "versions": {"torch": "2"}, "commit": commit}
            for n, commit in enumerate(commits)
        ),
    )


def test_the_text_has_means_differences_and_what_one_must_know():
    lines = as_markdown(comparison()).splitlines()
    assert lines[:6] == [
        "## Scores",
        "",
        "| model.fusion | M parameters | steps | min | seeds | vqa, % | captioning, nats |",
        "|---|---|---|---|---|---|---|",
        "| concat | 1.25 | 40 to 42 | 3.2 | 2 | 50.0 (25.0 to 75.0) | 1.250 (1.000 to 1.500) |",
        "| addition | 1.25 | 40 to 42 | 3.2 | 2 | 12.5 (0.0 to 25.0) | 0.500 (0.250 to 0.750) |",
    ]
    assert lines[lines.index("## With other images, and without any") + 2 :][:4] == [
        "| task | composition | uses the image | score | majority | no image | wrong image | gain |",
        "|---|---|---|---|---|---|---|---|",
        "| vqa, % | concat | yes, hardly | 50.0 | 6.2 | 25.0 | 12.5 | +25.0 |",
        "| vqa, % | addition | yes, hardly | 12.5 | 6.2 | 25.0 | 12.5 | -12.5 |",
    ]
    assert (
        "| captioning, nats | concat | - | 1.250 | - | - | - | - |" in lines
    )  # nothing else was asked there
    assert "## Differences to concat" in lines
    assert "| addition | vqa | -37.5 (-50.0 to -25.0) | < 0.001 | < 0.001 | 12.5 |" in lines
    assert "| addition | captioning | +0.750 (-0.250 to +1.750) | 0.125 | 0.250 | - |" in lines
    assert "- Said by the comparison." in lines
    assert any("Holm's over all 2 differences to concat" in line for line in lines)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(), "Every run trained for the recipe's own steps"),
        (Budget("minutes", 8.0), "Every run was given about 8 min: a trial"),
        (Budget("tokens", 2e6), "Every run was given about 2e+06 tokens, by a trial"),
    ],
)
def test_the_budget_is_told(budget, words):
    assert notes(comparison(budget=budget))[0].startswith(words)


def test_what_runs_used_of_a_budget_is_told():
    assert "Their training took 3 to 3.5 min." in notes(comparison(budget=Budget("minutes", 8.0)))[0]
    found = comparison(budget=Budget("tokens", 2e6))
    assert "used" not in notes(found)[0]  # runs of earlier versions did not count
    counted = [{**cell, "tokens_shown": 1_900_000 + 300_000 * (n % 2)} for n, cell in enumerate(found.cells)]
    known = Comparison(
        **{name: getattr(found, name) for name in found.__dataclass_fields__} | {"cells": counted}
    )
    assert "; they used 1.9e+06 to 2.2e+06." in notes(known)[0]


def test_what_is_not_covered_is_told():
    assert any("over pictures and seeds" in note for note in notes(comparison()))
    assert any("cover images only" in note for note in notes(comparison(seeds=1)))
    assert not any("differ in their" in note for note in notes(comparison()))
    assert any("differ in their commit" in note for note in notes(comparison(commits=("a", "b"))))


def test_a_grid_without_an_axis_is_one_row_without_differences():
    found = comparison()
    lone = Comparison(
        **{
            **{name: getattr(found, name) for name in found.__dataclass_fields__},
            "rows": (Row(**{**vars(found.rows[0]), "labels": {}, "name": "run"}),),
            "differences": (),
        }
    )
    table, controls = tables(lone)
    assert controls.rows[0][:2] == ["vqa, %", "run"]
    assert table.heads[0] == "composition"
    assert table.rows[0][0] == "run"


def test_files_hold_all_of_it(tmp_path):
    write(tmp_path, comparison())
    document = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert document["format_version"] == 1
    assert document["budget"] == {"kind": "steps", "amount": None}
    assert document["rows"][1]["scores"]["vqa"]["mean"] == {"value": 0.125, "low": 0.0, "high": 0.25}
    assert document["differences"][0]["p_holm"] == 0.0002
    assert document["cells"][1]["name"] == "concat-seed1"
    drawn = ElementTree.parse(tmp_path / "comparison.svg").getroot()
    words = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("concat") == words.count("addition") == 2  # in a panel of each task
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    for table in tables(comparison()):
        for cells in table.rows:
            for cell in cells:
                assert cell.replace("<", "&lt;").replace("+", "+") in page
    assert "version of torch" in page


def test_a_comparison_is_short_in_a_shell_and_its_tables_in_a_notebook():
    found = comparison()
    assert repr(found).splitlines() == [
        "Comparison('recipes/demo.yaml', 2 runs)",
        "  concat: vqa 50.0 (25.0 to 75.0) %, captioning 1.250 (1.000 to 1.500) nats",
        "  addition: vqa 12.5 (0.0 to 25.0) %, captioning 0.500 (0.250 to 0.750) nats",
    ]
    html = found._repr_html_()
    assert html.count("<table>") == len(tables(found)) == 3
    assert '<td class="number">50.0 (25.0 to 75.0)</td>' in html
