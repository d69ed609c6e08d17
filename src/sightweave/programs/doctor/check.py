"""One pass over a dataset: reads every row as training would, decodes every image once, and counts everything.

Memory grows by only a few numbers per row: images and the facts about them are stored in `State`.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from sightweave.core import catalog
from sightweave.core.cores import num_cores
from sightweave.core.types import Medium
from sightweave.data.reading.dataset import Record, task_of, texts_of
from sightweave.data.reading.file_names import json_files
from sightweave.data.reading.json_stream import glance
from sightweave.data.reading.reader import Taken
from sightweave.data.reading.row_files import Row, RowError
from sightweave.data.reading.rules import too_many_bad
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import SPLITS, VALIDATION, split_name
from sightweave.data.tasks import conversation
from sightweave.programs.doctor.hashing import Duplicates
from sightweave.programs.doctor.labels import Labels
from sightweave.programs.doctor.languages import language_of
from sightweave.programs.doctor.pictures import PictureFacts
from sightweave.programs.doctor.report import Example, Report
from sightweave.programs.doctor.sameness import digest_of
from sightweave.programs.doctor.state import State, stamp_of
from sightweave.programs.doctor.texts import inspect_text
from sightweave.programs.doctor.workers import Workers

_IMAGES_PER_JOB = 16
"""Number of images in one request to a worker."""
_LONG_ANSWER = 4000
"""Number of characters above which an answer is probably an error."""
_NO_SPLIT = len(SPLITS)
_PROVENANCE = {
    "license",
    "licence",
    "licenses",
    "source",
    "source_url",
    "url",
    "coco_url",
    "flickr_url",
    "copyright",
}
_Batch = list[tuple[int, Medium, str]]
"""Number, image and stamp of each image in a request."""
_Waiting = deque[tuple[_Batch, Future[list[PictureFacts]]]]
Progress = Callable[[int, int], None]
"""Function that is called with the numbers of rows and images read so far."""
Lengths = Callable[[Sequence[Record]], Sequence[tuple[int, int]]]
"""Function from records to a pair for each: its number of tokens, and the largest number that is allowed."""


def check(
    source: FilesConfig,
    *,
    state: State,
    against: FilesConfig | None = None,
    against_state: State | None = None,
    lengths: Lengths | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Report, Rows]:
    """Reads all rows and decodes all images of a source.

    Args:
        source: The dataset to check.
        state: Store for the facts about its images.
        against: A test set that training must not have seen.
        against_state: Store for the images of the test set.
        lengths: Computes the number of tokens of records under a recipe, and the maximum.
        workers: Number of decoding processes; None means one per core.
        progress: Called with the numbers of rows and images read so far.

    Returns:
        The report, and the state of the pass.

    Raises:
        DataError: the dataset cannot be read at all, for example because a file is not valid JSON.
    """
    report = Report(path=source.path, kind=type(source).__module__.rpartition(".")[2])
    rows = Rows(source, state, report, lengths, workers, progress)
    rows.read()
    rows.conclude()

    if against is not None and against_state is not None:
        other = Report(path=against.path, kind=type(against).__module__.rpartition(".")[2])
        theirs = Rows(against, against_state, other, None, workers, progress)
        theirs.read()
        rows.compare(theirs)

    rows.judge()
    return report, rows


class Rows:
    """The state of one pass over a dataset, filled by `check`.

    Args:
        source: The dataset to check.
        state: Store for the facts about its images.
        report: The report to fill.
        lengths: Computes the number of tokens of records, and the maximum.
        workers: Number of decoding processes.
        progress: Called with the numbers of rows and images read so far.
    """

    def __init__(
        self,
        source: FilesConfig,
        state: State,
        report: Report,
        lengths: Lengths | None,
        workers: int | None,
        progress: Progress | None,
    ) -> None:
        self.source, self.state, self.report, self.lengths = source, state, report, lengths
        self.progress = progress

        self._reader = source.reader(probe=False)
        self.workers = workers or num_cores()
        self._batch: _Batch = []
        self.labels = Labels()
        self.duplicates = Duplicates()

        self.files: list[str] = []
        self._file_numbers: dict[str, int] = {}
        self.row_file, self.row_line, self.row_split = array("I"), array("q"), array("b")
        self.row_hash = array("Q")
        self.image_starts, self.images = array("Q", [0]), array("I")

        self.bad_pictures: set[int] = set()
        self.drop: list[tuple[tuple[tuple[str, int], ...], str]] = []
        """Locations of rows that cannot be trained on, each with the reason."""
        self.located: list[int] = []
        """Numbers of the images whose metadata contains a geographic location."""
        self._places: dict[int, tuple[tuple[str, int], ...]] = {}

    # The pass over all rows

    def read(self) -> None:
        """Reads every row, while worker processes decode the images."""
        waiting: _Waiting = deque()
        with Workers(self.workers) as pool:
            for row in self.source.rows(""):
                self.report.rows += 1
                # Parse the row.
                try:
                    taken = self._reader.take(row)
                except RowError as error:
                    self._bad_row(row, error)
                    continue
                if taken is None:
                    self.report.passed_over += 1
                    continue

                # Record its contents, and queue its images.
                self._good_row(row, taken)
                for medium in taken.images:
                    number, is_new = self.state.number(medium)
                    self.images.append(number)
                    if is_new:
                        self._inspect(number, medium, pool, waiting)
                self.image_starts.append(len(self.images))

                if self.progress is not None and self.report.rows % 100 == 0:
                    self.progress(self.report.rows, len(self.state))

            self._send(pool, waiting)
            while waiting:
                self._receive(*waiting.popleft())

        self.report.pictures = len(self.state)
        if self.progress is not None:
            self.progress(self.report.rows, len(self.state))

    def _inspect(self, number: int, medium: Medium, pool: Workers, waiting: _Waiting) -> None:
        """Reports on an image from its stored facts if its file has not changed; otherwise queues it for a worker."""
        stamp = stamp_of(medium)
        known = self.state.known(medium.key, stamp)
        if known is not None:
            self._report_on(number, medium.key, known)
            return

        self.report.looked_at += 1
        self._batch.append((number, medium, stamp))
        if len(self._batch) >= _IMAGES_PER_JOB:
            self._send(pool, waiting)
        # Limit the queue, so that results do not pile up in memory.
        while len(waiting) > 2 * self.workers:
            self._receive(*waiting.popleft())

    def _send(self, pool: Workers, waiting: _Waiting) -> None:
        if self._batch:
            media = [medium for _, medium, _ in self._batch]
            waiting.append((self._batch, pool.submit(media)))
            self._batch = []

    def _receive(self, batch: _Batch, future: Future[list[PictureFacts]]) -> None:
        for (number, medium, stamp), facts in zip(batch, future.result(), strict=True):
            self.state.keep(medium.key, stamp, facts)
            self._report_on(number, medium.key, facts)

    def _report_on(self, number: int, key: str, facts: PictureFacts) -> None:
        for found in facts.findings:
            self.report.add(found.code, found.severity, Example(f"{key}: {found.message}", picture=key))
            if found.severity == "error":
                self.bad_pictures.add(number)
            if found.code == "image_location":
                self.located.append(number)

        if facts.fingerprint:
            self.duplicates.add(number, bytes.fromhex(facts.fingerprint))

    def _bad_row(self, row: Row, error: RowError) -> None:
        file = row.file or self.source.path
        field = f"{error.field}: " if error.field else ""
        self.report.add(error.code, "error", Example(f"{field}{error}", file, row.line))
        self.drop.append((row.places or ((file, row.line),), error.code))

    def _good_row(self, row: Row, taken: Taken) -> None:
        file = row.file or self.source.path
        number = len(self.row_line)

        # Store where the row is, so that it can be named or removed later.
        if file not in self._file_numbers:
            self._file_numbers[file] = len(self.files)
            self.files.append(file)
        if row.places:
            self._places[number] = row.places
        self.row_file.append(self._file_numbers[file])
        self.row_line.append(row.line)

        name = self.source.split or taken.values.get("split")
        split = _NO_SPLIT if name is None else SPLITS.index(split_name(name))
        self.row_split.append(split)
        self.report.splits["no split" if name is None else SPLITS[split]] += 1

        # Count its texts.
        for record in taken.records:
            self.report.records[task_of(record)] += 1
            self._texts(record, Example("", file, row.line))
        self.row_hash.append(digest_of(taken.images, taken.records))
        if self.lengths is not None:
            self._length(taken.records, file, row.line)

    def _texts(self, record: Record, at: Example) -> None:
        for text in texts_of(record):
            for found in inspect_text(text):
                message = f"{found.message} {found.shown!r}"
                self.report.add(found.code, found.severity, Example(message, at.file, at.line))
            self.report.languages[language_of(text)] += 1

        for answer in _answers(record):
            if len(answer) > _LONG_ANSWER:
                message = f"an answer of {len(answer)} characters (more than {_LONG_ANSWER})."
                self.report.add("text_over_long", "warning", Example(message, at.file, at.line))

        question, answers = getattr(record, "question", ""), getattr(record, "answers", ())
        if question and answers:
            self.labels.add(question, answers[0], record.group, type=record.tags.get("type", ""))

    def _length(self, records: Sequence[Record], file: str, line: int) -> None:
        assert self.lengths is not None
        for record, (tokens, limit) in zip(records, self.lengths(records), strict=True):
            if tokens > limit:
                message = f"{record.id}: {tokens} tokens including images, more than {limit}."
                self.report.add("over_length", "warning", Example(message, file, line))

    # Findings that need all rows

    def conclude(self) -> None:
        """Reports what can be seen only from all rows: duplicates, overlap of splits, rows with bad images, labels."""
        self._bad_pictures()
        self._duplicate_rows()
        exact = self._same_files()
        near = self._near_duplicates(exact)
        self._overlap(exact, near)

        if self.row_line and not self.images:
            message = f"none of {len(self.row_line)} rows has an image: a model would train on text only."
            self.report.add("no_pictures", "warning", Example(message))

        self.report.labels = self.labels.report()
        self._label_findings()
        self._provenance()

        self.report.good_rows = len(self.row_line) - len(self._rows_with(self.bad_pictures))
        self.report.is_unlabelled = not self.source.labelled
        if self.report.is_unlabelled:
            message = (
                "no captions, questions or answers: images to ask a model about, but nothing to train on."
            )
            self.report.add("no_texts", "info", Example(message))

    def _rows_with(self, pictures: set[int]) -> np.ndarray:
        """Numbers of the rows that contain one of these images, in order."""
        if not pictures:
            return np.zeros(0, np.int64)

        images = np.asarray(self.images)
        hit = np.flatnonzero(np.isin(images, np.fromiter(pictures, np.int64)))
        return np.unique(np.searchsorted(np.asarray(self.image_starts), hit, side="right") - 1)

    def places(self, row: int) -> tuple[tuple[str, int], ...]:
        """All places (file, number) of a good row."""
        return self._places.get(row, ((self.files[self.row_file[row]], self.row_line[row]),))

    def medium(self, key: str) -> Medium | None:
        """A checked image by its key, to be read again."""
        return self.state.medium(key, self._reader.read_kept)

    def files_used(self) -> set[Path]:
        """All files from which a row or an image was read."""
        found = {Path(file) for file in self.files}
        for places in self._places.values():
            found.update(Path(file) for file, _ in places)
        for places, _ in self.drop:
            found.update(Path(file) for file, _ in places)
        return found | set(self.state.paths())

    def located_below(self, folder: Path) -> list[str]:
        """Images below a folder whose metadata contains a geographic location, as paths relative to the folder."""
        folder = folder.resolve()
        found = []
        for number in self.located:
            medium = self.medium(self.state.key(number))
            if medium is not None and isinstance(medium.source, Path):
                path = medium.source.resolve()
                if path.is_relative_to(folder):
                    found.append(path.relative_to(folder).as_posix())
        return found

    def _bad_pictures(self) -> None:
        for row in self._rows_with(self.bad_pictures):
            self.drop.append((self.places(int(row)), "bad picture"))

    def _duplicate_rows(self) -> None:
        """Reports rows that repeat an earlier row of their split, and rows that occur in two splits."""
        marks = np.asarray(self.row_hash)
        # The sort is stable: equal rows of a split stay in file order, so that the first one is kept.
        order = np.lexsort((np.asarray(self.row_split), marks))
        splits = np.asarray(self.row_split)[order]
        same = (marks[order][1:] == marks[order][:-1]) & (splits[1:] == splits[:-1])

        self._rows_in_both(marks)
        for row in np.sort(order[1:][same]):
            file, line = self.files[self.row_file[row]], self.row_line[row]
            message = "the same images and texts as an earlier row."
            self.report.add("duplicate_row", "warning", Example(message, file, line))
            self.drop.append((self.places(int(row)), "duplicate_row"))

    def _rows_in_both(self, marks: np.ndarray) -> None:
        """Reports training rows that also occur in a held-out split, with the same texts and images."""
        splits = np.asarray(self.row_split)
        in_training = splits == SPLITS.index("train")
        held = np.unique(marks[~in_training & (splits != _NO_SPLIT)])

        for row in np.flatnonzero(in_training & np.isin(marks, held)):
            file, line = self.files[self.row_file[row]], self.row_line[row]
            message = "the same images and texts as a row in a held-out split."
            self.report.add("train_test_overlap", "error", Example(message, file, line))
            self.drop.append((self.places(int(row)), "train_test_overlap"))

    def _same_files(self) -> dict[int, int]:
        """Maps each image with the same bytes as an earlier one to the first such image."""
        first: dict[bytes, int] = {}
        same: dict[int, int] = {}

        for number, digest in self.state.digests():
            mark = bytes.fromhex(digest)[:16]
            if mark in first:
                same[number] = first[mark]
                key = self.state.key(number)
                other = self.state.key(first[mark])
                message = f"{key} and {other} are the same file."
                self.report.add("image_duplicate", "warning", Example(message, picture=key))
            else:
                first[mark] = number
        return same

    def _near_duplicates(self, exact: dict[int, int]) -> list[tuple[int, ...]]:
        """Groups of images that look alike, except groups in which all images are the same file."""
        near = []
        for group in self.duplicates.groups():
            different = {exact.get(number, number) for number in group}
            if len(different) < 2:
                continue

            near.append(tuple(group))
            names = ", ".join(self.state.key(number) for number in group[:4])
            example = Example(f"{len(group)} images: {names}", picture=self.state.key(group[0]))
            self.report.add("image_near_duplicate", "warning", example)
        return near

    def _splits_of_pictures(self) -> np.ndarray:
        """A bit mask for each of the N images, with one bit for each split in which the image is used; uint8 N."""
        splits = np.zeros(len(self.state), np.uint8)
        starts = np.asarray(self.image_starts, dtype=np.int64)
        counts = starts[1:] - starts[:-1]
        of_image = np.repeat(np.asarray(self.row_split), counts)
        np.bitwise_or.at(splits, np.asarray(self.images), (1 << of_image).astype(np.uint8))
        return splits

    def _overlap(self, exact: dict[int, int], near: Sequence[tuple[int, ...]]) -> None:
        """Reports training images that are also in a held-out split, as the same file or a near duplicate."""
        used = self._splits_of_pictures()
        train = 1 << SPLITS.index("train")
        held = (1 << SPLITS.index(VALIDATION)) | (1 << SPLITS.index("test"))

        # The same file name in both splits is a warning; copies under another name are an error.
        leaks: set[int] = {int(n) for n in np.flatnonzero((used & train > 0) & (used & held > 0))}
        same_key = set(leaks)
        for group in [*exact.items(), *near]:
            bits = int(np.bitwise_or.reduce(used[list(group)]))
            if bits & train and bits & held:
                leaks.update(n for n in group if used[n] & train)

        for number in sorted(leaks):
            key = self.state.key(number)
            how = "is in both" if number in same_key else "is also, or nearly, in a held-out split"
            severity = "warning" if number in same_key else "error"
            code = "split_shares_picture" if number in same_key else "train_test_overlap"
            self.report.add(code, severity, Example(f"{key} {how}.", picture=key))

        self._drop_training_rows(leaks - same_key, "train_test_overlap")

    def _drop_training_rows(self, pictures: set[int], reason: str) -> None:
        for row in self._rows_with(pictures):
            if self.row_split[row] in (SPLITS.index("train"), _NO_SPLIT):
                self.drop.append((self.places(int(row)), reason))

    def compare(self, other: Rows) -> None:
        """Reports images that also occur in a test set, as the same file or a near duplicate."""
        leaks: set[int] = set()
        theirs = {bytes.fromhex(digest)[:16]: number for number, digest in other.state.digests()}
        for number, digest in self.state.digests():
            found = theirs.get(bytes.fromhex(digest)[:16])
            if found is not None:
                leaks.add(number)
                self._report_leak(number, f"is {other.state.key(found)} of {other.report.path}.")

        for number, found in self.duplicates.across(other.duplicates):
            if number not in leaks:
                leaks.add(number)
                self._report_leak(number, f"is nearly {other.state.key(found)} of {other.report.path}.")

        for row in self._rows_with(leaks):
            self.drop.append((self.places(int(row)), "against_overlap"))

    def _report_leak(self, number: int, what: str) -> None:
        key = self.state.key(number)
        self.report.add("against_overlap", "error", Example(f"{key} {what}", picture=key))

    def _label_findings(self) -> None:
        for name, one in self.report.labels.items():
            if one.count < 20 or one.distinct < 2:
                continue

            about = f"type {name!r}" if name else "all questions"
            if one.top_share > 0.8:
                message = f"{about}: {one.top_share:.0%} have the answer {one.commonest[0][0]!r}."
                self.report.add("label_majority", "warning", Example(message))
            if one.text_only > max(0.5, one.majority + 0.2):
                message = f"{about}: {one.text_only:.0%} can be guessed from the question alone."
                self.report.add("label_text_only", "warning", Example(message))

    def _provenance(self) -> None:
        """Records the files and fields that state a licence or a source."""
        path = Path(self.source.path).expanduser()
        folder = path if path.is_dir() else path.parent
        names = sorted(file.name for file in folder.iterdir())
        named = [name for name in names if name.lower().startswith(("license", "licence"))]
        for file in json_files(path)[:20]:
            keys = glance(file)[1] & _PROVENANCE
            if keys:
                named.append(f"{file.name} ({', '.join(sorted(keys))})")

        self.report.provenance = named
        if not named:
            self.report.add("no_licence", "info", Example("no file or field states a licence or a source."))

    def judge(self) -> None:
        """Adds the reasons why training should not start, if there are any."""
        report = self.report
        if report.rows == 0:
            report.stops.append("there are no rows")
        elif report.good_rows <= 0:
            report.stops.append(f"none of {report.rows} rows can be trained on")
        else:
            bad = report.bad_rows
            reason = too_many_bad(bad, report.rows, self.source.max_bad)
            if reason:
                report.stops.append(reason)
            if self.source.strict and bad:
                report.stops.append(f"{bad} rows are bad, and the source is strict")

        if "train_test_overlap" in report.findings:
            report.stops.append("training and held-out splits share images or rows")
        if "against_overlap" in report.findings:
            report.stops.append("images of the test set are in the training data")


def _answers(record: Record) -> Iterator[str]:
    """All correct answers of a record if it has a list of them; otherwise the answer on which its task would train."""
    for name in ("captions", "targets", "answers"):
        if hasattr(record, name):
            yield from getattr(record, name)
            return

    if isinstance(record, conversation.Record):
        for turn in record.turns:
            if turn.role == "assistant":
                yield from (piece for piece in turn.content if isinstance(piece, str))
        return

    sample = catalog.config_class("data.tasks", task_of(record))().build().sample(record)
    if sample.target or not sample.pictures:  # an answer may be an image alone
        yield sample.target
