"""Makes a run usable as a model of lmms-eval: ``lmms-eval --model sightweave --model_args run=PATH --tasks ...``.

LMMs-Eval: Reality Check on the Evaluation of Large Multimodal Models (Zhang et al. 2024, arXiv:2407.12772).
lmms-eval finds `manifest` by its entry point and requests one of two classes, which exist only where it is installed:

    Chat     the default: reads a task's messages, with images among the text; for tasks that generate
    Simple   with ``--force_simple``: images first, then the text; also for tasks that compare likelihoods
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Sample
from sightweave.harnesses._messages import Piece, as_sample
from sightweave.programs import generation
from sightweave.run import Run, load

logger = logging.getLogger(__name__)
_KNOWN = ("max_new_tokens", "until", "do_sample", "temperature", "top_p", "top_k", "num_beams")
_AT_ONCE = 1024
"""Number of requests whose images are held in memory at the same time."""


@dataclass(frozen=True)
class Wanted:
    """A task's ``generation_kwargs``, converted to Sightweave's options."""

    max_tokens: int
    """Maximum tokens per answer; 0 if the task sets no limit."""
    stops: tuple[str, ...]
    """Stop strings; an answer ends before the first of them."""
    decoding: tuple[tuple[str, Any], ...]
    """The decoding method as pairs of field and value, with its name under ``kind``."""


def read_options(options: Mapping[str, Any]) -> tuple[Wanted, frozenset[str]]:
    """Reads a task's ``generation_kwargs``; returns the supported ones and the names of the others.

    A run samples if ``do_sample`` is set, or if only a ``temperature`` above 0 is given; a temperature of 0 is greedy.
    """
    given = {name: value for name, value in options.items() if value is not None}
    unknown = frozenset(given) - set(_KNOWN)
    temperature = given.get("temperature", 1.0 if given.get("do_sample") else 0.0)
    beams = int(given.get("num_beams", 1))
    decoding: dict[str, Any] = {"kind": "greedy"}
    if given.get("do_sample", True) and temperature > 0:
        cut = {name: given[name] for name in ("top_p", "top_k") if given.get(name)}
        decoding = {"kind": "sampling", "temperature": temperature, **cut}
        unknown |= {"num_beams"} if beams > 1 else set()  # sampled beams are not supported
    elif beams > 1:
        decoding = {"kind": "beam", "num_beams": beams}

    stops = given.get("until", ())
    stops = (stops,) if isinstance(stops, str) else tuple(stops)
    wanted = Wanted(
        max_tokens=int(given.get("max_new_tokens", 0)),
        stops=tuple(filter(None, stops)),
        decoding=tuple(decoding.items()),
    )
    return wanted, unknown


def chat_sample(messages: Sequence[Mapping[str, Any]], *, where: str) -> Sample:
    """Converts lmms-eval's messages into one prompt.

    Args:
        messages: ``{"role": ..., "content": [{"type": "text", "text": ...}, {"type": "image", "url": ...}]}``; the
            content may also be a string.
        where: Name of the prompt in error messages.

    Raises:
        DataError: as raised by `as_sample`.
    """
    return as_sample(_pieces(messages), where=where)


def _pieces(messages: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        for one in content:
            kind = one["type"]
            yield Piece(message["role"], kind, one["text"] if kind == "text" else one["url"])


def simple_sample(context: str, visuals: Sequence[Any] | None, *, where: str) -> Sample:
    """Creates a prompt with the images first, then the text.

    Raises:
        DataError: as raised by `as_sample`.
    """
    images = [Piece("user", "image", visual) for visual in visuals or ()]
    return as_sample([*images, Piece("user", "text", context)], where=where)


def generate(
    run: Run,
    samples: Sequence[Sample],
    options: Sequence[Mapping[str, Any]],
    *,
    max_tokens: int,
    seed: int = 0,
) -> list[str]:
    """Answers samples and returns the texts in the same order; samples with equal options share batches.

    One warning lists options that a run does not support, and another counts answers that were cut at `max_tokens`.

    Args:
        run: The run that answers.
        samples: The prompts.
        options: The ``generation_kwargs`` of each sample.
        max_tokens: Maximum tokens per answer, whatever the options request, since memory for them is allocated in
            advance.
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
    """Each text's negative log-probability as the sample's answer, and whether greedy decoding gives that text.

    The base class specifies log-probabilities, but lmms-eval chooses the smallest number, because its own models return
    losses (https://github.com/EvolvingLMMs-Lab/lmms-eval/issues/370). The loss here is the sum over the whole text and
    its end token, in nats: ``acc`` compares sums, and ``acc_norm`` divides them by the number of characters.

    Args:
        run: The run that scores the texts.
        samples: The prompts; successive samples that are the same object are encoded once.
        texts: One answer for each sample; surrounding white space is ignored.
    """
    prompts: list[Sample] = []
    choices: list[list[str]] = []
    for sample, text in zip(samples, texts, strict=True):
        if not prompts or sample is not prompts[-1]:
            prompts.append(sample)
            choices.append([])
        choices[-1].append(text.strip())

    longest = 0
    for row in choices:
        longest = max(longest, *(len(run.processor.tokenizer.encode(text)) for text in row))
    answers = run.predict(prompts, texts=choices, max_tokens=longest + 1)

    found = []
    for answer, row in zip(answers, choices, strict=True):
        for likelihood, text in zip(answer.likelihoods, row, strict=True):
            is_greedy = answer.finish == "stop" and answer.text == text
            found.append((-likelihood.logprob, is_greedy))
    return found


