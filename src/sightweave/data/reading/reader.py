"""Rows of any format -> a dataset: checked, filtered, split, grouped by picture, and counted where they are bad."""

from __future__ import annotations

import hashlib
import logging
from array import array
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.core import files
from sightweave.core.errors import DataError
from sightweave.core.types import Medium
from sightweave.data.inputs import modalities
from sightweave.data.reading import image_marks, splits
from sightweave.data.reading.dataset import Record, is_record
from sightweave.data.reading.image_paths import Folder
from sightweave.data.reading.kept_rows import KeptRows
from sightweave.data.reading.records import check_fields, check_record, records
from sightweave.data.reading.row_files import Fault, Row, RowError, without_nan
from sightweave.data.reading.row_images import ImageFinder, Reference, RowImages, given_images
from sightweave.data.reading.row_store import Store
from sightweave.data.reading.rules import Rules, is_judged_at_once, of_quality, too_many_bad
from sightweave.data.reading.splits import SPLITS, UNNAMED, VALIDATION, split_name
from sightweave.data.reading.table import Table
from sightweave.data.reading.tally import Tally

logger = logging.getLogger(__name__)
_SAID = 5
"""Faults that are logged one by one."""
_FEW = 20_000
"""Up to this many pictures are held out by the hash of their bytes; of more, by the hash of their names."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One good row."""

    values: dict[str, Any]
    references: list[Reference]
    images: tuple[Medium, ...]
    records: list[Record]


