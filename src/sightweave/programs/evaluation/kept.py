"""A cache of answers, so that a stopped evaluation can be resumed and no prompt is asked twice.

The file has one JSON object per line, with ``key`` and the fields of a `Prediction`. The key is a digest of everything
that affects an answer: the predictor, the version, the maximum length, the prompt with its images, and the texts to
score. One file may therefore contain answers of several models about several datasets, and any change in them is
noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import PIL.Image

from sightweave.core import bounded
from sightweave.core.bounded import UnreadableError
from sightweave.core.errors import DataError, SightweaveError, UnansweredError
from sightweave.core.types import Likelihood, Medium, Prediction, Sample
from sightweave.data.inputs import image_files
from sightweave.programs.evaluation import parts
from sightweave.programs.predictors import _notes
from sightweave.programs.predictors._base import Predictor, Progress, log_probability

_PROMPTS_AT_ONCE = 4096
"""Maximum number of prompts in a chunk; a chunk ends with the image that reaches it, even if it has few images."""
_NUM_PROBED = 8
"""Number of prompts that are sent first to a server that may refuse them."""
_MAX_LINE_BYTES = 16 << 20
"""Maximum length of a line in bytes; a longer line cannot be an answer."""
_BLOCK = 1 << 16
"""Number of bytes to read at once when searching backwards."""
_Value = TypeVar("_Value")


class Kept:
    """Caches the answers of a predictor, so that the predictor gets only new prompts.

    Equal prompts of one call are asked once. New prompts are asked in chunks of whole images, long prompts first, so
    that the prompts of a chunk have similar lengths. Answers are written after each chunk, so a process that is killed
    loses only the current chunk. A server's answers are written one by one, since they may cost money. Predictors that
    only look answers up are not cached.

    A server may refuse prompts. A small sample of them is asked first, so that a server that refuses everything is not
    asked thousands of times. A prompt that was refused permanently is cached as refused; one that may be answered later
    is not cached.

    Args:
        predictor: Answers the prompts.
        path: JSON lines file, created if missing; None caches in memory only.
        max_tokens: Maximum number of tokens of an answer.
        pictures_at_once: Number of images in a chunk.
        progress: Called with the number of new answers as they arrive.

    Raises:
        DataError: the file exists and cannot be read.
    """

    def __init__(
        self,
        predictor: Predictor,
        path: Path | None,
        *,
        max_tokens: int,
        pictures_at_once: int = 256,
        progress: Progress | None = None,
    ) -> None:
        self.predictor, self.path, self.max_tokens = predictor, path, max_tokens
        self.pictures_at_once, self.progress = pictures_at_once, progress
        self.reused = 0
        """Number of prompts whose answer was already in the file."""
        self.asked = 0
        """Number of prompts that were sent to the predictor; equal ones count once."""
        self.notes: tuple[str, ...] = ()
        """Sentences on unusable lines of the file."""

        self._version = _version()
        self._given: list[tuple[str, Prediction]] = []
        """Ids and answers since the last call of `take_notes`."""
        self._digests: dict[Medium, str] = {}
        """Digests of images that have been read, since each pass shows them again."""
        self._known: dict[bytes, Prediction] = {}
        self._is_open = False

        if path is not None and path.exists():
            self._load(path)
        self._before = frozenset(self._known)

    def __call__(
        self, samples: Sequence[Sample], texts: Sequence[Sequence[str]] = (), *, write: bool = True
    ) -> list[Prediction]:
        """One prediction per sample, in order.

        Args:
            samples: Samples to ask; their targets are ignored.
            texts: Texts to score as answers to each sample; an empty sequence means none for any sample.
            write: Whether to generate answers; if not, texts are only scored.

        Raises:
            DataError: there is not one list of texts or one prediction per sample, or the file cannot be written.
            UnansweredError: a server answered none of the first prompts.
        """
        found = self._found(samples, texts, write=write)
        if write:
            self._given += [(sample.id, one) for sample, one in zip(samples, found, strict=True)]
        return found

    def take_notes(self) -> list[str]:
        """Sentences on anything unusual in the answers since the last call, including cached answers."""
        given, self._given = self._given, []
        can_be_cut = self.predictor.can_control  # answers from a file were generated elsewhere
        return _notes.on(self.predictor.name, given, self.max_tokens if can_be_cut else None)

    def _found(
        self, samples: Sequence[Sample], texts: Sequence[Sequence[str]], *, write: bool
    ) -> list[Prediction]:
        if texts and len(texts) != len(samples):
            raise DataError(f"{len(texts)} list(s) of texts for {len(samples)} sample(s); give one for each.")
        given = [tuple(one) for one in texts] or [()] * len(samples)
        max_tokens = self.max_tokens if write else 0
        # The predictor looks answers up by id, which the keys do not contain.
        if not self.predictor.can_control:
            self.asked += len(samples)
            return self._ask(samples, given, max_tokens)

        # Find the new prompts, where equal ones are asked once.
        about = [self.predictor.fingerprint, self._version, max_tokens]
        keys: list[bytes] = []
        new: dict[bytes, int] = {}
        has_answer = False
        for number, (sample, wanted) in enumerate(zip(samples, given, strict=True)):
            key = _key(about, sample, wanted, self._digests)
            keys.append(key)
            self.reused += key in self._before
            if key not in self._known:
                new.setdefault(key, number)
            elif not _notes.is_unanswered(self._known[key]):
                has_answer = True

        # Ask them. The first few, long and short, show whether a server refuses everything.
        for chunk in self._with_probe(list(new.values()), samples, given):
            chunk_keys = _at(keys, chunk)
            asked = self._ask(_at(samples, chunk), _at(given, chunk), max_tokens, chunk_keys)
            self.asked += len(chunk)
            has_answer = has_answer or not all(map(_notes.is_unanswered, asked))
            if not has_answer:
                raise _none_answered(self.predictor.name, asked)
            self._keep(dict(zip(chunk_keys, asked, strict=True)))

        return [self._known[key] for key in keys]

    def _ask(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]],
        max_tokens: int,
        keys: Sequence[bytes] = (),
    ) -> list[Prediction]:
        """Asks the predictor; returns one prediction per sample.

        If keys are given and the predictor reports each answer, the answers are saved one by one.
        """
        wanted = texts if any(texts) else ()
        options: dict[str, Any] = {"max_tokens": max_tokens, "progress": self.progress}
        if keys and getattr(self.predictor, "tells_each", False):
            options["each"] = lambda number, one: self._keep({keys[number]: one})

        found = self.predictor.predict(samples, wanted, **options)
        if len(found) != len(samples):
            raise DataError(
                f"{self.predictor.name}: {len(found)} prediction(s) for {len(samples)} sample(s); a predictor must return "
                "one for each, in order."
            )
        return found

    def _with_probe(
        self, numbers: Sequence[int], samples: Sequence[Sample], texts: Sequence[Sequence[str]]
    ) -> Iterator[list[int]]:
        """Yields chunks of sample numbers; for a server that may refuse prompts, the first chunk is a probe."""
        probe = _spread(numbers, _NUM_PROBED) if getattr(self.predictor, "may_refuse", False) else []
        if probe:
            yield probe
        yield from self._chunks([n for n in numbers if n not in probe], samples, texts)

    def _chunks(
        self, numbers: Sequence[int], samples: Sequence[Sample], texts: Sequence[Sequence[str]]
    ) -> Iterator[list[int]]:
        """Yields chunks of sample numbers, image by image, long prompts first."""
        pictures: dict[tuple[str, ...], list[int]] = {}
        longest: dict[tuple[str, ...], int] = {}
        for n in numbers:
            shown = tuple([medium.identity for medium in samples[n].media]) or (samples[n].group, "")
            pictures.setdefault(shown, []).append(n)
            length = len(samples[n].prompt) + sum(map(len, texts[n]))
            longest[shown] = max(longest.get(shown, 0), length)

        chunk: list[int] = []
        count = 0
        for shown in sorted(pictures, key=lambda shown: -longest[shown]):
            chunk += pictures[shown]
            count += 1
            if count == self.pictures_at_once or len(chunk) >= _PROMPTS_AT_ONCE:
                yield chunk
                chunk, count = [], 0
        if chunk:
            yield chunk

    def _keep(self, found: Mapping[bytes, Prediction]) -> None:
        """Caches answers, and appends those that are new and final to the file."""
        new = {key: one for key, one in found.items() if self._known.get(key) != one}
        self._known.update(new)
        if self.path is None:
            return

        lines = []
        for key, one in new.items():
            if "may_pass" not in one.extra:
                lines.append(json.dumps(_plain(key, one)) + "\n")
        try:
            if not self._is_open:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.touch()
                _drop_torn_line(self.path)
                self._is_open = True
            with self.path.open("ab") as file:
                file.write("".join(lines).encode("ascii"))
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot save answers ({error.strerror}); free some space, or choose another folder."
            ) from None

    def _load(self, path: Path) -> None:
        """Reads the answers in the file; adds a note if there are other lines."""
        other = 0
        try:
            with bounded.opened(path) as file:
                for line in _lines(file):
                    found = _read(line)
                    if found is not None:
                        self._known[found[0]] = found[1]
                    elif line.strip():
                        other += 1
        except OSError as error:
            raise DataError(
                f"{path}: cannot read the saved answers ({error.strerror}); move the file, or choose another folder."
            ) from None
        except UnreadableError as error:
            raise DataError(
                f"{path}: cannot read the saved answers: {error} Move the file, or choose another folder."
            ) from None
        if other:
            self.notes = (f"{path}: {other} line(s) are damaged or not saved answers; they are ignored.",)


def _at(values: Sequence[_Value], numbers: Sequence[int]) -> list[_Value]:
    """The values at these indices."""
    return [values[n] for n in numbers]


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of the numbers, evenly spaced from the first to the last."""
    if len(numbers) <= count:
        return list(numbers)
    places = np.linspace(0, len(numbers) - 1, count).round().astype(int)
    return _at(numbers, places.tolist())


