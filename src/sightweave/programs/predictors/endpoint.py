"""Predictor for any server with OpenAI's chat completions API: hosted models, vLLM, llama.cpp, Ollama and others.

Sends ``POST {url}/chat/completions`` with images as data URLs, greedy (temperature 0, seed 0) where the server allows
it. The API key is read from an environment variable and sent to that host only: redirects are never followed. The model
behind a server's name may change from one day to the next, which cannot be detected here.

If a server rejects the temperature, the seed, log-probabilities or the system turn, they are left out. A prompt that it
rejects, or on which it repeatedly fails, has no answer, nor does one whose image cannot be read; the prediction gives
the reason (`_notes`). A server that cannot be reached or that rejects the key or the model is an error.
`_endpoint` has the connection, the requests, and the parsing of responses.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Annotated, Any

from PIL import Image
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sightweave.core.config import config
from sightweave.core.errors import BackendError, DataError, MediaError
from sightweave.core.types import Medium, Prediction, Sample
from sightweave.data.inputs import image_files
from sightweave.programs.predictors import _notes, _thinking
from sightweave.programs.predictors._base import Each, Progress
from sightweave.programs.predictors._endpoint.answer import prediction
from sightweave.programs.predictors._endpoint.request import (
    SYSTEM,
    NothingToAsk,
    messages,
    named,
    settings,
    without_system,
)
from sightweave.programs.predictors._endpoint.server import KEY_VARIABLE, Line, Server
from sightweave.programs.predictors._endpoint.threads import side_by_side
from sightweave.programs.predictors._endpoint.words import Failed, Refused

_MOST_FAILURES = 16
"""Number of consecutive prompts on which a server may fail before it counts as down."""


def recognise(who: str) -> str:
    """Describes the address of a server; empty for anything else."""
    return "an endpoint" if who.lower().startswith(("http://", "https://")) else ""


@config
class Config:
    """Options of the predictor for an OpenAI-compatible server."""

    url: str
    """Base URL, to which /chat/completions is appended, such as http://localhost:8000/v1."""
    model: str = ""
    """Name of the model; empty uses the server's only model."""
    key_variable: str = KEY_VARIABLE
    """Environment variable that holds the API key; no key is sent if it is unset or empty."""
    timeout: PositiveFloat = 120.0
    """Time limit of a request in seconds, from its start to the end of the answer."""
    retries: NonNegativeInt = 5
    """Number of retries after a lost connection or if the server is busy."""
    wait: NonNegativeFloat = 0.5
    """Seconds before the first retry; each further wait is twice as long, up to a minute."""
    num_concurrent: PositiveInt = 8
    """Number of concurrent requests."""
    max_side: PositiveInt | None = None
    """Maximum longer side of an image in pixels; larger images are shrunk. None sends the full size."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = None
    """JPEG quality of the images sent, 1 to 100; None sends lossless PNG."""

    @classmethod
    def at(cls, where: str) -> Config:
        """The options for a server, with defaults for everything but the address."""
        return cls(url=where)

    def build(self) -> Endpoint:
        """Creates the predictor; if `model` is empty, the server is asked for the name of its only model.

        Raises:
            RecipeError: `url` is not a valid address.
            BackendError: the server cannot be reached, or has several models.
        """
        return Endpoint(
            self.url,
            model=self.model,
            key_variable=self.key_variable,
            timeout=self.timeout,
            retries=self.retries,
            wait=self.wait,
            num_concurrent=self.num_concurrent,
            max_side=self.max_side,
            jpeg_quality=self.jpeg_quality,
        )


class Endpoint:
    """Sends prompts to a server, several at a time; predictions are in the order of the samples.

    A prediction's ``logprob`` is the mean over the tokens that the server reports, usually without the end token; it is None
    if the server reports none. A prompt without an answer has the reason in ``extra["unanswered"]``; the other keys of
    ``extra`` are listed in `_notes`.

    Args:
        url: Address to which /chat/completions is appended.
        model: Name of the model; empty asks the server.
        key_variable: Name of the environment variable with the API key.
        timeout: Seconds from the start of a request to the end of its answer.
        retries: Number of times that a request is repeated.
        wait: Seconds before the first repetition.
        num_concurrent: Number of concurrent requests.
        max_side: Maximum longer side of an image in pixels; None for no limit.
        jpeg_quality: 1 to 100, or None for PNG.

    Raises:
        RecipeError: `url` is not a valid address.
        BackendError: the server cannot be reached, or has several models and none is named.
    """

    can_score = False
    can_control = True
    may_refuse = True
    """Whether prompts may be left without an answer."""
    tells_each = True
    """Whether `predict` accepts the argument `each`."""

    def __init__(
        self,
        url: str,
        *,
        model: str = "",
        key_variable: str = KEY_VARIABLE,
        timeout: float = 120.0,
        retries: int = 5,
        wait: float = 0.5,
        num_concurrent: int = 8,
        max_side: int | None = None,
        jpeg_quality: int | None = None,
    ) -> None:
        self._server = Server(url, key_variable, timeout=timeout, retries=retries, wait=wait)
        self._num_concurrent, self._max_side, self._jpeg_quality = num_concurrent, max_side, jpeg_quality

        self.model = model or _only_model(self._server)
        self.name = f"{self._server.url} {self.model}"

        self.fingerprint = (
            f"endpoint {self._server.url} {self.model} max_side={max_side} jpeg_quality={jpeg_quality}"
        )
        """Identifies the requests, but not the answers: the model behind a server's name may change."""

        self._refused: frozenset[str] = frozenset()
        """Fields (and ``system`` for that role) that are left out because the server rejects them."""
        self._failures = 0
        """Number of consecutive prompts on which the server failed."""

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        max_tokens: int = 96,
        progress: Progress | None = None,
        each: Each | None = None,
    ) -> list[Prediction]:
        """One prediction per sample, in order.

        `each` is called with complete answers as they arrive; the others are known only when all have arrived.

        Raises:
            BackendError: the server fails, its response cannot be parsed, or texts to score are given.
            DataError: a medium is not an image, or there is not one list of texts per sample.
        """
        if texts and len(texts) != len(samples):
            raise DataError(f"{self.name}: {len(texts)} list(s) of texts for {len(samples)} sample(s).")
        if any(texts):
            raise BackendError(
                f"{self.name}: a chat server does not return likelihoods of given texts; remove the metrics that need them."
            )
        if max_tokens == 0:
            return [Prediction("", finish="none") for _ in samples]

        # Cache image data, because consecutive prompts often have the same image.
        address = functools.lru_cache(maxsize=4 * self._num_concurrent)(self._data_url)
        line = self._server.open()

        def ask(sample: Sample) -> Prediction:
            try:
                turns = messages(sample, address)
            except (MediaError, NothingToAsk) as error:
                # The image may be repaired before the next attempt.
                return Prediction("", extra={"unanswered": str(error).rstrip("."), "may_pass": True})
            return self._answer(sample, turns, max_tokens, line)

        def tell(number: int, answer: Prediction) -> None:
            # Report paid answers at once. Whether a cut answer contains thoughts may be known only once all have
            # arrived.
            if each is not None and not _notes.is_unanswered(answer):
                each(number, _thinking.without_thoughts([answer])[0])
            if progress is not None:
                progress(1)

        return _thinking.without_thoughts(side_by_side(ask, samples, self._num_concurrent, line, tell))

    def _answer(self, sample: Sample, turns: list[dict[str, Any]], max_tokens: int, line: Line) -> Prediction:
        """The server's answer, or a prediction with the reason why there is none.

        Raises:
            BackendError: the server failed on too many prompts in a row.
        """
        where = f"sample {sample.id!r}"
        try:
            found, refused = self._ask(turns, max_tokens, where, line)
            answer = prediction(found, f"{self._server.url}: {where}")
        except Refused as error:
            return Prediction("", extra={"unanswered": error.reason})
        except Failed as error:
            self._failures += 1
            if self._failures > _MOST_FAILURES:
                raise BackendError(
                    f"{error} The server failed on {self._failures} prompts in a row."
                ) from None
            return Prediction("", extra={"unanswered": error.reason, "may_pass": True})

        self._failures = 0
        if "temperature" in refused:
            return replace(answer, extra={**answer.extra, "is_sampled": True})
        return answer

    def _ask(
        self, asked: list[dict[str, Any]], max_tokens: int, where: str, line: Line
    ) -> tuple[Mapping[str, Any], frozenset[str]]:
        """The server's response, and the fields that were left out because the server rejects them.

        Fields that a rejection names are left out of this request. They are left out of later requests only if that
        helped, because the rejection may just quote the prompt.
        """
        refused = self._refused

        while True:
            values = settings(max_tokens, refused)
            turns = without_system(asked) if SYSTEM in refused else asked
            body = {"model": self.model, "messages": turns, **values}
            try:
                found = line.answer("POST", "/chat/completions", body, where)
            except Refused as error:
                names = list(values)
                if any(turn["role"] == "system" for turn in turns):
                    names.append(SYSTEM)
                left_out = named(error.said, names)
                if not left_out:
                    raise
                # Try again without these fields; each is left out only once, so the loop ends.
                refused |= left_out
            else:
                self._refused |= refused
                return found, refused

    def _data_url(self, medium: Medium) -> str:
        if medium.modality != "image":
            raise DataError(
                f"{medium.modality} {medium.key!r}: only images can be sent; remove such samples."
            )

        image = Image.fromarray(image_files.load(medium))
        if self._max_side is not None and max(image.size) > self._max_side:
            image.thumbnail((self._max_side, self._max_side), Image.Resampling.LANCZOS)

        file, kind = io.BytesIO(), "png" if self._jpeg_quality is None else "jpeg"
        if self._jpeg_quality is None:
            image.save(file, "PNG")
        else:
            image.save(file, "JPEG", quality=self._jpeg_quality)
        return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _only_model(server: Server) -> str:
    """The name of a server's model.

    Raises:
        BackendError: the server does not have exactly one model.
    """
    with closing(server.open()) as line:
        found = line.answer("GET", "/models", None, "the list of models")

    listed = found.get("data")
    names = [one.get("id") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    known = [name for name in names if isinstance(name, str) and name]
    if len(known) == 1:
        return known[0]

    shown = ", ".join(sorted(known)[:20]) or "none"
    raise BackendError(
        f"{server.url}: the server has {len(known)} models ({shown}); set `model` to one of them."
    )
