"""A run as a model of lmms-eval: ``lmms-eval --model sightweave --model_args run=PATH --tasks ...``.

LMMs-Eval: Reality Check on the Evaluation of Large Multimodal Models (Zhang et al. 2024, arXiv:2407.12772).

lmms-eval finds `manifest` by its entry point and asks for one of two classes, which exist only where it is installed:

    Chat     the usual one: reads a task's messages, pictures among the text; for tasks that generate
    Simple   with ``--force_simple``: pictures first, then the text; also for tasks that compare likelihoods
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Prediction, Sample
from sightweave.harnesses._messages import Piece, as_sample
from sightweave.programs import generation
from sightweave.run import Run, load

logger = logging.getLogger(__name__)
_KNOWN = ("max_new_tokens", "until", "do_sample", "temperature", "top_p", "top_k", "num_beams")
_AT_ONCE = 1024
"""Requests whose pictures are held in memory together."""


@dataclass(frozen=True)
class Wanted:
    """What a task's ``generation_kwargs`` ask of an answer."""

    max_tokens: int
    """Tokens at most; 0 where the task does not say."""
    stops: tuple[str, ...]
    """An answer ends before the first of these."""
    decoding: tuple[tuple[str, Any], ...]
    """Fields of a kind in ``answers/decoding``, with its name as ``kind``."""


def read_options(options: Mapping[str, Any]) -> tuple[Wanted, frozenset[str]]:
    """A task's ``generation_kwargs``, and the names of those that a run does not have.

    It samples where ``do_sample`` says so, or where only a ``temperature`` over 0 is given; a temperature of 0 is greedy.
    """
    given = {name: value for name, value in options.items() if value is not None}
    unknown = frozenset(given) - set(_KNOWN)
    temperature = given.get("temperature", 1.0 if given.get("do_sample") else 0.0)
    beams = int(given.get("num_beams", 1))
    decoding: dict[str, Any] = {"kind": "greedy"}
    if given.get("do_sample", True) and temperature > 0:
        cut = {name: given[name] for name in ("top_p", "top_k") if given.get(name)}
        decoding = {"kind": "sampling", "temperature": temperature, **cut}
        unknown |= {"num_beams"} if beams > 1 else set()  # beams that are drawn
    elif beams > 1:
        decoding = {"kind": "beam", "num_beams": beams}
    stops = given.get("until", ())
    stops = (stops,) if isinstance(stops, str) else tuple(stops)
    wanted = Wanted(
        max_tokens=int(given.get("max_new_tokens", 0)),
        stops=tuple(stop for stop in stops if stop),
        decoding=tuple(decoding.items()),
    )
    return wanted, unknown


def chat_sample(messages: Sequence[Mapping[str, Any]], *, where: str) -> Sample:
    """Messages of lmms-eval as one prompt.

    Args:
        messages: ``{"role": ..., "content": [{"type": "text", "text": ...}, {"type": "image", "url": ...}]}``; a text
            may stand for the list.
        where: Names the prompt in messages.

    Raises:
        DataError: as `as_sample`.
    """
    return as_sample(_pieces(messages), where=where)


