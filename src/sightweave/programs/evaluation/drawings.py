"""Drawings in an evaluation: answers that are images instead of texts, and the models that judge them.

Samples whose target is an image, without a reference text, are drawn rather than answered. Drawings are not cached, since
the cache holds texts. The metrics of drawings may need another trained model, their judge, which looks at the images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Check, Medium, Prediction, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.tasks import reasoning, vqa
from sightweave.models.vlm import VLM
from sightweave.programs import generation

Draw = Callable[[Sequence[Sample]], list[Prediction]]
"""Function that draws: one prediction with images for each sample, in order."""
_AT_ONCE = 64
"""Number of images whose features are computed at once."""
_MAX_TOKENS = 96


def is_drawn(sample: Sample) -> bool:
    """Whether the answer to a sample is scored as an image: it has a target image and no reference text."""
    return bool(sample.pictures) and not sample.references


class WithDrawings:
    """Answers samples of drawings with images, and all others as before.

    Args:
        predict: Answers all other samples.
        draw: Draws; None if the model that is evaluated cannot.
        progress: Called with the number of new drawings.
    """

    def __init__(
        self, predict: Any, draw: Draw | None, progress: Callable[[int], None] | None = None
    ) -> None:
        self._predict, self._draw, self._progress = predict, draw, progress

    def __call__(
        self, samples: Sequence[Sample], texts: Sequence[Sequence[str]] = (), *, write: bool = True
    ) -> list[Prediction]:
        """One prediction per sample, in order.

        Raises:
            RecipeError: there are drawings, and the model cannot draw.
        """
        drawn = [number for number, sample in enumerate(samples) if is_drawn(sample)]
        if not drawn:
            return self._predict(samples, texts, write=write)  # type: ignore[no-any-return]  # any predictor

        if self._draw is None:
            raise RecipeError(
                f"evaluate: {len(drawn)} of {len(samples)} samples are drawings ({samples[drawn[0]].id!r} is the first), "
                "but only a run with an image tokenizer draws; evaluate such a run, or data without drawings."
            )
        found = dict(zip(drawn, self._draw([samples[number] for number in drawn]), strict=True))
        if self._progress is not None:
            self._progress(len(drawn))

        others = [number for number in range(len(samples)) if number not in found]
        if others:
            given = [texts[number] for number in others] if texts else ()
            answers = self._predict([samples[number] for number in others], given, write=write)
            found |= dict(zip(others, answers, strict=True))
        return [found[number] for number in range(len(samples))]


def drawer(model: VLM, processor: Processor, options: generation.Options) -> Draw | None:
    """A function that draws with a model; None if the model has no image tokenizer.

    Args:
        model: The model.
        processor: Its processor.
        options: How to draw; writer and length are set here.
    """
    tokens = processor.layout.image_tokens
    if tokens is None:
        return None
    chosen = replace(options, max_tokens=tokens.most + _MAX_TOKENS, writer="image_tokens")
    return lambda samples: generation.generate(model, processor, samples, chosen)


class RunJudge:
    """A trained model that answers questions about images and computes their features.

    Args:
        model: The model.
        processor: Its processor.
        tasks: The tasks ``vqa`` and ``reasoning``, which phrase the questions as in its training.
        name: Name for readers.
        fingerprint: Digest of the weights and the processor.

    Raises:
        DataError: The model reads no images.
    """

    def __init__(
        self, *, model: VLM, processor: Processor, tasks: Mapping[str, Any], name: str, fingerprint: str
    ) -> None:
        if "image" not in model.modalities:
            raise DataError(f"{name}: a judge must read images, but this model reads none.")
        self.model, self.processor, self.tasks = model, processor, tasks
        self.name, self.fingerprint = name, fingerprint
        self._memory = generation.MediaMemory()
        self._media: dict[int, Medium] = {}

    def answer(self, images: Sequence[NDArray[np.uint8]], checks: Sequence[Check]) -> list[str | None]:
        """The answer to one question about each image (H W 3); None if it could not be parsed."""
        samples = []
        for number, (pixels, check) in enumerate(zip(images, checks, strict=True)):
            # Questions about the same array share its encoding.
            medium = self._media.setdefault(id(pixels), Medium(pixels, f"judged/{number}/{id(pixels)}"))
            records = vqa if check.task == "vqa" else reasoning
            record = records.Record(
                id=f"judged/{number}", images=(medium,), question=check.question, answers=(check.answer,)
            )
            samples.append(self.tasks[check.task].sample(record))
        self._media.clear()

        options = generation.Options(max_tokens=_MAX_TOKENS)
        said = generation.generate(self.model, self.processor, samples, options)
        return [self.tasks[check.task].parse(one.text) for check, one in zip(checks, said, strict=True)]

    @torch.inference_mode()
    def features(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """The encoder's features of each image, averaged over its patches; R D."""
        found: list[Tensor] = []
        device = next(self.model.parameters()).device
        for start in range(0, len(images), _AT_ONCE):
            some = images[start : start + _AT_ONCE]
            media = [Medium(pixels, f"features/{start + number}") for number, pixels in enumerate(some)]
            _, loaded = self.processor.load_media(media)["image"]
            values = loaded.values
            alike = [values] if isinstance(values, Tensor) else [one[None] for one in values]
            found += [self.model.encoder(one.to(device)).values.mean(1) for one in alike]
        means: NDArray[np.float64] = torch.cat(found).double().cpu().numpy()
        return means
