"""Predictor for a run of Sightweave, whose model and processor are in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from sightweave.answers.decoding import greedy, sampling
from sightweave.answers.writers import image_tokens
from sightweave.core import files
from sightweave.core.config import config
from sightweave.core.types import Prediction, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.models.vlm import VLM
from sightweave.programs import generation
from sightweave.programs.predictors._base import Progress

_MANIFEST = "manifest.json"


def recognise(who: str) -> str:
    """Describes the folder of a run or of its checkpoint; empty for anything else."""
    if (files.whole(Path(who) / "checkpoint") / _MANIFEST).is_file():
        return "a run"

    path = files.whole(Path(who))
    is_checkpoint = (path / _MANIFEST).is_file() and (path / "recipe.json").is_file()
    return "a run's checkpoint" if is_checkpoint else ""


@config
class Config:
    """Options of the predictor for a run."""

    batch_size: PositiveInt = 512
    """Maximum number of samples in a batch; larger than elsewhere, because most answers in an evaluation are short."""
    max_batch_tokens: PositiveInt | None = None
    """Maximum number of tokens in a batch, including padding and answers; None derives it from free memory."""

    def build(self, *, model: VLM, processor: Processor, name: str, fingerprint: str) -> RunPredictor:
        """Creates the predictor for a model that is already loaded."""
        return RunPredictor(
            model=model,
            processor=processor,
            name=name,
            fingerprint=fingerprint,
            batch_size=self.batch_size,
            max_batch_tokens=self.max_batch_tokens,
        )


class RunPredictor:
    """Answers greedily, and scores given texts, with a model in this process, whose weights must not change.

    If the model writes image tokens, samples whose target contains images are answered with images. Codes of images for
    a prompt without one, such as a description, are sampled, always with the same random numbers: greedy ones make dull
    images.

    Embeddings of images are cached between calls, so that the passes of an evaluation encode each image only once.

    Args:
        model: Any composition.
        processor: The model's own processor.
        name: Name for readers.
        fingerprint: Digest of the weights and the processor.
        batch_size: Maximum number of samples in a batch.
        max_batch_tokens: Maximum number of tokens in a batch; None derives it from free memory. It does not change
            answers.
    """

    can_score = True
    can_control = True

    def __init__(
        self,
        *,
        model: VLM,
        processor: Processor,
        name: str,
        fingerprint: str,
        batch_size: int = 512,
        max_batch_tokens: int | None = None,
    ) -> None:
        self.model, self.processor = model, processor
        self.device = next(model.parameters()).device
        self.name, self.fingerprint = name, fingerprint
        self.batch_size, self.max_batch_tokens = batch_size, max_batch_tokens
        self._memory = generation.MediaMemory()

    @property
    def draws_pictures(self) -> bool:
        """Whether the model can answer with images."""
        return self.processor.layout.image_tokens is not None

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        max_tokens: int = 96,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """One prediction per sample, in order; images and prompts are read once for both answers and likelihoods.

        Raises:
            DataError: there is not one list of texts per sample, or an image cannot be read.
        """
        tokens = self.processor.layout.image_tokens
        drawn = [n for n, sample in enumerate(samples) if tokens and max_tokens and sample.pictures]
        if tokens is None or not drawn:
            return self._answered(samples, texts, self._options(max_tokens), progress)

        # Samples of each kind are answered in turn.
        groups: list[tuple[list[int], dict[str, Any]]] = [(sorted(set(range(len(samples))) - set(drawn)), {})]
        for has_image, decoding in ((True, greedy.Config()), (False, sampling.Config())):
            of_kind = [n for n in drawn if bool(samples[n].media) == has_image]
            groups.append((of_kind, {"writer": image_tokens.Config(), "picture_decoding": decoding}))

        found: dict[int, Prediction] = {}
        for numbers, more in groups:
            if not numbers:
                continue
            most = tokens.most * max(len(samples[n].pictures) for n in numbers) if more else 0
            some = [texts[n] for n in numbers] if texts else ()
            chosen = [samples[n] for n in numbers]
            answers = self._answered(chosen, some, self._options(max_tokens + most, **more), progress)
            found |= dict(zip(numbers, answers, strict=True))
        return [found[n] for n in range(len(samples))]

    def _options(self, max_tokens: int, **more: Any) -> generation.Options:
        return generation.Options(
            max_tokens=max_tokens, batch_size=self.batch_size, max_batch_tokens=self.max_batch_tokens, **more
        )

    def _answered(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]],
        options: generation.Options,
        progress: Progress | None,
    ) -> list[Prediction]:
        return generation.generate(
            self.model, self.processor, samples, options, texts, progress=progress, memory=self._memory
        )
