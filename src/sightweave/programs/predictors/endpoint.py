"""Any server that speaks OpenAI's chat completions: hosted models, vLLM, llama.cpp, Ollama and the like.

``POST {url}/chat/completions``, greedily (temperature 0, seed 0) where the server allows it, with pictures as data URLs
inside the request. The key is read from an environment variable and goes to that host alone: redirects are never followed.
What a server's model is behind its name may change from one day to the next, and nothing here can tell.

A server that takes no temperature, seed, log-probabilities or system turn is asked without them. A prompt that it refuses,
or fails on however often it is asked, has no answer, and the prediction says why (`_notes`); a server that cannot be reached
or that refuses the key or the model is an error.
"""

from __future__ import annotations

import base64
import functools
import io
import ipaddress
import itertools
import json
import os
import queue
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

import httpx2
from PIL import Image
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sightweave.core.config import config
from sightweave.core.errors import BackendError, DataError, RecipeError
from sightweave.core.types import Medium, Part, Prediction, Sample
from sightweave.data.inputs import media
from sightweave.programs.predictors import _notes, _thinking
from sightweave.programs.predictors._base import Each, Progress

KEY_VARIABLE = "OPENAI_API_KEY"
_MAX_BYTES = 8 << 20
"""Of a response; with the log-probabilities of a long answer it has a tenth of that."""
_LONGEST_WAIT = 60.0
"""Seconds before a request is repeated, whatever the server asks for."""
_LEAST_LIKELY = 1e6
"""No token's log-probability is further from 0; servers write -9999 for what they do not tell exactly."""
_SHOWN = 300
_TRY_AGAIN = (408, 429)
"""Besides those of 500 and above; but 501 says that a feature is missing, and will be."""
_OF_THE_SERVER = (401, 402, 403, 404, 405, 407, 410)
"""The key, the model or the address is wrong, whatever the prompt; all others from 400 refuse one request."""
_MODERATED = re.compile("moderat|flagged|content|policy|safety|harm", re.IGNORECASE)
"""Some servers refuse a prompt with 403, in these words."""
_MISSING = re.compile("not (?:supported|implemented)|unsupported", re.IGNORECASE)
"""Some servers say with 500 what 400 is for."""
_MOST_FAILURES = 16
"""Prompts in a row on which a server fails before it counts as down."""
_WHAT_TO_DO = {
    400: "the server does not take such a request; the model may read no pictures, or fewer tokens",
    401: "check the key",
    403: "the key may not use this model",
    404: "check the model's name, and that the address ends where /chat/completions follows, often in /v1",
}


def recognise(who: str) -> str:
    """What an address is if it is of this kind."""
    return "an endpoint" if who.lower().startswith(("http://", "https://")) else ""