def _none_answered(name: str, asked: Sequence[Prediction]) -> UnansweredError:
    """The error for a server that refused every prompt, with the first few reasons."""
    reasons = list(dict.fromkeys(str(one.extra["unanswered"]) for one in asked))
    return UnansweredError(
        f"{name}: none of the first {len(asked)} prompts was answered: {'; '.join(reasons[:3])}. The server may need other "
        "settings, or a model that supports images and prompts of this length."
    )


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yields complete lines, truncated to `_MAX_LINE_BYTES`; a last line without a line end is skipped as incomplete."""
    while line := file.readline(_MAX_LINE_BYTES):
        # Skip the rest of a long line.
        end = line
        while end and not end.endswith(b"\n"):
            end = file.readline(_MAX_LINE_BYTES)
        if end:
            yield line


def _drop_torn_line(path: Path) -> None:
    """Truncates the file after its last complete line, so that the next answer is not appended to a partial one."""
    with path.open("r+b") as file:
        place = file.seek(0, 2)
        while place > 0:
            start = max(0, place - _BLOCK)
            file.seek(start)
            end = file.read(place - start).rfind(b"\n")
            if end >= 0:
                place = start + end + 1
                break
            place = start
        file.truncate(place)


def _version() -> str:
    try:
        return metadata.version("sightweave")
    except metadata.PackageNotFoundError:  # used from a checkout that is not installed
        return "not installed"


def _key(about: list[Any], sample: Sample, texts: Sequence[str], digests: dict[Medium, str]) -> bytes:
    """A digest of everything that affects an answer; `digests` caches those of images."""
    parts = list(sample.parts)
    while parts and parts[-1].role == "assistant":  # the target, which predictors do not see
        parts.pop()

    shown = []
    for part in parts:
        if isinstance(part.content, Medium):
            shown.append([part.role, part.learn, "medium", _digest(part.content, digests)])
        else:
            shown.append([part.role, part.learn, "text", part.content])
    values: list[Any] = [about, shown, list(texts)]
    if sample.pictures:  # answered with an image too
        values.append("images")
    return hashlib.sha256(json.dumps(values).encode("ascii")).digest()


def _digest(medium: Medium, digests: dict[Medium, str]) -> str:
    if medium not in digests:
        digests[medium] = f"{medium.modality} {medium.key} {_content(medium.source)}"
    return digests[medium]


def _content(source: Any) -> str:
    """A digest of the contents of an image, independent of its name and time."""
    made_of = [one for one in source.args if isinstance(one, Medium)] if isinstance(source, partial) else []
    if made_of:
        # The key of an image made from others, such as a degraded one, names the change; digests of the originals suffice.
        return " ".join(["function", *(_content(one.source) for one in made_of)])

    try:
        if callable(source):  # a drawn image, or one inside another file
            return f"given {_content(source())}"
        if isinstance(source, Path):
            return f"bytes {image_files.digest(Medium(source, 'picture'))}"
    except SightweaveError:  # the error is reported when the image is read
        return "unreadable"

    if isinstance(source, bytes | bytearray | memoryview):
        return f"bytes {hashlib.sha256(source).hexdigest()}"
    if isinstance(source, np.ndarray):
        about = f"array {source.dtype.str} {source.shape}"
        return f"{about} {hashlib.sha256(np.ascontiguousarray(source).tobytes()).hexdigest()}"
    if isinstance(source, PIL.Image.Image):
        about = f"image {source.mode} {source.size}"
        return f"{about} {hashlib.sha256(source.tobytes()).hexdigest()}"
    return "unknown"


def _plain(key: bytes, prediction: Prediction) -> dict[str, Any]:
    """The contents of one line of the file."""
    more = {"parts": parts.plain(prediction.parts)} if prediction.parts else {}
    return {
        "key": key.hex(),
        "text": prediction.text,
        "logprob": prediction.logprob,
        "tokens": prediction.tokens,
        "finish": prediction.finish,
        "likelihoods": [[one.logprob, one.tokens] for one in prediction.likelihoods],
        "extra": dict(prediction.extra),
        **more,
    }


def _read(line: bytes) -> tuple[bytes, Prediction] | None:
    """The key and the prediction of a line; None if it is not a valid answer."""
    try:
        row = json.loads(line)
        key = bytes.fromhex(row["key"])
        likelihoods = tuple(Likelihood(_number(logprob), _count(n)) for logprob, n in row["likelihoods"])
        logprob = None if row["logprob"] is None else log_probability(_number(row["logprob"]))
        text, finish, extra = row["text"], row["finish"], row["extra"]
        made = parts.read(row.get("parts", []))
        prediction = Prediction(text, logprob, _count(row["tokens"]), finish, likelihoods, extra, parts=made)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None

    is_valid = len(key) == 32 and isinstance(text, str) and isinstance(extra, dict)
    return (key, prediction) if is_valid and finish in ("stop", "length", "none") else None


def _number(value: Any) -> float:
    if type(value) not in (float, int):
        raise TypeError
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value
