"""The user's own pictures: a folder with images and a ``data.jsonl`` (or CSV), or records given as Python objects.

Each row names ``image`` and any of these; a row may hold several::

    caption | captions                                             (optional: prompt)
    question, answer | answers                                     (optional: options, rationale | steps, type)
    source, target | targets, source_language, target_language

and optionally ``id``, ``split`` (train, val, test) and ``tags``. In CSV a cell holds a list as JSON: ``["a", "b"]``.
"""

from __future__ import annotations

import difflib
import logging
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import PIL.Image

from sightweave.core.config import config
from sightweave.core.errors import DataError, MediaError, did_you_mean
from sightweave.core.types import Medium
from sightweave.data.datasets import _rows
from sightweave.data.datasets._base import Record
from sightweave.data.datasets._rows import Fault, RowError, shown
from sightweave.data.inputs import media
from sightweave.data.tasks import captioning, reasoning, translation, vqa

logger = logging.getLogger(__name__)
FIELDS = (
    *("image", "id", "split", "tags", "type", "prompt", "caption", "captions"),
    *("question", "answer", "answers", "options", "rationale", "steps"),
    *("source", "target", "targets", "source_language", "target_language"),
)
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What a row may call its split, and which split that is."""
_RECORDS = (captioning.Record, vqa.Record, reasoning.Record, translation.Record)
_ENOUGH_ROWS = 1000
"""From here on the share of bad rows is judged."""
_SAID = 5
"""Faults that are logged one by one."""
_Settings = Mapping[str, Any]


@config
class Config:
    """A folder of the user's own pictures."""

    path: str
    """A folder with images and a data.jsonl or data.csv (or any single .jsonl or .csv), or that file itself."""
    image_root: str | None = None
    """The folder that image paths start from and may not leave; by default the one of the file of rows."""
    held_out: float = 0.1
    """Share of pictures held out for the test where no row names a split, 0 to 1."""
    strict: bool = False
    """Whether the first bad row stops everything; otherwise bad rows are left out, counted and written down."""
    max_bad: float = 0.01
    """Share of bad rows, after 1000 rows, that stops everything."""
    quarantine_path: str | None = None
    """A file for the rows left out, one JSON object a line, with the reasons; written anew each time."""
    labelled: bool = True
    """Whether a row must hold answers; without, questions alone will do, for asking a trained model."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The one to train on, and the held-out one."""
        return ("train", "test")

    def build(self, *, split: str) -> Own:
        """The pictures of one split."""
        return from_folder(
            self.path,
            split=split,
            image_root=self.image_root,
            held_out=self.held_out,
            strict=self.strict,
            max_bad=self.max_bad,
            quarantine_path=self.quarantine_path,
            labelled=self.labelled,
        )


class Own:
    """Pictures of one split, in the order in which they first occur, each with all that is asked about it.

    Args:
        pictures: The records of each picture.
        notes: What a user should know about how the data was read; each was logged too.
        faults: The rows that were left out.
        given_ids: Ids that the rows brought with them; the others were named after their line.
    """

    def __init__(
        self,
        *,
        pictures: Sequence[Sequence[Record]],
        notes: Sequence[str] = (),
        faults: Sequence[Fault] = (),
        given_ids: Iterable[str] = (),
    ) -> None:
        self._pictures = tuple(tuple(records) for records in pictures)
        self.notes = tuple(notes)
        self.faults = tuple(faults)
        self.given_ids = frozenset(given_ids)
        self.quarantined = Counter(fault.code for fault in faults)
        """How many rows were left out, by reason."""

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[Record, ...]:
        return self._pictures[index]

    def __iter__(self) -> Iterator[tuple[Record, ...]]:
        return iter(self._pictures)

    def texts(self) -> Iterator[str]:
        """All texts of all records."""
        for records in self._pictures:
            for record in records:
                yield from _texts(record)


def from_folder(
    path: str | Path,
    *,
    split: str = "train",
    image_root: str | Path | None = None,
    held_out: float = 0.1,
    strict: bool = False,
    max_bad: float = 0.01,
    quarantine_path: str | Path | None = None,
    labelled: bool = True,
) -> Own:
    """Reads a folder or a file of rows; the arguments are `Config`'s.

    Raises:
        DataError: no file of rows, no rows, all or too many of them bad, or with `strict` the first bad one.
    """
    file = _rows.find(Path(path).expanduser())
    root = Path(image_root).expanduser() if image_root is not None else file.parent
    if not root.is_dir():
        raise DataError(f"image_root {str(root)!r}: no such folder.")
    reader = _Reader(
        str(file), strict=strict, max_bad=max_bad, quarantine_path=quarantine_path, labelled=labelled
    )
    root = root.resolve()
    seen: dict[str, Medium] = {}  # many rows name one picture, and following links takes time

    def picture(value: Any) -> Medium:
        if not isinstance(value, str) or value not in seen:
            medium = _picture_in(root, value)
            seen[value] = medium
        return seen[value]

    reader.read(_rows.read(file), picture)
    return reader.finish(split, held_out)


