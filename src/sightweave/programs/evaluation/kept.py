"""Answers are kept as they come, so that a stopped evaluation goes on where it was, and nothing is asked twice.

One JSON object a line, with ``key`` and the fields of a `Prediction`. The key is a digest of all that an answer depends
on: who answers, the version, the length, the prompt with its pictures, and the texts to judge. So one file may hold
answers of several models about several data sets, and a change of any of them is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image

from sightweave.core import bounded
from sightweave.core.bounded import UnreadableError
from sightweave.core.errors import DataError, SightweaveError, UnansweredError
from sightweave.core.types import Likelihood, Medium, Prediction, Sample
from sightweave.data.inputs import image_files
from sightweave.programs.predictors import _notes
from sightweave.programs.predictors._base import Predictor, Progress, log_probability

_PROMPTS_AT_ONCE = 4096
"""A chunk ends after the picture that reaches so many prompts, however few its pictures."""
_NUM_PROBED = 8
"""Prompts that a server which may refuse them is asked before all others."""
_MAX_LINE_BYTES = 16 << 20
"""A longer line is no answer."""
_BLOCK = 1 << 16


class Kept:
    """Asks a predictor only what was not asked before.

    Equal prompts of one call are asked once. What is new is asked in chunks of whole pictures, those with long prompts
    first, so that prompts of a chunk are about as long as one another; after each chunk its answers are written, and a
    process that is killed loses the chunk that it was at. A server's answers are written one by one, since they may cost
    money. A file of answers is only read: it is kept already.

    A server may refuse prompts. A few from all over are asked first, so that one which refuses everything is not asked
    thousands. A prompt that was refused for good is kept as such; one whose answer may yet come is not kept.

    Args:
        predictor: Who answers.
        path: JSON lines, made if there are none; None keeps answers in memory only.
        max_tokens: Tokens of an answer at most.
        pictures_at_once: Pictures in a chunk.
        progress: Told of new answers as they come.

    Raises:
        DataError: the file is there and cannot be read.
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
        self._version = _version()
        self.reused = 0
        """Prompts whose answer stood in the file from the start."""
        self.asked = 0
        """Prompts that the predictor was asked; equal ones count once."""
        self.notes: tuple[str, ...] = ()
        """What in the file is of no use and should not be there; plain sentences."""
        self._given: list[tuple[str, Prediction]] = []
        """Ids and answers since the last `take_notes`."""
        self._marks: dict[Medium, str] = {}
        """Of pictures that were seen, since each pass shows them again."""
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
            samples: Their targets are not looked at.
            texts: For each sample those whose likelihood as its answer is wanted; empty means none for any.
            write: Whether answers are written; otherwise texts are only judged.

        Raises:
            DataError: not one list of texts per sample, not one prediction per sample, or the file cannot be written.
            UnansweredError: a server answers none of the prompts.
        """
        found = self._found(samples, texts, write=write)
        if write:
            self._given += [(sample.id, one) for sample, one in zip(samples, found, strict=True)]
        return found

    def take_notes(self) -> list[str]:
        """Plain sentences on what was odd in the answers since the last call, kept ones included."""
        given, self._given = self._given, []
        can_be_cut = self.predictor.can_control  # a file's answers were made elsewhere
        return _notes.on(self.predictor.name, given, self.max_tokens if can_be_cut else None)

    def _found(
        self, samples: Sequence[Sample], texts: Sequence[Sequence[str]], *, write: bool
    ) -> list[Prediction]:
        if texts and len(texts) != len(samples):
            raise DataError(f"{len(texts)} list(s) of texts for {len(samples)} sample(s); give one for each.")
        given = [tuple(one) for one in texts] or [()] * len(samples)
        max_tokens = self.max_tokens if write else 0
        if not self.predictor.can_control:  # it looks ids up, which are in no key
            self.asked += len(samples)
            return self._ask(samples, given, max_tokens)
        about = [self.predictor.fingerprint, self._version, max_tokens]
        keys = [_key(about, sample, texts, self._marks) for sample, texts in zip(samples, given, strict=True)]
        new: dict[bytes, int] = {}
        for number, key in enumerate(keys):
            if key not in self._known:
                new.setdefault(key, number)
        self.reused += sum(key in self._before for key in keys)

        # A server that refuses everything is found out by a few prompts, long and short ones.
        numbers = list(new.values())
        has_answer = any(key in self._known and not _notes.is_unanswered(self._known[key]) for key in keys)
        probe = _spread(numbers, _NUM_PROBED) if getattr(self.predictor, "may_refuse", False) else []
        rest = self._chunks([n for n in numbers if n not in set(probe)], samples, given)
        for chunk in [probe, *rest] if probe else rest:
            those = [keys[n] for n in chunk]
            asked = self._ask([samples[n] for n in chunk], [given[n] for n in chunk], max_tokens, those)
            self.asked += len(chunk)
            has_answer = has_answer or not all(map(_notes.is_unanswered, asked))
            if not has_answer:
                raise _none_answered(self.predictor.name, asked)
            self._keep(dict(zip(those, asked, strict=True)))
        return [self._known[key] for key in keys]

    def _ask(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]],
        max_tokens: int,
        keys: Sequence[bytes] = (),
    ) -> list[Prediction]:
        """One prediction for each; with keys, answers are kept as they come where the predictor tells each."""
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

    def _chunks(
        self, numbers: Sequence[int], samples: Sequence[Sample], texts: Sequence[Sequence[str]]
    ) -> Iterator[list[int]]:
        """Numbers of samples, picture by picture."""
        pictures: dict[tuple[str, ...], list[int]] = {}
        for n in numbers:
            shown = tuple(medium.key for medium in samples[n].media)
            pictures.setdefault(shown or (samples[n].group, ""), []).append(n)
        lengths = [
            len(sample.prompt) + sum(map(len, one)) for sample, one in zip(samples, texts, strict=True)
        ]
        chunk: list[int] = []
        count = 0
        for those in sorted(pictures.values(), key=lambda those: -max(lengths[n] for n in those)):
            chunk += those
            count += 1
            if count == self.pictures_at_once or len(chunk) >= _PROMPTS_AT_ONCE:
                yield chunk
                chunk, count = [], 0
        if chunk:
            yield chunk

    def _keep(self, found: Mapping[bytes, Prediction]) -> None:
        new = {key: one for key, one in found.items() if self._known.get(key) != one}
        self._known.update(new)
        if self.path is None:
            return
        lasting = {key: one for key, one in new.items() if "may_pass" not in one.extra}
        lines = "".join(json.dumps(_plain(key, one)) + "\n" for key, one in lasting.items())
        try:
            if not self._is_open:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.touch()
                _drop_torn_line(self.path)
                self._is_open = True
            with self.path.open("ab") as file:
                file.write(lines.encode("ascii"))
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot save answers ({error.strerror}); free some space, or choose another folder."
            ) from None

    def _load(self, path: Path) -> None:
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


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    """A few of some numbers, at equal distances from the first to the last."""
    if len(numbers) <= count:
        return list(numbers)
    places = np.linspace(0, len(numbers) - 1, count).round().astype(int)
    return [numbers[place] for place in places]


def _none_answered(name: str, asked: Sequence[Prediction]) -> UnansweredError:
    reasons = list(dict.fromkeys(str(one.extra["unanswered"]) for one in asked))
    return UnansweredError(
        f"{name}: none of the first {len(asked)} prompts was answered: {'; '.join(reasons[:3])}. The server may need other "
        "settings, or a model that supports images and prompts of this length."
    )


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines, long ones cut; one that does not end was cut off while it was written, and is none."""
    while line := file.readline(_MAX_LINE_BYTES):
        end = line
        while end and not end.endswith(b"\n"):
            end = file.readline(_MAX_LINE_BYTES)
        if end:
            yield line


