"""Turns rows of any format into a dataset: checks, filters and splits them, groups them by image, and counts bad ones."""

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
_LOGGED = 5
"""Maximum number of bad rows that are logged individually."""
_HASHED_BYTES = 20_000
"""Maximum number of images whose bytes are hashed to choose those to hold out; with more images, names are hashed."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A row that passed all checks and filters."""

    values: dict[str, Any]
    references: list[Reference]
    images: tuple[Medium, ...]
    records: list[Record]


class Reader:
    """Reads the rows of one source and makes a dataset of them. A reader can be used only once.

    Args:
        rules: Filters for rows, and the limit for bad ones.
        name: Name of the source, for messages.
        folder: Folder that image paths are relative to; None for rows whose images are Python objects.
        root: If `folder` is None, the folder that paths given as text are relative to; None leaves such paths unchanged.
        check: Whether misspelled column names are errors, as in rows that the user wrote.
        probe: Whether to check image headers; not needed if every image is decoded anyway.
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

        self._images_by_key: dict[str, int] = {}
        """Number assigned to each image, or set of images of a row, by its key."""
        self._image_numbers = array("q")
        """For each good row, the number of its image."""
        self._split_codes = array("b")
        """For each good row, the code of its split."""
        self._has_id = array("b")
        """For each good row, whether it has an id of its own."""
        self._id_hashes: set[int] = set()
        self._rating_columns: set[str] = set()
        """Rating columns that at least one row has."""

    def read(self, rows: Iterator[Row]) -> None:
        """Reads all rows and records the bad ones.

        Raises:
            DataError: Too many rows are bad, or any row is bad in strict mode.
        """
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
                rows.close()  # after an error, this closes the files that the generator reads

    def take(self, row: Row) -> Taken | None:
        """Checks one row; returns None if it is valid but filtered out.

        Raises:
            RowError: The row is bad.
        """
        values: Any = row.values
        if isinstance(values, RowError):
            raise values
        if is_record(values):
            return self._take_record(values)

        # Check the columns, and filter by labels and ratings.
        values = without_nan(values)
        if values.get("unlabelled") and self.rules.labelled:
            self.tally.unlabelled += 1
            return None
        if self.check:
            unknown = check_fields(values)
            self.tally.ignored.update(unknown)
            values = {**values, "unread": image_marks.unread(values, set(values) - set(unknown))}

        wanted, rated = of_quality(values, self.rules.min_quality)
        self._rating_columns.update(rated)
        if wanted is None:
            self.tally.filtered += 1
            return None

        # Make the records and check the images.
        references = [self._finder.reference(one) for one in given_images(wanted)]
        images = tuple(self._images.medium(one) for one in references)
        made = records(wanted, images, self._row_name(row), labelled=self.rules.labelled)
        for medium, reference in zip(images, references, strict=True):
            # A reference with four values is an image in a shard. Checking its header would mean reading the whole shard.
            is_in_shard = isinstance(reference, list) and len(reference) == 4
            if not is_in_shard:
                self._finder.look(medium)

        # Keep the records of the wanted tasks and languages.
        kept = [record for record in made if self.rules.is_wanted(record)]
        if not kept:
            self.tally.filtered += 1
            return None
        self.tally.pictured += bool(images)
        if not self.check:
            self.tally.ignored.update(wanted.get("unread", ()))
        return Taken(wanted, references, images, kept)

    def _take_record(self, record: Record) -> Taken:
        """Checks a record that was made in Python."""
        check_record(record)
        for medium in record.images:
            self._finder.look(medium)
        self.tally.pictured += bool(record.images)
        return Taken({"id": record.id, "split": record.split}, [], record.images, [record])

    def _row_name(self, row: Row) -> str:
        return f"{Path(row.file or self.name).stem}:{row.line}"

    def read_kept(self, start: int, size: int) -> bytes:
        """The bytes of an image that was stored inside a row, by their position and size in the store."""
        assert self._images.store is not None
        return self._images.store.read(start, size)

    def _keep(self, row: Row, taken: Taken) -> None:
        identity = taken.values.get("id")
        if identity is not None:
            self._note_id(identity)

        split = self._split_of(row, taken)
        key = "+".join(image.key for image in taken.images) or taken.records[0].id
        self._image_numbers.append(self._images_by_key.setdefault(key, len(self._images_by_key)))
        self._split_codes.append(split)
        self._has_id.append(identity is not None)
        self._kept.append(taken.values, taken.references, taken.records, name=self._row_name(row))
        self.tally.good += 1

    def _note_id(self, identity: Any) -> None:
        """Records the id of a row; a duplicate is counted, or raises `RowError` in strict mode."""
        id_hash = hash(str(identity))
        if id_hash in self._id_hashes:
            if self.rules.strict:
                message = f"duplicate id {identity!r}; ids must be unique."
                raise RowError("duplicate_id", "id", identity, message)
            self.tally.repeated += 1
            self.tally.first_repeated = self.tally.first_repeated or str(identity)
        self._id_hashes.add(id_hash)

    def _split_of(self, row: Row, taken: Taken) -> int:
        """The code of a row's split; `UNNAMED` if it has none."""
        if not self.rules.labelled:  # for inference, rows of all splits are answered
            return SPLITS.index("train")
        if self.rules.split:
            return SPLITS.index(split_name(self.rules.split))
        if is_record(row.values):
            given = split_name(row.values.split)
            return (
                UNNAMED if given == "train" else SPLITS.index(given)
            )  # "train" is the default and may not be meant

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
        self._write_quarantine()
        first = "\n".join(f"  {fault}" for fault in self.faults[:_LOGGED])
        raise DataError(f"{self.name}: {reason}. The first ones:\n{first}")

    def _write_quarantine(self) -> None:
        """Writes the bad rows to the quarantine file, if the source has one."""
        if self.rules.quarantine_path is None:
            return

        lines = "".join(f"{fault.to_json()}\n" for fault in self.faults)
        try:
            files.write_text(self.rules.quarantine_path, lines)
        except OSError as error:
            path = str(self.rules.quarantine_path)
            raise DataError(f"quarantine_path {path!r}: {error.strerror}.") from None

    def finish(self, split: str) -> Table:
        """Returns the dataset of one split, and logs notes on how it was read.

        Raises:
            DataError: There are no rows, all or too many are bad, or the training split was requested and is empty.
        """
        # Log bad rows only for the training split, since the same rows are often read again for the other splits.
        is_training = split == SPLITS[0]
        self._write_quarantine()
        if is_training:
            for fault in self.faults[:_LOGGED]:
                logger.warning("skipped: %s", fault)

        # A held-out split may be empty, for example if there is no file for it.
        if self.tally.rows == 0 and not is_training:
            return self._table(np.zeros(0, np.int64), split, [])
        self._check_rows()

        notes = self.tally.notes(self.name, self.faults, self.rules.quarantine_path)
        if is_training and self.tally.good and not self.tally.pictured:
            logger.warning("%s: no row has an image.", self.name)

        # Assign a split to every row, and choose the rows of the requested one.
        split_codes = self._divided(np.asarray(self._split_codes), notes)
        chosen = np.flatnonzero(split_codes == SPLITS.index(split))
        if not len(chosen):
            notes.append(self._empty_split(split, split_codes))

        for note in notes:
            logger.info("%s", note)
        return self._table(chosen, split, notes)

    def _check_rows(self) -> None:
        """Checks that there are rows, that not too many are bad, and that rating columns exist."""
        if self.tally.rows == 0:
            raise DataError(f"{self.name}: no rows found.")
        if len(self.faults) == self.tally.rows:
            self._stop(f"all {self.tally.rows} rows are bad")
        self._stop_if_too_many()

        missing = [column for column in self.rules.min_quality if column not in self._rating_columns]
        if missing and not self.tally.good:
            raise DataError(f"{self.name}: min_quality refers to {missing[0]!r}, but no row has this column.")

    def _empty_split(self, split: str, split_codes: np.ndarray) -> str:
        """The note for the user about an empty split.

        Raises:
            DataError: The empty split is the training split.
        """
        found = []
        for code, name in enumerate(SPLITS):
            count = int((split_codes == code).sum())
            if count:
                found.append(f"{name} ({count})")

        text = f"{self.name}: no records in split {split!r}; found {', '.join(found) or 'none'}"
        if split == SPLITS[0]:
            raise DataError(f"{text}. Set split={split!r} to use all of them for training.")
        return f"{text}."

    def _divided(self, split_codes: np.ndarray, notes: list[str]) -> np.ndarray:
        """Assigns a split to each row that has none, holding out images for testing and validation where needed.

        Args:
            split_codes: int8 R: code of each row's split, or `UNNAMED`.
            notes: Notes for the user, to which a note about this is added.

        Returns:
            int8 R: code of each row's split.
        """
        unnamed = split_codes == UNNAMED
        shares = self.rules.shares()

        # If no row has a split, hold out some of the images.
        if len(split_codes) and unnamed.all():
            if not any(shares.values()):
                return np.full_like(split_codes, SPLITS.index("train"))
            return self._hold_out(split_codes, shares, "no row has a split", notes)

        if unnamed.any():
            if self.rules.labelled:
                notes.append(f"{self.name}: {int(unnamed.sum())} rows without a split are used for training.")
            split_codes = np.where(unnamed, SPLITS.index("train"), split_codes)

        # If some rows have a split, hold out images for validation only if the user asked for it.
        is_requested = bool(self.rules.validation) and self.rules.labelled and not self.rules.split
        has_training = (split_codes == SPLITS.index("train")).any()
        has_validation = (split_codes == SPLITS.index(VALIDATION)).any()
        if is_requested and has_training and not has_validation:
            share = {VALIDATION: shares[VALIDATION]}
            return self._hold_out(split_codes, share, "no row is in a validation split", notes)
        return split_codes

    def _hold_out(
        self, split_codes: np.ndarray, shares: dict[str, float], why: str, notes: list[str]
    ) -> np.ndarray:
        """Moves a share of the training images, with all their rows, to other splits, and adds a note to `notes`.

        Args:
            split_codes: int8 R: code of each row's split, or `UNNAMED`.
            shares: Share of the images, 0 to 1, for each of the other splits.
            why: Reason, for the note.
            notes: Notes for the user.

        Returns:
            int8 R: new code of each row's split.
        """
        training = np.flatnonzero(splits.is_training(split_codes))
        digests, hashed = self._digests(training)
        taken = splits.held_out(digests, shares)
        notes.append(
            f"{self.name}: {why}, so {len(taken)} of {len(digests)} images are held out "
            f"({splits.counted(taken, shares)}), chosen by the hash of their {hashed}."
        )
        return splits.moved(split_codes, np.asarray(self._image_numbers), taken)

    def _digests(self, rows: np.ndarray) -> tuple[dict[int, str], str]:
        """Hashes the images of some rows.

        Returns:
            The hexadecimal hash of each image by its number, and a word for what was hashed: ``bytes``, or ``names`` if
            there are many images.
        """
        first_rows: dict[int, int] = {}
        for row in rows.tolist():
            first_rows.setdefault(self._image_numbers[row], row)

        uses_bytes = len(first_rows) <= _HASHED_BYTES
        digests: dict[int, str] = {}
        for key, number in self._images_by_key.items():
            if number not in first_rows:
                continue
            images = self._kept.make(first_rows[number], "train")[0].images if uses_bytes else ()
            digests[number] = (
                modalities.digest(images[0]) if images else hashlib.sha256(_bytes(key)).hexdigest()
            )
        return digests, "bytes" if uses_bytes else "names"

    def _table(self, chosen: np.ndarray, split: str, notes: list[str]) -> Table:
        """Makes the dataset of the chosen rows. It references the stored rows, but nothing else of the reader."""
        image_numbers = np.asarray(self._image_numbers)[chosen]

        # Sample images if there are more than the limit.
        if self.rules.limit is not None and len(chosen):
            everything = np.unique(image_numbers)
            wanted = self._sampled(everything, self.rules.limit)
            if len(wanted) < len(everything):
                notes = [
                    *notes,
                    f"{self.name}: {len(wanted):,} of {len(everything):,} images of split {split!r} (limit), sampled by "
                    "the hash of their names.",
                ]
            is_wanted = np.isin(image_numbers, wanted)
            chosen, image_numbers = chosen[is_wanted], image_numbers[is_wanted]

        # Sort the rows by image; the rows of an image keep their order.
        order = np.argsort(image_numbers, kind="stable")
        _, starts = np.unique(image_numbers[order], return_index=True)
        rows = chosen[order]

        return Table(
            make=partial(self._kept.make, split=split),
            rows=rows,
            starts=np.append(starts, len(order)),
            notes=notes,
            faults=self.faults,
            named=np.asarray(self._has_id, bool)[rows],
            fingerprint=self._kept.fingerprint(rows),
            sizes=self._kept.sizes,
            home=self._images.home,
        )

    def _sampled(self, image_numbers: np.ndarray, limit: int) -> np.ndarray:
        """Samples `limit` images: those whose names have the lowest hashes, so that the order of rows does not matter."""
        if len(image_numbers) <= limit:
            return image_numbers

        wanted = set(image_numbers.tolist())
        hashes = []
        for key, number in self._images_by_key.items():
            if number in wanted:
                hashes.append((_hash(key), number))
        return np.array([number for _, number in sorted(hashes)[:limit]])


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _hash(key: str) -> bytes:
    return hashlib.blake2b(_bytes(key), digest_size=8).digest()