def from_records(
    records: Iterable[Mapping[str, Any] | Record],
    *,
    split: str = "train",
    image_root: str | Path | None = None,
    held_out: float = 0.1,
    strict: bool = False,
    max_bad: float = 0.01,
    quarantine_path: str | Path | None = None,
    labelled: bool = True,
) -> Own:
    """The same from Python objects: rows as dicts, or records of the tasks.

    A dict's ``image`` may be a path, the bytes of a file, an array or a Pillow image. Text paths start from
    `image_root` and may not leave it; without one, any path is taken.

    Raises:
        DataError: as `from_folder`.
    """
    if isinstance(records, str | bytes | Mapping) or not isinstance(records, Iterable):
        raise DataError(f"records: a list of dicts or of records is needed (got {type(records).__name__}).")
    root = Path(image_root).expanduser().resolve() if image_root is not None else None
    reader = _Reader(
        "records", strict=strict, max_bad=max_bad, quarantine_path=quarantine_path, labelled=labelled
    )
    rows: list[_rows.Row] = []
    values: Any
    for index, values in enumerate(records):
        if not isinstance(values, (Mapping, *_RECORDS)):
            values = RowError(
                "wrong_type", "", values, f"a record is a dict or a task's Record (got {shown(values)})."
            )
        rows.append(_rows.Row(index, values))
    reader.read(rows, lambda value: _picture_given(root, value))
    return reader.finish(split, held_out)