def _drop_torn_line(path: Path) -> None:
    """Cuts what follows the last whole line, or the next answer would be written into it."""
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
    except metadata.PackageNotFoundError:  # used straight from a checkout
        return "not installed"


def _key(about: list[Any], sample: Sample, texts: Sequence[str], marks: dict[Medium, str]) -> bytes:
    """A digest of all that an answer depends on; `marks` holds those of pictures already seen."""
    parts = list(sample.parts)
    while parts and parts[-1].role == "assistant":  # what is to be said; predictors do not look at it
        parts.pop()
    shown = [
        [part.role, part.learn, "medium", _mark(part.content, marks)]
        if isinstance(part.content, Medium)
        else [part.role, part.learn, "text", part.content]
        for part in parts
    ]
    values = [about, shown, list(texts)]
    return hashlib.sha256(json.dumps(values).encode("ascii")).digest()


def _mark(medium: Medium, marks: dict[Medium, str]) -> str:
    if medium not in marks:
        marks[medium] = f"{medium.modality} {medium.key} {_content(medium.source)}"
    return marks[medium]


def _content(source: Any) -> str:
    """What tells a picture from every other one, whatever their names, sizes and times: a digest of what it holds."""
    if isinstance(source, partial) and any(isinstance(one, Medium) for one in source.args):
        # A picture made worse, say: the key has the way, and the picture that it is made of is all that may change.
        made_of = [_content(one.source) for one in source.args if isinstance(one, Medium)]
        return " ".join(["function", *made_of])
    try:
        if callable(source):  # what is drawn, or lies inside another file
            return f"given {_content(source())}"
        if isinstance(source, Path):
            return f"bytes {image_files.digest(Medium(source, 'picture'))}"
    except SightweaveError:  # whoever reads the picture says what is wrong
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
    return {
        "key": key.hex(),
        "text": prediction.text,
        "logprob": prediction.logprob,
        "tokens": prediction.tokens,
        "finish": prediction.finish,
        "likelihoods": [[one.logprob, one.tokens] for one in prediction.likelihoods],
        "extra": dict(prediction.extra),
    }


def _read(line: bytes) -> tuple[bytes, Prediction] | None:
    """Key and prediction of a line; None where it is none of ours."""
    try:
        row = json.loads(line)
        key = bytes.fromhex(row["key"])
        likelihoods = tuple(Likelihood(_number(logprob), _count(n)) for logprob, n in row["likelihoods"])
        logprob = None if row["logprob"] is None else log_probability(_number(row["logprob"]))
        text, finish, extra = row["text"], row["finish"], row["extra"]
        prediction = Prediction(text, logprob, _count(row["tokens"]), finish, likelihoods, extra)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    is_ours = len(key) == 32 and isinstance(text, str) and isinstance(extra, dict)
    return (key, prediction) if is_ours and finish in ("stop", "length", "none") else None


def _number(value: Any) -> float:
    if type(value) not in (float, int):
        raise TypeError
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value
