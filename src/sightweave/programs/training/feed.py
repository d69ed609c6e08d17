"""Batches in order: which pictures a step sees is a function of (seed, position), made one step ahead in a thread.

A picture that cannot be read, or a sample that cannot be laid out, is quarantined with its reason and counted.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightweave.core.batch import Batch
from sightweave.core.errors import DataError, MediaError, RecipeError
from sightweave.core.types import Sample
from sightweave.data.datasets._base import Dataset, task_of
from sightweave.data.inputs.order import shuffled
from sightweave.data.inputs.processor import Processor, Words
from sightweave.data.inputs.template import Encoded
from sightweave.programs.training.settings import Stage

logger = logging.getLogger(__name__)
_PATIENCE = 1000
"""Pictures after which a share of bad ones stops the run."""
_TOLERATED = 0.01


@dataclass
class Quarantine:
    """Pictures that were left out, with their reasons."""

    path: Path | None = None
    """A JSONL file that gets one line for each."""
    seen: int = 0
    """Different pictures that were asked for."""
    reasons: Counter[str] = field(default_factory=Counter)
    unreadable: set[str] = field(default_factory=set)
    """Keys of pictures that are not tried again."""
    _known: set[str] = field(default_factory=set)

    def add(self, key: str, error: DataError) -> None:
        """Counts and writes one, the first time that it is met.

        Raises:
            DataError: over 1 % of more than a thousand pictures are bad.
        """
        if key in self._known:
            return
        self._known.add(key)
        reason = str(getattr(error, "code", type(error).__name__))
        self.reasons[reason] += 1
        logger.warning("left out %s: %s", key, error)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"picture": key, "reason": reason, "message": str(error)}) + "\n")
        bad = sum(self.reasons.values())
        if self.seen >= _PATIENCE and bad > _TOLERATED * self.seen:
            raise DataError(
                f"{bad} of {self.seen} pictures cannot be read ({dict(self.reasons)}), more than {_TOLERATED:.0%}; "
                f"the last: {error}"
            )


@dataclass(frozen=True)
class Step:
    """One microstep's input."""

    batch: Batch
    ids: tuple[str, ...]
    """Of its samples, for messages."""


