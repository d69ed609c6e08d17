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
from sightweave.data.inputs.length_plan import Policy, TooLong, fit
from sightweave.data.inputs.order import Mix, Mixing, fingerprint, shuffled
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
    position: int = 0
    """Where the next microstep begins: the one number that going on from here takes."""


class Feed:
    """An endless, repeatable stream of microsteps for one stage.

    Args:
        datasets: Sources, each a sequence of pictures; together they are one long sequence, shuffled anew each epoch.
        mix: How often each source comes; empty means once an epoch each.
        too_long: What becomes of a sample with more tokens than the processor's ``max_length``.
        rank: Which of `world` processes this is. Each takes its share of every microstep's pictures.
        world: Processes that train together; must divide the stage's pictures. All walk through the same positions. With
            more than one, a picture that cannot be read leaves its place empty, since the others do not know of it.
        tasks: Task by name.
        processor: Makes batches.
        stage: Says how many pictures, which tasks, which words.
        seed: The run's.
        quarantine: Takes what cannot be read.

    Raises:
        DataError: no pictures at all, none with a sample of the stage's tasks, or no regions where they are needed.
        RecipeError: `mix` or `world` does not fit.
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
        mix: Sequence[Mixing] = (),
        too_long: Policy = "drop_row",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.datasets, self.tasks, self.processor, self.stage = datasets, tasks, processor, stage
        self.seed, self.quarantine = seed, quarantine
        self.rank, self.world, self.too_long = rank, world, too_long
        if stage.pictures % world:
            raise RecipeError(
                f"train.stages, stage {stage.name!r}: {stage.pictures} pictures cannot be shared by {world} processes; "
                f"set pictures to a multiple of {world}."
            )
        self.mix = Mix([len(dataset) for dataset in datasets], mix, seed=seed)
        self.size = self.mix.total
        """Places of one epoch."""
        self.words: Words = self._words()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all sources: of each one's own ``fingerprint`` where it has one, else of its length."""
        return fingerprint(getattr(dataset, "fingerprint", len(dataset)) for dataset in self.datasets)

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
        first = [sample for place in range(min(20, self.size)) for sample in self._samples(place)]
        has_regions = any(sample.regions for sample in first)
        if asked == "auto":
            return "regions" if has_regions and has_places else "captions"
        if self.stage.learn == "words" and not has_regions:
            raise DataError(
                f"{where}: words is regions, but the data names none in its first {min(20, self.size)} pictures; "
                "set words to captions or auto."
            )
        return asked

    def _samples(self, position: int) -> list[Sample]:
        source, index = self.mix.at(position)
        records = self.datasets[source][index]
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
        failures = 0
        while True:
            position = self._fill(samples, position)
            share = self._share(samples)
            try:
                flat = [encoded for group in share.values() for encoded in group]
                step = Step(self._batch(flat, position), tuple(one.sample.id for one in flat), position)
                return step, position
            except MediaError:
                readable = {at: self._readable(group) for at, group in share.items()}
                if self.world == 1:
                    samples = {at: group for at, group in readable.items() if group}
                failures += 1
                if failures > self.size:
                    raise

    def _fill(self, samples: dict[int, list[Encoded]], position: int) -> int:
        """Adds pictures from `position` on until the microstep has enough; returns the place after the last one."""
        empty = 0
        while len(samples) < self.stage.pictures:
            chosen = self._chosen(self._samples(position), position)
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
        return position

    def _share(self, samples: dict[int, list[Encoded]]) -> dict[int, list[Encoded]]:
        """This process's pictures: every `world`-th one, less what it knows to be unreadable; never none."""
        if self.world == 1:
            return samples
        groups = list(samples.items())
        for first in (self.rank, *range(self.world)):  # another one's pictures rather than none
            share = {at: left for at, group in groups[first :: self.world] if (left := self._known(group))}
            if share:
                return share
        raise DataError(
            f"stage {self.stage.name!r}: none of the {len(groups)} pictures at positions {groups[0][0]} to "
            f"{groups[-1][0]} can be read; see the quarantine."
        )

    def _known(self, encoded: Sequence[Encoded]) -> list[Encoded]:
        bad = self.quarantine.unreadable
        return [one for one in encoded if bad.isdisjoint(medium.key for medium in one.sample.media)]

    def _batch(self, encoded: list[Encoded], position: int) -> Batch:
        # Processes draw different variations; one alone draws by its position.
        seed = position * self.world + self.rank if self.stage.augment else None
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
        unreadable = self.quarantine.unreadable if self.world == 1 else ()
        if any(medium.key in unreadable for medium in sample.media):
            return None
        limit = self.processor.max_length
        try:
            if not sample.target.strip():
                raise DataError(f"sample {sample.id!r} has an empty answer; there is nothing to learn.")
            encoded = fit(sample, self.processor, self.too_long, limit)
            if encoded is None:
                raise TooLong(sample.id, self.processor.length(sample), limit)
        except DataError as error:
            if isinstance(error, TooLong) and self.too_long == "error":
                raise
            self.quarantine.add(sample.id, error)
            return None
        return encoded

    def _readable(self, encoded: Sequence[Encoded]) -> list[Encoded]:
        """Those whose pictures can all be read; the other pictures go into quarantine."""
        for medium in {medium.key: medium for one in encoded for medium in one.sample.media}.values():
            try:
                self.processor.pixels([medium])
            except MediaError as error:
                self.quarantine.unreadable.add(medium.key)
                self.quarantine.add(medium.key, error)
        return self._known(encoded)
