"""Loss and scores on the validation split during training; training itself computes the same bits with and without them.

The split's name is not known here: whoever opens the data hands over the validation split, never a test split, since early
stopping and the best checkpoint are chosen by these numbers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from sightweave.core.batch import Batch
from sightweave.core.device import Precision
from sightweave.core.errors import DataError, MediaError, RecipeError
from sightweave.core.types import Sample
from sightweave.data.inputs import order
from sightweave.data.inputs.processor import Processor, Words, pictures_of
from sightweave.data.inputs.template import Encoded
from sightweave.data.inputs.too_long import fit
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.data.reading.subset import draw
from sightweave.models.loss import (
    Amounts,
    amounts,
    answer_loss,
    is_chunked,
    picture_loss,
    token_loss,
    word_loss,
)
from sightweave.models.vlm import VLM
from sightweave.programs import generation
from sightweave.programs.evaluation import program as evaluation
from sightweave.programs.training.durations import per_step
from sightweave.programs.training.early_stopping import Validated
from sightweave.programs.training.feed import decoding_threads
from sightweave.programs.training.reconstruction import Reconstruction
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.state import random_states, set_random_states

_COST = 0.05
"""Most validation images per training image if the interval is chosen automatically."""
_MOST = 10
"""Most validations of a stage if the interval is chosen automatically."""
_KEPT_BYTES = 64 << 20
"""Batches are kept from one validation to the next if all of them are no larger than this."""


def interval(settings: Settings, stage: Stage, images: int) -> int:
    """Number of steps between two validations of a stage; 0 for no validation.

    If the settings leave it open, it is chosen so that a stage is validated at most 10 times, and with at most one
    validation image per 20 training images. A stage too short for that is not validated. The cost does not matter if the
    settings ask for scores, for early stopping or for the best weights.

    Args:
        settings: The settings of the run.
        stage: One of its stages.
        images: Number of validation images.
    """
    if not images:
        return 0
    if settings.validate_every is not None:
        return settings.validate_every

    cheap = math.ceil(images / (_COST * per_step(stage)))
    if stage.steps is None:
        return cheap
    tenth = math.ceil(stage.steps / _MOST)
    if settings.validate_samples or settings.patience or settings.keep == "best":
        return tenth
    return max(cheap, tenth) if cheap <= stage.steps else 0


class Validation:
    """The validation of one stage.

    The loss is the mean over all target tokens of the drawn images, in nats; it does not depend on how they are batched.
    For a model that classifies, it is the mean over samples, for a stage that learns words, the mean over regions or media,
    and for a stage that learns image_tokens, the mean over images, including the error of edges. It has none of the further
    terms of the training loss: no z-loss, no word loss, no weights by answer length.

    Args:
        datasets: The validation split.
        tasks: Tasks by name.
        processor: The model's processor.
        stage: The stage, which sets the tasks and the batch size.
        settings: How many images and samples to use.
        words: Source of the words, for a stage that learns words.
        task_settings: Config of each task, for its metrics; the others get their defaults.
        precision: Device and number format.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        tasks: Mapping[str, Any],
        processor: Processor,
        stage: Stage,
        settings: Settings,
        *,
        words: Words,
        precision: Precision,
        task_settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.datasets, self.tasks, self.processor = datasets, tasks, processor
        self.stage, self.settings, self.words, self.precision = stage, settings, words, precision
        self.task_settings = dict(task_settings or {})

        count = settings.validate_images
        total = sum(map(len, datasets))
        self.places = draw(datasets, total if count is None else min(count, total))
        """Number of the dataset and index of each image."""
        self.interval = interval(settings, stage, len(self.places))
        """Number of steps between two validations; 0 for none."""
        self.left_out = 0
        """Number of samples that have no answer, are too long, or have an image that cannot be read."""

        self._chunks: list[list[Encoded]] | None = None
        self._kept: list[Batch] | None = None
        self._asked: list[Sample] | None = None

    def is_due(self, step: int, *, is_last: bool) -> bool:
        """Whether to validate after this number of steps of the stage."""
        return bool(self.interval) and (step % self.interval == 0 or is_last)

    def run(self, model: VLM, *, step: int) -> Validated | None:
        """Validates a model in training, which is the same afterwards; None if no sample can be used.

        Args:
            model: The model, in the mode of the stage.
            step: Number of updates so far, for the result.

        Raises:
            RecipeError: a task has no usable metric.
        """
        with undisturbed(model, self.precision.device):
            loss = self._loss(model)
            scores = self._scores(model)
            measures = self._measures(model)
        if loss is None:
            return None
        return Validated(step, loss if math.isfinite(loss) else None, scores, measures)

    # The loss.

    @torch.no_grad()
    def _loss(self, model: VLM) -> float | None:
        """The mean loss over the split; None without a usable sample."""
        total = count = 0.0
        for batch in self._batches():
            share, amount = self._sums(model, batch.to(self.precision.device))
            total += share
            count += amount
        return total / count if count else None

    def _sums(self, model: VLM, batch: Batch) -> tuple[float, float]:
        """The sum of the losses of a batch, and how many there are."""
        amount = amounts(batch)
        language_model = model.with_head
        one = Amounts(1.0, 1, 1)  # sums instead of means
        with self.precision.autocast():
            output = model(batch, with_logits=not is_chunked(batch, language_model.vocab_size))
            if output.pictures is not None:
                loss = picture_loss(output, batch, edge_weight=self.stage.edge_weight, of=one)
                return float(loss), float(amount.pictures)
            if batch.class_scores is not None:
                return float(answer_loss(output, batch, of=one)), amount.targets
            if batch.target is not None:
                return float(token_loss(output, batch, of=one, language_model=language_model)), amount.targets
            if batch.regions is None or output.region_logits is None or not amount.words:
                return 0.0, 0.0
            return float(word_loss(output, batch.regions, of=one)), float(amount.words)

    def _batches(self) -> Iterator[Batch]:
        """The batches of the split; they are kept if they are small."""
        if self._kept is not None:
            yield from self._kept
            return

        kept: list[Batch] = []
        size = 0
        for chunk in self._encoded_chunks():
            batch = self._batch(chunk)
            if batch is None:
                continue
            size += num_bytes(batch)
            if size <= _KEPT_BYTES:
                kept.append(batch)
            yield batch

        if size <= _KEPT_BYTES:
            self._kept = kept

    def _encoded_chunks(self) -> list[list[Encoded]]:
        """The usable samples of each batch."""
        if self._chunks is None:
            width = self.stage.batch_size
            starts = range(0, len(self.places), width)
            chunks = [self._encoded(self.places[start : start + width]) for start in starts]
            self._chunks = [chunk for chunk in chunks if chunk]
        return self._chunks

    def _encoded(self, places: Sequence[tuple[int, int]]) -> list[Encoded]:
        found = []
        for sample in self._samples(places):
            if self.stage.learn == "image_tokens" and not pictures_of(sample):
                continue
            if not sample.has_target:
                self.left_out += 1
                continue
            try:
                encoded = fit(sample, self.processor, self.settings.too_long, self.processor.max_length)
            except DataError:
                encoded = None
            if encoded is None:
                self.left_out += 1
            else:
                found.append(encoded)
        return found

    def _samples(self, places: Sequence[tuple[int, int]]) -> Iterator[Sample]:
        """The samples of the stage's tasks on these images."""
        for number, index in places:
            for record in self.datasets[number][index]:
                task = task_of(record)
                if not self.stage.tasks or task in self.stage.tasks:
                    yield self.tasks[task].sample(record)

    def _batch(self, chunk: list[Encoded]) -> Batch | None:
        """A batch without augmentation; None if none of its images can be read. Unreadable ones are removed from `chunk`."""
        with ThreadPoolExecutor(decoding_threads(self.settings.num_workers)) as pool:
            try:
                return self._collated(chunk, pool)
            except MediaError:
                count = len(chunk)
                chunk[:] = [one for one in chunk if self._is_readable(one.sample)]
                self.left_out += count - len(chunk)
            return self._collated(chunk, pool) if chunk else None

    def _collated(self, chunk: Sequence[Encoded], pool: ThreadPoolExecutor) -> Batch:
        samples = [one.sample for one in chunk]
        if self.stage.learn == "image_tokens":
            return self.processor.picture_batch(samples, pool=pool)
        if self.stage.learn == "words":
            return self.processor.media_batch(samples, words=self.words, pool=pool)
        return self.processor.batch(chunk, pack_to=self.stage.pack_to, pool=pool)

    def _is_readable(self, sample: Sample) -> bool:
        try:
            self.processor.load_media(sample.media)
            self.processor.load_pictures(sample.pictures)
        except MediaError:
            return False
        return True

    def _measures(self, model: VLM) -> dict[str, float]:
        """The quality of restored pictures, for a stage that learns image_tokens; empty for others.

        Pictures are restored without reduced precision, as those of answers are.
        """
        if self.stage.learn != "image_tokens":
            return {}
        assert model.image_tokenizer is not None  # the stage trains it
        found = Reconstruction()
        for batch in self._batches():
            assert batch.pictures is not None
            found.add(model.image_tokenizer, batch.pictures.to(self.precision.device))
        return found.measures()

    # The scores.

    def _scores(self, model: VLM) -> dict[str, float]:
        """The score of each task; empty if no samples are asked."""
        samples = self._asked_samples()
        if not samples:
            return {}

        def predict(samples: Sequence[Sample], texts: Sequence[Sequence[str]], *, write: bool) -> Any:
            options = generation.Options() if write else generation.Options(max_tokens=0)
            return generation.generate(model, self.processor, samples, options, texts)

        found = evaluation.evaluate(
            samples, predict, controls=(), tasks=self.task_settings, split="validation"
        )
        scores = {one.task: float(one.score.value) for one in found.tasks}
        return {task: score for task, score in scores.items() if math.isfinite(score)}

    def _asked_samples(self) -> list[Sample]:
        """The samples to answer: drawn over the drawn images; none for a stage that reads no text."""
        if self._asked is None:
            self._asked = []
            if self.settings.validate_samples and self.stage.reads_text:
                every = [one for one in self._samples(self.places) if one.references]
                numbers = order.drawn(0, len(every), self.settings.validate_samples)
                self._asked = [every[number] for number in numbers if self._is_readable(every[number])]
        return self._asked


@contextlib.contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Puts a model into evaluation mode; afterwards the mode of each module and the random states are as before.

    In evaluation mode nothing is dropped, and running statistics are not updated.
    """
    modes = [(module, module.training) for module in model.modules()]
    random = random_states(device)
    model.eval()
    try:
        yield
    finally:
        # Not `train`: a part may be frozen inside one that trains.
        for module, mode in modes:
            module.training = mode
        set_random_states(random, device)


def num_bytes(value: Any) -> int:
    """Size of all tensors in a batch."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(num_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(num_bytes, value))
    if dataclasses.is_dataclass(value):
        return sum(num_bytes(getattr(value, one.name)) for one in dataclasses.fields(value))
    return 0


def check(settings: Settings, *, has_data: bool) -> None:
    """Checks that there is a validation split if the settings need one.

    Raises:
        RecipeError: there is none.
    """
    if has_data:
        return
    off = {"validate_every": 0, "validate_samples": 0, "patience": 0, "keep": "last"}
    for name, without in off.items():
        value = getattr(settings, name)
        if value not in (None, without):
            raise RecipeError(
                f"train.{name} is {value}, but the data has no validation split; give some rows the split validation, set "
                f"data.0.validation above 0, or set train.{name} to {without}."
            )
