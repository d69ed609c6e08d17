"""Any server that speaks OpenAI's chat completions: hosted models, vLLM, llama.cpp, Ollama and the like.

``POST {url}/chat/completions``, always greedily (temperature 0, seed 0), with pictures as data URLs inside the request.
The key is read from an environment variable and goes to that host alone: redirects are never followed. What a server's
model is behind its name may change from one day to the next, and nothing here can tell.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

import httpx2
from PIL import Image
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sightweave.core.config import config
from sightweave.core.errors import BackendError, DataError, RecipeError
from sightweave.core.types import Medium, Part, Prediction, Sample
from sightweave.data.inputs import media
from sightweave.programs.predictors._base import Progress

KEY_VARIABLE = "OPENAI_API_KEY"
_MAX_BYTES = 8 << 20
"""Of a response; with the log-probabilities of a long answer it has a tenth of that."""
_LONGEST_WAIT = 60.0
"""Seconds before a request is repeated, whatever the server asks for."""
_LEAST_LIKELY = 1e6
"""No token's log-probability is further from 0; servers write -9999 for what they do not tell exactly."""
_SHOWN = 300
_TRY_AGAIN = (408, 429)
"""Besides those of 500 and above."""
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
    it is None where the server tells none. Why an answer ended, where it was neither its end nor its length, stands
    in ``extra["finish_reason"]``.

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
        self._counts = {"empty": 0, "without_logprob": 0, "cut_short": 0, "all": 0}

    @property
    def notes(self) -> tuple[str, ...]:
        """Plain sentences on what was odd in the answers so far."""
        counts = self._counts
        sentences = {
            "empty": "held no text; each counts as answered with nothing",
            "without_logprob": "came without log-probabilities, so how sure the model is stays unknown",
            "cut_short": "were ended by the server for a reason of its own, such as a filter",
        }
        return tuple(
            f"{self.name}: {counts[what]} of {counts['all']} answers {sentence}."
            for what, sentence in sentences.items()
            if counts[what]
        )

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        max_tokens: int = 96,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """One prediction per sample, in order.

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
            where = f"sample {sample.id!r}"
            found = self._ask(_messages(sample, address), max_tokens, where, line)
            return _prediction(found, f"{self._server.url}: {where}")

        found = _side_by_side(ask, samples, self._at_once, line, progress)
        self._counts["all"] += len(found)
        self._counts["empty"] += sum(not one.text.strip() for one in found)
        self._counts["without_logprob"] += sum(one.logprob is None for one in found)
        self._counts["cut_short"] += sum("finish_reason" in one.extra for one in found)
        return found

    def _ask(
        self, messages: list[dict[str, Any]], max_tokens: int, where: str, line: _Line
    ) -> Mapping[str, Any]:
        """What the server says; what it was found to refuse is left out or written in the newer way."""
        while True:
            refused = self._refused
            length = "max_completion_tokens" if "max_tokens" in refused else "max_tokens"
            wanted = {"temperature": 0, "seed": 0, length: max_tokens, "logprobs": True}
            values = {key: value for key, value in wanted.items() if key not in refused}
            body = {"model": self.model, "messages": messages, **values}
            try:
                return line.answer("POST", "/chat/completions", body, where)
            except _Refused as error:
                named = {key for key in _OPTIONAL if key in values and error.names(key)}
                if not named:
                    raise BackendError(str(error)) from None
                self._refused |= named  # each is left out once, so this comes to an end

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


_OPTIONAL = ("max_tokens", "logprobs", "seed")
"""What some servers refuse, and what greedy answers can do without; of the first there is a newer name."""


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
    """The first choice of a response, its types checked."""
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BackendError(f"{where}: the response holds no choices (got {_short(repr(choices))}).")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BackendError(f"{where}: choices[0].message must be an object (got {_short(repr(message))}).")
    finish = choice.get("finish_reason")
    usage = found.get("usage")
    counted = usage.get("completion_tokens") if isinstance(usage, dict) else None
    logprobs = _logprobs(choice.get("logprobs"))
    is_other = isinstance(finish, str) and finish not in ("stop", "length")
    return Prediction(
        _text(message.get("content"), where),
        logprob=sum(logprobs) / len(logprobs) if logprobs else None,
        tokens=counted if type(counted) is int and counted >= 0 else len(logprobs),
        finish="length" if finish == "length" else "stop",
        extra={"finish_reason": finish} if is_other else {},
    )


def _text(content: Any, where: str) -> str:
    """What was said: a text, parts of one, or null where there is none, as after a refusal."""
    pieces = content if isinstance(content, list) else [{"text": "" if content is None else content}]
    texts = [one.get("text") if isinstance(one, dict) else None for one in pieces]
    known = [text for text in texts if isinstance(text, str)]
    if len(known) < len(texts):
        raise BackendError(f"{where}: choices[0].message.content must be text (got {_short(repr(content))}).")
    return "".join(known).encode("utf-8", "replace").decode()  # half a surrogate pair is no text


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
    progress: Progress | None,
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
            found[job.number] = job.prediction
            if progress is not None:
                progress(1)
    except BaseException:
        line.stop.set()
        # Requests that are still open end some time; closed under them, a connection just made would stay open for ever.
        threading.Thread(target=close, daemon=True).start()
        raise
    close()
    return [one for one in found if one is not None]


class _Refused(BackendError):
    """The server does not take a request as it is."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said

    def names(self, field: str) -> bool:
        """Whether the server's words name a field of the request."""
        return re.search(rf"(?<![a-z_]){field}(?![a-z_])", self.said) is not None


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
            _Refused: status 400 or 422; the request might be changed.
            BackendError: no answer after all repetitions, or one that cannot be understood.
        """
        at = f"{self.server.url}{path}: {where}"
        content = None if body is None else json.dumps(body).encode()
        wait = self.server.wait
        for attempt in itertools.count(1):
            asked: float | None = None
            try:
                status, headers, data = self._send(method, path, content, at)
            except httpx2.TimeoutException:
                seconds = f"{self.server.timeout:g} seconds"
                wrong = f"no answer within {seconds}; give it more with `timeout`, or ask less with `at_once`"
            except httpx2.RequestError as error:
                wrong = f"no connection ({self._clean(str(error) or type(error).__name__)}); is the server running?"
            else:
                if status == 200:
                    return _object(data, headers, at)
                wrong = self._wrong(status, headers, data, at)
                asked = _retry_after(headers.get("retry-after", ""))
            if attempt > self.server.retries:
                raise BackendError(f"{at}: {wrong} (asked {attempt} time(s)).")
            # Requests that failed together should not come back together.
            pause = wait * random.uniform(0.75, 1.0) if asked is None else asked
            if self.stop.wait(min(pause, _LONGEST_WAIT)):
                raise BackendError(f"{at}: stopped.")
            wait *= 2
        raise AssertionError  # the count has no end

    def _wrong(self, status: int, headers: Mapping[str, str], data: bytes, at: str) -> str:
        """What to say of a status for which asking again may help; all others are raised."""
        said = _message(data)
        if 300 <= status < 400:
            raise BackendError(f"{at}: {_redirect(status, headers.get('location', ''))}")
        if status in _TRY_AGAIN or status >= 500:
            return f"status {status}: {self._clean(said)}; try again later, or ask less with `at_once`"
        what_to_do = _WHAT_TO_DO.get(status, "see the server's own documentation")
        if status == 401 and self.server.no_key:
            what_to_do = self.server.no_key
        message = f"{at}: status {status}: {self._clean(said)}; {what_to_do}."
        raise _Refused(message, said) if status in (400, 422) else BackendError(message)

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
                    raise BackendError(f"{at}: over {_MAX_BYTES} bytes of response; this is no answer.")
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


def _object(data: bytes, headers: Mapping[str, str], at: str) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        kind = headers.get("content-type", "no type")
        raise BackendError(
            f"{at}: the response is no JSON ({_short(kind)}: {_short(_words(data), 80)}); is this the address of the API?"
        ) from None
    if not isinstance(found, dict):
        raise BackendError(f"{at}: the response must be an object (got {_short(repr(found), 80)}).")
    return found


def _message(data: bytes) -> str:
    """The server's own words on an error."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return _words(data) or "no message"
    return next(_messages_in(found), "") or _words(data) or "no message"


def _messages_in(found: Any) -> Iterator[str]:
    """``{"error": {"message": ...}}`` and the other shapes that are met."""
    if not isinstance(found, dict):
        return
    inner = found.get("error", found)
    if isinstance(inner, str):
        yield inner
    if isinstance(inner, dict):
        named = inner.get("param")
        for key in ("message", "detail", "msg"):
            if isinstance(inner.get(key), str):
                yield f"{inner[key]} ({named})" if isinstance(named, str) and named else inner[key]


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
