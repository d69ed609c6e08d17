"""Rows of any format -> a data set: checked, filtered, split, grouped by picture, and counted where they are bad."""

from __future__ import annotations

import copy
import hashlib
import logging
from array import array
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sightweave.core import files
from sightweave.core.errors import DataError, MediaError
from sightweave.core.types import Medium, group_of
from sightweave.data.inputs import media
from sightweave.data.reading import image_marks
from sightweave.data.reading.dataset import VALIDATION, Record, is_record, task_of, texts_of
from sightweave.data.reading.image_paths import Folder, Inside, Slice, given
from sightweave.data.reading.records import check_fields, check_record, records, split_name
from sightweave.data.reading.row_files import Fault, Row, RowError, shown, without_nan
from sightweave.data.reading.row_store import Kept, Store

if TYPE_CHECKING:
    from sightweave.data.reading.source import FilesConfig

logger = logging.getLogger(__name__)
SPLITS = ("train", VALIDATION, "test")
_UNNAMED = len(SPLITS)
_ENOUGH_ROWS = 1000
"""From here on the share of bad rows alone is judged."""
_FEW_BAD = 10
"""Bad rows that fewer rows than that may have, up to half of them, whatever their share."""
_SAID = 5
"""Faults that are logged one by one."""
_FEW = 20_000
"""Up to so many pictures are held out by the hash of their bytes; of more, by the hash of their names."""
_VALIDATION_SHARE = 0.1
"""Of the pictures, at most, unless a source names another one."""
_NOT_KEPT = ("image", "images", "quality", "unread")
"""Fields of a row that its records are not made from again."""
_REMEMBERED = 50_000
"""Paths of pictures that are not looked up again."""
Reference = str | list[Any] | Medium
"""Where a row's picture lies: below the root, in a shard (path, offset, size, key), in the store (offset, size, key)."""


def too_many_bad(bad: int, rows: int, max_bad: float) -> str:
    """Why data with so many bad rows should not be trained on; empty where it may be.

    Args:
        bad: Rows that are left out.
        rows: All rows.
        max_bad: The share that may be bad. Of fewer than a thousand rows ten may be bad as well, but not more than half.
    """
    few = min(_FEW_BAD, rows // 2) if rows < _ENOUGH_ROWS else 0
    if bad <= max(max_bad * rows, few):
        return ""
    if few > max_bad * rows:
        return f"{bad} of {rows} rows are bad, and {few} may be; mend them, or raise max_bad"
    return f"{bad} of {rows} rows are bad, over max_bad {max_bad:.1%}"


@dataclass(frozen=True, slots=True)
class Taken:
    """One good row."""

    values: dict[str, Any]
    references: list[Reference]
    images: tuple[Medium, ...]
    records: list[Record]


class Table:
    """Pictures of one split, in the order in which they first occur, each with all that is asked about it.

    Args:
        make: The records of row i.
        rows: Row numbers of all pictures, one picture after the other.
        starts: Where each picture's rows start in `rows`, and the end.
        notes: What a user should know about how the data was read; each was logged too.
        faults: The rows that were left out.
        named: Numbers of the rows that brought an id.
        fingerprint: Changes when a row does: its texts, or the path or place of its pictures (not their bytes).
        home: Where its pictures lie: in tables of one home, equal names mean equal pictures.
    """

    def __init__(
        self,
        *,
        make: Callable[[int], list[Record]],
        rows: np.ndarray,
        starts: np.ndarray,
        notes: Sequence[str] = (),
        faults: Sequence[Fault] = (),
        named: frozenset[int] = frozenset(),
        fingerprint: str = "",
        home: str = "",
    ) -> None:
        self.fingerprint, self.home = fingerprint, home
        self._make, self._rows, self._starts, self._named = make, rows, starts, named
        self.notes = tuple(notes)
        self.faults = tuple(faults)
        self.quarantined = Counter(fault.code for fault in faults)
        """How many rows were left out, by reason."""

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> tuple[Record, ...]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}.")
        index %= len(self)
        rows = self._rows[self._starts[index] : self._starts[index + 1]]
        return tuple(record for row in rows for record in self._make(int(row)))

    def __iter__(self) -> Iterator[tuple[Record, ...]]:
        return (self[index] for index in range(len(self)))

    def renamed(self, prefix: str) -> Table:
        """The same with this before the names of all pictures and groups, to tell them from those of another home."""
        found = copy.copy(self)
        found._make = partial(_renamed, self._make, prefix)
        return found

    @property
    def given_ids(self) -> frozenset[str]:
        """Ids that the rows brought with them; the others were named after their line."""
        return frozenset(
            record.id for row in self._rows if int(row) in self._named for record in self._make(int(row))
        )

    def texts(self) -> Iterator[str]:
        """All texts of all records."""
        for group in self:
            for record in group:
                yield from texts_of(record)