def manifest() -> Any:
    """The entry of this model in lmms-eval's registry, for its entry point ``lmms_eval.models``.

    Raises:
        BackendError: lmms-eval is not installed.
    """
    try:
        from lmms_eval.models.registry_v2 import (  # type: ignore[import-not-found]  # only where it is installed
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
    """Creates both classes when lmms-eval requests one, because they extend lmms-eval's own base class."""
    try:
        from lmms_eval.api.instance import (  # type: ignore[import-not-found]  # only where it is installed
            GenerationResult,
        )
        from lmms_eval.api.model import lmms  # type: ignore[import-not-found]  # only where it is installed
    except ImportError as error:
        raise _missing(error) from error

    class Simple(_SimpleModel, lmms):  # type: ignore[misc]  # a library without types
        """Reads the images first, then the text; also compares likelihoods."""

        likelihood_type = GenerationResult

    class Chat(_ChatModel, lmms):  # type: ignore[misc]  # a library without types
        """Reads messages in which images and text may alternate."""

        likelihood_type = GenerationResult

    return {"Simple": Simple, "Chat": Chat}


class _Model:
    """The part of both classes that does not depend on lmms-eval; in their bases it precedes lmms-eval's class ``lmms``.

    Args:
        run: The run's folder.
        device: ``auto``, ``cpu``, ``cuda`` ...
        max_tokens: Maximum tokens per answer, whatever a task requests.
        seed: Random seed for tasks that sample.
        batch_size: Passed by lmms-eval but not used; a run chooses its own.
        max_batch_size: Passed by lmms-eval but not used.
        trust_run: Whether the run's recipe may import your own Python modules.
    """

    likelihood_type: Any
    """The type that lmms-eval expects for a likelihood."""
    task_dict: Any
    """Datasets by task and split; set by lmms-eval."""

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

    def prompt(self, *args: Any) -> tuple[Sample, Mapping[str, Any]]:
        """Converts a request's arguments to the sample and the generation options."""
        raise NotImplementedError

    def doc(self, task: str, split: str, number: int) -> Any:
        """The dataset row that belongs to a request."""
        return self.task_dict[task][split][number]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Generates answers and returns them in the order of the requests."""
        texts: list[str] = []
        seen: Counter[str] = Counter()  # a task with repeats requests several answers to the same row
        for start in range(0, len(requests), _AT_ONCE):
            pairs = [self.prompt(*request.args) for request in requests[start : start + _AT_ONCE]]
            samples = list(generation.distinct((sample for sample, _ in pairs), seen))
            options = [one for _, one in pairs]
            texts += generate(self.run, samples, options, max_tokens=self.max_tokens, seed=self.seed)
        return texts

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not supported; always raises.

        Raises:
            BackendError: always.
        """
        raise BackendError(
            "lmms-eval: tasks of several rounds (generate_until_multi_round) are not supported; remove them."
        )

    def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
        """The result of `losses` for each request: a loss, and whether greedy decoding gives the same text.

        Choices of the same row are scored together.

        Raises:
            DataError: a request names no row.
        """
        found: list[tuple[float, bool]] = []
        for start in range(0, len(requests), _AT_ONCE):
            samples, texts = self._choices(requests[start : start + _AT_ONCE])
            found += losses(self.run, samples, texts)
        # lmms-eval 0.7 would turn a plain pair into text, but it keeps values of its own type.
        return [self.likelihood_type(pair) for pair in found]

    def _choices(self, requests: Sequence[Any]) -> tuple[list[Sample], list[str]]:
        """The sample and the choice of each request; successive choices of one row share the same sample object.

        Raises:
            DataError: a request names no row.
        """
        samples: list[Sample] = []
        texts: list[str] = []
        before: tuple[Any, ...] = ()
        for request in requests:
            if len(request.args) != 6:
                raise DataError(
                    f"lmms-eval: a request without a row ({request.args!r}); remove acc_mutual_info."
                )

            context, text, to_visuals, number, task, split = request.args
            row = self.doc(task, split, number)
            asked = (context, task, split, number)
            if samples and asked == before:
                samples.append(samples[-1])
            else:
                where = f"{task}/{split}/{number}"
                samples.append(simple_sample(context, to_visuals(row), where=where))
            texts.append(text if isinstance(text, str) else str(text(row)))
            before = asked
        return samples, texts


class _SimpleModel(_Model):
    is_simple = True

    def prompt(self, *args: Any) -> tuple[Sample, Mapping[str, Any]]:
        """`_Model.prompt` for a request with the text and a function that returns the images of a row."""
        context, options, to_visuals, number, task, split = args
        visuals = to_visuals(self.doc(task, split, number))
        return simple_sample(context, visuals, where=f"{task}/{split}/{number}"), options


class _ChatModel(_Model):
    is_simple = False

    def prompt(self, *args: Any) -> tuple[Sample, Mapping[str, Any]]:
        """`_Model.prompt` for a request with a function that returns the messages of a row."""
        _, to_messages, options, number, task, split = args
        messages = to_messages(self.doc(task, split, number))
        return chat_sample(messages, where=f"{task}/{split}/{number}"), options