class Reader:
    """Collects rows and faults; one use only.

    Args:
        rules: Which rows are wanted.
        name: Of the source, for messages.
        folder: Where image paths lead; None for rows whose pictures are Python objects.
        root: For such rows, the folder that text paths start from, if any.
        check: Whether misspelt columns are faults, since the rows are the user's own.
        probe: Whether headers of pictures are read; whoever decodes them all has no need of it.
    """

    def __init__(
        self,
        rules: Rules,
        name: str,
        *,
        folder: Folder | None = None,
        root: Path | None = None,
        check: bool = False,
        probe: bool = True,
    ) -> None:
        self.rules, self.name, self.check = rules, name, check
        self.tally = Tally()
        self.faults: list[Fault] = []
        self._images = RowImages(folder, Store() if folder is not None else None)
        self._finder = ImageFinder(self._images, root=root, probe=probe)
        self._kept = KeptRows(self._images, rules)

        self._pictures: dict[str, int] = {}
        """Number of each picture (or set of pictures) by its key."""
        self._of_picture = array("q")
        self._of_split = array("b")
        self._has_id = array("b")
        self._ids: set[int] = set()
        self._rated: set[str] = set()
        """Columns of ratings that some row has."""

    def read(self, rows: Iterator[Row]) -> None:
        """Takes every row; bad ones are written down, or raised where strict."""
        try:
            for row in rows:
                self.tally.rows += 1
                try:
                    taken = self.take(row)
                    if taken is not None:
                        self._keep(row, taken)
                except RowError as error:
                    file = row.file or self.name
                    self._fault(Fault(file, row.line, error.code, error.field, error.value, str(error)))
        finally:
            if isinstance(rows, Generator):
                rows.close()  # and with it the files that it reads, where an error stopped it

    def take(self, row: Row) -> Taken | None:
        """Checks one row; None where it is good and not wanted.

        Raises:
            RowError: what is wrong with it.
        """
        values: Any = row.values
        if isinstance(values, RowError):
            raise values
        if is_record(values):
            return self._take_record(values)

        values = without_nan(values)
        if values.get("unlabelled") and self.rules.labelled:
            self.tally.unlabelled += 1
            return None
        if self.check:
            unknown = check_fields(values)
            self.tally.ignored.update(unknown)
            values = {**values, "unread": image_marks.unread(values, set(values) - set(unknown))}

        wanted, rated = of_quality(values, self.rules.min_quality)
        self._rated.update(rated)
        if wanted is None:
            self.tally.filtered += 1
            return None

        references = [self._finder.reference(one) for one in given_images(wanted)]
        images = tuple(self._images.medium(one) for one in references)
        made = records(wanted, images, self._row_name(row), labelled=self.rules.labelled)
        for medium, reference in zip(images, references, strict=True):
            # Four numbers are a place in a shard, which would have to be read whole.
            if not (isinstance(reference, list) and len(reference) == 4):
                self._finder.look(medium)

        kept = [record for record in made if self.rules.is_wanted(record)]
        if not kept:
            self.tally.filtered += 1
            return None
        self.tally.pictured += bool(images)
        if not self.check:
            self.tally.ignored.update(wanted.get("unread", ()))
        return Taken(wanted, references, images, kept)

    def _take_record(self, record: Record) -> Taken:
        """A record that was made in Python."""
        check_record(record)
        for medium in record.images:
            self._finder.look(medium)
        self.tally.pictured += bool(record.images)
        return Taken({"id": record.id, "split": record.split}, [], record.images, [record])

    def _row_name(self, row: Row) -> str:
        return f"{Path(row.file or self.name).stem}:{row.line}"

    def read_kept(self, start: int, size: int) -> bytes:
        """Bytes of a picture that came inside a row."""
        assert self._images.store is not None
        return self._images.store.read(start, size)

    def _keep(self, row: Row, taken: Taken) -> None:
        identity = taken.values.get("id")
        if identity is not None:
            self._note_id(identity)

        split = self._split_of(row, taken)
        key = "+".join(image.key for image in taken.images) or taken.records[0].id
        self._of_picture.append(self._pictures.setdefault(key, len(self._pictures)))
        self._of_split.append(split)
        self._has_id.append(identity is not None)
        self._kept.append(taken.values, taken.references, taken.records, name=self._row_name(row))
        self.tally.good += 1

    def _note_id(self, identity: Any) -> None:
        """Counts ids that were given before, or refuses them where strict."""
        mark = hash(str(identity))
        if mark in self._ids:
            if self.rules.strict:
                raise RowError(
                    "duplicate_id", "id", identity, f"duplicate id {identity!r}; ids must be unique."
                )
            self.tally.repeated += 1
            self.tally.first_repeated = self.tally.first_repeated or str(identity)
        self._ids.add(mark)

    def _split_of(self, row: Row, taken: Taken) -> int:
        """The code of the split that a row belongs to, or `UNNAMED`."""
        if not self.rules.labelled:  # whoever only asks wants every row answered, whatever its split
            return SPLITS.index("train")
        if self.rules.split:
            return SPLITS.index(split_name(self.rules.split))
        if is_record(row.values):
            given = split_name(row.values.split)
            return UNNAMED if given == "train" else SPLITS.index(given)  # train is a record's default
        name = taken.values.get("split")
        return UNNAMED if name is None else SPLITS.index(split_name(name))

    def _fault(self, fault: Fault) -> None:
        if self.rules.strict:
            raise DataError(str(fault))
        self.faults.append(fault)
        if is_judged_at_once(self.tally.rows):
            self._stop_if_too_many()

    def _stop_if_too_many(self) -> None:
        reason = too_many_bad(len(self.faults), self.tally.rows, self.rules.max_bad)
        if reason:
            self._stop(reason)

    def _stop(self, reason: str) -> None:
        self._write_down()
        first = "\n".join(f"  {fault}" for fault in self.faults[:_SAID])
        raise DataError(f"{self.name}: {reason}. The first ones:\n{first}")

    def _write_down(self) -> None:
        """Writes the bad rows to the file that the source names."""
        if self.rules.quarantine_path is None:
            return
        lines = "".join(f"{fault.to_json()}\n" for fault in self.faults)
        try:
            files.write_text(self.rules.quarantine_path, lines)
        except OSError as error:
            path = str(self.rules.quarantine_path)
            raise DataError(f"quarantine_path {path!r}: {error.strerror}.") from None

    def finish(self, split: str) -> Table:
        """Splits, counts, writes the bad rows down, and says what was done.

        Raises:
            DataError: no rows, all or too many of them bad, or none of the training split.
        """
        self._write_down()
        if split == SPLITS[0]:  # the other splits are often the same rows, read again
            for fault in self.faults[:_SAID]:
                logger.warning("skipped: %s", fault)
        if self.tally.rows == 0 and split != SPLITS[0]:  # a split without a file is empty, and no fault
            return self._table(np.zeros(0, np.int64), split, [])
        self._check_rows()

        notes = self.tally.notes(self.name, self.faults, self.rules.quarantine_path)
        if split == SPLITS[0] and self.tally.good and not self.tally.pictured:
            logger.warning("%s: no row has an image.", self.name)

        of_split = self._divided(np.asarray(self._of_split), notes)
        chosen = np.flatnonzero(of_split == SPLITS.index(split))
        if not len(chosen):
            notes.append(self._none_of(split, of_split))
        for note in notes:
            logger.info("%s", note)
        return self._table(chosen, split, notes)

    def _check_rows(self) -> None:
        """Whether there are rows, and not too many bad ones."""
        if self.tally.rows == 0:
            raise DataError(f"{self.name}: no rows found.")
        if len(self.faults) == self.tally.rows:
            self._stop(f"all {self.tally.rows} rows are bad")
        self._stop_if_too_many()

        missing = [column for column in self.rules.min_quality if column not in self._rated]
        if missing and not self.tally.good:
            raise DataError(f"{self.name}: min_quality refers to {missing[0]!r}, but no row has this column.")

    def _none_of(self, split: str, of_split: np.ndarray) -> str:
        """A note that no row is of a split; of the training split, an error."""
        counts = [(name, int((of_split == code).sum())) for code, name in enumerate(SPLITS)]
        there = ", ".join(f"{name} ({count})" for name, count in counts if count) or "none"
        text = f"{self.name}: no records in split {split!r}; found {there}"
        if split == SPLITS[0]:
            raise DataError(f"{text}. Set split={split!r} to use all of them for training.")
        return f"{text}."

    def _divided(self, of_split: np.ndarray, notes: list[str]) -> np.ndarray:
        """The split of each row, where some or all of them name none; adds what was done to `notes`."""
        unnamed = of_split == UNNAMED
        shares = self.rules.shares()

        if len(of_split) and unnamed.all():
            if not any(shares.values()):
                return np.full_like(of_split, SPLITS.index("train"))
            return self._hold_out(of_split, shares, "no row has a split", notes)

        if unnamed.any():
            if self.rules.labelled:
                notes.append(f"{self.name}: {int(unnamed.sum())} rows without a split are used for training.")
            of_split = np.where(unnamed, SPLITS.index("train"), of_split)

        # Only if it is asked for: a dataset with splits of its own trains on all of its training split.
        is_asked = bool(self.rules.validation) and self.rules.labelled and not self.rules.split
        has_training = (of_split == SPLITS.index("train")).any()
        has_validation = (of_split == SPLITS.index(VALIDATION)).any()
        if is_asked and has_training and not has_validation:
            share = {VALIDATION: shares[VALIDATION]}
            return self._hold_out(of_split, share, "no row is in a validation split", notes)
        return of_split

    def _hold_out(
        self, of_split: np.ndarray, shares: dict[str, float], why: str, notes: list[str]
    ) -> np.ndarray:
        """Moves whole pictures of the training rows to other splits; adds a note on it."""
        training = np.flatnonzero(splits.is_training(of_split))
        digests, how = self._digests(training)
        taken = splits.held_out(digests, shares)
        notes.append(
            f"{self.name}: {why}, so {len(taken)} of {len(digests)} images are held out "
            f"({splits.counted(taken, shares)}), chosen by the hash of their {how}."
        )
        return splits.moved(of_split, np.asarray(self._of_picture), taken)

    def _digests(self, rows: np.ndarray) -> tuple[dict[int, str], str]:
        """A hash of each picture that these rows are about, and of what: its bytes, or its name where there are many."""
        first: dict[int, int] = {}
        for row in rows.tolist():
            first.setdefault(self._of_picture[row], row)

        has_few = len(first) <= _FEW
        digests: dict[int, str] = {}
        for key, number in self._pictures.items():
            if number not in first:
                continue
            images = self._kept.make(first[number], "train")[0].images if has_few else ()
            digests[number] = (
                modalities.digest(images[0]) if images else hashlib.sha256(_bytes(key)).hexdigest()
            )
        return digests, "bytes" if has_few else "names"

    def _table(self, chosen: np.ndarray, split: str, notes: list[str]) -> Table:
        """The chosen rows, picture by picture. It holds the kept rows, and nothing else of the reader."""
        of_picture = np.asarray(self._of_picture)[chosen]
        if self.rules.limit is not None and len(chosen):
            everything = np.unique(of_picture)
            wanted = self._drawn(everything, self.rules.limit)
            if len(wanted) < len(everything):
                notes = [
                    *notes,
                    f"{self.name}: {len(wanted):,} of {len(everything):,} images of split {split!r} (limit), sampled by "
                    "the hash of their names.",
                ]
            is_wanted = np.isin(of_picture, wanted)
            chosen, of_picture = chosen[is_wanted], of_picture[is_wanted]

        order = np.argsort(of_picture, kind="stable")
        _, starts = np.unique(of_picture[order], return_index=True)
        rows = chosen[order]
        return Table(
            make=partial(self._kept.make, split=split),
            rows=rows,
            starts=np.append(starts, len(order)),
            notes=notes,
            faults=self.faults,
            named=np.asarray(self._has_id, bool)[rows],
            fingerprint=self._kept.fingerprint(rows),
            home=self._images.home,
        )

    def _drawn(self, pictures: np.ndarray, limit: int) -> np.ndarray:
        """`limit` of the pictures: those with the lowest hashes of their names, whatever the order of the rows."""
        if len(pictures) <= limit:
            return pictures
        wanted = set(pictures.tolist())
        hashes = sorted((_hash(key), number) for key, number in self._pictures.items() if number in wanted)
        return np.array([number for _, number in hashes[:limit]])


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _hash(key: str) -> bytes:
    return hashlib.blake2b(_bytes(key), digest_size=8).digest()
