"""A run as a model of VLMEvalKit, which is told of it by `register` and then started as ever.

VLMEvalKit: An Open-Source Toolkit for Evaluating Large Multi-Modality Models (Duan et al. 2024, arXiv:2407.11691).

VLMEvalKit asks one question at a time; pictures are read anew for each.
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
    """A message of VLMEvalKit as one prompt.

    Args:
        message: ``{"type": "image" or "text", "value": path or text}`` in order, perhaps with a ``role``.
        where: Names the prompt in messages.

    Raises:
        DataError: as `as_sample`.
    """
    return as_sample(
        (Piece(one.get("role", "user"), one["type"], one["value"]) for one in message), where=where
    )


def turns_sample(turns: Iterable[Mapping[str, Any]], *, where: str) -> Sample:
    """A conversation as one prompt.

    Args:
        turns: ``{"role": ..., "content": message}`` in order; the user's is the last.
        where: Names the prompt in messages.

    Raises:
        DataError: as `as_sample`.
    """
    pieces = [Piece(turn["role"], one["type"], one["value"]) for turn in turns for one in turn["content"]]
    return as_sample(pieces, where=where)


def register(name: str, run: str | Path, **options: Any) -> None:
    """Makes a run known to VLMEvalKit under a name, for ``run.py --model NAME`` in the same process.

    Args:
        name: For ``--model``; the folder of its results is called so.
        run: The run's folder.
        options: ``device``, ``max_tokens``, ``decoding``, ``seed`` as for `Run.generate`.

    Raises:
        BackendError: VLMEvalKit is not installed.
    """
    try:
        from vlmeval.config import supported_VLM  # type: ignore[import-not-found]  # only where it is at home
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
    """VLMEvalKit's face of a run, made when it is asked for: its base is VLMEvalKit's own.

    Raises:
        BackendError: VLMEvalKit is not installed.
    """
    try:
        from vlmeval.vlm.base import BaseModel  # type: ignore[import-not-found]  # only where it is at home
    except ImportError as error:
        raise _missing(error) from error

    class Sightweave(BaseModel):  # type: ignore[misc]  # of a library without types
        """A run.

        Args:
            run: Its folder.
            device: ``auto``, ``cpu``, ``cuda`` ...
            max_tokens: Tokens of an answer at most.
            decoding: A kind in ``answers/decoding``, or a mapping with its fields.
            seed: For methods that draw.
            trust_run: Whether the run's recipe may import Python modules of the user's own.
        """

        INTERLEAVE = True  # pictures stand where they stand among the text

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
            """The text that the run says."""
            return self.run.predict([sample], **self.options)[0].text

    return Sightweave
