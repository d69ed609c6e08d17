"""The report of a check: counts and examples by code, the most serious first; as text, JSON, CSV and for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sightweave.core.answer_files import FINDINGS, csv_line
from sightweave.core.terminal import in_short
from sightweave.core.types import Medium
from sightweave.data.inputs import thumbnails
from sightweave.pages import notebook
from sightweave.programs.doctor.labels import TypeReport

EXAMPLES = 5
"""Maximum number of examples that are kept of each finding."""
_PRINTED = 3
"""Maximum number of examples of each finding that are printed in the terminal."""
_ORDER = {"error": 0, "warning": 1, "info": 2}
ADVICE = {
    "train_test_overlap": "Remove them from the training data, or the test measures memorization.",
    "against_overlap": "Remove them from the training data, or the test measures memorization.",
    "duplicate_row": "They count twice in training; --fix keeps the first.",
    "image_duplicate": "The same file under several names; they count twice in training.",
    "image_near_duplicate": "Almost the same image under several names.",
    "image_location": "--fix removes the location from JPEG files.",
    "image_animated": "Only the first image is read.",
    "text_email": "Check whether you may use it.",
    "text_phone": "Check whether you may use it.",
    "text_special_token": "It is treated as ordinary text here; other tools may read it as a special token.",
    "over_length": "Raise inputs.max_length, or set train.too_long.",
    "no_pictures": "If there should be images, put their paths in the column 'image' or 'images'.",
    "no_licence": "Document where the data is from and what its licence allows.",
    "label_majority": "Compare each result with the score without images.",
    "label_text_only": "Compare each result with the score without images.",
}
"""Advice by the code of a finding, for findings whose message contains none."""


@dataclass(slots=True)
class Example:
    """One occurrence of a finding."""

    message: str
    file: str = ""
    line: int | None = None
    picture: str = ""
    """Key of the image; empty if the finding is not about an image."""


@dataclass(slots=True)
class Finding:
    """A kind of fault, with its number of occurrences."""

    code: str
    severity: str
    """``error`` (such rows cannot be trained on, or results would be wrong), ``warning`` or ``info``."""
    count: int = 0
    examples: list[Example] = field(default_factory=list)

    @property
    def advice(self) -> str:
        """What to do about the finding; may be empty."""
        return ADVICE.get(self.code, "")


@dataclass(slots=True, repr=False)
class Report:
    """The result of a check, with all findings."""

    path: str
    kind: str
    rows: int = 0
    good_rows: int = 0
    """Rows that can be used for training or testing."""
    passed_over: int = 0
    """Number of rows that were skipped without fault: those without an answer in a test file, and those that the
    source's filters exclude."""
    records: Counter[str] = field(default_factory=Counter)
    """Number of records by task."""
    pictures: int = 0
    looked_at: int = 0
    """Number of images that this check decoded; the others were known from an earlier check."""
    splits: Counter[str] = field(default_factory=Counter)
    """Number of rows by split."""
    languages: Counter[str] = field(default_factory=Counter)
    """Number of texts by guessed language."""
    labels: dict[str, TypeReport] = field(default_factory=dict)
    """Statistics of short answers: of all under ``""``, then by question type."""
    provenance: list[str] = field(default_factory=list)
    """Files and fields that state a licence or a source."""
    lengths: str = ""
    """The length plan of a recipe, as text."""
    is_unlabelled: bool = False
    """Whether the data has no answers, so that a model can be asked about it but not trained on it."""
    findings: dict[str, Finding] = field(default_factory=dict)
    page: str = ""
    """Path of the report page."""
    stops: list[str] = field(default_factory=list)
    """Reasons why training must not start; empty if it may."""
    media: Mapping[str, Medium] = field(default_factory=dict, compare=False)
    """Images that appear in examples, by key, for a notebook; not saved."""

    def __repr__(self) -> str:
        words = {"error": "error", "warning": "warning", "info": "note"}
        counts = []
        for severity, word in words.items():
            count = self.count(severity)
            if count:
                counts.append(f"{count} {word}{'s' * (count > 1)}")

        found = ", ".join(counts) or "nothing found"
        facts = f"{self.kind}, {self.rows} rows, {self.pictures} images"
        return in_short(f"Report({self.path!r}: {facts}; {found}. {self.verdict()})")

    def _repr_html_(self) -> str:
        pictures = {}
        for key, medium in self.media.items():
            for address in thumbnails.addresses([medium]):
                pictures[key] = address

        facts = {
            "data": f"{self.path} ({self.kind})",
            "rows": f"{self.rows} ({_counts(self.splits)})",
            "pictures": self.pictures,
            "tasks": _counts(self.records),
        }
        return notebook.check(self.to_json(), facts, pictures)

    def add(self, code: str, severity: str, example: Example | None, count: int = 1) -> None:
        """Counts an occurrence of a finding, and keeps the first few examples."""
        found = self.findings.setdefault(code, Finding(code, severity))
        found.count += count
        if example is not None and len(found.examples) < EXAMPLES:
            found.examples.append(example)

    @property
    def bad_rows(self) -> int:
        """Number of rows that training would skip."""
        return self.rows - self.passed_over - self.good_rows

    @property
    def may_train(self) -> bool:
        """Whether training may start."""
        return not self.stops and not self.is_unlabelled

    @property
    def is_sound(self) -> bool:
        """Whether the data can be used: for training, or at least for asking a model about it."""
        return not self.stops

    def ordered(self) -> list[Finding]:
        """The findings, sorted by severity, then by count."""
        return sorted(self.findings.values(), key=lambda one: (_ORDER[one.severity], -one.count, one.code))

    def count(self, severity: str) -> int:
        """Total number of occurrences of all findings of one severity."""
        return sum(one.count for one in self.findings.values() if one.severity == severity)

    def verdict(self) -> str:
        """The result of the check in one sentence."""
        if self.stops:
            return "Training should not start: " + "; ".join(self.stops) + "."

        if self.is_unlabelled:
            return f"Nothing to train on; a model can be asked about {self.good_rows} of {self.rows} rows."

        bad = self.bad_rows
        left = f" {bad} of {self.rows} rows would be skipped." if bad else ""
        return f"Training may start.{left}"

    def to_json(self) -> dict[str, Any]:
        """The report as plain data, as in ``report.json``."""
        return {
            "path": self.path,
            "kind": self.kind,
            "may_train": self.may_train,
            "verdict": self.verdict(),
            "rows": self.rows,
            "good_rows": self.good_rows,
            "passed_over": self.passed_over,
            "records": dict(self.records),
            "pictures": self.pictures,
            "splits": dict(self.splits),
            "languages": dict(self.languages),
            "labels": {name: asdict(one) for name, one in self.labels.items()},
            "provenance": self.provenance,
            "lengths": self.lengths,
            "findings": [{**asdict(one), "advice": one.advice} for one in self.ordered()],
        }

    def to_csv(self) -> str:
        """The findings as CSV: one line per example, or one for a finding without examples."""
        lines = [csv_line(FINDINGS)]
        for found in self.ordered():
            for one in found.examples or [Example("")]:
                place = (one.file, one.line, one.picture)
                line = (found.severity, found.code, found.count, *place, one.message, found.advice)
                lines.append(csv_line(line))
        return "".join(lines)

    def to_text(self) -> str:
        """The report as text for the terminal."""
        lines = [*self._facts(), *self._findings(), "", self.verdict()]
        # File names may contain characters that cannot be printed.
        return "\n".join(lines).encode("utf-8", "backslashreplace").decode("utf-8")

    def _facts(self) -> list[str]:
        """Lines of text on the dataset as a whole."""
        lines = [
            f"{self.path}: {self.kind}",
            f"  {self.rows} rows ({_counts(self.splits)}), {self.pictures} images, {_counts(self.records)}",
        ]
        if self.passed_over:
            lines.append(
                f"  {self.passed_over} rows skipped: filtered out, or without an answer in a test file"
            )
        if self.languages:
            lines.append(f"  languages (a guess): {_counts(self.languages)}")

        for name, one in self.labels.items():
            about = name or "short answers"
            lines.append(
                f"  {about}: {one.count}, {one.distinct} distinct; always answering the most frequent is right in "
                f"{one.majority:.0%}, a guess from the question alone in {one.text_only:.0%}"
            )

        if self.provenance:
            lines.append(f"  licence or source stated in: {', '.join(self.provenance[:5])}")
        if self.lengths:
            lines += ["", *(f"  {line}" for line in self.lengths.splitlines())]
        return lines

    def _findings(self) -> list[str]:
        """Lines of text on each finding, with a few examples."""
        lines = []
        for found in self.ordered():
            lines.append(f"\n{found.severity} {found.code}: {found.count}  {found.advice}".rstrip())
            for example in found.examples[:_PRINTED]:
                place = f"{example.file}:{example.line}: " if example.line is not None else ""
                lines.append(f"    {place}{example.message}")

            shown = min(len(found.examples), _PRINTED)
            if 0 < shown < found.count:
                lines.append(f"    ({shown} of {found.count} shown)")
        return lines


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common(12)) or "none"
