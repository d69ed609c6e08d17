"""Scores and costs: names that stay apart, words that are only words, and a picture that stands alone."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from sightweave.pages.costs import Panel, Point, panel, write_picture

SVG = "{http://www.w3.org/2000/svg}"


def points(count: int, *, name: str = "row", score: float | None = None) -> list[Point]:
    rng = np.random.default_rng(count)
    made = []
    for n in range(count):
        value = 100 * rng.random() if score is None else score
        cost = 5 + rng.random()
        made.append(
            Point(
                name=f"{name}{n}",
                cost=cost,
                least_cost=cost - 0.1,
                most_cost=cost + 0.1,
                score=value,
                low=max(0.0, value - 4),
                high=min(100.0, value + 4),
                is_baseline=n == 0,
            )
        )
    return made


def drawn(some: list[Point]) -> Panel:
    return panel("vqa", some, cost="minutes", score="%", least=0.0)


def texts(svg: str) -> dict[str, ElementTree.Element]:
    return {element.text or "": element for element in ElementTree.fromstring(svg).iter(f"{SVG}text")}


@pytest.mark.parametrize("score", [None, 97.0])
def test_names_are_written_whole_and_apart(score):
    found = texts(drawn(points(14, score=score)).svg)
    names = [found[f"row{n}"] for n in range(14)]
    assert len({element.get("x") for element in names}) == 1
    heights = sorted(float(element.get("y")) for element in names)
    assert all(after - before >= 20 for before, after in itertools.pairwise(heights))


def test_the_best_score_is_the_first_row():
    some = points(9)
    found = texts(drawn(some).svg)
    by_score = sorted(some, key=lambda point: -point.score)
    heights = [float(found[point.name].get("y")) for point in by_score]
    assert heights == sorted(heights)


def test_only_intervals_and_the_grid_are_lines():
    """Lines from names to points would look like trends."""
    some = points(7)
    root = ElementTree.fromstring(drawn(some).svg)
    marks = [one for one in root.iter(f"{SVG}path") if one.get("class").startswith("series")]
    assert len(marks) == 2 * len(some)
    assert all(re.fullmatch(r"M[\d.]+ [\d.]+H[\d.]+", one.get("d")) for one in marks)
    others = [one for one in root.iter(f"{SVG}path") if one not in marks]
    assert others
    assert all(re.fullmatch(r"M[\d.]+ [\d.]+V[\d.]+", one.get("d")) for one in others)


def test_marks_are_where_the_numbers_are():
    some = [
        Point(name="a", cost=2.0, least_cost=1.0, most_cost=4.0, score=20.0, low=0.0, high=50.0),
        Point(name="b", cost=4.0, least_cost=4.0, most_cost=4.0, score=100.0, low=50.0, high=100.0),
    ]
    dots = [float(one.get("cx")) for one in ElementTree.fromstring(drawn(some).svg).iter(f"{SVG}circle")]
    best, best_cost, other, other_cost = dots  # b is the first row
    found = {one.get("x"): float(label) for label, one in texts(drawn(some).svg).items() if label.isdigit()}
    scores = sorted((float(x), value) for x, value in found.items() if float(x) < 200)
    (left, low), *_, (right, high) = scores
    each = (right - left) / (high - low)
    assert best - other == pytest.approx(80 * each, abs=0.3)
    costs = sorted((float(x), value) for x, value in found.items() if float(x) > 200)
    assert costs[0][1] == 0  # twice the cost is twice as far from the start
    assert best_cost - costs[0][0] == pytest.approx(2 * (other_cost - costs[0][0]), abs=0.3)


def test_words_are_no_formulas_and_no_markup():
    name = r"$\frac{<script>alert(1)</script>&"
    svg = drawn(points(2, name=name)).svg
    assert "<script" not in svg
    assert f"{name}0" in texts(svg)
    long = texts(drawn(points(1, name="n" * 60)).svg)
    assert "n" * 37 + "..." in long


def test_one_point_without_spread_can_be_drawn():
    lone = Point(name="run", cost=0, least_cost=0, most_cost=0, score=0, low=0, high=0, is_baseline=True)
    assert "run" in texts(drawn([lone]).svg)


def test_the_baseline_has_another_colour():
    assert "series1-fill" in drawn(points(2)).svg
    assert "series0-fill" not in drawn(points(1)).svg


def test_the_picture_stands_alone_on_white_and_its_panels_do_not_overlap(tmp_path):
    path = tmp_path / "made" / "picture.svg"
    panels = [panel(f"task {n} <b>", points(n + 3), cost="min", score="%", least=0.0) for n in range(3)]
    write_picture(path, panels)
    root = ElementTree.parse(path).getroot()
    ground = root.find(f"{SVG}rect")
    assert (ground.get("fill"), ground.get("width"), ground.get("height")) == ("#ffffff", "100%", "100%")
    style = root.find(f"{SVG}style").text
    classes = {name for element in root.iter() for name in element.get("class", "").split()}
    assert classes
    assert all(f".{name} {{" in style for name in classes)
    boxes = []
    for one in root.findall(f"{SVG}svg"):
        boxes.append([float(one.get(key)) for key in ("x", "y", "width", "height")])
    assert len(boxes) == 3
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
    width, height = float(root.get("width")), float(root.get("height"))
    assert all(x + w <= width and y + h <= height for x, y, w, h in boxes)
    assert [one.text for one in root.findall(f"{SVG}text")] == [f"task {n} <b>" for n in range(3)]
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    before = path.read_bytes()
    write_picture(path, panels)
    assert path.read_bytes() == before
