"""Predictor for a file of answers that another program wrote, which are scored like those of a model.

The file has JSON lines, a JSON array, or CSV, with one answer per row::

    {"id": "q-7", "answer": "red"}                          also this project's own predictions.jsonl
    {"image": "a.png", "prompt": "...", "answer": "red"}    what ``generate --out`` writes if the data has no ids; in a
                                                            table the prompt is called question
    {"question_id": 7, "answer": "red"}                     VQA v2, OK-VQA, TextVQA
    {"questionId": "7", "prediction": "red"}                GQA
    {"image": "VizWiz_val_7.jpg", "answer": "red"}          VizWiz: the id is the name, with or without its suffix
    {"image_id": 7, "caption": "A red ball."}               COCO
    test1-0-0-0,true                                        NLVR2, CSV without a header

Ids are compared as text with those of the samples. A number as an answer keeps its spelling: 2.50 is "2.50".
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from sightweave.core import answer_files
from sightweave.core.config import config
from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Prediction, Sample
from sightweave.data.phrasing.lettered_options import without_listing
from sightweave.data.reading.splits import common_split
from sightweave.programs.predictors import _thinking
from sightweave.programs.predictors._base import Progress, log_probability

_SUFFIXES = (".json", ".jsonl", ".csv")
_IDS = ("id", "question_id", "questionId", "identifier", "image_id")
_ANSWERS = ("answer", "prediction", "caption")
_MAX_BYTES = 512 << 20
"""Maximum size of a file in bytes; a million answers with their prompts are smaller."""
_BOM = b"\xef\xbb\xbf"
_SHOWN = 80


def recognise(who: str) -> str:
    """Describes a file of answers; empty for anything else.

    Only the name is checked, so that `Config.build` can report errors in the contents.
    """
    is_named = Path(who).suffix.lower() in _SUFFIXES
    return "a file of answers" if is_named and os.path.isfile(who) else ""


@config
class Config:
    """Options of the predictor for a file of answers."""

    path: str
    """Path of a .json, .jsonl or .csv file."""
    missing: Literal["error", "wrong"] = "error"
    """Treatment of samples without an answer: error stops the evaluation, wrong counts an empty answer."""
    split: str = ""
    """Split to read; rows without a split are always read. Empty reads all rows."""

    @classmethod
    def at(cls, where: str) -> Config:
        """The options for a file of answers, with defaults for everything but the path."""
        return cls(path=where)

    def build(self) -> Answers:
        """Reads the file.

        Raises:
            DataError: the file cannot be read, or a row is invalid; the message names its line.
        """
        return Answers(Path(self.path).expanduser(), missing=self.missing, split=self.split)


class _Number(str):
    """A JSON number with its original spelling."""

    __slots__ = ()


class _Row(NamedTuple):
    where: str
    text: str
    logprob: float | None
    finish: str
    split: str


class Answers:
    """Looks up the answer to a sample by its id, or by its image and prompt if the row has no id.

    Args:
        path: Path of a .json, .jsonl or .csv file.
        missing: ``error``, or ``wrong`` to count a sample without an answer as an empty answer.
        split: Split to read; rows without a split are always read. Empty reads all rows.

    Raises:
        DataError: the file cannot be read, has no answers, or a row is invalid.
    """

    can_score = False
    can_control = False

    def __init__(self, path: Path, *, missing: Literal["error", "wrong"] = "error", split: str = "") -> None:
        self.path = path
        self.missing = missing
        self.name = str(path)
        self.notes: tuple[str, ...] = ()
        """Sentences on samples for which the last call of `predict` found no answer or an empty one."""

        # The fingerprint covers everything that affects the answers.
        data = _read(path)
        self.fingerprint = f"answers {hashlib.sha256(data).hexdigest()} missing={missing} split={split}"

        self._by_id: dict[str, _Row] = {}
        self._by_image: dict[str, _Row] = {}
        self._by_stem: dict[str, _Row | None] = {}
        self._by_prompt: dict[tuple[str, str], _Row] = {}
        self._count = 0

        for where, values in _rows(path, data):
            row = _row(where, values)
            if not split or row.split == "" or common_split(row.split) == common_split(split):
                self._keep(row, values)
                self._count += 1

        if not self._count:
            of_split = f" of the split {split!r}" if split else ""
            raise DataError(
                f'{path}: no answers{of_split}; write one row per answer, such as {{"id": "1", "answer": "red"}}.'
            )

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        max_tokens: int = 96,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """The answers in the file, in the order of the samples; `max_tokens` does not cut them.

        Raises:
            BackendError: there are texts to score, which a file cannot do.
            DataError: no sample has an answer, or with ``missing="error"`` some have none.
        """
        if texts and len(texts) != len(samples):
            raise DataError(f"{self.path}: {len(texts)} list(s) of texts for {len(samples)} sample(s).")
        if any(texts):
            raise BackendError(
                f"{self.path}: a file of answers has no likelihoods of other texts; remove the metrics that need them."
            )
        if max_tokens == 0:
            return [Prediction("", finish="none") for _ in samples]

        rows = [self._find(sample) for sample in samples]
        self._check_missing(samples, rows)
        self.notes = tuple(self._notes(rows))
        if progress is not None and samples:
            progress(len(samples))

        predictions = []
        for row in rows:
            if row is None:
                predictions.append(Prediction(""))
            else:
                predictions.append(Prediction(row.text, logprob=row.logprob, finish=row.finish))
        return _thinking.without_thoughts(predictions)

    def _keep(self, row: _Row, values: Mapping[str, Any]) -> None:
        """Stores a row under its id or, without one, under its image."""
        where = row.where
        field = next((name for name in _IDS if name in values), "")
        if not field and "image" not in values:
            raise DataError(
                f"{where}: no id; a row needs one of {', '.join(_IDS)}, image (it has: {_shown(list(values))})."
            )

        if field:
            name = _name(values[field], field, where)
            self._check_new(self._by_id.setdefault(name, row), row, f"the {field} {_shown(name)}")
        elif "prompt" in values:
            image = "" if values["image"] is None else _name(values["image"], "image", where)
            prompt = _text(values["prompt"], "prompt", where)
            first = self._by_prompt.setdefault((image, prompt), row)
            # The same prompt for the same image may be repeated with the same answer.
            if first.text != row.text:
                self._check_new(first, row, f"the prompt {_shown(prompt)} on the image {_shown(image)}")
        else:
            name = _name(values["image"], "image", where)
            self._check_new(self._by_image.setdefault(name, row), row, f"the image {_shown(name)}")
            if "/" not in name:
                stem = PurePosixPath(name).stem
                self._by_stem[stem] = None if stem in self._by_stem else row

    def _check_new(self, first: _Row, row: _Row, what: str) -> None:
        """Checks that no other row already has this name.

        Raises:
            DataError: the name is already taken.
        """
        if first is row:
            return

        if first.split != row.split:
            hint = f"they are in the splits {first.split!r} and {row.split!r}: set `split` to one of them"
        else:
            hint = "keep one answer for each"
        raise DataError(f"{row.where}: {what} is also in {first.where}; {hint}.")

    def _find(self, sample: Sample) -> _Row | None:
        found = self._by_id.get(sample.id) or self._by_image.get(sample.id) or self._by_stem.get(sample.id)
        if found is None and self._by_prompt:
            image = sample.media[0].key if sample.media else ""
            # The model may not have been shown the list of options.
            bare = without_listing(sample.prompt, sample.options)
            found = self._by_prompt.get((image, sample.prompt)) or self._by_prompt.get((image, bare))
        return found

    def _check_missing(self, samples: Sequence[Sample], rows: Sequence[_Row | None]) -> None:
        lost = [sample.id for sample, row in zip(samples, rows, strict=True) if row is None]
        if samples and len(lost) == len(samples):
            raise DataError(
                f"{self.path}: none of its {self._count} answer(s) matches any of the {len(samples)} sample(s): it "
                f"has {self._example()}, the samples {samples[0].id!r}. Is it for the same data and split?"
            )

        if lost and self.missing == "error":
            raise DataError(
                f"{self.path}: no answer for {len(lost)} of {len(samples)} samples, such as {', '.join(lost[:5])}; add "
                "them, or set missing: wrong to count them as empty answers."
            )

    def _example(self) -> str:
        """The name of one answer in the file, for messages."""
        names = [*self._by_id, *self._by_image]
        if names:
            return _shown(names[0])
        image, prompt = next(iter(self._by_prompt))
        return f"{_shown(prompt)} on the image {_shown(image)}"

    def _notes(self, rows: Sequence[_Row | None]) -> Iterator[str]:
        used = {row.where for row in rows if row is not None}
        missing = sum(row is None for row in rows)
        others = self._count - len(used)
        empty = sum(row is not None and not row.text.strip() for row in rows)

        if missing:
            yield f"{self.path}: {missing} of {len(rows)} samples have no answer; each counts as an empty answer."
        if others:
            yield f"{self.path}: {others} of its {self._count} answers match none of these samples."
        if empty:
            yield f"{self.path}: {empty} of {len(rows)} answers are empty."


def _read(path: Path) -> bytes:
    """The contents of a file without its byte-order mark.

    Raises:
        DataError: the file cannot be read, is not a regular file, or is too large.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise DataError(f"{path}: is a folder; give the file of answers in it.")
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: not a regular file.")
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path!s:.80}: not a valid file name.") from None

    if len(data) > _MAX_BYTES:
        raise DataError(
            f"{path}: more than {_MAX_BYTES} bytes; keep only ids and answers in it, or split it."
        )
    return data.removeprefix(_BOM)