class _Reader:
    """Collects records and faults; one use only."""

    def __init__(
        self,
        name: str,
        *,
        strict: bool,
        max_bad: float,
        quarantine_path: str | Path | None,
        labelled: bool,
    ) -> None:
        self.name, self.strict, self.max_bad, self.labelled = name, strict, max_bad, labelled
        self.quarantine_path = Path(quarantine_path) if quarantine_path is not None else None
        self.num_rows = 0
        self.faults: list[Fault] = []
        self.pictures: dict[str, list[Record]] = {}
        self.media: dict[str, Medium] = {}
        self.named_split = False
        self.num_unnamed = 0
        self.ignored: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.given_ids: set[str] = set()
        self._probed: dict[str, MediaError | None] = {}

    def read(self, rows: Iterable[_rows.Row], picture: Callable[[Any], Medium]) -> None:
        """Takes every row; bad ones are written down, or raised where strict."""
        for row in rows:
            self.num_rows += 1
            try:
                self._take(row, picture)
            except RowError as error:
                fault = Fault(self.name, row.line, error.code, error.field, error.value, str(error))
                self._fault(fault)

    def _take(self, row: _rows.Row, picture: Callable[[Any], Medium]) -> None:
        values: Any = row.values
        if isinstance(values, RowError):
            raise values
        if isinstance(values, _RECORDS):
            medium = values.image
            if medium is not None:
                self._probe(medium)
            key = medium.key if medium is not None else values.id
            self.named_split |= values.split != "train"
            self.given_ids.add(values.id)
            self._keep(key, medium, [values])
            return
        self._check_fields(values)
        if values.get("image") is None:
            raise RowError(
                "missing_field", "image", None, f"missing; each row names its picture. {_near(values)}"
            )
        medium = picture(values["image"])
        name = f"{Path(self.name).stem}:{row.line}"
        records = _records(values, medium, name, labelled=self.labelled)
        self._probe(medium)
        if values.get("id") is not None:
            self.ids[str(values["id"])] += 1
            self.given_ids.add(str(values["id"]))
            if self.strict and self.ids[str(values["id"])] > 1:
                raise RowError(
                    "duplicate_id", "id", values["id"], f"{values['id']!r} was given before; ids must differ."
                )
        if values.get("split") is None:
            self.num_unnamed += 1
        else:
            self.named_split = True
        self._keep(medium.key, medium, records)

    def _keep(self, key: str, medium: Medium | None, records: Sequence[Record]) -> None:
        if medium is not None:
            self.media.setdefault(key, medium)
        if not self.labelled:  # whoever only asks wants every row answered, whatever its split
            records = [replace(record, split="train") for record in records]
        self.pictures.setdefault(key, []).extend(records)

    def _check_fields(self, values: Mapping[str, Any]) -> None:
        for key in values:
            if key in FIELDS:
                continue
            # ``question_id`` or ``image_width`` is another column, ``captoin`` a slip of the finger.
            is_other = any(str(key).startswith(f"{field}_") for field in FIELDS)
            if not is_other and difflib.get_close_matches(str(key), FIELDS, n=1, cutoff=0.8):
                raise RowError(
                    "unknown_field", str(key), values[key], f"unknown field. {did_you_mean(str(key), FIELDS)}"
                )
            self.ignored[str(key)] += 1

    def _probe(self, medium: Medium) -> None:
        if medium.key not in self._probed:
            try:
                if not callable(medium.source):  # what is drawn has no header
                    media.probe(medium)
                self._probed[medium.key] = None
            except MediaError as error:
                self._probed[medium.key] = error
        found = self._probed[medium.key]
        if found is not None:
            raise RowError(found.code, "image", medium.key, str(found))

    def _fault(self, fault: Fault) -> None:
        if self.strict:
            raise DataError(str(fault))
        self.faults.append(fault)
        if len(self.faults) <= _SAID:
            logger.warning("left out: %s", fault)
        if self.num_rows >= _ENOUGH_ROWS and len(self.faults) > self.max_bad * self.num_rows:
            self._stop(f"{len(self.faults)} of {self.num_rows} rows so far are bad, over {self.max_bad:.1%}")

    def _write_down(self) -> None:
        if self.quarantine_path is not None:
            lines = "".join(f"{fault.to_json()}\n" for fault in self.faults)
            try:
                self.quarantine_path.write_text(lines, encoding="utf-8")
            except OSError as error:
                reason = error.strerror
                raise DataError(f"quarantine_path {str(self.quarantine_path)!r}: {reason}.") from None

    def _stop(self, reason: str) -> None:
        self._write_down()
        first = "\n".join(f"  {fault}" for fault in self.faults[:_SAID])
        raise DataError(f"{self.name}: {reason}. The first of them:\n{first}")

    def finish(self, split: str, held_out: float) -> Own:
        """Splits, counts, writes the bad rows down, and says what was done."""
        if not 0 <= held_out < 1:
            raise DataError(f"held_out: at least 0 and under 1 (got {held_out}).")
        self._write_down()
        if self.num_rows == 0:
            raise DataError(f"{self.name}: no rows.")
        if len(self.faults) == self.num_rows:
            self._stop(f"all {self.num_rows} rows are bad")
        notes = self._notes()
        if not self.named_split and held_out > 0:
            notes.append(self._hold_out(held_out))
        pictures, more = self._of_split(_split_name(split))
        notes += more
        for note in notes:
            logger.info("%s", note)
        return Own(pictures=pictures, notes=notes, faults=self.faults, given_ids=self.given_ids)

    def _notes(self) -> list[str]:
        notes = []
        if self.faults:
            reasons = ", ".join(
                f"{code}: {n}" for code, n in Counter(f.code for f in self.faults).most_common()
            )
            where = f"; see {self.quarantine_path}" if self.quarantine_path is not None else ""
            notes.append(
                f"{self.name}: {len(self.faults)} of {self.num_rows} rows left out ({reasons}){where}."
            )
        if self.named_split and self.num_unnamed:
            notes.append(f"{self.name}: {self.num_unnamed} rows without a split are taken for training.")
        if self.ignored:
            names = ", ".join(name for name, _ in self.ignored.most_common(10))
            notes.append(f"{self.name}: columns that were not read: {names}.")
        if twice := [name for name, count in self.ids.items() if count > 1]:
            notes.append(f"{self.name}: {len(twice)} ids stand on more than one row, such as {twice[0]!r}.")
        return notes

    def _hold_out(self, share: float) -> str:
        """Moves whole pictures to the test split, by the hash of their bytes: the same on every machine."""
        digests = {key: media.digest(self.media[key]) for key in self.pictures if key in self.media}
        test = {key for key, digest in digests.items() if int(digest[:8], 16) < share * 2**32}
        if digests and not test and len(set(digests.values())) > 1:  # so few that chance left none
            lowest = min(digests.values())
            test = {key for key, digest in digests.items() if digest == lowest}
        if test and len(test) == len(self.pictures):
            highest = max(digests.values())
            test = {key for key in test if digests[key] != highest}
        for key in test:
            self.pictures[key] = [replace(record, split="test") for record in self.pictures[key]]
        return (
            f"{self.name}: no row names a split, so {len(test)} of {len(self.pictures)} pictures are held out for the "
            "test, chosen by the hash of their bytes."
        )

    def _of_split(self, split: str) -> tuple[list[list[Record]], list[str]]:
        counts = Counter(record.split for records in self.pictures.values() for record in records)
        notes = []
        wanted = split
        if counts["val"] and not counts["test"]:
            wanted = "val" if split == "test" else split
            notes.append(
                f"{self.name}: no row of split test; the {counts['val']} of split val are used for it."
            )
        elif counts["val"] and split != "val":
            notes.append(f"{self.name}: {counts['val']} records of split val are in neither train nor test.")
        kept = (
            [record for record in records if record.split == wanted] for records in self.pictures.values()
        )
        pictures = [records for records in kept if records]
        if not pictures:
            have = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
            if split == "train":
                raise DataError(f"{self.name}: no records of split {split!r}; there are {have}.")
            notes.append(f"{self.name}: no records of split {split!r}; there are {have}.")
        return pictures, notes


