"""Descriptions become prompts, and images their targets."""

from __future__ import annotations

import dataclasses

import numpy as np

from sightweave.core.types import Medium
from sightweave.data.tasks import drawing

ONE, OTHER = (Medium(np.zeros((2, 2, 3), np.uint8), key=key) for key in ("one", "other"))
RECORD = drawing.Record(id="r", images=(), description="a {description}", target_image=ONE)


def test_the_target_is_the_image_and_there_is_nothing_to_compare_with() -> None:
    sample = drawing.Config().build().sample(RECORD)
    assert (sample.id, sample.task, sample.prompt) == ("r", "drawing", "Draw: a {description}")
    assert [(part.role, part.learn) for part in sample.parts] == [("user", False), ("assistant", True)]
    assert (sample.media, sample.pictures) == ((), (ONE,))
    assert (sample.target, sample.references, sample.has_target) == ("", (), True)
    assert (sample.group, sample.tags) == ("one", {"type": "drawing"})


def test_a_prompt_may_show_images_and_the_instruction_may_be_changed() -> None:
    task = drawing.Config(instruction="{description}, please").build()
    record = dataclasses.replace(RECORD, images=(OTHER,), group="g", tags={"type": "special"})
    sample = task.sample(record)
    assert sample.prompt == "a {description}, please"
    assert (sample.media, sample.pictures) == ((OTHER,), (ONE,))
    assert (sample.group, sample.tags["type"]) == ("g", "special")


def test_text_in_an_answer_is_trimmed() -> None:
    task = drawing.Config().build()
    # The image is the answer, so a text may be missing.
    assert (task.parse(" here \n"), task.parse(" ")) == ("here", "")
