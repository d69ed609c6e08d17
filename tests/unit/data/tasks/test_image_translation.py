"""Pictures of the new signs follow the text of a translation, if they are wanted and known."""

from dataclasses import replace

import numpy as np

from sightweave.core.text_regions import parse_regions
from sightweave.core.types import Medium
from sightweave.data.datasets import scenes
from sightweave.data.inputs import image_files
from sightweave.data.tasks.image_translation import Config, Record

SIDE = 96


def records(count: int) -> list[Record]:
    dataset = scenes.Config(signs=2, tasks=("image_translation",)).build(split="train")
    found = [record for index in range(count) for record in dataset[index]]
    return [record for record in found if isinstance(record, Record)]


def pixels_of(medium: Medium | None) -> np.ndarray:
    assert medium is not None
    return np.asarray(image_files.picture(medium))


def test_each_sign_has_a_picture_of_its_new_words() -> None:
    for record in records(20):
        plain, drawn = Config().build().sample(record), Config(patch_size=SIDE).build().sample(record)
        number = len(record.signs)
        assert drawn.parts[: len(plain.parts)] == plain.parts
        assert len(drawn.parts) == len(plain.parts) + number
        assert drawn.references == plain.references
        assert all(part.learn and part.role == "assistant" for part in drawn.parts[-number:])

        target = pixels_of(record.target_image)
        for region, part in zip(parse_regions(plain.target).regions, drawn.parts[-number:], strict=True):
            assert isinstance(part.content, Medium)
            pixels = pixels_of(part.content)
            assert pixels.shape == (SIDE, SIDE, 3)
            if region.angle:
                continue
            # An upright sign is only stretched, so its commonest colour is that of the ground.
            left, top, right, bottom = (round(edge * len(target)) for edge in region.box)
            cut = target[top:bottom, left:right].reshape(-1, 3)
            colors, counts = np.unique(cut, axis=0, return_counts=True)
            ground = colors[counts.argmax()]
            assert (np.abs(pixels.astype(int) - ground).max(-1) < 8).mean() > 0.3


def test_pictures_of_one_sign_in_two_languages_have_different_keys() -> None:
    keys = [
        part.content.identity
        for record in records(20)
        for part in Config(patch_size=SIDE).build().sample(record).parts
        if part.learn and isinstance(part.content, Medium)
    ]
    assert len(set(keys)) == len(keys)


def test_a_record_without_a_target_image_is_only_text() -> None:
    record = replace(records(1)[0], target_image=None)
    assert Config(patch_size=SIDE).build().sample(record).parts == Config().build().sample(record).parts


def test_the_languages_are_a_tag_also_if_only_one_is_known() -> None:
    record = replace(records(1)[0], source_language="fr", target_language="de")
    assert Config().build().sample(record).tags["languages"] == "fr-de"
    assert Config().build().sample(replace(record, source_language="")).tags["languages"] == "und-de"
