"""Makes a run usable as a model of VLMEvalKit: call `register`, then start VLMEvalKit as usual.

VLMEvalKit: An Open-Source Toolkit for Evaluating Large Multi-Modality Models (Duan et al. 2024, arXiv:2407.11691).
VLMEvalKit asks one question at a time, and images are decoded again for each question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from sightweave.core.errors import BackendError
from sightweave.core.types import Sample
from sightweave.harnesses._messages import Piece, as_sample
from sightweave.run import load


def message_sample(message: Iterable[Mapping[str, Any]], *, where: str) -> Sample:
    """Converts one message of VLMEvalKit into a prompt.

    Args:
        message: ``{"type": "image" or "text", "value": path or text}`` in order, optionally with a ``role``.
        where: Name of the prompt in error messages.

    Raises:
        DataError: as raised by `as_sample`.
    """
    pieces = [Piece(one.get("role", "user"), one["type"], one["value"]) for one in message]
    return as_sample(pieces, where=where)


def turns_sample(turns: Iterable[Mapping[str, Any]], *, where: str) -> Sample:
    """Converts a conversation into one prompt.

    Args:
        turns: ``{"role": ..., "content": message}`` in order; the last turn is the user's.
        where: Name of the prompt in error messages.

    Raises:
        DataError: as raised by `as_sample`.
    """
    pieces: list[Piece] = []
    for turn in turns:
        pieces += [Piece(turn["role"], one["type"], one["value"]) for one in turn["content"]]
    return as_sample(pieces, where=where)


def register(name: str, run: str | Path, **options: Any) -> None:
    """Adds a run to VLMEvalKit's models, for ``run.py --model NAME`` in the same process.

    Args:
        name: The model's name for ``--model`` and for the folder of its results.
        run: The run's folder.
        options: ``device``, ``max_tokens``, ``decoding``, ``seed`` as for `Run.generate`.

    Raises:
        BackendError: VLMEvalKit is not installed.
    """
    try:
        from vlmeval.config import supported_VLM  # type: ignore[import-not-found]  # only where it is installed
    except ImportError as error:
        raise _missing(error) from error

    supported_VLM[name] = partial(model_class(), run=str(run), **options)


def _missing(error: ImportError) -> BackendError:
    return BackendError(
        f"VLMEvalKit cannot be imported here ({error}); "
        "install it in the same environment, from a clone of open-compass/VLMEvalKit: pip install -e VLMEvalKit."
    )


@cache
def model_class() -> Any:
    """The class that wraps a run for VLMEvalKit, created on demand because it extends VLMEvalKit's own base class.

    Raises:
        BackendError: VLMEvalKit is not installed.
    """
    try:
        from vlmeval.vlm.base import BaseModel  # type: ignore[import-not-found]  # only where it is installed
    except ImportError as error:
        raise _missing(error) from error

    class Sightweave(BaseModel):  # type: ignore[misc]  # a library without types
        """A VLMEvalKit model that answers with a run.

        Args:
            run: The run's folder.
            device: ``auto``, ``cpu``, ``cuda`` ...
            max_tokens: Maximum tokens per answer.
            decoding: A kind in ``answers/decoding``, or a mapping with its fields.
            seed: Random seed for sampling.
            trust_run: Whether the run's recipe may import your own Python modules.
        """

        INTERLEAVE = True  # images keep their positions among the text

        def __init__(
            self,
            run: str,
            device: str = "auto",
            max_tokens: int = 96,
            decoding: str | dict[str, Any] = "greedy",
            seed: int = 0,
            trust_run: bool = False,
        ) -> None:
            super().__init__()
            self.run = load(run, device=device, trust_run=trust_run)
            self.options: dict[str, Any] = {"max_tokens": max_tokens, "decoding": decoding, "seed": seed}

        def generate_inner(self, message: Sequence[Mapping[str, Any]], dataset: str | None = None) -> str:
            """The answer to one message."""
            return self.answer(message_sample(message, where=dataset or "message"))

        def chat_inner(self, message: Sequence[Mapping[str, Any]], dataset: str | None = None) -> str:
            """The next answer of a conversation."""
            return self.answer(turns_sample(message, where=dataset or "conversation"))

        def answer(self, sample: Sample) -> str:
            """The text of the run's answer."""
            return self.run.predict([sample], **self.options)[0].text

    return Sightweave
