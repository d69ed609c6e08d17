"""Batches in order: which pictures a step sees is a function of (seed, position), made one step ahead in a thread.

A picture that cannot be read, or a sample that cannot be laid out, is quarantined with its reason and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sightweave.core.batch import Batch
from sightweave.core.device import num_cores
from sightweave.core.errors import DataError, MediaError, RecipeError
from sightweave.core.types import Sample
from sightweave.data.inputs.collate import Bundle, bundle, deal, pack
from sightweave.data.inputs.order import Mix, Mixing, fingerprint, shuffled
from sightweave.data.inputs.processor import Processor, Words
from sightweave.data.inputs.template import Encoded
from sightweave.data.inputs.too_long import Policy, TooLong, fit
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.world import World

_DRAWS = 1 << 30
"""Numbers that a draw is one of."""
_LOOKED_AT = 200
"""Pictures that are looked at for regions, at most."""
_ALONE = World()


@dataclass(frozen=True)
class Step:
    """One microstep's input."""

    batch: Batch
    ids: tuple[str, ...]
    """Of its samples, for messages."""
    position: int = 0
    """Where the next microstep begins, or the window that it belongs to."""
    within: int = 0
    """Number of the next microstep in its window. Going on from here takes these two numbers and no more."""
    pictures: tuple[int, ...] = ()
    """Numbers of its pictures, counted through all sources."""
    end: int = 0
    """Position after the last of its pictures: where another stage begins that repeats none of them."""


_TRANSLATION = "translation"
"""The task whose samples are of pairs of languages."""


@dataclass(frozen=True)
class _Window:
    """The rows of several microsteps, packed as one and dealt out."""

    start: int
    """Position of its first picture."""
    end: int
    """Position after its last one."""
    hands: list[list[list[Bundle]]]
    """Rows of each microstep."""
    positions: dict[int, int]
    """Position of each encoded sample, by its ``id()``; the rows keep the samples alive."""


def decoding_threads(asked: int) -> int:
    """Threads that decode pictures: as asked, or for 0 one for each core but one, from 1 to 8."""
    return asked or min(8, max(1, num_cores() - 1))


