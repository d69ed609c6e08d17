"""Curves: which panels, what they hold, and that the page's policy can bear them."""

import math
import xml.etree.ElementTree as ElementTree

import pytest

from sightweave.pages.curves import MAX_POINTS, panels
from sightweave.pages.drawing import LETTER

SVG = "{http://www.w3.org/2000/svg}"


def history(steps: int = 60, **more) -> list[dict]:
    return [
        {
            "step": n,
            "stage": "look",
            "loss": 3 * math.exp(-n / 30) + 0.5,
            "lr": 1e-3,
            "grad_norm": 1.0 + n % 2,
            "tokens_per_second": 12_000,
            "seconds": 0.1 * n,
            **more,
        }
        for n in range(steps)
    ]


def test_there_is_a_panel_for_each_measure():
    found = panels(history())
    assert [p.title for p in found] == ["Loss", "Learning rate", "Gradient norm", "Tokens per second"]
    assert found[0].last[0] == pytest.approx(3 * math.exp(-57 / 30) + 0.5, abs=0.02)
    assert found[3].last == (12_000.0,)


def test_only_what_was_measured_is_drawn():
    rows = [{"step": n, "loss": 2.0 - n / 10} for n in range(5)]
    assert [p.title for p in panels(rows)] == ["Loss"]
    assert panels(rows[:1]) == []
    assert panels([]) == []
    assert panels([{"loss": 1.0}, {"loss": 2.0}]) == []


def test_further_losses_share_the_panel():
    loss = panels(history(region_loss=0.25))[0]
    assert loss.series == ("loss", "region_loss")
    assert loss.last[1] == pytest.approx(0.25)
    assert "series1-stroke" in loss.svg


def test_a_validation_shares_the_panel_of_the_loss_and_is_not_smoothed():
    rows = [{"step": n, "stage": "look", "loss": 2.0, "lr": 1e-3} for n in range(60)]
    for n in (19, 39, 59):
        rows[n] |= {"validation_loss": n / 20, "validation_score_vqa": n / 100}
    found = {panel.title: panel for panel in panels(rows)}
    assert list(found) == ["Loss", "Learning rate", "Validation scores"]
    assert found["Loss"].series == ("loss", "validation_loss")
    assert found["Loss"].last[1] == 59 / 20
    assert "trail" in found["Loss"].svg
    assert found["Validation scores"].series == ("validation_score_vqa",)
    assert found["Validation scores"].last == (0.59,)


def test_the_same_history_gives_the_same_bytes():
    assert [p.svg for p in panels(history())] == [p.svg for p in panels(history())]


def test_drawings_bring_no_style_no_script_and_no_ids():
    for panel in panels(history()):
        for element in ElementTree.fromstring(panel.svg).iter():
            assert not element.tag.endswith(("style", "script", "metadata"))
            assert not {"style", "id"} & set(element.attrib)
            assert not any(name.startswith("on") for name in element.attrib)


def test_what_is_drawn_stays_inside_the_drawing():
    rows = [*history(), *({**row, "stage": "next", "step": row["step"] + 60} for row in history())]
    flat = [{"step": n, "loss": 0.0, "lr": 3e-4, "grad_norm": 1e6} for n in range(3)]
    long = [{"step": 1_000_000 + n, "loss": 10.0 ** (4 - n)} for n in range(9)]
    for panel in [*panels(rows), *panels(flat), *panels(long)]:
        root = ElementTree.fromstring(panel.svg)
        width, height = (float(side) for side in root.get("viewBox").split()[2:])
        lines = [
            one.get("d")
            for one in root.iter(f"{SVG}path")
            if one.get("class").startswith(("series", "trail"))
        ]
        assert lines
        for x, y in [map(float, point.split()) for line in lines for point in line[1:].split("L")]:
            assert 0 <= x <= width
            assert 0 <= y <= height
        for one in root.iter(f"{SVG}text"):  # even with the larger text of a phone
            across = {"start": (0, 1), "middle": (-0.5, 0.5), "end": (-1, 0)}[one.get("text-anchor")]
            ends = [float(one.get("x")) + share * LETTER * len(one.text) for share in across]
            assert ends[0] >= 0
            assert ends[1] <= width


def test_values_that_are_no_numbers_are_left_out():
    rows = history()
    rows[10]["loss"] = math.nan
    rows[11]["loss"] = math.inf
    rows[12]["loss"] = None
    assert "nan" not in panels(rows)[0].svg


def test_long_runs_are_thinned():
    svg = panels([{"step": n, "loss": 1.0 + n % 7} for n in range(5_000)])[0].svg
    assert len(svg) < 60_000
    longest = max(ElementTree.fromstring(svg).iter(), key=lambda e: len(e.get("d", "")))
    assert longest.get("d").count("L") <= MAX_POINTS


def test_a_stage_that_counts_anew_follows_the_last():
    rows = [*history(50), *({**row, "stage": "answer"} for row in history(30)[1:])]
    assert panels(rows)[0].stages == (("look", 0, 49), ("answer", 50, 78))


def test_a_resumed_run_replaces_what_it_repeats():
    resumed = [{**row, "loss": 9.0} for row in history(50)[30:]]
    loss = panels([*history(40), *resumed])[0]
    assert loss.stages == (("look", 0, 49),)
    assert loss.last[0] > 8.9


def test_rows_of_the_same_step_and_without_a_stage_are_kept():
    rows = []
    for row in history(20):
        rows += [row, {"step": row["step"], "region_loss": 1.0}]
    loss = panels(rows)[0]
    assert loss.series == ("loss", "region_loss")
    assert loss.stages == (("look", 0, 19),)


def test_a_wide_range_of_losses_is_logarithmic():
    assert not panels(history())[0].is_log
    rows = [{"step": n, "loss": 10 * math.exp(-n / 5)} for n in range(40)]
    assert panels(rows)[0].is_log


def test_names_of_stages_never_enter_the_drawing():
    rows = [{**row, "stage": "$\\frac{ <script> \u56fe"} for row in history()]
    assert "script" not in panels(rows)[0].svg
