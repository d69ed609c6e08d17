"""The built-in synthetic dataset: drawn scenes with captions, questions, reasoning and translations; nothing is stored.

The same seed gives the same images and texts on every machine. The split ``scenes`` has new scenes. The split
``combinations`` has pairs of colour and shape, and of homonym and sentence, that do not occur in training; its items about
other pairs have the tag ``subset`` and are scored in a separate table. The split ``validation`` has further new scenes,
drawn like those of ``scenes``, for choosing a recipe without using either test split.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from sightweave.core.config import config
from sightweave.core.types import Medium
from sightweave.data.reading.dataset import Record, SourceConfig
from sightweave.data.reading.splits import common_split
from sightweave.data.scenes import combinations, drawing
from sightweave.data.scenes.items import TASKS, Item, caption, each, mix
from sightweave.data.scenes.layout import ALL_SPLITS, make_scene
from sightweave.data.scenes.questions import Question
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.regions import regions
from sightweave.data.scenes.scene import Scene
from sightweave.data.scenes.translations import Pair
from sightweave.data.scenes.view import View
from sightweave.data.scenes.words import texts
from sightweave.data.tasks import captioning, reasoning, translation, vqa
from sightweave.data.tasks import drawing as drawing_task

_TRAIN_SIZE, _HELD_OUT_SIZE = 1_000_000, 500
_DRAWING = "drawing"
"""A task that is included only on request, since most models make no images."""


@config
class Config(SourceConfig):
    """Options for the generated scenes and the items about them."""

    splits: ClassVar[tuple[str, ...]] = ALL_SPLITS
    seed: int = 0
    """Random seed of the scenes."""
    size: int = 0
    """Number of images in the split; 0 means 1,000,000 for training and 500 for a held-out split."""
    items_per_image: int = 9
    """Number of items per image with ``mix``; the default of 9 is a caption, 3 short questions, 3 with steps and 2
    translations."""
    items: Literal["auto", "mix", "each"] = "auto"
    """Choice of items: ``mix`` (`items_per_image` items per image), ``each`` (one item of each type that the scene
    allows) or ``auto`` (``mix`` for training, ``each`` for held-out splits)."""
    tasks: tuple[str, ...] = ()
    """Tasks of the items: captioning, vqa, reasoning, translation or drawing; empty means all except drawing."""
    style: Literal["drawn", "emoji"] = "drawn"
    """Drawing style: ``drawn`` (built-in pictograms) or ``emoji`` (the system's colour-emoji font)."""

    def build(self, *, split: str) -> Scenes:
        """Builds the dataset of one split."""
        is_train = common_split(split) == ALL_SPLITS[0]
        return Scenes(
            seed=self.seed,
            split=split,
            size=self.size or (_TRAIN_SIZE if is_train else _HELD_OUT_SIZE),
            items_per_image=self.items_per_image,
            one_of_each=self.items == "each" or (self.items == "auto" and not is_train),
            tasks=self.tasks or TASKS,
            style=self.style,
        )


class Scenes:
    """A sequence of drawn images, each with its records.

    Args:
        seed: Random seed of the scenes.
        split: ``train``, ``scenes``, ``combinations`` or ``validation``; ``val``, ``valid`` and ``dev`` mean the last.
        size: Number of images.
        items_per_image: Number of records per image, if `one_of_each` is False.
        one_of_each: Whether to make one record of each type that the scene allows.
        tasks: Tasks to include.
        style: Drawing style, ``drawn`` or ``emoji``.

    Raises:
        ValueError: The split or a task is unknown, or a number is less than 1.
    """

    def __init__(
        self,
        *,
        seed: int,
        split: str,
        size: int,
        items_per_image: int = 9,
        one_of_each: bool = False,
        tasks: Sequence[str] = TASKS,
        style: str = "drawn",
    ) -> None:
        split = common_split(split)
        if split not in ALL_SPLITS:
            raise ValueError(f"scenes: no split {split!r}; available are {', '.join(ALL_SPLITS)}.")
        if size < 1 or items_per_image < 1:
            raise ValueError(
                f"scenes: size and items_per_image must be 1 or more (got {size} and {items_per_image})."
            )
        known = (*TASKS, _DRAWING)
        unknown = [task for task in tasks if task not in known]
        if unknown:
            raise ValueError(f"scenes: no task {unknown[0]!r}; available are {', '.join(known)}.")

        self.seed, self.split, self.size = seed, split, size
        self.items_per_image, self.one_of_each = items_per_image, one_of_each
        self.tasks, self.style = tuple(tasks), style
        self.has_regions = True
        """Whether records have the boxes and masks of the things in the image."""

    def without_regions(self) -> Scenes:
        """A copy whose records have no boxes and masks, which is faster if only the texts are needed."""
        found = copy.copy(self)
        found.has_regions = False
        return found

    def __len__(self) -> int:
        """Number of images."""
        return self.size

    @property
    def fingerprint(self) -> str:
        """A text that contains all settings on which the images and texts depend."""
        values = (
            self.seed,
            self.split,
            self.size,
            self.items_per_image,
            self.one_of_each,
            self.tasks,
            self.style,
        )
        return "scenes " + " ".join(map(str, values))

    def __getitem__(self, index: int) -> list[Record]:
        """All records about one image; negative indices count from the end."""
        if not -self.size <= index < self.size:
            raise IndexError(f"scenes: image index {index} is out of range; there are {self.size} images.")
        index %= self.size

        scene = self.scene(index)
        view, random = View(scene), Random(self.seed, ALL_SPLITS.index(self.split), index, 1)

        has_caption = "captioning" in self.tasks
        items: Sequence[Item]
        if self.one_of_each:
            items = each(view, random, self.tasks)
        else:
            items = mix(view, random, self.tasks, self.items_per_image - has_caption)
        records = self._records(view, items, has_caption=has_caption)
        if _DRAWING in self.tasks:
            records.append(_drawing_record(view, self._shared_fields(view)))
        return records

    def scene(self, index: int) -> Scene:
        """The scene of an image."""
        return make_scene(self.seed, self.split, index)

    def texts(self) -> Iterator[str]:
        """Yields texts that contain every word form, always made from scenes of the training split."""
        return texts(self.seed)

    def _records(self, view: View, items: Sequence[Item], *, has_caption: bool) -> list[Record]:
        shared = self._shared_fields(view)
        records: list[Record] = []
        if has_caption:
            records.append(_caption_record(view, shared))

        # Ids contain a number that counts the items of the same type.
        numbers: dict[str, int] = {}
        for item in items:
            number = numbers.get(item.type, 0)
            numbers[item.type] = number + 1
            record_id = f"{view.scene.key}/{item.type}/{number}"
            if isinstance(item, Question):
                records.append(_question_record(view, item, record_id, shared))
            else:
                records.append(_translation_record(view, item, record_id, shared))
        return records

    def _shared_fields(self, view: View) -> dict[str, Any]:
        """The fields that are the same in all records about one image."""
        scene = view.scene
        # A scene looks different in each style, so its key includes the style; equal keys would share cached pixels.
        name = scene.key if self.style == "drawn" else f"{scene.key}/{self.style}"
        image = Medium(partial(drawing.draw, scene, self.style), name)
        return {
            "images": (image,),
            "group": image.key,
            "split": scene.split,
            "regions": regions(view, self.style) if self.has_regions else (),
        }


def _caption_record(view: View, shared: dict[str, Any]) -> Record:
    text = caption(view)
    tags = {"type": "caption", "template": "caption"}
    return captioning.Record(
        id=f"{view.scene.key}/caption/0",
        captions=(text,),
        tags=tags | _subset_tag(view, combinations.caption_is_unmet(text)),
        **shared,
    )


def _drawing_record(view: View, shared: dict[str, Any]) -> Record:
    text = caption(view)
    (image,) = shared["images"]
    return drawing_task.Record(
        id=f"{view.scene.key}/drawing/0",
        images=(),
        description=text,
        target_image=image,
        tags={"type": "drawing", "template": "caption"}
        | _subset_tag(view, combinations.caption_is_unmet(text)),
        group=shared["group"],
        split=shared["split"],
    )


def _question_record(view: View, item: Question, record_id: str, shared: dict[str, Any]) -> Record:
    fields: dict[str, Any] = {
        "id": record_id,
        "question": item.text,
        "answers": (item.answer,),
        "options": item.options,
        "tags": _item_tags(view, item),
        **shared,
    }
    return reasoning.Record(rationale=item.steps, **fields) if item.steps else vqa.Record(**fields)


def _translation_record(view: View, item: Pair, record_id: str, shared: dict[str, Any]) -> Record:
    tags = _item_tags(view, item)
    if item.word:
        tags.update(word=item.word, sense=item.sense, contrast=item.contrast)
    return translation.Record(
        id=record_id,
        source=item.source,
        targets=(item.target,),
        source_language=item.source_language,
        target_language=item.target_language,
        tags=tags,
        **shared,
    )


def _item_tags(view: View, item: Item) -> dict[str, str]:
    tags = {"type": item.type, "template": item.template}
    return tags | _subset_tag(view, combinations.is_unmet(item))


def _subset_tag(view: View, is_unmet: bool) -> dict[str, str]:
    """The ``subset`` tag of an item in the split ``combinations`` that is not about an unmet pair; otherwise empty."""
    return {} if is_unmet or not view.allows_held_out else {"subset": combinations.MET}