@config
class Config:
    """An OpenAI-compatible server."""

    url: str
    """The address to which /chat/completions is added, such as http://localhost:8000/v1."""
    model: str = ""
    """Name of the model; empty asks the server and takes the only one that it has."""
    key_variable: str = KEY_VARIABLE
    """Name of the environment variable that holds the key; unset or empty sends none."""
    timeout: PositiveFloat = 120.0
    """Seconds for one answer."""
    retries: NonNegativeInt = 5
    """How often a request is repeated after a lost connection, or where the server is too busy."""
    wait: NonNegativeFloat = 0.5
    """Seconds before the first repetition; each further wait is twice as long, up to a minute."""
    at_once: PositiveInt = 8
    """Requests at the same time."""
    max_side: PositiveInt | None = None
    """Pixels of a picture's longer side; larger pictures are shrunk. None sends all pixels."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = None
    """Sends pictures as JPEG of this quality, 1 to 100; None sends PNG, which loses nothing."""

    def build(self) -> Endpoint:
        """The predictor; without a `model` the server is asked for its name.

        Raises:
            RecipeError: `url` is no address.
            BackendError: the server cannot be asked, or has several models.
        """
        return Endpoint(
            self.url,
            model=self.model,
            key_variable=self.key_variable,
            timeout=self.timeout,
            retries=self.retries,
            wait=self.wait,
            at_once=self.at_once,
            max_side=self.max_side,
            jpeg_quality=self.jpeg_quality,
        )


class Endpoint:
    """Asks a server, several requests at a time; answers come back in the order of the samples.

    A prediction's ``logprob`` is the mean over the tokens that the server tells, which as a rule leave the end token out;
    it is None where the server tells none. A prompt without an answer has the reason in ``extra["unanswered"]``; the other
    keys of ``extra`` are listed in `_notes`.

    Args:
        url: The address to which /chat/completions is added.
        model: Name of the model; empty asks the server.
        key_variable: Name of the environment variable with the key.
        timeout: Seconds for one answer.
        retries: How often a request is repeated.
        wait: Seconds before the first repetition.
        at_once: Requests at the same time.
        max_side: Pixels of a picture's longer side at most; None for all.
        jpeg_quality: 1 to 100, or None for PNG.

    Raises:
        RecipeError: `url` is no address.
        BackendError: the server cannot be asked, or has several models and none is named.
    """

    can_score = False
    can_control = True
    may_refuse = True
    """Prompts may come back without an answer."""
    tells_each = True
    """Whether `predict` takes `each`."""

    def __init__(
        self,
        url: str,
        *,
        model: str = "",
        key_variable: str = KEY_VARIABLE,
        timeout: float = 120.0,
        retries: int = 5,
        wait: float = 0.5,
        at_once: int = 8,
        max_side: int | None = None,
        jpeg_quality: int | None = None,
    ) -> None:
        self._server = _Server(url, key_variable, timeout=timeout, retries=retries, wait=wait)
        self._at_once, self._max_side, self._jpeg_quality = at_once, max_side, jpeg_quality
        self.model = model or _only_model(self._server)
        self.name = f"{self._server.url} {self.model}"
        self.fingerprint = (
            f"endpoint {self._server.url} {self.model} max_side={max_side} jpeg_quality={jpeg_quality}"
        )
        """Of what is asked, not of what answers: a server's model may change behind its name."""
        self._refused: frozenset[str] = frozenset()
        """Fields, and ``system`` for the role, that the server answers better without."""
        self._failures = 0
        """Prompts in a row without an answer that the server failed on."""

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

        `each` is called with whole answers as they come; the others are known only when all are there.

        Raises:
            BackendError: the server fails or cannot be understood, or texts to judge are given.
            DataError: a sample that cannot be sent, or not one list of texts per sample.
            MediaError: a picture cannot be read.
        """
        if texts and len(texts) != len(samples):
            raise DataError(f"{self.name}: {len(texts)} list(s) of texts for {len(samples)} sample(s).")
        if any(texts):
            raise BackendError(
                f"{self.name}: a chat server does not say how likely given texts are; leave out metrics that ask it."
            )
        if max_tokens == 0:
            return [Prediction("", finish="none") for _ in samples]
        # A picture is often asked about several times in a row.
        address = functools.lru_cache(maxsize=4 * self._at_once)(self._data_url)

        line = self._server.open(self._at_once)

        def ask(sample: Sample) -> Prediction:
            return self._answer(sample, _messages(sample, address), max_tokens, line)

        def tell(number: int, said: Prediction) -> None:
            # Whether a cut answer holds thoughts depends on what the others show.
            if each is not None and said.finish != "length" and not _notes.is_unanswered(said):
                each(number, _thinking.without_thoughts([said])[0])
            if progress is not None:
                progress(1)

        return _thinking.without_thoughts(_side_by_side(ask, samples, self._at_once, line, tell))

    def _answer(
        self, sample: Sample, messages: list[dict[str, Any]], max_tokens: int, line: _Line
    ) -> Prediction:
        """The server's answer, or a prediction that says why there is none."""
        where = f"sample {sample.id!r}"
        try:
            found, refused = self._ask(messages, max_tokens, where, line)
            said = _prediction(found, f"{self._server.url}: {where}")
        except _Refused as error:
            return Prediction("", extra={"unanswered": error.reason})
        except _Failed as error:
            self._failures += 1
            if self._failures > _MOST_FAILURES:
                raise BackendError(
                    f"{error} The server failed on {self._failures} prompts in a row."
                ) from None
            return Prediction("", extra={"unanswered": error.reason, "may_pass": True})
        self._failures = 0
        return replace(said, extra={**said.extra, "is_sampled": True}) if "temperature" in refused else said

    def _ask(
        self, messages: list[dict[str, Any]], max_tokens: int, where: str, line: _Line
    ) -> tuple[Mapping[str, Any], frozenset[str]]:
        """What the server says, and what was left out since the server refuses it.

        What a refusal names is left out of this request, and of later ones only if that helped: a refusal may quote the
        prompt.
        """
        refused = self._refused
        while True:
            values = _settings(max_tokens, refused)
            turns = _without_system(messages) if _SYSTEM in refused else messages
            body = {"model": self.model, "messages": turns, **values}
            try:
                found = line.answer("POST", "/chat/completions", body, where)
            except _Refused as error:
                has_system = any(turn["role"] == "system" for turn in turns)
                named = _named(error.said, [*values, *([_SYSTEM] if has_system else [])])
                if not named:
                    raise
                refused |= named  # each is left out once, so this comes to an end
            else:
                self._refused |= refused
                return found, refused

    def _data_url(self, medium: Medium) -> str:
        if medium.modality != "image":
            raise DataError(
                f"{medium.modality} {medium.key!r}: only pictures can be sent; leave such samples out."
            )
        image = Image.fromarray(media.load(medium))
        if self._max_side is not None and max(image.size) > self._max_side:
            image.thumbnail((self._max_side, self._max_side), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        if self._jpeg_quality is None:
            image.save(file, "PNG")
        else:
            image.save(file, "JPEG", quality=self._jpeg_quality)
        kind = "png" if self._jpeg_quality is None else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


_SYSTEM = "system"
_WORDS = {
    "temperature": "temperature",
    "seed": "seed",
    "logprobs": "logprobs|log[ _-]?prob(?:abilitie)?s",
    "top_logprobs": "top_logprobs",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_completion_tokens",
    _SYSTEM: (
        "system[ _](?:role|message|prompt|instruction)s?|role.{0,60}system|developer instruction"
        "|only user and assistant roles|roles must alternate"
    ),
}
"""How refusals name what a request may do without."""
_UNNAMED = re.compile(
    r"(?:unsupported|invalid|unknown|unrecogni[sz]ed|unexpected|extra|additional)\W+(?:\w+\W+)?"
    r"(?:parameter|field|argument|input|propert|key|option|value|setting)|sampling parameter",
    re.IGNORECASE,
)
"""A refusal of some field that does not say which."""
_TOO_LONG = re.compile(
    r"too (?:long|large|many|big)|context.{0,9}(?:length|window|size)|exceed|reduce the length", re.IGNORECASE
)
"""Such a refusal names the limits, but leaving them out would not help."""
_LENGTHS = ("max_tokens", "max_completion_tokens")


def _settings(max_tokens: int, refused: Collection[str]) -> dict[str, Any]:
    """Fields that make an answer greedy, limit it and tell how sure it is, without the refused ones.

    llama-cpp-python gives no log-probabilities unless ``top_logprobs`` stands beside ``logprobs``.
    """
    length = "max_completion_tokens" if "max_tokens" in refused else "max_tokens"
    wanted = {"temperature": 0, "seed": 0, length: max_tokens, "logprobs": True, "top_logprobs": 1}
    if "logprobs" in refused:
        wanted.pop("top_logprobs")
    return {key: value for key, value in wanted.items() if key not in refused}


def _named(said: str, sent: Collection[str]) -> frozenset[str]:
    """What a refusal names of what was sent; where it names no field at all, every field that is not essential."""
    is_too_long = _TOO_LONG.search(said) is not None
    candidates = [key for key in sent if not (key in _LENGTHS and is_too_long)]
    named = {
        key
        for key in candidates
        if key in _WORDS and re.search(rf"(?<![a-z_])(?:{_WORDS[key]})(?![a-z_])", said, re.IGNORECASE)
    }
    if not named and _UNNAMED.search(said):
        named = {key for key in candidates if key not in (*_LENGTHS, _SYSTEM)}
    return frozenset(named)


def _without_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same turns, with the system's words before the user's first ones."""
    told = [turn["content"] for turn in messages if turn["role"] == "system"]
    found = [dict(turn) for turn in messages if turn["role"] != "system"]
    first = next((turn for turn in found if turn["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": "\n".join(map(str, told))}, *found]
    content = first["content"]
    pieces = [{"type": "text", "text": content}] if isinstance(content, str) else content
    before = [{"type": "text", "text": f"{text}\n"} for text in told]
    plain = isinstance(content, str) and all(isinstance(text, str) for text in told)
    first["content"] = "\n".join([*told, content]) if plain else [*before, *pieces]
    return found


def _only_model(server: _Server) -> str:
    with closing(server.open(1)) as line:
        found = line.answer("GET", "/models", None, "the list of models")
    listed = found.get("data")
    names = [one.get("id") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    known = [name for name in names if isinstance(name, str) and name]
    if len(known) == 1:
        return known[0]
    shown = ", ".join(sorted(known)[:20]) or "none"
    raise BackendError(f"{server.url}: {len(known)} models ({shown}); name the one to ask as `model`.")


def _messages(sample: Sample, address: Callable[[Medium], str]) -> list[dict[str, Any]]:
    """The prompt as turns, in its order; what the model is to say is left out."""
    parts = list(sample.parts)
    while parts and parts[-1].role == "assistant":
        parts.pop()
    parts = [part for part in parts if part.content != ""]  # some servers refuse an empty text
    if not parts:
        raise DataError(f"sample {sample.id!r}: there is nothing to ask.")
    messages = []
    for role, turn in itertools.groupby(parts, key=lambda part: part.role):
        content = [_content(part, address) for part in turn]
        # Many servers want plain text where there is nothing else, at least of the system.
        plain = content[0]["text"] if len(content) == 1 and content[0]["type"] == "text" else content
        messages.append({"role": role, "content": plain})
    return messages


def _content(part: Part, address: Callable[[Medium], str]) -> dict[str, Any]:
    if isinstance(part.content, Medium):
        return {"type": "image_url", "image_url": {"url": address(part.content)}}
    return {"type": "text", "text": part.content}


def _prediction(found: Mapping[str, Any], where: str) -> Prediction:
    """The first choice of a response, its types checked.

    Thoughts that the server took apart stand before the answer again, so that all are read by the same rules.

    Raises:
        _Failed: there is no choice, or one of other types.
    """
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _Failed(where, f"the response holds no choices (got {_short(repr(choices))})")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise _Failed(where, f"choices[0].message must be an object (got {_short(repr(message))})")
    finish = choice.get("finish_reason")
    usage = found.get("usage")
    counted = usage.get("completion_tokens") if isinstance(usage, dict) else None
    logprobs = _logprobs(choice.get("logprobs"))
    text, thought = _text(message.get("content"), where), _thought(message)

    extra: dict[str, Any] = {}
    if isinstance(finish, str) and finish not in ("stop", "length"):
        extra["finish_reason"] = finish
    if not text.strip() and isinstance(message.get("refusal"), str):
        extra["declined"] = _short(message["refusal"])
    if not thought and not text.strip() and finish == "length" and _thinks(usage):
        thought = "(not told)"
    if thought:
        is_cut = not text.strip() and finish == "length"
        text = f"{_thinking.OPENING}{thought}" + ("" if is_cut else f"{_thinking.CLOSING}{text}")
    return Prediction(
        text,
        logprob=sum(logprobs) / len(logprobs) if logprobs else None,
        tokens=counted if type(counted) is int and counted >= 0 else len(logprobs),
        finish="length" if finish == "length" else "stop",
        extra=extra,
    )


def _thought(message: Mapping[str, Any]) -> str:
    """What a server that takes thoughts apart gives beside the answer."""
    given = (message.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
    return next((text for text in given if isinstance(text, str) and text.strip()), "")


def _thinks(usage: Any) -> bool:
    """Whether the server counts tokens of thoughts that it does not show."""
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    count = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return isinstance(count, int) and count > 0


def _text(content: Any, where: str) -> str:
    """What was said: a text, parts of one, or null where there is none, as after a refusal."""
    if content is None or isinstance(content, str):
        pieces: list[Any] = [{"text": content or ""}]
    else:
        pieces = content if isinstance(content, list) else [None]
    texts = [_piece(one) for one in pieces]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts):
        raise _Failed(where, f"choices[0].message.content must be text (got {_short(repr(content))})")
    return "".join(known).encode("utf-8", "replace").decode()  # half a surrogate pair is no text


def _piece(part: Any) -> str | None:
    """Text of one part of a content; thoughts among the parts are marked as such."""
    if not isinstance(part, dict):
        return None
    if isinstance(part.get("text"), str):
        return str(part["text"])
    thought = part.get("thinking")
    inner = thought if isinstance(thought, list) else [{"text": thought}]
    texts = [one.get("text") if isinstance(one, dict) else None for one in inner]
    known = [text for text in texts if isinstance(text, str)]
    if part.get("type") != "thinking" or len(known) < len(texts):
        return None
    return f"{_thinking.OPENING}{''.join(known)}{_thinking.CLOSING}"


def _logprobs(value: Any) -> list[float]:
    """Natural-log probability of each token; empty where not all of them are told."""
    tokens = value.get("content") if isinstance(value, dict) else None
    given = tokens if isinstance(tokens, list) else []
    found = [one.get("logprob") if isinstance(one, dict) else None for one in given]
    numbers = [one for one in found if isinstance(one, int | float) and not isinstance(one, bool)]
    known = [float(one) for one in numbers if abs(one) <= _LEAST_LIKELY]
    return known if len(known) == len(found) else []


@dataclass(frozen=True, slots=True)
class _Job:
    number: int
    prediction: Prediction | None = None
    error: BaseException | None = None


def _side_by_side(
    ask: Callable[[Sample], Prediction],
    samples: Sequence[Sample],
    at_once: int,
    line: _Line,
    tell: Each,
) -> list[Prediction]:
    """All answers, in order; then closes the line. The first error, or Ctrl-C, ends it at once.

    An executor would keep the program from ending until the slowest of its requests has ended; these threads do not.
    """
    done: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(samples)):
        numbers.put(number)

    def work() -> None:
        while not line.stop.is_set():
            try:
                number = numbers.get_nowait()
            except queue.Empty:
                return
            try:
                done.put(_Job(number, ask(samples[number])))
            except BaseException as error:  # raised again where it was asked for
                done.put(_Job(number, error=error))
                return

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(at_once, len(samples)))]

    def close() -> None:
        for worker in workers:
            worker.join()
        line.close()

    for worker in workers:
        worker.start()
    found: list[Prediction | None] = [None] * len(samples)
    try:
        for _ in samples:
            job = done.get()
            if job.error is not None:
                raise job.error
            if job.prediction is not None:
                found[job.number] = job.prediction
                tell(job.number, job.prediction)
    except BaseException:
        line.stop.set()
        # Requests that are still open end some time; closed under them, a connection just made would stay open for ever.
        threading.Thread(target=close, daemon=True).start()
        raise
    close()
    return [one for one in found if one is not None]


class _Refused(BackendError):
    """The server does not take a request as it is, and will not."""

    def __init__(self, where: str, reason: str, said: str, what_to_do: str) -> None:
        super().__init__(f"{where}: {reason}; {what_to_do}.")
        self.reason, self.said = reason, said


class _Failed(BackendError):
    """One request has no answer that can be used; another may have, or the same one later."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}.")
        self.reason = reason