def _split_name(value: Any) -> str:
    if not isinstance(value, str):
        raise RowError("wrong_type", "split", value, f"must be text (got {shown(value)}).")
    name = SPLITS.get(value.strip().lower())
    if name is None:
        raise RowError(
            "bad_split", "split", value, f"unknown split {shown(value)}. {did_you_mean(value, SPLITS)}"
        )
    return name


def _near(values: Mapping[str, Any]) -> str:
    return f"The row has: {', '.join(map(str, values)) or 'nothing'}."


def _records(values: Mapping[str, Any], medium: Medium, name: str, *, labelled: bool) -> list[Record]:
    """All records of one row.

    Raises:
        RowError: a field is missing, empty, of the wrong type, or without its partner.
    """
    tags = _tags(values)
    split = _split_name(values["split"]) if values.get("split") is not None else "train"
    common: dict[str, Any] = {"image": medium, "group": medium.key, "split": split, "tags": tags}
    identity = values.get("id")
    if identity is not None:
        if isinstance(identity, bool) or not isinstance(identity, str | int) or identity == "":
            raise RowError(
                "wrong_type", "id", identity, f"must be text or a whole number (got {shown(identity)})."
            )
        name = str(identity)
    made = [
        record
        for make in (_captioning, _question, _translation)
        if (record := make(values, {**common, "id": name}, labelled)) is not None
    ]
    if not made:
        raise RowError(
            "missing_field",
            "",
            list(values),
            f"nothing to learn; give caption, question and answer, or source and target. {_near(values)}",
        )
    if len(made) == 1:
        return made
    kinds = [type(record).__module__.rpartition(".")[2] for record in made]
    return [replace(record, id=f"{name}#{kind}") for record, kind in zip(made, kinds, strict=True)]


def _captioning(values: Mapping[str, Any], common: _Settings, labelled: bool) -> captioning.Record | None:
    captions = _several(values, "caption", "captions")
    prompt = _text(values, "prompt")
    others = ("question", "source")
    if not captions and (labelled or any(values.get(key) is not None for key in others)):
        return None
    return captioning.Record(**common, captions=captions, prompt=prompt)


def _question(
    values: Mapping[str, Any], common: _Settings, labelled: bool
) -> vqa.Record | reasoning.Record | None:
    question = _text(values, "question")
    answers = _several(values, "answer", "answers")
    options = _several(values, None, "options")
    rationale = " ".join(_several(values, "rationale", "steps"))
    if not question:
        for field in ("answer", "answers", "options", "rationale", "steps"):
            if values.get(field) is not None:
                raise RowError(
                    "missing_field", "question", None, f"missing, but there is {field!r}. {_near(values)}"
                )
        return None
    if not answers and labelled:
        raise RowError("missing_field", "answer", None, f"missing, but there is a question. {_near(values)}")
    if rationale:
        return reasoning.Record(
            **common, question=question, answers=answers, options=options, rationale=rationale
        )
    return vqa.Record(**common, question=question, answers=answers, options=options)


def _translation(values: Mapping[str, Any], common: _Settings, labelled: bool) -> translation.Record | None:
    source = _text(values, "source")
    targets = _several(values, "target", "targets")
    languages = {key: _text(values, key) for key in ("source_language", "target_language")}
    found: dict[str, object] = {"source": source, "target": targets, **languages}
    if not any(found.values()):
        return None
    for field, value in found.items():
        if not value and (labelled or field != "target"):
            have = next(key for key, value in found.items() if value)
            raise RowError("missing_field", field, None, f"missing, but there is {have!r}. {_near(values)}")
    return translation.Record(
        **common,
        source=source,
        targets=targets,
        source_language=languages["source_language"],
        target_language=languages["target_language"],
    )


