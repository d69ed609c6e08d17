"""Scenes can be drawn from their captions."""

from __future__ import annotations

import pytest

from sightweave.data.datasets.scenes import Config
from sightweave.data.reading.dataset import task_of
from sightweave.data.tasks import drawing


def test_a_drawing_has_the_caption_as_its_description_and_the_scene_as_its_target() -> None:
    both = Config(size=3, tasks=("captioning", "drawing")).build(split="train")
    for index in range(3):
        caption, drawn = both[index]
        assert [task_of(caption), task_of(drawn)] == ["captioning", "drawing"]
        assert isinstance(drawn, drawing.Record)
        assert drawn.description == caption.captions[0]  # type: ignore[attr-defined]  # a captioning record
        assert drawn.target_image.key == caption.images[0].key
        assert (drawn.images, drawn.group, drawn.split) == ((), caption.group, "train")

        sample = drawing.Config().build().sample(drawn)
        assert sample.prompt == f"Draw: {drawn.description}"
        assert (sample.media, sample.pictures, sample.references) == ((), (drawn.target_image,), ())


def test_drawings_are_only_made_on_request() -> None:
    plain = Config(size=2).build(split="train")
    assert all(task_of(record) != "drawing" for index in range(2) for record in plain[index])
    alone = Config(size=2, tasks=("drawing",)).build(split="scenes")
    assert [[task_of(record) for record in alone[index]] for index in range(2)] == [["drawing"], ["drawing"]]
    with pytest.raises(ValueError, match=r"no task 'painting'; available are .*drawing"):
        Config(tasks=("painting",)).build(split="train")