class Feed:
    """An endless, repeatable stream of microsteps for one stage.

    Args:
        datasets: Sources, each a sequence of pictures; together they are one long sequence, shuffled anew each epoch.
        mix: How often each source comes; empty means once an epoch each.
        too_long: What becomes of a sample with more tokens than the processor's ``max_length``.
        world: The processes that train together; their number must divide the stage's pictures. All walk through the same
            positions, and each takes its share of every microstep's pictures, or of every window's, which it then packs
            for itself. With more than one, a picture that cannot be read leaves its place empty, since the others do not
            know of it. So it does in a window, whose rows must not depend on what was tried before.
        workers: Threads that decode pictures; 0 means one for each core but one, from 1 to 8.
        tasks: Task by name.
        processor: Makes batches.
        stage: Says how many pictures, which tasks, which words.
        seed: The run's.
        quarantine: Takes what cannot be read.

    Raises:
        DataError: no pictures at all, none with a sample of the stage's tasks, or no regions where they are needed.
        RecipeError: `mix` or `world` does not fit the data or the stage.
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
        world: World = _ALONE,
        workers: int = 1,
    ) -> None:
        self.datasets, self.tasks, self.processor, self.stage = datasets, tasks, processor, stage
        self.seed, self.quarantine = seed, quarantine
        self.world, self.too_long = world, too_long
        self.workers = decoding_threads(workers)
        self._fills_gaps = world.size == 1 and stage.pack_window == 1
        if stage.pictures % world.size:
            raise RecipeError(
                f"train.stages, stage {stage.name!r}: {stage.pictures} images cannot be shared by {world.size} processes; "
                f"set pictures to a multiple of {world.size}."
            )
        self.mix = Mix([len(dataset) for dataset in datasets], mix, seed=seed)
        self._starts = list(accumulate(self.mix.lengths, initial=0))
        self.size = self.mix.total
        """Places of one epoch."""
        self.words: Words = self._words()
        self.languages: set[str] = set()
        """Pairs of languages, such as ``en-de``, between which its samples translate."""

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
        # The first places of the order are a draw over all of the data.
        looked_at = min(_LOOKED_AT, self.size)
        has_regions = any(sample.regions for place in range(looked_at) for sample in self._samples(place))
        if asked == "auto":
            return "regions" if has_regions and has_places else "captions"
        if self.stage.learn == "words" and not has_regions:
            raise DataError(
                f"{where}: words is regions, but none of {looked_at} images drawn over the data has any; "
                "set words to captions or auto."
            )
        return asked

    def _samples(self, position: int) -> list[Sample]:
        source, index = self.mix.at(position)
        records = self.datasets[source][index]
        allowed = self.stage.tasks
        return [self.tasks[task].sample(r) for r in records if (task := task_of(r)) in allowed or not allowed]

    def microsteps(self, start: int = 0, within: int = 0) -> Generator[Step, None, None]:
        """Microsteps from a place on; those of one update are made while the last one computes.

        Args:
            start: Position in pictures, as `Step.position` gives it.
            within: Number of the microstep in the window that begins there, as `Step.within` gives it.
        """
        position, number = start, within
        window: _Window | None = None

        def advance(pool: Executor | None) -> Step:
            nonlocal position, number, window
            if self.stage.pack_window == 1:
                step = self._next(position, pool)
            else:
                if window is None or window.start != position:
                    window = self._plan(position)
                step = self._dealt(window, number, pool)
            position, number = step.position, step.within
            return step

        with ExitStack() as stack:
            pool = None
            if self.workers > 1:
                pool = stack.enter_context(ThreadPoolExecutor(self.workers, thread_name_prefix="decode"))
            # One worker, since each microstep begins where the one before it ended.
            worker = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="feed"))
            pending = deque(worker.submit(advance, pool) for _ in range(self.stage.microsteps))
            while True:
                step = pending.popleft().result()
                pending.append(worker.submit(advance, pool))
                yield step

    def trial(self) -> Iterator[Batch]:
        """Batches like those of `microsteps`, made when asked for: a trial of speed sees them, and no training does."""
        window = None if self.stage.pack_window == 1 else self._plan(0)
        position = number = 0
        while True:
            if window is None:
                step = self._next(position, None)
                position = step.position
            else:
                step = self._dealt(window, number % self.stage.pack_window, None)
            number += 1
            yield step.batch

    def _next(self, position: int, pool: Executor | None) -> Step:
        samples: dict[int, list[Encoded]] = {}
        failures = 0
        while True:
            position = self._fill(samples, position)
            share = self._share(samples)
            try:
                flat = [encoded for group in share.values() for encoded in group]
                return Step(
                    self._batch(flat, position, pool),
                    tuple(one.sample.id for one in flat),
                    position,
                    pictures=self._numbers(share),
                    end=position,
                )
            except MediaError:
                readable = {at: self._readable(group) for at, group in share.items()}
                if self._fills_gaps:
                    samples = {at: group for at, group in readable.items() if group}
                failures += 1
                if failures > self.size:
                    raise

    def _plan(self, start: int) -> _Window:
        """The window that begins at a position: a function of that position alone."""
        samples: dict[int, list[Encoded]] = {}
        end = self._fill(samples, start)
        share = list(samples.values())[self.world.rank :: self.world.size]
        assert self.stage.pack_to is not None
        rows = pack(bundle(encoded for group in share for encoded in group), self.stage.pack_to)
        positions = {id(encoded): at for at, group in samples.items() for encoded in group}
        return _Window(start, end, deal(rows, self.stage.pack_window), positions)

    def _dealt(self, window: _Window, number: int, pool: Executor | None) -> Step:
        """One microstep of a window, less what cannot be read; never none."""
        count = self.stage.pack_window
        place = (window.start, number + 1) if number + 1 < count else (window.end, 0)
        # Where none of its pictures can be read, it repeats the next microstep that has some.
        for offset in range(count):
            rows = self._known_rows(window.hands[(number + offset) % count])
            while rows:
                try:
                    seed = self._seed(window.end * count + number)
                    batch = self.processor.batch_rows(rows, words=self.words, seed=seed, pool=pool)
                    encoded = [one for row in rows for part in row for one in part.encoded]
                    at = sorted({window.positions[id(one)] for one in encoded})
                    return Step(
                        batch,
                        tuple(one.sample.id for one in encoded),
                        *place,
                        pictures=self._numbers(at),
                        # What the other processes take of the window is not known here.
                        end=at[-1] + 1 if self.world.size == 1 else window.end,
                    )
                except MediaError:
                    self._readable([one for row in rows for part in row for one in part.encoded])
                    rows = self._known_rows(rows)
        raise DataError(
            f"stage {self.stage.name!r}: none of the images at positions {window.start} to {window.end - 1} can be read; "
            "see the quarantine."
        )

    def _numbers(self, positions: Iterable[int]) -> tuple[int, ...]:
        """Numbers of the pictures at these positions, counted through all sources."""
        places = [self.mix.at(position) for position in positions]
        return tuple(self._starts[source] + index for source, index in places)

    def _known_rows(self, rows: Sequence[Sequence[Bundle]]) -> list[list[Bundle]]:
        """Rows less the samples whose pictures are known to be unreadable."""
        kept = [[Bundle(left) for part in row if (left := self._known(part.encoded))] for row in rows]
        return [row for row in kept if row]

    def _fill(self, samples: dict[int, list[Encoded]], position: int) -> int:
        """Adds pictures from `position` on until a microstep or window has enough; returns the place after the last one."""
        empty = 0
        while len(samples) < self.stage.pictures * self.stage.pack_window:
            chosen = self._chosen(self._samples(position), position)
            if self._hides(position):
                chosen = [sample.without_media() for sample in chosen]
            self.languages.update(
                sample.tags.get("languages", "") for sample in chosen if sample.task == _TRANSLATION
            )
            usable = [encoded for sample in chosen if (encoded := self._encoded(sample)) is not None]
            if usable:
                samples[position] = usable
            empty = 0 if usable else empty + 1
            position += 1
            self.quarantine.seen = max(self.quarantine.seen, min(position, self.size))
            if empty > self.size:
                raise DataError(
                    f"stage {self.stage.name!r}: none of {self.size} images has a usable sample "
                    f"(tasks: {', '.join(self.stage.tasks) or 'all'}; left out: {dict(self.quarantine.reasons)})."
                )
        return position

    def _share(self, samples: dict[int, list[Encoded]]) -> dict[int, list[Encoded]]:
        """This process's share of the pictures, less what it knows to be unreadable; never none."""
        if self.world.size == 1:
            return samples
        groups = list(samples.items())
        for first in (self.world.rank, *range(self.world.size)):  # another one's pictures rather than none
            share = {
                at: left for at, group in groups[first :: self.world.size] if (left := self._known(group))
            }
            if share:
                return share
        raise DataError(
            f"stage {self.stage.name!r}: none of the {len(groups)} images at positions {groups[0][0]} to "
            f"{groups[-1][0]} can be read; see the quarantine."
        )

    def _known(self, encoded: Sequence[Encoded]) -> list[Encoded]:
        bad = self.quarantine.unreadable
        return [one for one in encoded if bad.isdisjoint(medium.key for medium in one.sample.media)]

    def _batch(self, encoded: list[Encoded], position: int, pool: Executor | None) -> Batch:
        seed = self._seed(position)
        if self.stage.learn == "words":
            samples = [one.sample for one in encoded]
            return self.processor.media_batch(samples, words=self.words, seed=seed, pool=pool)
        return self.processor.batch(
            encoded, words=self.words, seed=seed, pack_to=self.stage.pack_to, pool=pool
        )

    def _seed(self, number: int) -> int | None:
        """Processes draw different variations; one alone draws by the number of its microstep."""
        return number * self.world.size + self.world.rank if self.stage.augment else None

    def _chosen(self, samples: list[Sample], position: int) -> list[Sample]:
        limit = self.stage.samples_per_picture
        if limit is None or len(samples) <= limit:
            return samples
        order = sorted(range(len(samples)), key=lambda i: shuffled(self.seed + 1, position, i, _DRAWS))
        return [samples[i] for i in sorted(order[:limit])]

    def _hides(self, position: int) -> bool:
        """Whether the picture at a position is hidden: a function of seed and position, as all order is."""
        if not self.stage.hide_images or self.stage.learn == "words":
            return False
        return shuffled(self.seed + 2, position, 0, _DRAWS) < self.stage.hide_images * _DRAWS

    def _encoded(self, sample: Sample) -> Encoded | None:
        """The sample as tokens; None, and a line in quarantine, where there is nothing to learn or too much."""
        unreadable = self.quarantine.unreadable if self._fills_gaps else ()
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
                self.processor.load_media([medium])
            except MediaError as error:
                self.quarantine.unreadable.add(medium.key)
                self.quarantine.add(medium.key, error)
        return self._known(encoded)