class _Server:
    """One host, and what goes with every request to it."""

    def __init__(self, url: str, key_variable: str, *, timeout: float, retries: int, wait: float) -> None:
        parsed = _parsed(url)
        self.url = str(parsed).rstrip("/")
        self.host = parsed.host
        self.timeout, self.retries, self.wait = timeout, retries, wait
        self.key, self.no_key = _key(parsed, key_variable)

    def open(self, at_once: int) -> _Line:
        """Connections to it; whoever opens them closes them.

        Raises:
            BackendError: the proxy that the environment names cannot be used.
        """
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        try:
            client = httpx2.Client(
                headers=headers,
                timeout=self.timeout,
                follow_redirects=False,
                trust_env=not _is_local(self.host),  # this machine is not behind a proxy
                limits=httpx2.Limits(max_connections=at_once),
            )
        except (ValueError, ImportError) as error:
            kind = type(error).__name__  # its text may hold the proxy's password
            raise BackendError(
                f"{self.url}: the proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used ({kind}); mend or unset it."
            ) from None
        return _Line(self, client)


class _Line:
    """Sends requests, and again where that may help. Its messages never hold the key."""

    def __init__(self, server: _Server, client: httpx2.Client) -> None:
        self.server, self.client = server, client
        self.stop = threading.Event()
        """Set, it ends waiting."""

    def close(self) -> None:
        """Closes all connections; no request may be open."""
        self.client.close()

    def answer(self, method: str, path: str, body: Mapping[str, Any] | None, where: str) -> Mapping[str, Any]:
        """The JSON object that the server answers with.

        Args:
            method: ``GET`` or ``POST``.
            path: What follows the address.
            body: Sent as JSON.
            where: For whom, for messages.

        Raises:
            _Refused: the request as it is will never be answered; it might be changed.
            _Failed: no answer after all repetitions, or one that cannot be understood.
            BackendError: the server cannot be reached, or takes no request of ours.
        """
        at = f"{self.server.url}{path}: {where}"
        content = None if body is None else json.dumps(body).encode()
        wait = self.server.wait
        for attempt in itertools.count(1):
            asked: float | None = None
            is_there = True
            try:
                status, headers, data = self._send(method, path, content, at)
            except httpx2.TimeoutException as error:
                is_there = not isinstance(error, httpx2.ConnectTimeout)
                seconds = f"{self.server.timeout:g} seconds"
                wrong = f"no answer within {seconds}; give it more with `timeout`, or ask less with `at_once`"
            except httpx2.RequestError as error:
                is_there = isinstance(
                    error, httpx2.ReadError | httpx2.WriteError | httpx2.RemoteProtocolError
                )
                wrong = f"no connection ({self._clean(str(error) or type(error).__name__)}); is the server running?"
            else:
                found, status, said = _outcome(status, headers, data, at)
                if found is not None:
                    return found
                wrong = self._wrong(status, headers, said, at)
                asked = _retry_after(headers.get("retry-after", ""))
            if attempt > self.server.retries:
                wrong = f"{wrong} (asked {attempt} time(s))"
                raise _Failed(at, wrong) if is_there else BackendError(f"{at}: {wrong}.")

            # Requests that failed together should not come back together.
            pause = wait * random.uniform(0.75, 1.0) if asked is None else asked
            if self.stop.wait(min(pause, _LONGEST_WAIT)):
                raise BackendError(f"{at}: stopped.")
            wait *= 2
        raise AssertionError  # the count has no end

    def _wrong(self, status: int, headers: Mapping[str, str], said: str, at: str) -> str:
        """What to say of a status for which asking again may help; all others are raised."""
        shown = f"status {status}: {self._clean(said)}"
        if 300 <= status < 400:
            raise BackendError(f"{at}: {_redirect(status, headers.get('location', ''))}")
        if status in _TRY_AGAIN or (status >= 500 and status != 501 and not _MISSING.search(said)):
            return f"{shown}; try again later, or ask less with `at_once`"
        what_to_do = _WHAT_TO_DO.get(status, "see the server's own documentation")
        if status == 401 and self.server.no_key:
            what_to_do = self.server.no_key
        is_moderated = status == 403 and _MODERATED.search(said) is not None
        if status in _OF_THE_SERVER and not is_moderated:
            raise BackendError(f"{at}: {shown}; {what_to_do}.")
        raise _Refused(at, shown, said, what_to_do)

    def _send(
        self, method: str, path: str, content: bytes | None, at: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        end = time.monotonic() + self.server.timeout
        pieces, size = [], 0
        with self.client.stream(method, self.server.url + path, content=content) as response:
            for piece in response.iter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > _MAX_BYTES:
                    raise _Failed(at, f"over {_MAX_BYTES} bytes of response; this is no answer")
                if time.monotonic() > end:  # the client's own limit is for each piece
                    raise httpx2.ReadTimeout("")
            return response.status_code, response.headers, b"".join(pieces)

    def _clean(self, text: str) -> str:
        """One short line, without the key, which some servers repeat."""
        return _short(text.replace(self.server.key, "***") if self.server.key else text)


def _parsed(url: str) -> httpx2.URL:
    """An address that holds nothing but host and path.

    Raises:
        RecipeError: it is none. The message leaves out what may be secret.
    """
    try:
        parsed = httpx2.URL(url.strip())
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise RecipeError(f"url: no address ({_short(str(error))}); write http://host:port/v1.") from None
    if parsed.userinfo or parsed.query or parsed.fragment or "\\" in url:
        port = "" if parsed.port is None else f":{parsed.port}"
        raise RecipeError(
            f"url: {parsed.scheme}://{parsed.host}{port}... holds more than host and path; leave out names, passwords and "
            "what follows '?' or '#', and give a key through `key_variable`."
        )
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise RecipeError(
            f"url: an address starts with http:// or https:// and a host (got {_short(url)!r})."
        )
    return parsed


def _key(url: httpx2.URL, variable: str) -> tuple[str, str]:
    """The key, and what to do if the server wants one and none is sent."""
    if variable and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", variable):
        raise RecipeError(
            f"key_variable: the name of an environment variable, such as {KEY_VARIABLE}; a key itself is written nowhere."
        )
    key = os.environ.get(variable, "").strip() if variable else ""
    if not key:
        return "", f"no key was sent, since the environment variable {variable or '(none)'} is not set"
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise BackendError(
            f"the environment variable {variable} holds characters that no key has; set it again."
        )
    if url.scheme == "http" and not _is_local(url.host) and variable == KEY_VARIABLE:
        # Whoever listens on the way could read it, and nobody said that it is this server's.
        return "", (
            f"the key in {variable} was not sent, since http:// is not encrypted; use https://, or name another variable "
            "as `key_variable`"
        )
    return key, ""


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _outcome(
    status: int, headers: Mapping[str, str], data: bytes, at: str
) -> tuple[Mapping[str, Any] | None, int, str]:
    """The server's object where it is an answer, else None with a status and the server's words.

    Raises:
        _Failed: status 200 with something that is no object.
    """
    if status != 200:
        return None, status, _message(data)
    found = _object(data, headers, at)
    error = _error_in(found)
    return (found, status, "") if error is None else (None, *error)


def _object(data: bytes, headers: Mapping[str, str], at: str) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        kind = headers.get("content-type", "no type")
        shown = f"{_short(kind)}: {_short(_words(data), 80)}"
        raise _Failed(at, f"the response is no JSON ({shown}); is this the address of the API?") from None
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict) and "error" in found[0]:
        found = found[0]
    if not isinstance(found, dict):
        raise _Failed(at, f"the response must be an object (got {_short(repr(found), 80)})")
    return found


