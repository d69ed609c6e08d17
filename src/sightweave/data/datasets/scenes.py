"""The embedded world: drawn scenes with captions, questions, reasoning and translations; nothing is stored.

The same seed gives the same pictures and texts on every machine. Scenes of ``scenes`` are new; those of ``combinations``
hold pairs of colour and shape, and of homonym and sentence, that training never shows; items there that are about none
of these carry the tag ``subset``, and are scored in a table of their own. ``validation`` has further new scenes, drawn
like those of ``scenes``, to choose a recipe by without looking at either test.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar, Literal

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
from sightweave.data.scenes.view import View
from sightweave.data.scenes.words import texts
from sightweave.data.tasks import captioning, reasoning, translation, vqa

_TRAIN_SIZE, _HELD_OUT_SIZE = 1_000_000, 500


@config
class Config(SourceConfig):
    """Options of the generated scenes and their questions."""

    splits: ClassVar[tuple[str, ...]] = ALL_SPLITS
    seed: int = 0
    """Random seed of the scenes."""
    size: int = 0
    """Number of images in the split; 0 means 1,000,000 for training (nothing is stored) and 500 for a held-out split."""
    items_per_image: int = 9
    """Number of items per image in a ``mix``; 9 are a caption, 3 short questions, 3 with steps and 2 translations."""
    items: Literal["auto", "mix", "each"] = "auto"
    """``mix``: `items_per_image` items; ``each``: one of every type that the scene allows; ``auto``: mix only to train."""
    tasks: tuple[str, ...] = ()
    """Tasks to include; empty means all four."""
    style: Literal["drawn", "emoji"] = "drawn"
    """Drawing style: ``drawn`` (built-in pictograms) or ``emoji`` (the system's colour-emoji font)."""

    def build(self, *, split: str) -> Scenes:
        """The scenes of one split."""
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
    """A sequence of drawn pictures, each with its records.

    Args:
        seed: Of the whole world.
        split: ``train``, ``scenes``, ``combinations`` or ``validation``; ``val``, ``valid`` and ``dev`` mean the last.
        size: Number of pictures.
        items_per_image: Records of one picture, unless `one_of_each`.
        one_of_each: One record of every type that the scene allows.
        tasks: Whose records to make.
        style: ``drawn`` or ``emoji``.

    Raises:
        ValueError: no such split or task, or a number below 1.
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
        unknown = [task for task in tasks if task not in TASKS]
        if unknown:
            raise ValueError(f"scenes: no task {unknown[0]!r}; available are {', '.join(TASKS)}.")
        self.seed, self.split, self.size = seed, split, size
        self.items_per_image, self.one_of_each = items_per_image, one_of_each
        self.tasks, self.style = tuple(tasks), style
        self.has_regions = True
        """Whether records say where each thing is."""

    def without_regions(self) -> Scenes:
        """The same records without boxes and masks: quicker, for whoever wants the texts alone."""
        found = copy.copy(self)
        found.has_regions = False
        return found

    def __len__(self) -> int:
        """Number of pictures."""
        return self.size

    @property
    def fingerprint(self) -> str:
        """Names the world: everything that the pictures and texts depend on."""
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
        """All records about one picture; negative numbers count from the end."""
        if not -self.size <= index < self.size:
            raise IndexError(f"scenes: image index {index} is out of range; there are {self.size} images.")
        index %= self.size
        scene = self.scene(index)
        view, random = View(scene), Random(self.seed, ALL_SPLITS.index(self.split), index, 1)
        has_caption = "captioning" in self.tasks
        if self.one_of_each:
            items = each(view, random, self.tasks)
        else:
            items = mix(view, random, self.tasks, self.items_per_image - has_caption)
        return self._records(view, items, has_caption=has_caption)

    def scene(self, index: int) -> Scene:
        """What a picture shows."""
        return make_scene(self.seed, self.split, index)

    def texts(self) -> Iterator[str]:
        """Texts with every word form of the world; of training scenes, whatever the split."""
        return texts(self.seed)

    def _records(self, view: View, items: Sequence[Item], *, has_caption: bool) -> list[Record]:
        scene = view.scene
        # The same scene in two styles is two pictures: a name that both had would make them one in batches and caches.
        name = scene.key if self.style == "drawn" else f"{scene.key}/{self.style}"
        image = Medium(partial(drawing.draw, scene, self.style), name)
        boxes = regions(view, self.style) if self.has_regions else ()
        key, split = scene.key, scene.split

        def subset(is_unmet: bool) -> dict[str, str]:
            """The tag that sets items on met pairs apart, where the split is about unmet ones."""
            return {} if is_unmet or not view.allows_held_out else {"subset": combinations.MET}

        records: list[Record] = []
        if has_caption:
            said = caption(view)
            tags = {"type": "caption", "template": "caption"}
            records.append(
                captioning.Record(
                    id=f"{key}/caption/0",
                    images=(image,),
                    captions=(said,),
                    group=image.key,
                    split=split,
                    tags=tags | subset(combinations.caption_is_unmet(said)),
                    regions=boxes,
                )
            )
        numbers: dict[str, int] = {}
        for item in items:
            number = numbers[item.type] = numbers.get(item.type, -1) + 1
            name = f"{key}/{item.type}/{number}"
            tags = {"type": item.type, "template": item.template} | subset(combinations.is_unmet(item))
            if isinstance(item, Question):
                if item.steps:
                    records.append(
                        reasoning.Record(
                            id=name,
                            images=(image,),
                            question=item.text,
                            answers=(item.answer,),
                            rationale=item.steps,
                            options=item.options,
                            group=image.key,
                            split=split,
                            tags=tags,
                            regions=boxes,
                        )
                    )
                else:
                    records.append(
                        vqa.Record(
                            id=name,
                            images=(image,),
                            question=item.text,
                            answers=(item.answer,),
                            options=item.options,
                            group=image.key,
                            split=split,
                            tags=tags,
                            regions=boxes,
                        )
                    )
                continue
            if item.word:
                tags.update(word=item.word, sense=item.sense, contrast=item.contrast)
            records.append(
                translation.Record(
                    id=name,
                    images=(image,),
                    source=item.source,
                    targets=(item.target,),
                    source_language=item.source_language,
                    target_language=item.target_language,
                    group=image.key,
                    split=split,
                    tags=tags,
                    regions=boxes,
                )
            )
        return records