class Feed:
    """An endless, repeatable stream of microsteps for one stage.

    Args:
        datasets: Sources, each a sequence of pictures; together they are one long sequence, shuffled anew each epoch.
        tasks: Task by name.
        processor: Makes batches.
        stage: Says how many pictures, which tasks, which words.
        seed: The run's.
        quarantine: Takes what cannot be read.

    Raises:
        DataError: no pictures at all, none with a sample of the stage's tasks, or no regions where they are needed.
        RecipeError: the stage learns words and says not which, or asks for regions of a model that keeps no places.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        tasks: dict[str, Any],
        processor: Processor,
        stage: Stage,
        *,
        seed: int,
        quarantine: Quarantine,
    ) -> None:
        self.datasets, self.tasks, self.processor, self.stage = datasets, tasks, processor, stage
        self.seed, self.quarantine = seed, quarantine
        self.size = sum(len(dataset) for dataset in datasets)
        if not self.size:
            raise DataError("there is nothing to train on: the data has no pictures.")
        self.words: Words = self._words()

    def _words(self) -> Words:
        asked, where = self.stage.words, f"train.stages, stage {self.stage.name!r}"
        has_places = self.processor.layout.grid is not None
        if asked == "none" and self.stage.learn == "words":
            raise RecipeError(
                f"{where}: learn is words, but words is none; set words to auto, regions or captions."
            )
        if asked == "regions" and not has_places:
            raise RecipeError(
                f"{where}: words is regions, but this connector's embeddings stand for no places in the picture; "
                "set words to captions, or take a connector that keeps the grid."
            )
        if asked in ("none", "captions"):
            return asked
        first = [sample for index in range(min(20, self.size)) for sample in self._samples(index)]
        has_regions = any(sample.regions for sample in first)
        if asked == "auto":
            return "regions" if has_regions and has_places else "captions"
        if self.stage.learn == "words" and not has_regions:
            raise DataError(
                f"{where}: words is regions, but the data names none in its first {min(20, self.size)} pictures; "
                "set words to captions or auto."
            )
        return asked

    def _samples(self, index: int) -> list[Sample]:
        for dataset in self.datasets:
            if index < len(dataset):
                records = dataset[index]
                break
            index -= len(dataset)
        allowed = self.stage.tasks
        return [self.tasks[task].sample(r) for r in records if (task := task_of(r)) in allowed or not allowed]

    def microsteps(self, start: int = 0) -> Generator[Step, None, None]:
        """Microsteps from position `start` (in pictures) on; those of one update are made while the last one computes."""
        place = start

        def advance() -> Step:
            nonlocal place
            step, place = self._next(place)
            return step

        # One worker, since each microstep begins where the one before it ended.
        with ThreadPoolExecutor(1, thread_name_prefix="feed") as worker:
            pending = deque(worker.submit(advance) for _ in range(self.stage.microsteps))
            while True:
                step = pending.popleft().result()
                pending.append(worker.submit(advance))
                yield step

    def _next(self, position: int) -> tuple[Step, int]:
        samples: dict[int, list[Encoded]] = {}
        empty = 0
        while True:
            while len(samples) < self.stage.pictures:
                epoch, place = divmod(position, self.size)
                index = shuffled(self.seed, epoch, place, self.size)
                chosen = self._chosen(self._samples(index), position)
                usable = [encoded for sample in chosen if (encoded := self._encoded(sample)) is not None]
                if usable:
                    samples[position] = usable
                empty = 0 if usable else empty + 1
                position += 1
                self.quarantine.seen = max(self.quarantine.seen, min(position, self.size))
                if empty > self.size:
                    raise DataError(
                        f"stage {self.stage.name!r}: none of {self.size} pictures has a usable sample "
                        f"(tasks: {', '.join(self.stage.tasks) or 'all'}; left out: {dict(self.quarantine.reasons)})."
                    )
            try:
                flat = [encoded for group in samples.values() for encoded in group]
                return Step(self._batch(flat, position), tuple(one.sample.id for one in flat)), position
            except MediaError:
                readable = {at: self._readable(group) for at, group in samples.items()}
                samples = {at: group for at, group in readable.items() if group}
                empty += 1
                if empty > self.size:
                    raise

    def _batch(self, encoded: list[Encoded], position: int) -> Batch:
        seed = position if self.stage.augment else None
        if self.stage.learn == "words":
            samples = [one.sample for one in encoded]
            return self.processor.media_batch(samples, words=self.words, seed=seed)
        return self.processor.batch(encoded, words=self.words, seed=seed, pack_to=self.stage.pack_to)

    def _chosen(self, samples: list[Sample], position: int) -> list[Sample]:
        limit = self.stage.samples_per_picture
        if limit is None or len(samples) <= limit:
            return samples
        order = sorted(range(len(samples)), key=lambda i: shuffled(self.seed + 1, position, i, 1 << 30))
        return [samples[i] for i in sorted(order[:limit])]

    def _encoded(self, sample: Sample) -> Encoded | None:
        """The sample as tokens; None, and a line in quarantine, where there is nothing to learn or too much."""
        if not self.quarantine.unreadable.isdisjoint(medium.key for medium in sample.media):
            return None
        try:
            encoded = self.processor.encode(sample)
            self._check(encoded)
        except DataError as error:
            self.quarantine.add(sample.id, error)
            return None
        return encoded

    def _check(self, encoded: Encoded) -> None:
        length = len(encoded.trunk) + len(encoded.prompt) + len(encoded.target)
        if not encoded.sample.target.strip():
            raise DataError(f"sample {encoded.sample.id!r} has an empty answer; there is nothing to learn.")
        if length > self.processor.max_length:
            raise DataError(
                f"sample {encoded.sample.id!r} has {length} tokens, over max_length {self.processor.max_length}; "
                "raise inputs.max_length or shorten the text."
            )

    def _readable(self, encoded: Sequence[Encoded]) -> list[Encoded]:
        """Those whose pictures can all be read; the other pictures go into quarantine."""
        for medium in {medium.key: medium for one in encoded for medium in one.sample.media}.values():
            try:
                self.processor.pixels([medium])
            except MediaError as error:
                self.quarantine.unreadable.add(medium.key)
                self.quarantine.add(medium.key, error)
        bad = self.quarantine.unreadable
        return [one for one in encoded if bad.isdisjoint(medium.key for medium in one.sample.media)]
