"""Planted evidence: a model that was taught to read one patch of its picture is explained by that patch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from contracts._compose import ANSWERS, Case, compose, sample

from sightweave.core.types import Medium, Region, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.models.loss import token_loss
from sightweave.models.vlm import VLM
from sightweave.programs import faithfulness
from sightweave.programs.explanation import explain
from sightweave.programs.generation import Options, generate

pytestmark = pytest.mark.slow
SIDE, PATCH = 4, 8
COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}
QUESTION = "what colour is the ball ?"
STEPS, BATCH, TESTED = 250, 32, 20


def planted(number: int) -> tuple[Sample, tuple[int, int]]:
    """Grey noise with one patch in a colour, which is the answer, and the row and column of that patch."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(90, 165, (SIDE * PATCH, SIDE * PATCH, 1), dtype=np.uint8).repeat(3, 2)
    row, column = (int(one) for one in rng.integers(0, SIDE, 2))
    answer = "red" if rng.random() < 0.5 else "blue"
    pixels[row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = COLOURS[answer]
    box = (column / SIDE, row / SIDE, (column + 1) / SIDE, (row + 1) / SIDE)
    regions = (Region(box, ("ball", answer)), Region((0, 0, 1, 1), ("background",)))
    medium = Medium(pixels, key=f"planted-{number}")
    one = sample(f"{number}", medium, QUESTION, answer=answer)
    return replace(one, regions=regions, group=medium.key), (row, column)


CASE = Case("concat", (), "decoder_only")
Taught = tuple[VLM, Processor]


@pytest.fixture(scope="module")
def taught() -> Taught:
    model, processor = compose(CASE, encoder="vit")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    model.train()
    for step in range(STEPS):
        batch = processor.batch([planted(1000 + step * BATCH + n)[0] for n in range(BATCH)], share=False)
        output = model(batch)
        optimizer.zero_grad()
        token_loss(output, batch).backward()
        optimizer.step()
    return model.eval(), processor


def hits(model: VLM, processor: Processor, method: object) -> float:
    """The pointing game: the share of pictures whose best place is the planted one."""
    right = 0
    for number in range(TESTED):
        one, place = planted(number)
        found = explain(model, processor, one, method, answer=one.references[0])
        right += found.media[0].best == place
    return right / TESTED


def test_the_model_reads_the_planted_patch(taught: Taught) -> None:
    asked = [planted(number)[0] for number in range(TESTED)]
    said = generate(*taught, asked, Options(max_tokens=4))
    assert [one.text for one in said] == [one.references[0] for one in asked]
    assert set(COLOURS) <= set(ANSWERS)


@pytest.mark.parametrize("method", ["occlusion", "integrated_gradients", "relevancy"])
def test_the_explanation_points_at_the_planted_patch(taught: Taught, method: str) -> None:
    assert hits(*taught, method) >= 0.85


def test_random_weights_point_elsewhere() -> None:
    assert hits(*compose(CASE, encoder="vit", seed=11), "relevancy") <= 0.3


def test_what_spoke_against_another_answer_is_the_planted_patch(taught: Taught) -> None:
    one, place = planted(0)
    answer = one.references[0]
    other = next(colour for colour in COLOURS if colour != answer)
    found = explain(*taught, one, "occlusion", answer=answer, against=other)
    assert found.score > 1
    assert found.media[0].best == place
    assert float(found.media[0].values[place]) > 0.5 * found.score
    assert found.medium_share > 0.5


def test_faithful_methods_are_told_from_maps_that_know_nothing(taught: Taught) -> None:
    asked = [planted(number)[0] for number in range(TESTED + 4)]
    found = faithfulness.measure(*taught, asked, ["occlusion", "grad_cam"], most=TESTED)
    assert found.trials == TESTED
    assert list(found.methods) == ["occlusion", *faithfulness.CONTROLS]
    assert "not convolutional" in found.refused["grad_cam"]
    assert found.verdict("grad_cam").startswith("grad_cam cannot explain this model: ")

    own, random = found.methods["occlusion"], found.methods["random"]
    assert own["pointing"].value >= 0.85
    assert random["pointing"].value < 0.4
    assert own["energy"].value > 2 * random["energy"].value
    for filling in ("grey", "mean"):
        assert own[f"deletion_{filling}"].value < random[f"deletion_{filling}"].value
        assert own[f"insertion_{filling}"].value > random[f"insertion_{filling}"].value
    assert found.verdict("occlusion").startswith("occlusion points at the object more often than")
    assert found.gains["occlusion"].low > 0