def _renamed(make: Callable[[int], list[Record]], prefix: str, number: int) -> list[Record]:
    found = []
    for record in make(number):
        images = tuple(Medium(one.source, prefix + one.key, one.modality) for one in record.images)
        is_own = record.group == group_of(record.images, record.id)
        group = group_of(images, prefix + record.id) if is_own else record.group and prefix + record.group
        found.append(replace(record, images=images, group=group))
    return found


class Reader:
    """Collects rows and faults; one use only.

    Args:
        options: Of the source.
        name: Of the source, for messages.
        folder: Where image paths lead; None for rows whose pictures are Python objects.
        root: For such rows, the folder that text paths start from, if any.
        check: Whether misspelt columns are faults, since the rows are the user's own.
        probe: Whether headers of pictures are read; whoever decodes them all has no need of it.
    """

    def __init__(
        self,
        options: FilesConfig,
        name: str,
        *,
        folder: Folder | None = None,
        root: Path | None = None,
        check: bool = False,
        probe: bool = True,
    ) -> None:
        self.options, self.name, self.folder, self.root, self.check = options, name, folder, root, check
        self.probe = probe
        self.quarantine_path = Path(options.quarantine_path) if options.quarantine_path is not None else None
        self.num_rows = self.num_unlabelled = self.num_filtered = 0
        self.num_pictured = 0
        """Good rows with a picture."""
        self.faults: list[Fault] = []
        self.ignored: Counter[str] = Counter()
        self._store: Store | list[Any] = Store() if folder is not None else []
        self._groups: dict[str, int] = {}
        self._of_group = array("q")
        self._of_split = array("b")
        self._named: set[int] = set()
        self._ids: set[int] = set()
        self._twice = 0
        self._twice_first = ""
        self._has_quality: set[str] = set()
        self._found: dict[str, str] = {}
        self._probed: dict[str, MediaError | None] = {}

    def read(self, rows: Iterator[Row]) -> None:
        """Takes every row; bad ones are written down, or raised where strict."""
        try:
            for row in rows:
                self._read(row)
        finally:
            if isinstance(rows, Generator):
                rows.close()  # and with it the files that it reads, where an error stopped it

    def _read(self, row: Row) -> None:
        self.num_rows += 1
        try:
            taken = self.take(row)
            if taken is not None:
                self._keep(row, taken)
        except RowError as error:
            self._fault(
                Fault(row.file or self.name, row.line, error.code, error.field, error.value, str(error))
            )

    def take(self, row: Row) -> Taken | None:
        """Checks one row; None where it is good and not wanted.

        Raises:
            RowError: what is wrong with it.
        """
        values: Any = row.values
        if isinstance(values, RowError):
            raise values
        if is_record(values):
            check_record(values)
            for medium in values.images:
                self._probe(medium)
            self.num_pictured += bool(values.images)
            return Taken({"id": values.id, "split": values.split}, [], values.images, [values])
        values = without_nan(values)
        if values.get("unlabelled") and self.options.labelled:
            self.num_unlabelled += 1
            return None
        if self.check:
            unknown = check_fields(values)
            self.ignored.update(unknown)
            values = {**values, "unread": image_marks.unread(values, set(values) - set(unknown))}
        wanted = self._of_quality(values)
        if wanted is None:
            self.num_filtered += 1
            return None
        references = [self._reference(one) for one in self._given_images(wanted)]
        images = tuple(self._medium(one) for one in references)
        made = records(wanted, images, self._name(row), labelled=self.options.labelled)
        for medium, reference in zip(images, references, strict=True):
            # Four numbers are a place in a shard, which would have to be read whole.
            if not (isinstance(reference, list) and len(reference) == 4):
                self._probe(medium)
        kept = [record for record in made if self._is_wanted(record)]
        if not kept:
            self.num_filtered += 1
            return None
        self.num_pictured += bool(images)
        if not self.check:
            self.ignored.update(wanted.get("unread", ()))
        return Taken(wanted, references, images, kept)

    def _name(self, row: Row) -> str:
        return f"{Path(row.file or self.name).stem}:{row.line}"

    def _given_images(self, values: Mapping[str, Any]) -> list[Any]:
        if values.get("images") is not None:
            found = values["images"]
            if values.get("image") is not None:
                raise RowError("duplicate_field", "images", found, "image and images are both there.")
            if not isinstance(found, list | tuple):
                raise RowError("wrong_type", "images", found, f"must be a list (got {shown(found)}).")
            return list(found)
        if values.get("image") is None:
            have = ", ".join(str(name) for name in values if name != "unread") or "nothing"
            raise RowError(
                "missing_field",
                "image",
                None,
                f"missing; each row names its picture (for text alone, images: []). The row has: {have}."
                f"{image_marks.hint(values.get('unread') or ())}",
            )
        return [values["image"]]

    def _reference(self, value: Any) -> Reference:
        if isinstance(value, Slice):
            return [str(value.path), value.offset, value.size, _writable(value.key)]
        if isinstance(value, Inside) and isinstance(self._store, Store):
            return [*self._store.keep(value.data), _writable(value.key)]
        if self.folder is None:
            return given(self.root, value)
        if not isinstance(value, str):
            return self.folder.find(value)
        if value not in self._found:  # many rows name one picture, and following links takes time
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[value] = self.folder.find(value)
        return self._found[value]

    def _medium(self, reference: Reference) -> Medium:
        if isinstance(reference, Medium):
            return reference
        if isinstance(reference, str):
            assert self.folder is not None
            return Medium(self.folder.root / reference, reference)
        if len(reference) == 4:
            path, offset, size, key = reference
            return Medium(Slice(Path(path), offset, size, key), key)
        assert isinstance(self._store, Store)
        return Medium(Kept(self._store.read, *reference[:2]), reference[2])

    def read_kept(self, start: int, size: int) -> bytes:
        """Bytes of a picture that came inside a row."""
        assert isinstance(self._store, Store)
        return self._store.read(start, size)

    def _of_quality(self, values: dict[str, Any]) -> dict[str, Any] | None:
        """The row with the turns that are good enough; None where the row is not."""
        turns = values.get("turns")
        ratings = values.get("quality") or {}
        for column, least in self.options.min_quality.items():
            found = ratings.get(column, values.get(column))
            if found is None:
                return None
            self._has_quality.add(column)
            if isinstance(found, list) and isinstance(turns, list):
                good = [isinstance(x, int | float) and x >= least for x in found]
                turns = _good_turns(turns, good)
                if not turns:
                    return None
            elif not isinstance(found, int | float) or found < least:
                return None
        return values if turns is values.get("turns") else {**values, "turns": turns}

    def _is_wanted(self, record: Record) -> bool:
        if self.options.tasks and task_of(record) not in self.options.tasks:
            return False
        if not self.options.languages:
            return True
        source, target = getattr(record, "source_language", ""), getattr(record, "target_language", "")
        if source and target:
            chosen = self.options.languages
            return f"{source}-{target}" in chosen or (source in chosen and target in chosen)
        return record.tags.get("language", self.options.languages[0]) in self.options.languages

    def _probe(self, medium: Medium) -> None:
        if self.probe and medium.key not in self._probed:
            try:
                is_drawn = callable(medium.source) and not isinstance(medium.source, partial)
                if not is_drawn:  # what is drawn has no header
                    media.probe(medium)
                self._probed[medium.key] = None
            except MediaError as error:
                self._probed[medium.key] = error
        found = self._probed.get(medium.key)
        if found is not None:
            raise RowError(found.code, "image", medium.key, str(found))

    def _keep(self, row: Row, taken: Taken) -> None:
        number = len(self._of_group)
        identity = taken.values.get("id")
        if identity is not None:
            mark = hash(str(identity))
            if mark in self._ids:
                if self.options.strict:
                    raise RowError(
                        "duplicate_id", "id", identity, f"{identity!r} was given before; ids must differ."
                    )
                self._twice += 1
                self._twice_first = self._twice_first or str(identity)
            self._ids.add(mark)
            self._named.add(number)
        if not self.options.labelled:  # whoever only asks wants every row answered, whatever its split
            split = SPLITS.index("train")
        elif self.options.split:
            split = SPLITS.index(split_name(self.options.split))
        elif is_record(row.values):
            given_split = split_name(row.values.split)
            split = _UNNAMED if given_split == "train" else SPLITS.index(given_split)
        else:
            name = taken.values.get("split")
            split = _UNNAMED if name is None else SPLITS.index(split_name(name))
        key = "+".join(image.key for image in taken.images) or taken.records[0].id
        self._of_group.append(self._groups.setdefault(key, len(self._groups)))
        self._of_split.append(split)
        if isinstance(self._store, list):
            self._store.append(taken.records)
        else:
            values = {k: v for k, v in taken.values.items() if k not in _NOT_KEPT}
            self._store.append({**values, "images": taken.references, "name": self._name(row)})

    def _make(self, number: int, split: str) -> list[Record]:
        """The records of one row that was kept."""
        found: Any = self._store[number]
        if isinstance(found, list):
            return [one if one.split == split else replace(one, split=split) for one in found]
        images = [self._medium(one) for one in found["images"]]
        made = records({**found, "split": split}, images, found["name"], labelled=self.options.labelled)
        return [record for record in made if self._is_wanted(record)]

    def _fault(self, fault: Fault) -> None:
        if self.options.strict:
            raise DataError(str(fault))
        self.faults.append(fault)
        # Few rows are judged once all of them were read: bad ones often stand together.
        if self.num_rows >= _ENOUGH_ROWS:
            self._stop_if_too_many()

    def _write_down(self) -> None:
        if self.quarantine_path is not None:
            lines = "".join(f"{fault.to_json()}\n" for fault in self.faults)
            try:
                files.write_text(self.quarantine_path, lines)
            except OSError as error:
                reason = error.strerror
                raise DataError(f"quarantine_path {str(self.quarantine_path)!r}: {reason}.") from None

    def _stop_if_too_many(self) -> None:
        reason = too_many_bad(len(self.faults), self.num_rows, self.options.max_bad)
        if reason:
            self._stop(reason)

    def _stop(self, reason: str) -> None:
        self._write_down()
        first = "\n".join(f"  {fault}" for fault in self.faults[:_SAID])
        raise DataError(f"{self.name}: {reason}. The first of them:\n{first}")

    def finish(self, split: str) -> Table:
        """Splits, counts, writes the bad rows down, and says what was done."""
        self._write_down()
        if split == SPLITS[0]:  # the other splits are often the same rows, read again
            for fault in self.faults[:_SAID]:
                logger.warning("left out: %s", fault)
        if self.num_rows == 0:
            if split != "train":  # a split without a file is empty, and no fault
                return self._table(np.zeros(0, np.int64), split, [])
            raise DataError(f"{self.name}: no rows.")
        if len(self.faults) == self.num_rows:
            self._stop(f"all {self.num_rows} rows are bad")
        self._stop_if_too_many()
        missing = [c for c in self.options.min_quality if c not in self._has_quality]
        if missing and not self._of_group:
            raise DataError(f"{self.name}: min_quality names {missing[0]!r}, and no row has such a column.")
        notes = self._notes()
        if split == SPLITS[0] and self._of_group and not self.num_pictured:
            logger.warning("%s: no row has a picture.", self.name)
        splits = self._split(np.asarray(self._of_split), notes)
        chosen = np.flatnonzero(splits == SPLITS.index(split))
        if not len(chosen):
            counts = ", ".join(
                f"{name} ({count})" for i, name in enumerate(SPLITS) if (count := int((splits == i).sum()))
            )
            text = f"{self.name}: no records of split {split!r}; there are {counts or 'none'}"
            if split == "train":
                raise DataError(f"{text}. split={split!r} takes all of them for training.")
            notes.append(f"{text}.")
        for note in notes:
            logger.info("%s", note)
        return self._table(chosen, split, notes)

    def _split(self, splits: np.ndarray, notes: list[str]) -> np.ndarray:
        """The split of each row, where some or all of them name none; adds what was done to `notes`."""
        unnamed = splits == _UNNAMED
        train, validation = SPLITS.index("train"), SPLITS.index(VALIDATION)
        asked = self.options.validation
        default = min(self.options.held_out, _VALIDATION_SHARE, (1 - self.options.held_out) / 2)
        shares = {"test": self.options.held_out, VALIDATION: default if asked is None else asked}

        if len(splits) and unnamed.all():
            if not any(shares.values()):
                return np.full_like(splits, train)
            return self._hold_out(splits, shares, "no row names a split", notes)

        if unnamed.any():
            if self.options.labelled:
                notes.append(
                    f"{self.name}: {int(unnamed.sum())} rows without a split are taken for training."
                )
            splits = np.where(unnamed, train, splits)
        # Only if it is asked for: a dataset with splits of its own trains on all of its training split.
        is_asked = bool(asked) and self.options.labelled and not self.options.split
        if is_asked and (splits == train).any() and not (splits == validation).any():
            share = {VALIDATION: shares[VALIDATION]}
            return self._hold_out(splits, share, "no row is of a validation split", notes)
        return splits

    def _table(self, chosen: np.ndarray, split: str, notes: Sequence[str]) -> Table:
        groups = np.asarray(self._of_group)[chosen]
        if self.options.limit is not None and len(chosen):
            everything = np.unique(groups)
            wanted = self._drawn(everything, self.options.limit)
            if len(wanted) < len(everything):
                notes = [
                    *notes,
                    f"{self.name}: {len(wanted):,} of {len(everything):,} pictures of split {split!r} (limit), drawn by "
                    "the hash of their names.",
                ]
            is_wanted = np.isin(groups, wanted)
            chosen, groups = chosen[is_wanted], groups[is_wanted]
        order = np.argsort(groups, kind="stable")
        _, starts = np.unique(groups[order], return_index=True)
        return Table(
            make=partial(self._make, split=split),
            rows=chosen[order],
            starts=np.append(starts, len(order)),
            notes=notes,
            faults=self.faults,
            named=frozenset(self._named),
            fingerprint=self._fingerprint(chosen[order]),
            home=str(self.folder.root) if self.folder is not None else "",
        )

    def _drawn(self, groups: np.ndarray, limit: int) -> np.ndarray:
        """`limit` of the pictures: those with the lowest hashes of their names, whatever the order of the rows."""
        if len(groups) <= limit:
            return groups
        wanted = set(groups.tolist())
        hashes = sorted((_hash(key), group) for key, group in self._groups.items() if group in wanted)
        return np.array([group for _, group in hashes[:limit]])

    def _fingerprint(self, rows: np.ndarray) -> str:
        chosen = hashlib.sha256(rows.astype(np.int64).tobytes())
        if isinstance(self._store, Store):
            chosen.update(self._store.digest().encode())
        else:
            for number in rows:
                for record in self._store[int(number)]:
                    chosen.update("\0".join((record.id, *texts_of(record))).encode("utf-8", "surrogatepass"))
        return chosen.hexdigest()

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
        if self._of_group and not self.num_pictured:
            notes.append(
                f"{self.name}: none of {len(self._of_group)} rows has a picture, so they train a language model on text "
                "alone. If there should be pictures, name them in 'image' or 'images'."
            )
        if self.num_unlabelled:
            notes.append(f"{self.name}: {self.num_unlabelled} rows have no answer and were not read.")
        if self.num_filtered:
            notes.append(
                f"{self.name}: {self.num_filtered} of {self.num_rows} rows do not pass tasks, languages or min_quality."
            )
        if self.ignored:
            names = ", ".join(name for name, _ in self.ignored.most_common(10))
            notes.append(f"{self.name}: columns that were not read: {names}.")
        if self._twice:
            first = self._twice_first
            notes.append(
                f"{self.name}: {self._twice} rows have an id that was given before, such as {first!r}."
            )
        return notes

    def _hold_out(
        self, splits: np.ndarray, shares: Mapping[str, float], why: str, notes: list[str]
    ) -> np.ndarray:
        """Moves whole pictures of the training rows to other splits, by the hash of their bytes: alike on every machine.

        Args:
            splits: Of each row; those of no split belong to training.
            shares: Share of the pictures that each other split gets, 0 to 1; their sum is below 1.
            why: For the note.
            notes: Gets a sentence on what was done.
        """
        train = SPLITS.index("train")
        is_train = (splits == train) | (splits == _UNNAMED)
        digests, how = self._digests(np.flatnonzero(is_train))

        # Each split takes its own stretch of the hashes, so that the share of one leaves the splits before it alone.
        taken: dict[int, str] = {}
        start = 0.0
        for name, share in shares.items():
            free = {group: digest for group, digest in digests.items() if group not in taken}
            end = start + share
            found = [g for g, digest in free.items() if start * 2**32 <= int(digest[:8], 16) < end * 2**32]
            # A validation split that stands in for the test split is never empty by chance either.
            is_due = name == "test" or "test" not in shares or share * len(digests) >= 1
            if share and not found and is_due and len(set(free.values())) > 1:  # chance left this split none
                lowest = min(free.values())
                found = [group for group, digest in free.items() if digest == lowest]
            taken |= dict.fromkeys(found, name)
            start = end
        if taken and len(taken) == len(digests):  # training keeps one
            highest = max(digests.values())
            taken = {group: name for group, name in taken.items() if digests[group] != highest}

        counts = Counter(taken.values())
        told = " and ".join(f"{counts[name]} for {name}" for name, share in shares.items() if share)
        notes.append(
            f"{self.name}: {why}, so {len(taken)} of {len(digests)} pictures are held out ({told}), chosen by the hash of "
            f"their {how}."
        )
        codes = np.full(len(self._groups), train)
        for group, name in taken.items():
            codes[group] = SPLITS.index(name)
        return np.where(is_train, codes[np.asarray(self._of_group)], splits)

    def _digests(self, rows: np.ndarray) -> tuple[dict[int, str], str]:
        """A hash of each picture that these rows are about, and of what: its bytes, or its name where there are many."""
        first: dict[int, int] = {}
        for row in rows.tolist():
            first.setdefault(self._of_group[row], row)
        few = len(first) <= _FEW
        digests: dict[int, str] = {}
        for key, group in self._groups.items():
            if group not in first:
                continue
            images = self._make(first[group], "train")[0].images if few else ()
            digests[group] = media.digest(images[0]) if images else hashlib.sha256(_bytes(key)).hexdigest()
        return digests, "bytes" if few else "names"


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _hash(key: str) -> bytes:
    return hashlib.blake2b(_bytes(key), digest_size=8).digest()


def _writable(key: str) -> str:
    """A key that can be written down, made of names in whatever encoding."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")


def _good_turns(turns: Sequence[Any], good: Sequence[bool]) -> list[Any]:
    """Turns of the pairs that are good; the pictures of a first pair that is not go to the next one that is."""
    kept: list[Any] = []
    images: list[Any] = []
    pair = -1
    for turn in turns:
        pair += turn["role"] == "user"
        content = turn["content"] if isinstance(turn["content"], list) else [turn["content"]]
        if pair >= 0 and not (pair < len(good) and good[pair]):
            images += [one for one in content if isinstance(one, int)]
            continue
        kept.append({**turn, "content": [*images, *content] if turn["role"] == "user" else content})
        images = images if turn["role"] != "user" else []
    return kept if any(turn["role"] == "assistant" for turn in kept) else []