def _error_in(found: Mapping[str, Any]) -> tuple[int, str] | None:
    """Status and words of an error that came with status 200, as routers send it; None where there is none."""
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    first = choice if isinstance(choice, dict) else {}
    if found.get("error"):
        holder: Mapping[str, Any] = found
    elif first.get("error"):
        holder = first
    elif found.get("object") == "error" or first.get("finish_reason") == "error":
        holder = {"error": {**found, "message": found.get("message") or "the answer ended in an error"}}
    else:
        return None
    words = next(_messages_in(holder), "") or _short(repr(holder["error"]))
    return _status_of(holder["error"]), words


def _status_of(error: Any) -> int:
    """The HTTP status that an error names, by number or by word; 400 where it names none."""
    values = (
        [error.get(key) for key in ("code", "status", "status_code", "type")]
        if isinstance(error, dict)
        else [error]
    )
    for value in values:
        if isinstance(value, int | str) and re.fullmatch("[345][0-9][0-9]", str(value)):
            return int(value)
    words = " ".join(value for value in values if isinstance(value, str))
    return next(
        (status for pattern, status in _STATUS_WORDS if re.search(pattern, words, re.IGNORECASE)), 400
    )


_STATUS_WORDS = (
    ("rate.?limit|too.?many.?requests|resource.?exhausted|quota", 429),
    ("authentication|invalid.?api.?key|unauthorized|unauthenticated", 401),
    ("permission", 403),
    ("model.?not.?found", 404),
    ("overloaded|unavailable|server.?error|internal|timeout|timed.?out|bad.?gateway", 503),
)


