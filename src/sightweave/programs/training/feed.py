"""Batches in order, made one step ahead in a thread. The images of a step are a function of (seed, position).

Images that cannot be read and samples that cannot be used are quarantined with the reason, and counted.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from typing import Any

from sightweave.core.batch import Batch
from sightweave.core.device import num_cores
from sightweave.core.errors import DataError, MediaError, RecipeError
from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs.collate import Bundle, bundle, deal, pack
from sightweave.data.inputs.order import Mix, Mixing, fingerprint, shuffled
from sightweave.data.inputs.processor import Processor, Words, pictures_of
from sightweave.data.inputs.template import Encoded
from sightweave.data.inputs.too_long import Policy, TooLong, fit
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.world import World

logger = logging.getLogger(__name__)
_DRAWS = 1 << 30
"""Number of possible values of a random draw."""
_STALLED_SECONDS = 60
"""Time without a microstep after which a warning is logged."""
_LOOKED_AT = 200
"""Maximum number of images that are searched for regions."""
_ALONE = World()


@dataclass(frozen=True)
class Step:
    """The input of one microstep."""

    batch: Batch | None
    """None if this process has nothing to compute."""
    ids: tuple[str, ...]
    """Ids of its samples, for messages."""
    position: int = 0
    """Position at which the next microstep, or the window that it belongs to, begins."""
    within: int = 0
    """Number of the next microstep within its window. Resuming needs only `position` and `within`."""
    pictures: tuple[int, ...] = ()
    """Numbers of its images, counted through all sources."""
    end: int = 0
    """Position after the last of its images, where the next stage begins so that it repeats none of them."""
    is_readable: bool = True
    """Whether all of its images can be read. If not, `Feed.updates` makes it again without those that cannot."""


_TRANSLATIONS = ("translation", "image_translation")
"""The tasks whose samples have a language pair."""


@dataclass(frozen=True)
class _Window:
    """The rows of several microsteps, packed together and then split evenly."""

    start: int
    """Position of its first image."""
    end: int
    """Position after its last image."""
    hands: list[list[list[Bundle]]]
    """Rows of each microstep."""
    positions: dict[int, int]
    """Position of each encoded sample, by its ``id()``; the rows keep the samples alive."""


def _samples_of(rows: Sequence[Sequence[Bundle]]) -> list[Encoded]:
    """All samples of packed rows, in order."""
    found: list[Encoded] = []
    for bundles in rows:
        for one in bundles:
            found += one.encoded
    return found


def decoding_threads(asked: int) -> int:
    """Number of threads that decode images; 0 means one fewer than the CPU cores, from 1 to 8."""
    return asked or min(8, max(1, num_cores() - 1))


def fingerprint_of(datasets: Sequence[Dataset]) -> str:
    """SHA-256 over sources: the ``fingerprint`` of each, or its number of images if it has none."""
    return fingerprint(getattr(dataset, "fingerprint", len(dataset)) for dataset in datasets)


class Feed:
    """An endless, repeatable stream of microsteps for one stage.

    Args:
        datasets: Sources, each a sequence of images. Together they are one sequence, shuffled again each epoch.
        mix: How often each source is shown; empty means once per epoch each.
        too_long: Handling of samples with more tokens than the processor's ``max_length``.
        world: The processes that train together; the number of its `data` must divide the batch size. All step through the
            same positions, and each takes its share of the images of every microstep, or of every window, which it then
            packs. An unreadable image is replaced by the next one, in all processes alike. In a window it leaves its place
            empty, since the rows must not depend on earlier attempts.
        workers: Number of threads that decode images; 0 means one fewer than the CPU cores, from 1 to 8.
        tasks: Tasks by name.
        processor: Makes the batches.
        stage: Sets the batch size, the tasks and the words.
        seed: Random seed of the run.
        quarantine: Records images and samples that cannot be read.

    Raises:
        DataError: no images, none with a sample of the stage's tasks, or no regions where they are needed.
        RecipeError: `mix` or `world` does not fit the data or the stage; the stage learns words but does not say which, or
            asks for regions of a model that does not keep the grid.
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
        self._fills_gaps = stage.pack_window == 1

        count = world.data.size
        if stage.batch_size % count:
            raise RecipeError(
                f"train.stages, stage {stage.name!r}: {stage.batch_size} images cannot be shared by {count} processes; "
                f"set batch_size to a multiple of {count}."
            )

        self.mix = Mix([len(dataset) for dataset in datasets], mix, seed=seed)
        self._starts = list(accumulate(self.mix.lengths, initial=0))
        self.size = self.mix.total
        """Number of positions in one epoch."""
        self.words: Words = self._words()
        self.languages: set[str] = set()
        """Pairs of languages, such as ``en-de``, that its samples translate between."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the sources (see `fingerprint_of`)."""
        return fingerprint_of(self.datasets)

    def _words(self) -> Words:
        """Source of the words for image embeddings, with auto resolved by a look at the data."""
        asked, where = self.stage.words, f"train.stages, stage {self.stage.name!r}"
        has_places = self.processor.layout.grid is not None

        if asked == "none" and self.stage.learn == "words":
            raise RecipeError(
                f"{where}: learn is words, but words is none; set words to auto, regions or captions."
            )
        if asked == "regions" and not has_places:
            raise RecipeError(
                f"{where}: words is regions, but this connector's embeddings belong to no positions in the image; "
                "set words to captions, or use a connector that keeps the grid."
            )
        if asked in ("none", "captions"):
            return asked

        # The first positions of the order are a random sample of all data.
        looked_at = min(_LOOKED_AT, self.size)
        drawn = (sample for position in range(looked_at) for sample in self._samples(position))
        has_regions = any(sample.regions for sample in drawn)

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
        found = []
        for record in records:
            task = task_of(record)
            if not allowed or task in allowed:
                found.append(self.tasks[task].sample(record))
        return found

    def stand_in(self) -> Batch | None:
        """A batch of one text without an image, for a process that has no batch; None in a stage without text."""
        if not self.stage.reads_text:
            return None
        parts = (Part("user", "?"), Part("assistant", "a", learn=True))
        return self.processor.batch([Sample(id="stand-in", task="", parts=parts)])

    def updates(self, start: int = 0, within: int = 0) -> Generator[list[Step], None, None]:
        """The microsteps of each update from a position on; the arguments are those of `microsteps`.

        All processes must take the same number of updates. If one of them meets an image that cannot be read, all of them
        leave it out and make the update again, so that its images do not depend on the number of processes.
        """
        while True:
            with closing(self.microsteps(start, within)) as stream:
                while True:
                    update = list(islice(stream, self.stage.gradient_accumulation_steps))
                    if self.world.agree(not all(step.is_readable for step in update)):
                        break
                    self._check_group(update)
                    yield update
                    start, within = update[-1].position, update[-1].within

            # The threads that add to the set have ended.
            for unreadable in self.world.gather(sorted(self.quarantine.unreadable)):
                self.quarantine.unreadable.update(unreadable)

    def _check_group(self, update: Sequence[Step]) -> None:
        """Checks that the processes of a group have the same samples.

        An image of a window that only one of them could not read makes them differ, and they could not compute together.
        """
        if self.world.group is not None:
            ids = json.dumps([step.ids for step in update])
            self.world.group.check_same(
                "the hash of the samples of an update", hashlib.sha256(ids.encode()).hexdigest()[:16]
            )

    def microsteps(self, start: int = 0, within: int = 0) -> Generator[Step, None, None]:
        """Microsteps from a position on; those of the next update are prepared while the current one is computed.

        Args:
            start: Position, as `Step.position` gives it.
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
            pending = deque(
                worker.submit(advance, pool) for _ in range(self.stage.gradient_accumulation_steps)
            )
            while True:
                step = self._waited_for(pending.popleft(), lambda: position)
                pending.append(worker.submit(advance, pool))
                yield step

    def _waited_for(self, microstep: Future[Step], position: Callable[[], int]) -> Step:
        """The microstep. As long as it does not arrive, a warning says every minute which images are being read.

        Args:
            microstep: The microstep that is being prepared.
            position: Returns the position at which it begins.
        """
        seconds = 0
        while True:
            done, _ = wait([microstep], timeout=_STALLED_SECONDS)
            if done:
                return microstep.result()

            seconds += _STALLED_SECONDS
            first = position()
            source, index = self.mix.at(first)
            logger.warning(
                "stage %r: waiting for images for %s s, from position %s on (data.%s, image %s and those that follow); the "
                "disk or the network may hang. A second stop signal ends the process.",
                self.stage.name,
                seconds,
                first,
                source,
                index,
            )

    def trial(self) -> Iterator[Batch]:
        """Batches like those of `microsteps`, made on demand, to time a step before training."""
        window = None if self.stage.pack_window == 1 else self._plan(0)
        position = number = 0
        while True:
            if window is None:
                step = self._next(position, None)
                position = step.position
            else:
                step = self._dealt(window, number % self.stage.pack_window, None)
            number += 1
            assert step.batch is not None  # trials are for single processes
            yield step.batch

    def planned(self, start: int = 0) -> Generator[list[list[Bundle]], None, None]:
        """Rows of each microstep from a position of the order, to plan with; no medium is decoded, so none is unreadable."""
        position = start
        while True:
            if self.stage.pack_window > 1:
                window = self._plan(position)
                position = window.end
                yield from window.hands
                continue

            samples: dict[int, list[Encoded]] = {}
            position = self._fill(samples, position)
            bundles = bundle(chain.from_iterable(samples.values()))
            capacity = self.stage.pack_to
            yield [[one] for one in bundles] if capacity is None else pack(bundles, capacity)

    def batch_of(self, rows: Sequence[Sequence[Bundle]]) -> Batch:
        """The batch of a planned microstep.

        Raises:
            MediaError: one of its media cannot be read.
        """
        seed = self._seed(0)
        if not self.stage.reads_text:
            return self._images_alone(_samples_of(rows), seed, None)
        return self.processor.batch_rows(rows, words=self.words, seed=seed)

    def _next(self, position: int, pool: Executor | None) -> Step:
        samples: dict[int, list[Encoded]] = {}
        failures = 0
        while True:
            position = self._fill(samples, position)
            share = self._share(samples)
            flat = list(chain.from_iterable(share.values()))
            try:
                return Step(
                    self._batch(flat, position, pool),
                    tuple(one.sample.id for one in flat),
                    position,
                    pictures=self._numbers(share),
                    end=position,
                )
            except MediaError:
                readable = {at: self._readable(group) for at, group in share.items()}
                if self.world.size > 1:  # the other processes do not know about the images yet
                    return Step(None, (), position, end=position, is_readable=False)
                samples = {at: group for at, group in readable.items() if group}
                failures += 1
                if failures > self.size:
                    raise

    def _plan(self, start: int) -> _Window:
        """The window that begins at a position: a function of that position alone."""
        samples: dict[int, list[Encoded]] = {}
        end = self._fill(samples, start)
        share = list(samples.values())[self.world.data.rank :: self.world.data.size]
        assert self.stage.pack_to is not None
        rows = pack(bundle(chain.from_iterable(share)), self.stage.pack_to)

        positions = {}
        for at, group in samples.items():
            positions.update({id(encoded): at for encoded in group})
        return _Window(start, end, deal(rows, self.stage.pack_window), positions)

    def _dealt(self, window: _Window, number: int, pool: Executor | None) -> Step:
        """One microstep of a window, without unreadable images."""
        count = self.stage.pack_window
        place = (window.start, number + 1) if number + 1 < count else (window.end, 0)
        # If none of its images can be read, it repeats the next microstep that has some, or leaves it to other processes.
        for offset in range(count if self.world.data.size == 1 else 1):
            rows = self._known_rows(window.hands[(number + offset) % count])
            while rows:
                try:
                    seed = self._seed(window.end * count + number)
                    batch = self.processor.batch_rows(rows, words=self.words, seed=seed, pool=pool)
                    encoded = _samples_of(rows)
                    at = sorted({window.positions[id(one)] for one in encoded})
                    return Step(
                        batch,
                        tuple(one.sample.id for one in encoded),
                        *place,
                        pictures=self._numbers(at),
                        # The parts of the window that the other processes take are not known here.
                        end=at[-1] + 1 if self.world.data.size == 1 else window.end,
                    )
                except MediaError:
                    self._readable(_samples_of(rows))
                    rows = self._known_rows(rows)

        if self.world.data.size > 1:
            return Step(None, (), *place, end=window.end)
        raise DataError(
            f"stage {self.stage.name!r}: none of the images at positions {window.start} to {window.end - 1} can be read; "
            "see the quarantine."
        )

    def _numbers(self, positions: Iterable[int]) -> tuple[int, ...]:
        """Numbers of the images at these positions, counted through all sources."""
        places = [self.mix.at(position) for position in positions]
        return tuple(self._starts[source] + index for source, index in places)

    def _known_rows(self, rows: Sequence[Sequence[Bundle]]) -> list[list[Bundle]]:
        """Rows without the samples whose images are known to be unreadable."""
        kept = []
        for row in rows:
            parts = [Bundle(self._known(part.encoded)) for part in row]
            parts = [part for part in parts if part.encoded]
            if parts:
                kept.append(parts)
        return kept

    def _fill(self, samples: dict[int, list[Encoded]], position: int) -> int:
        """Adds images from `position` on until a microstep or window is full; returns the position after the last one."""
        empty = 0
        while len(samples) < self.stage.batch_size * self.stage.pack_window:
            samples_here = self._samples(position)
            if self.stage.learn == "image_tokens":
                samples_here = [sample for sample in samples_here if pictures_of(sample)]
            chosen = self._chosen(samples_here, position)
            if self._hides(position):
                chosen = [sample.without_media() for sample in chosen]
            chosen = [self._with_prompt(sample, position, number) for number, sample in enumerate(chosen)]
            translated = [sample for sample in chosen if sample.task in _TRANSLATIONS]
            self.languages.update(sample.tags.get("languages", "") for sample in translated)

            tried = [self._encoded(sample) for sample in chosen]
            usable = [encoded for encoded in tried if encoded is not None]
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
        """This process's share of the images of a microstep."""
        return dict(list(samples.items())[self.world.data.rank :: self.world.data.size])

    def _known(self, encoded: Sequence[Encoded]) -> list[Encoded]:
        bad = self.quarantine.unreadable
        found = []
        for one in encoded:
            media = (*one.sample.media, *one.sample.pictures)
            if bad.isdisjoint(medium.identity for medium in media):
                found.append(one)
        return found

    def _batch(self, encoded: list[Encoded], position: int, pool: Executor | None) -> Batch:
        seed = self._seed(position)
        if not self.stage.reads_text:
            return self._images_alone(encoded, seed, pool)
        return self.processor.batch(
            encoded, words=self.words, seed=seed, pack_to=self.stage.pack_to, pool=pool
        )

    def _images_alone(self, encoded: Sequence[Encoded], seed: int | None, pool: Executor | None) -> Batch:
        """The batch of a stage that reads no text."""
        samples = [one.sample for one in encoded]
        if self.stage.learn == "image_tokens":
            return self.processor.picture_batch(samples, seed=seed, pool=pool)
        return self.processor.media_batch(samples, words=self.words, seed=seed, pool=pool)

    def _seed(self, number: int) -> int | None:
        """Seed of the augmentation, different for each share; None without augmentation."""
        data = self.world.data
        return number * data.size + data.rank if self.stage.augment else None

    def _chosen(self, samples: list[Sample], position: int) -> list[Sample]:
        limit = self.stage.samples_per_image
        if limit is None or len(samples) <= limit:
            return samples
        order = sorted(range(len(samples)), key=lambda i: shuffled(self.seed + 1, position, i, _DRAWS))
        return [samples[i] for i in sorted(order[:limit])]

    def _hides(self, position: int) -> bool:
        """Whether the image at a position is hidden: a function of seed and position, like the order."""
        if not self.stage.hide_images or not self.stage.reads_text:
            return False
        return shuffled(self.seed + 2, position, 0, _DRAWS) < self.stage.hide_images * _DRAWS

    def _with_prompt(self, sample: Sample, position: int, number: int) -> Sample:
        """The sample, without its prompt if that is hidden: a function of seed, position and number, like the order."""
        if not self.stage.hide_prompts or not sample.pictures or not self.stage.reads_text:
            return sample
        is_hidden = shuffled(self.seed + 3, position, number, _DRAWS) < self.stage.hide_prompts * _DRAWS
        return sample.without_prompt() if is_hidden else sample

    def _encoded(self, sample: Sample) -> Encoded | None:
        """The sample as tokens; None, and a line in the quarantine, if its answer is empty or it is too long."""
        unreadable = self.quarantine.unreadable if self._fills_gaps else ()
        if any(medium.identity in unreadable for medium in (*sample.media, *sample.pictures)):
            return None
        limit = self.processor.max_length
        try:
            if not sample.has_target:
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
        """The samples whose images can all be read; the other images go into the quarantine."""
        media: dict[str, Medium] = {}
        pictures: dict[str, Medium] = {}
        for one in encoded:
            media.update({medium.identity: medium for medium in one.sample.media})
            pictures.update({medium.identity: medium for medium in one.sample.pictures})

        # An image that is both read and learnt must be readable for the encoder and for the image tokenizer.
        for identity, medium in {**media, **pictures}.items():
            try:
                if identity in media:
                    self.processor.load_media([medium])
                if identity in pictures:
                    self.processor.load_pictures([medium])
            except MediaError as error:
                self.quarantine.unreadable.add(identity)
                self.quarantine.add(medium.key, error)
        return self._known(encoded)