def _pieces(messages: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    for message in messages:
        content = message["content"]
        for one in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kind = one["type"]
            yield Piece(message["role"], kind, one["text"] if kind == "text" else one["url"])


def simple_sample(context: str, visuals: Sequence[Any] | None, *, where: str) -> Sample:
    """Pictures first, then the text.

    Raises:
        DataError: as `as_sample`.
    """
    pictures = [Piece("user", "image", visual) for visual in visuals or ()]
    return as_sample([*pictures, Piece("user", "text", context)], where=where)


def generate(
    run: Run,
    samples: Sequence[Sample],
    options: Sequence[Mapping[str, Any]],
    *,
    max_tokens: int,
    seed: int = 0,
) -> list[str]:
    """Answers in the order of the samples; those with equal options are answered together.

    Options that a run does not have are told in one warning, and so are answers that were cut at our `max_tokens`.

    Args:
        run: Answers.
        samples: Prompts.
        options: One of lmms-eval's ``generation_kwargs`` for each.
        max_tokens: Tokens of an answer at most, whatever the options say: room is made for them at once.
        seed: Random seed for options that sample.
    """
    asked: dict[Wanted, list[int]] = defaultdict(list)
    unknown: set[str] = set()
    for index, one in enumerate(options):
        wanted, names = read_options(one)
        asked[wanted].append(index)
        unknown |= names
    if unknown:
        logger.warning(
            "lmms-eval: a run does not support %s and ignores it; supported: %s",
            ", ".join(sorted(unknown)),
            ", ".join(_KNOWN),
        )
    texts = [""] * len(samples)
    cut = 0
    for wanted, indices in asked.items():
        length = min(wanted.max_tokens or max_tokens, max_tokens)
        answers = run.predict(
            [samples[i] for i in indices],
            decoding=dict(wanted.decoding),
            max_tokens=length,
            stop=wanted.stops,
            seed=seed,
        )
        for index, answer in zip(indices, answers, strict=True):
            texts[index] = answer.text
            cut += length != wanted.max_tokens and answer.finish == "length"
    if cut:
        logger.warning(
            "lmms-eval: %d of %d answers were cut after %d tokens, a limit that their tasks do not set; "
            "raise it with --model_args ...,max_tokens=N",
            *(cut, len(samples), max_tokens),
        )
    return texts


def losses(run: Run, samples: Sequence[Sample], texts: Sequence[str]) -> list[tuple[float, bool]]:
    """For each text its negative log-probability as the sample's answer, and whether greedy decoding writes just it.

    The base class speaks of log-probabilities, but lmms-eval takes the choice with the smallest number, since its own
    models give losses (https://github.com/EvolvingLMMs-Lab/lmms-eval/issues/370). Ours is that of the whole text with
    its end, in nats: ``acc`` compares sums, and ``acc_norm`` divides them by characters.

    Args:
        run: Judges.
        samples: Prompts; neighbours that are the same object are read once.
        texts: One for each. Space around them is no part of an answer.
    """
    prompts: list[Sample] = []
    choices: list[list[str]] = []
    for sample, text in zip(samples, texts, strict=True):
        if not prompts or sample is not prompts[-1]:
            prompts.append(sample)
            choices.append([])
        choices[-1].append(text.strip())
    longest = max((len(run.processor.tokenizer.encode(text)) for row in choices for text in row), default=0)
    answers = run.predict(prompts, texts=choices, max_tokens=longest + 1)
    return [
        (-likelihood.logprob, _says(answer, text))
        for answer, row in zip(answers, choices, strict=True)
        for likelihood, text in zip(answer.likelihoods, row, strict=True)
    ]


def _says(answer: Prediction, text: str) -> bool:
    return answer.finish == "stop" and answer.text == text


def manifest() -> Any:
    """What lmms-eval's registry asks of its entry point ``lmms_eval.models``.

    Raises:
        BackendError: lmms-eval is not installed.
    """
    try:
        from lmms_eval.models.registry_v2 import (  # type: ignore[import-not-found]  # only where it is at home
            ModelManifest,
        )
    except ImportError as error:
        raise _missing(error) from error
    return ModelManifest(
        "sightweave", simple_class_path=f"{__name__}.Simple", chat_class_path=f"{__name__}.Chat"
    )


def _missing(error: ImportError) -> BackendError:
    return BackendError(
        f"lmms-eval cannot be imported here ({error}); install it in the same environment: pip install lmms-eval."
    )


def __getattr__(name: str) -> Any:
    if name not in ("Chat", "Simple"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _classes()[name]


@cache
def _classes() -> dict[str, Any]:
    """Both classes, made when lmms-eval asks for one: their base is its own."""
    try:
        from lmms_eval.api.instance import (  # type: ignore[import-not-found]  # only where it is at home
            GenerationResult,
        )
        from lmms_eval.api.model import lmms  # type: ignore[import-not-found]  # only where it is at home
    except ImportError as error:
        raise _missing(error) from error

    class Shared(lmms):  # type: ignore[misc]  # of a library without types
        """A run; ``prompt(*args)``, of the two below, gives a request's sample and options.

        Args:
            run: Its folder.
            device: ``auto``, ``cpu``, ``cuda`` ...
            max_tokens: Tokens of an answer at most, whatever a task asks.
            seed: Random seed for tasks that sample.
            batch_size: lmms-eval gives it; a run chooses its own.
            max_batch_size: The same.
            trust_run: Whether the run's recipe may import Python modules of the user's own.
        """

        def __init__(
            self,
            run: str,
            device: str = "auto",
            max_tokens: int = 512,
            seed: int = 0,
            batch_size: int | str = 1,
            max_batch_size: int | None = None,
            trust_run: bool = False,
        ) -> None:
            super().__init__()
            self.run = load(run, device=device, trust_run=trust_run)
            self.max_tokens = max_tokens
            self.seed = seed
            self.device = next(self.run.model.parameters()).device

        def doc(self, task: str, split: str, number: int) -> Any:
            """The row that a request is about."""
            return self.task_dict[task][split][number]

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            """Answers, in the order of the requests."""
            texts: list[str] = []
            seen: Counter[str] = Counter()  # a task with repeats asks for several answers to the same row
            for start in range(0, len(requests), _AT_ONCE):
                pairs = [self.prompt(*request.args) for request in requests[start : start + _AT_ONCE]]
                samples = list(generation.distinct((one for one, _ in pairs), seen))
                options = [one for _, one in pairs]
                texts += generate(self.run, samples, options, max_tokens=self.max_tokens, seed=self.seed)
            return texts

        def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
            """Not there.

            Raises:
                BackendError: always.
            """
            raise BackendError(
                "lmms-eval: tasks of several rounds (generate_until_multi_round) are not supported; remove them."
            )

        def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
            """As `losses`; the choices of one row are judged together.

            Raises:
                DataError: a request that names no row.
            """
            found: list[tuple[float, bool]] = []
            for start in range(0, len(requests), _AT_ONCE):
                samples: list[Sample] = []
                texts: list[str] = []
                before: tuple[Any, ...] = ()
                for request in requests[start : start + _AT_ONCE]:
                    if len(request.args) != 6:
                        raise DataError(
                            f"lmms-eval: a request without a row ({request.args!r}); remove acc_mutual_info."
                        )
                    context, text, to_visuals, number, task, split = request.args
                    row = self.doc(task, split, number)
                    asked = (context, task, split, number)
                    where = f"{task}/{split}/{number}"
                    same = samples and asked == before
                    samples.append(
                        samples[-1] if same else simple_sample(context, to_visuals(row), where=where)
                    )
                    texts.append(text if isinstance(text, str) else str(text(row)))
                    before = asked
                found += losses(self.run, samples, texts)
            # lmms-eval 0.7 makes a text of a bare pair; what its own type holds it leaves as it is.
            return [GenerationResult(pair) for pair in found]

    class Simple(Shared):
        """Reads pictures, then text; also compares likelihoods."""

        is_simple = True

        def prompt(self, *args: Any) -> tuple[Sample, Mapping[str, Any]]:
            context, options, to_visuals, number, task, split = args
            visuals = to_visuals(self.doc(task, split, number))
            return simple_sample(context, visuals, where=f"{task}/{split}/{number}"), options

    class Chat(Shared):
        """Reads messages."""

        is_simple = False

        def prompt(self, *args: Any) -> tuple[Sample, Mapping[str, Any]]:
            _, to_messages, options, number, task, split = args
            messages = to_messages(self.doc(task, split, number))
            return chat_sample(messages, where=f"{task}/{split}/{number}"), options

    return {"Simple": Simple, "Chat": Chat}