def _message(data: bytes) -> str:
    """The server's own words on an error."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return _words(data) or "no message"
    return next(_messages_in(found), "") or _words(data) or "no message"


def _messages_in(found: Any) -> Iterator[str]:
    """``{"error": {"message": ...}}`` and the other shapes that are met."""
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict):
        return
    inner = found.get("error", found)
    if isinstance(inner, str):
        yield inner
    if isinstance(inner, dict):
        named = inner.get("param")
        behind = inner.get("metadata")  # routers put the words of the server behind them there
        if (
            isinstance(behind, dict)
            and isinstance(behind.get("raw"), str)
            and isinstance(inner.get("message"), str)
        ):
            yield f"{inner['message']}: {behind['raw']}"
        for key in ("message", "detail", "msg"):
            said = inner.get(key)
            if isinstance(said, str):
                yield f"{said} ({named})" if isinstance(named, str) and named else said
            elif isinstance(said, list):
                yield "; ".join(_field_errors(said))
            elif isinstance(said, dict):
                yield from _messages_in(said)


def _field_errors(found: list[Any]) -> Iterator[str]:
    """``{"loc": ["body", "seed"], "msg": ...}``, as pydantic tells it; without the input, which may be a picture."""
    for one in found:
        if isinstance(one, dict) and isinstance(one.get("msg"), str):
            loc = one.get("loc")
            places = [str(part) for part in loc] if isinstance(loc, list) else []
            yield f"{'.'.join(places)}: {one['msg']}" if places else one["msg"]


def _words(data: bytes) -> str:
    return data[:2000].decode("utf-8", "replace")


def _redirect(status: int, location: str) -> str:
    """A redirect is named and not followed, since a key would go along."""
    try:
        to = httpx2.URL(location)
        place = f"{to.scheme}://{to.host}{to.path}" if to.host else to.path
    except httpx2.InvalidURL:
        place = "an unusable address"
    return f"status {status}: the server sends on to {_short(place)}, which is not followed; name that address as `url`."


def _retry_after(value: str) -> float | None:
    """Seconds to wait as a server says, in seconds or as a date."""
    if re.fullmatch(r"\d{1,9}(\.\d{0,9})?", value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def _short(text: str, length: int = _SHOWN) -> str:
    """One line, cut."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(line.split()).rstrip(".")
    return line if len(line) <= length else line[:length] + "..."