def _string(value: Any, field: str) -> str:
    if not isinstance(value, str):
        hint = f"; write it as {str(value)!r}" if isinstance(value, int | float) else ""
        raise RowError("wrong_type", field, value, f"must be text (got {shown(value)}{hint}).")
    if not value.strip():
        raise RowError("empty_field", field, value, f"is empty (got {shown(value)}).")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"{value[error.start]!a}"
        raise RowError(
            "bad_text", field, half, f"holds half a surrogate pair ({half}), no character."
        ) from None
    return value


def _text(values: Mapping[str, Any], field: str) -> str:
    value = values.get(field)
    return "" if value is None else _string(value, field)


def _several(values: Mapping[str, Any], one: str | None, many: str) -> tuple[str, ...]:
    """The texts of a field and of its plural; either may be one text or a list."""
    found: list[str] = []
    for field in (one, many):
        value = values.get(field) if field else None
        if field is None or value is None:
            continue
        if isinstance(value, list | tuple):
            if not value:
                raise RowError("empty_field", field, value, "is an empty list.")
            found += [_string(item, field) for item in value]
        elif isinstance(value, str):
            found.append(_string(value, field))
        else:
            hint = f"; write it as {str(value)!r}" if isinstance(value, int | float) else ""
            raise RowError(
                "wrong_type", field, value, f"must be text or a list of texts (got {shown(value)}{hint})."
            )
    return tuple(dict.fromkeys(found)) if many != "steps" else tuple(found)


def _tags(values: Mapping[str, Any]) -> dict[str, str]:
    tags = values.get("tags")
    result: dict[str, str] = {}
    if tags is not None:
        if not isinstance(tags, Mapping):
            raise RowError(
                "wrong_type", "tags", tags, f"must be a mapping of names to texts (got {shown(tags)})."
            )
        result = {_string(key, "tags"): _string(value, f"tags.{key}") for key, value in tags.items()}
    if values.get("type") is not None:
        result["type"] = _string(values["type"], "type")
    return result


def _picture_in(root: Path, value: Any) -> Medium:
    """A picture under a folder, by its relative path.

    Raises:
        RowError: the path is absolute, names a home or a URL, or leaves the folder, be it by a link.
    """
    name = _string(value, "image")

    def refused(problem: str) -> RowError:
        return RowError(
            "image_path",
            "image",
            name,
            f"{shown(name)} {problem}; image paths start from {str(root)!r} and stay in it.",
        )

    if "\0" in name:
        raise refused("holds a NUL")
    if "://" in name or name.lower().startswith(("file:", "data:", "http:", "https:")):
        raise refused("is a URL, and nothing is fetched")
    if name.startswith("~"):
        raise refused("names a home folder")
    windows = PureWindowsPath(name)
    if name.startswith(("/", "\\")) or windows.drive:
        raise refused("is absolute")
    if ".." in windows.parts:  # splits at both kinds of slash
        raise refused("leaves the folder")
    path = _existing(root, name)
    try:
        is_inside = path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):
        raise refused("is a link that leads nowhere") from None
    if not is_inside:
        raise refused("is a link that leaves the folder")
    return Medium(source=path, key=path.relative_to(root).as_posix())


def _existing(root: Path, name: str) -> Path:
    """The path as written, or as another system spells the same letters (composed or decomposed)."""
    for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
        try:
            if (root / form).exists():
                return root / form
        except (OSError, RuntimeError):  # too long, or a loop of links: opening it will say so
            break
    return root / name


def _picture_given(root: Path | None, value: Any) -> Medium:
    """A picture from a Python object."""
    if isinstance(value, Medium):
        return value
    if isinstance(value, str) and root is not None:
        return _picture_in(root, value)
    if isinstance(value, str | Path):
        path = Path(_string(str(value), "image")).expanduser()
        return Medium(source=path, key=path.as_posix())
    if isinstance(value, bytes | bytearray | memoryview | np.ndarray | PIL.Image.Image):
        source = bytes(value) if isinstance(value, bytearray | memoryview) else value
        try:
            return Medium(source=source, key=media.digest(Medium(source=source, key="image"))[:32])
        except MediaError as error:
            raise RowError(error.code, "image", value, str(error)) from None
    raise RowError(
        "wrong_type",
        "image",
        value,
        f"must be a path, bytes, an array or a Pillow image (got {shown(value)}).",
    )


def _texts(record: Record) -> Iterator[str]:
    for name in ("prompt", "question", "rationale", "source"):
        if text := getattr(record, name, ""):
            yield text
    for name in ("captions", "answers", "options", "targets"):
        yield from getattr(record, name, ())
    for region in record.regions:
        yield from region.words
