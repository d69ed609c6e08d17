"""The built-in synthetic dataset: drawn scenes with captions, questions, reasoning and translations; nothing is stored.

The same seed gives the same images and texts on every machine. The split ``scenes`` has new scenes. The split
``combinations`` has pairs of colour and shape, and of homonym and sentence, that do not occur in training; its items about
other pairs have the tag ``subset`` and are scored in a separate table. The split ``validation`` has further new scenes,
drawn like those of ``scenes``, for choosing a recipe without using either test split.

With ``signs``, the scenes are other ones, which have signs to read and to translate. In ``combinations``, they are about
phrases, a face, and pairs of a word and a thing that do not occur in training; the tag ``subset`` says which.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from sightweave.core.config import config
from sightweave.core.types import Medium, Region
from sightweave.data.reading.dataset import Record, SourceConfig
from sightweave.data.reading.splits import common_split
from sightweave.data.scenes import combinations, drawing, sign_items
from sightweave.data.scenes.checks import checks
from sightweave.data.scenes.items import TASKS, Item, caption, each, mix
from sightweave.data.scenes.layout import ALL_SPLITS, make_scene
from sightweave.data.scenes.questions import Question
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.regions import regions
from sightweave.data.scenes.scene import Scene
from sightweave.data.scenes.signs import LetteredScene, make_sign_scene
from sightweave.data.scenes.translations import Pair
from sightweave.data.scenes.view import View
from sightweave.data.scenes.words import texts
from sightweave.data.tasks import captioning, image_translation, reading, reasoning, translation, vqa
from sightweave.data.tasks import drawing as drawing_task

_TRAIN_SIZE, _HELD_OUT_SIZE = 1_000_000, 500
_SCENES_FOR_TEXTS = 2_000
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
    """Tasks of the items; empty means ``captioning``, ``vqa``, ``reasoning`` and ``translation``, or ``reading`` and
    ``image_translation`` for scenes with signs. ``drawing`` is included only on request, and
    only for scenes without signs."""
    style: Literal["drawn", "emoji"] = "drawn"
    """Drawing style: ``drawn`` (built-in pictograms) or ``emoji`` (the system's colour-emoji font)."""
    signs: Literal[0, 1, 2] = 0
    """Maximum number of signs in a scene; 0 means scenes without signs."""
    things: Literal["shown", "hidden", "swapped"] = "shown"
    """What scenes with signs show: their things, no things, or the other sense of each homonym (answers do not change). The
    last two are controls: they show whether a model uses the things to translate ambiguous words."""

    def build(self, *, split: str) -> Scenes:
        """Builds the dataset of one split."""
        is_train = common_split(split) == ALL_SPLITS[0]
        return Scenes(
            seed=self.seed,
            split=split,
            size=self.size or (_TRAIN_SIZE if is_train else _HELD_OUT_SIZE),
            items_per_image=self.items_per_image,
            one_of_each=self.items == "each" or (self.items == "auto" and not is_train),
            tasks=self.tasks or (sign_items.TASKS if self.signs else TASKS),
            style=self.style,
            signs=self.signs,
            things=self.things,
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
        signs: Maximum number of signs in a scene, 0 to 2.
        things: What scenes with signs show, ``shown``, ``hidden`` or ``swapped``.

    Raises:
        ValueError: The split or a task is unknown, a number is out of range, or a setting or task needs signs.
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
        signs: int = 0,
        things: str = "shown",
    ) -> None:
        split = common_split(split)
        if split not in ALL_SPLITS:
            raise ValueError(f"scenes: no split {split!r}; available are {', '.join(ALL_SPLITS)}.")
        if size < 1 or items_per_image < 1:
            raise ValueError(
                f"scenes: size and items_per_image must be 1 or more (got {size} and {items_per_image})."
            )
        if not 0 <= signs <= 2:
            raise ValueError(f"scenes: signs must be 0, 1 or 2 (got {signs}).")
        known = (*TASKS, *(sign_items.TASKS if signs else (_DRAWING,)))
        unknown = [task for task in tasks if task not in known]
        if unknown:
            needs_signs = " (it needs signs: 1 or 2)" if unknown[0] in sign_items.TASKS else ""
            raise ValueError(
                f"scenes: no task {unknown[0]!r}{needs_signs}; available are {', '.join(known)}."
            )
        if things not in sign_items.THINGS or (things != "shown" and not signs):
            raise ValueError(
                f"scenes: things is {things!r} and signs is {signs}; things must be one of "
                f"{', '.join(sign_items.THINGS)}, and only scenes with signs can have other things than their own."
            )

        self.seed, self.split, self.size = seed, split, size
        self.items_per_image, self.one_of_each = items_per_image, one_of_each
        self.tasks, self.style = tuple(tasks), style
        self.signs, self.things = signs, things
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
        lettered = f" signs {self.signs} {self.things}" if self.signs else ""
        return "scenes " + " ".join(map(str, values)) + lettered

    def __getitem__(self, index: int) -> list[Record]:
        """All records about one image; negative indices count from the end."""
        if not -self.size <= index < self.size:
            raise IndexError(f"scenes: image index {index} is out of range; there are {self.size} images.")
        index %= self.size

        if self.signs:
            return self._lettered_records(index)
        scene = self.scene(index)
        view, random = View(scene), Random(self.seed, ALL_SPLITS.index(self.split), index, 1)

        return self._scene_records(view, random, self._shared_fields(view), self.items_per_image)

    def scene(self, index: int) -> Scene:
        """The scene of an image."""
        if self.signs:
            return self.lettered_scene(index).drawn.scene
        return make_scene(self.seed, self.split, index)

    def lettered_scene(self, index: int) -> LetteredScene:
        """The scene of an image, with its signs; only if there are signs."""
        return make_sign_scene(self.seed, self.split, index, self.signs)

    def texts(self) -> Iterator[str]:
        """Yields texts that contain every word form, always made from scenes of the training split."""
        yield from texts(self.seed)
        if self.signs:
            yield from self._sign_texts()

    def _sign_texts(self) -> Iterator[str]:
        """Yields the texts of the signs of some training scenes, with their places."""
        for index in range(_SCENES_FOR_TEXTS):
            made = make_sign_scene(self.seed, ALL_SPLITS[0], index, self.signs)
            for one in made.phrases:
                for text in one.texts:
                    yield text.replace("\n", " ")
            for language in sign_items.targets(made):
                yield from sign_items.sign_texts(made, language)

    def _scene_records(self, view: View, random: Random, shared: dict[str, Any], amount: int) -> list[Record]:
        """Records of the tasks that are about the things of a scene, with up to `amount` items."""
        has_caption = "captioning" in self.tasks
        items: list[Item] = []
        if self.one_of_each:
            items = each(view, random, self.tasks)
        elif amount > has_caption:
            items = mix(view, random, self.tasks, amount - has_caption)
        records = self._records(view, items, shared, has_caption=has_caption)
        if _DRAWING in self.tasks:
            records.append(self._drawing_record(view, shared))
        return records

    def _lettered_records(self, index: int) -> list[Record]:
        """All records about a scene with signs: those about its signs, then those about its things."""
        made = self.lettered_scene(index)
        view = View(made.drawn.scene)
        shared = self._lettered_fields(made, view)
        tags = {"subset": made.kind} if made.kind else {}

        records: list[Record] = []
        if "reading" in self.tasks:
            records += _reading_records(made, shared, tags)
        if "image_translation" in self.tasks:
            for language in sign_items.targets(made):
                records.append(self._image_translation_record(made, language, shared, tags))

        if not set(self.tasks) & set(TASKS) or not view.things:
            return records
        random = Random(self.seed, ALL_SPLITS.index(self.split), index, 4)
        return records + self._scene_records(view, random, shared, self.items_per_image - len(records))

    def _lettered_fields(self, made: LetteredScene, view: View) -> dict[str, Any]:
        """The fields that are the same in all records about one image with signs."""
        found: tuple[Region, ...] = ()
        if self.has_regions:
            found = regions(view, self.style) if self.things == "shown" else ()
            for sign in made.drawn.signs:
                found += tuple(sign_items.text_regions(sign))

        image = self._lettered_image(made, "")
        return {"images": (image,), "group": image.key, "split": view.scene.split, "regions": found}

    def _lettered_image(self, made: LetteredScene, language: str) -> Medium:
        """The image of a scene with signs, in their own or another language."""
        parts = [made.drawn.scene.key, self.style if self.style != "drawn" else ""]
        parts += [self.things if self.things != "shown" else "", language]
        draw = partial(sign_items.draw_lettered, made, language, things=self.things, pictures=self.style)
        return Medium(draw, "/".join(part for part in parts if part))

    def _image_translation_record(
        self, made: LetteredScene, language: str, shared: dict[str, Any], tags: dict[str, str]
    ) -> Record:
        is_ambiguous = sign_items.is_ambiguous(made, language)
        tags = tags | {"type": "ambiguous sign" if is_ambiguous else "sign"}
        nouns = [one for one in made.phrases if one.word]
        if is_ambiguous and len(made.phrases) == 1:
            tags.update(word=nouns[0].word, sense=nouns[0].noun)
        return image_translation.Record(
            id=f"{made.drawn.scene.key}/translation/{language}",
            signs=sign_items.sign_texts(made, language),
            source_language=made.drawn.signs[0].language,
            target_language=language,
            target_image=self._lettered_image(made, language),
            tags=tags,
            **shared,
        )

    def _drawing_record(self, view: View, shared: dict[str, Any]) -> Record:
        text = caption(view)
        (image,) = shared["images"]
        index = int(view.scene.key.rpartition("/")[2])
        random = Random(self.seed, ALL_SPLITS.index(self.split), index, 5)
        return drawing_task.Record(
            id=f"{view.scene.key}/drawing/0",
            images=(),
            description=text,
            target_image=image,
            tags={"type": "drawing", "template": "caption"}
            | _subset_tag(view, combinations.caption_is_unmet(text)),
            group=shared["group"],
            split=shared["split"],
            checks=checks(view, random) if self.split != ALL_SPLITS[0] else (),  # only for scoring
        )

    def _records(
        self, view: View, items: Sequence[Item], shared: dict[str, Any], *, has_caption: bool
    ) -> list[Record]:
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


def _reading_records(made: LetteredScene, shared: dict[str, Any], tags: dict[str, str]) -> list[Record]:
    """A record that asks for the text of the signs, and one that asks for their places too."""
    found: list[Record] = []
    for name, with_places in (("text", False), ("places", True)):
        found.append(
            reading.Record(
                id=f"{made.drawn.scene.key}/reading/{name}",
                signs=sign_items.sign_texts(made),
                with_places=with_places,
                tags=tags,
                **shared,
            )
        )
    return found


def _caption_record(view: View, shared: dict[str, Any]) -> Record:
    text = caption(view)
    tags = {"type": "caption", "template": "caption"}
    return captioning.Record(
        id=f"{view.scene.key}/caption/0",
        captions=(text,),
        tags=tags | _subset_tag(view, combinations.caption_is_unmet(text)),
        **shared,
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