def _rows(path: Path, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """The location of each row, with lines counted from 1, and its values."""
    if not data.strip():
        raise DataError(f"{path}: the file is empty.")
    if path.suffix.lower() == ".csv":
        return _csv_rows(path, data)
    return _array_rows(path, data) if data.lstrip().startswith(b"[") else _line_rows(path, data)


def _decoded(path: Path, data: bytes, first: int = 1) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first + data.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}:{line}: not UTF-8: byte 0x{data[error.start]:02x}; save the file as UTF-8."
        ) from None


def _line_rows(path: Path, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(io.BytesIO(data), start=1):
        if not line.strip():
            continue

        text = _decoded(path, line, number).strip(" \t\r\n")
        value, end = _value(path, text, 0, number)
        if end < len(text):
            raise DataError(f"{path}:{number}: unexpected text after the row: {_shown(text[end:].strip())}.")
        yield f"{path}:{number}", _as_object(f"{path}:{number}", value)


def _array_rows(path: Path, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the rows of a JSON array, parsed one by one so that errors can be reported with their line."""
    text = _decoded(path, data)
    at = text.index("[") + 1
    line, number = 1 + text.count("\n", 0, at), 0

    def skip() -> str:
        """Skips white space; returns the next character, or an empty string at the end."""
        nonlocal at, line
        while at < len(text) and text[at] in " \t\r\n":
            line += text[at] == "\n"
            at += 1
        return text[at : at + 1]

    following = skip()
    while following != "]":
        # Read one row.
        number += 1
        where = f"{path}:{line} (row {number})"
        start, (value, at) = at, _value(path, text, at, line)
        yield where, _as_object(where, value)
        line += text.count("\n", start, at)

        # Expect a comma and another row, or the end.
        following = skip()
        if following == ",":
            at += 1
            if skip() != "]":
                continue
            following = ","
        if following != "]":
            found = _shown(text[at : at + 20]) if following else "the end of the file"
            raise DataError(f"{path}:{line}: not JSON: expected ',' and a row, or ']' (got {found}).")

    at += 1
    if skip():
        raise DataError(f"{path}:{line}: unexpected text after the array: {_shown(text[at : at + 20])}.")


def _value(path: Path, text: str, at: int, line: int) -> tuple[Any, int]:
    """The JSON value at an offset, and the offset of its end."""
    try:
        return _JSON.raw_decode(text, at)
    except json.JSONDecodeError as error:
        wrong = line + text.count("\n", at, error.pos)
        near = text[error.pos : error.pos + _SHOWN].partition("\n")[0] or text[at : at + _SHOWN]
        raise DataError(f"{path}:{wrong}: not JSON: {error.msg} (near {_shown(near)}).") from None
    except RecursionError:
        raise DataError(f"{path}:{line}: invalid JSON: nested too deeply.") from None
    except DataError as error:  # raised by the two functions below
        raise DataError(f"{path}:{line}: {error}") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise DataError(f"{_shown(key)} is given twice ({_shown(values[key])} and {_shown(value)}).")
        values[key] = value
    return values


def _no_constant(name: str) -> Any:
    raise DataError(f"{name} is not JSON; omit the field if there is no value.")


_JSON = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_int=_Number, parse_float=_Number
)


def _as_object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f'{where}: a row must be an object such as {{"id": ...}} (got {_shown(value)}).')
    return value


def _csv_rows(path: Path, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields rows of CSV, with a header that names an id and an answer; without a header, two columns are id and answer."""
    reader = csv.reader(io.StringIO(_decoded(path, data), newline=""), strict=True)
    header: list[str] = []
    last = 0
    try:
        for cells in reader:
            line, last = last + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue

            if not header:
                header, is_header = _header(path, line, cells)
                if is_header:
                    continue

            # Collect the values of one row.
            if len(cells) != len(header):
                raise DataError(
                    f"{path}:{line}: {len(cells)} value(s) for the {len(header)} columns {', '.join(header)}; quote "
                    "values that contain a comma, or put the column names in the first row."
                )
            values: dict[str, Any] = dict(zip(header, cells, strict=True))
            if "logprob" in values:
                values["logprob"] = _Number(values["logprob"].strip()) if values["logprob"].strip() else None
            if header[: len(answer_files.COLUMNS)] == list(answer_files.COLUMNS):
                values = _from_own_table(values)
            yield f"{path}:{line}", values
    except csv.Error as error:
        raise DataError(f"{path}:{last + 1}: not CSV: {error}.") from None


def _header(path: Path, line: int, cells: Sequence[str]) -> tuple[list[str], bool]:
    """The column names, and whether they come from the first row."""
    names = [cell.strip() for cell in cells]
    has_id = any(name in (*_IDS, "image") for name in names)
    is_header = has_id and any(name in _ANSWERS for name in names)
    header = names if is_header else ["id", "answer"]
    if len(set(header)) < len(header):
        raise DataError(f"{path}:{line}: a column appears twice in the first row ({_shown(names)}).")
    return header, is_header


def _from_own_table(values: dict[str, Any]) -> dict[str, Any]:
    """Converts a row of a table written by Sightweave to the fields of our JSON lines; an empty cell means no value."""
    named = {"prompt" if name == "question" else name: value for name, value in values.items()}
    if not named["id"]:
        del named["id"]
        named["image"] = named["image"] or None
    return named


def _row(where: str, values: Mapping[str, Any]) -> _Row:
    fields = [name for name in _ANSWERS if name in values]
    if len(fields) != 1:
        what = f"both {' and '.join(fields)}; keep the one to evaluate" if fields else "no answer"
        raise DataError(
            f"{where}: {what}; a row needs one of {', '.join(_ANSWERS)} (it has: {_shown(list(values))})."
        )

    finish, split = values.get("finish"), values.get("split")
    return _Row(
        where,
        text=_text(values[fields[0]], fields[0], where),
        logprob=_logprob(values.get("logprob"), where),
        finish=finish if finish in ("stop", "length") else "stop",
        split=split if isinstance(split, str) else "",
    )


def _text(value: Any, field: str, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: {field}: must be text (got {_shown(value)}).")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{where}: {field}: contains an unpaired surrogate.") from None
    return str(value)


def _name(value: Any, field: str, where: str) -> str:
    name = _text(value, field, where)
    if isinstance(value, _Number) and not name.removeprefix("-").isdigit():
        raise DataError(f"{where}: {field}: must be text or a whole number (got {name:.{_SHOWN}}).")
    if not name.strip():
        raise DataError(f"{where}: {field}: is empty.")
    return name


def _logprob(value: Any, where: str) -> float | None:
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, _Number) else math.nan
    except ValueError:
        number = math.nan

    known = log_probability(number)
    if known is None:
        raise DataError(
            f"{where}: logprob: must be the mean natural logarithm of the tokens' probabilities, so 0 or less "
            f"(got {_shown(value)})."
        )
    return known


def _shown(value: object) -> str:
    """A value as shown in messages: shortened, and on one line."""
    text = str(value) if isinstance(value, _Number) else repr(value)
    return text if len(text) <= _SHOWN + 2 else text[:_SHOWN] + "..."
