"""Several processes answer the prompts of one evaluation together.

Each process makes the same passes over the same samples. The first one has the cache of answers, and decides which prompts
are new. It names them to the others by their numbers in the pass; each process answers its share, image by image, and all
exchange their answers. At the end of a pass, the others get all of its answers, since later prompts may depend on them::

    process 0   passes -> Kept -> Sharing.predict -+-> share 0 -> gather -> Kept -> answers of the pass
    process 1   passes -> Sharing.follow ----------+-> share 1 -> gather ---------> answers of the pass
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sightweave.core import errors
from sightweave.core.errors import BackendError, DataError, SightweaveError
from sightweave.core.types import Likelihood, Prediction, Sample
from sightweave.programs.evaluation import parts
from sightweave.programs.evaluation.program import Predict
from sightweave.programs.predictors._base import Predictor, Progress


class Processes(Protocol):
    """The processes; implemented by `programs.training.world.World`."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """Number of processes."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, which JSON must be able to hold, by rank."""
        ...

    def from_first(self, value: Any) -> Any:
        """The value of the first process."""
        ...

    def wait_for_first(self) -> None:
        """Waits for the first process, which may be busy for long."""
        ...


class Sharing:
    """A predictor whose prompts several processes share.

    Args:
        predictor: The predictor of this process. In all processes it must be the same.
        world: The processes.

    Raises:
        BackendError: there are several processes, and the predictor has no model in this process.
    """

    def __init__(self, predictor: Predictor, world: Processes) -> None:
        if world.size > 1 and getattr(predictor, "device", None) is None:
            raise BackendError(
                f"{predictor.name}: its answers do not come from a model in this process, so {world.size} processes cannot "
                "share the prompts; evaluate it in one process, without torchrun."
            )
        self.predictor, self.world = predictor, world
        self.name, self.fingerprint = predictor.name, predictor.fingerprint
        self.can_score, self.can_control = predictor.can_score, predictor.can_control
        self._numbers: dict[int, int] = {}
        """Number of each sample of the pass, by the identity of the object."""
        self._raised: SightweaveError | None = None
        """The error that all processes have raised."""

    def lead(self, answer: Predict) -> Predict:
        """For the first process: a function that answers a pass by calling `answer`, which calls `predict`."""

        def lead(
            samples: Sequence[Sample], texts: Sequence[Sequence[str]], *, write: bool
        ) -> list[Prediction]:
            self._numbers = {id(sample): number for number, sample in enumerate(samples)}
            try:
                found = answer(samples, texts, write=write)
            except SightweaveError as error:
                if error is not self._raised:
                    self._tell({"error": _plain_error(error)})
                raise
            self._tell({"answers": list(map(_plain, found))})
            return found

        return lead

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        max_tokens: int = 96,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """One prediction per sample of the current pass, in order; called in the first process only.

        Raises:
            SightweaveError: a process could not answer its share.
        """
        numbers = [self._numbers[id(sample)] for sample in samples]
        self._tell({"numbers": numbers, "max_tokens": max_tokens})
        return self._answered(samples, texts, max_tokens, progress)

    def follow(
        self, samples: Sequence[Sample], texts: Sequence[Sequence[str]], *, write: bool
    ) -> list[Prediction]:
        """For the other processes: answers their shares of a pass, and returns the answers of all.

        Raises:
            SightweaveError: the error of the first process.
        """
        while True:
            order = self._tell(None)
            if "error" in order:
                raise _error(order["error"], is_reported=True)
            if "answers" in order:
                return list(map(_prediction, order["answers"]))

            chosen = [samples[number] for number in order["numbers"]]
            wanted = [texts[number] for number in order["numbers"]]
            self._answered(chosen, wanted if any(wanted) else (), order["max_tokens"], None)

    def _tell(self, order: Any) -> Any:
        """Sends an order of the first process to all; returns it in all of them."""
        self.world.wait_for_first()
        return self.world.from_first(order)

    def _answered(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]],
        max_tokens: int,
        progress: Progress | None,
    ) -> list[Prediction]:
        """Answers the share of this process, and returns the answers of all processes in the order of the samples."""
        of_ranks = shares(samples, self.world.size)
        own = of_ranks[self.world.rank]
        said: dict[str, Any]
        try:
            found: list[Prediction] = []
            if own:
                some = [texts[number] for number in own] if texts else []
                chosen = [samples[number] for number in own]
                found = self.predictor.predict(
                    chosen, some if any(some) else (), max_tokens=max_tokens, progress=progress
                )
            said = {"answers": list(map(_plain, found))}
        except SightweaveError as error:
            said = {"error": _plain_error(error)}

        answers: dict[int, Prediction] = {}
        for numbers, one in zip(of_ranks, self.world.gather(said), strict=True):
            if "error" in one:
                self._raised = _error(one["error"], is_reported=self.world.rank > 0)
                raise self._raised
            predictions = map(_prediction, one["answers"])
            answers.update(zip(numbers, predictions, strict=True))
        if progress is not None:
            progress(len(samples) - len(own))
        return [answers[number] for number in range(len(samples))]


def shares(samples: Sequence[Sample], size: int) -> list[list[int]]:
    """The numbers of the samples that each of `size` processes answers, in ascending order.

    Samples with the same images stay together, so that each image is encoded by one process. The processes take turns in
    taking images, since samples come with the longest first.
    """
    rank_of: dict[tuple[str, ...], int] = {}
    found: list[list[int]] = [[] for _ in range(size)]
    for number, sample in enumerate(samples):
        shown = tuple([medium.identity for medium in sample.media]) or (sample.group, "")
        rank = rank_of.setdefault(shown, len(rank_of) % size)
        found[rank].append(number)
    return found


def _plain(prediction: Prediction) -> list[Any]:
    """A prediction for JSON, without the ids of its tokens, which an evaluation does not need."""
    likelihoods = [[one.logprob, one.tokens] for one in prediction.likelihoods]
    return [
        prediction.text,
        prediction.logprob,
        prediction.tokens,
        prediction.finish,
        likelihoods,
        dict(prediction.extra),
        parts.plain(prediction.parts),
    ]


def _prediction(values: Sequence[Any]) -> Prediction:
    text, logprob, tokens, finish, likelihoods, extra, made = values
    scored = tuple(Likelihood(*one) for one in likelihoods)
    return Prediction(text, logprob, tokens, finish, scored, extra, parts=parts.read(made))


def _plain_error(error: SightweaveError) -> Mapping[str, str]:
    # An image that cannot be read has a code too, which nobody needs here.
    name = "DataError" if isinstance(error, DataError) else type(error).__name__
    return {"name": name, "message": str(error)}


def _error(plain: Mapping[str, str], *, is_reported: bool) -> SightweaveError:
    """The error of another process."""
    made: Callable[[str], SightweaveError] = getattr(errors, plain["name"], BackendError)
    error = made(plain["message"])
    error.is_reported = is_reported
    return error
