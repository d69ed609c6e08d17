"""Score against cost: names that stay apart, words that are only words, and a picture that stands alone."""

import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from sightweave.core.report.scatter import Panel, Point, panel, spread, write_picture

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
    return panel("vqa", some, cost="minutes", score="%", prefix="a-", least=0.0)


def texts(svg: str) -> dict[str, ElementTree.Element]:
    return {element.text or "": element for element in ElementTree.fromstring(svg).iter(f"{SVG}text")}


@pytest.mark.parametrize("score", [None, 97.0])
def test_names_are_written_whole_and_apart(score):
    found = texts(drawn(points(14, score=score)).svg)
    names = [found[f"row{n}"] for n in range(14)]
    assert len({element.get("x") for element in names}) == 1
    heights = sorted(float(element.get("y")) for element in names)
    size = float(names[0].get("font-size").removesuffix("px"))
    assert all(after - before >= size for before, after in itertools.pairwise(heights))


def test_the_order_of_the_names_is_that_of_the_scores():
    some = points(9)
    found = texts(drawn(some).svg)
    by_score = sorted(some, key=lambda point: point.score)
    heights = [float(found[point.name].get("y")) for point in by_score]
    assert heights == sorted(heights, reverse=True)  # upwards y falls


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
    assert "series1-stroke" in drawn(points(2)).svg
    assert "series0-stroke" not in drawn(points(1)).svg


@pytest.mark.parametrize("seed", range(20))
def test_spread_keeps_gaps_order_and_ends_and_moves_no_more_than_it_must(seed):
    rng = np.random.default_rng(seed)
    wanted = list(rng.random(8) ** 3)
    found = spread(wanted, 0.1)
    order = np.argsort(wanted)
    placed = np.array(found)[order]
    assert (np.diff(placed) >= 0.1 - 1e-9).all()
    assert placed[0] >= -1e-9
    assert placed[-1] <= 1 + 1e-9
    # No other heights with these gaps are nearer, in squares: tried at random around the found ones.
    cost = ((placed - np.array(wanted)[order]) ** 2).sum()
    for _ in range(300):
        other = np.sort(placed + rng.normal(0, 0.05, 8))
        if (np.diff(other) >= 0.1).all() and other[0] >= 0 and other[-1] <= 1:
            assert ((other - np.array(wanted)[order]) ** 2).sum() >= cost - 1e-9


def test_spread_without_room_shares_what_there_is():
    assert spread([0.5, 0.5, 0.5], 0.9) == pytest.approx([0.0, 0.5, 1.0])
    assert spread([], 0.1) == []
    assert spread([0.3], 0.1) == [0.3]
    assert spread([0.1, 0.9], 0.1) == pytest.approx([0.1, 0.9])


def test_the_picture_stands_alone_on_white_and_its_panels_do_not_overlap(tmp_path):
    path = tmp_path / "made" / "picture.svg"
    panels = [
        panel(f"task {n} <b>", points(n + 3), cost="min", score="%", prefix=f"p{n}-", least=0.0)
        for n in range(3)
    ]
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
