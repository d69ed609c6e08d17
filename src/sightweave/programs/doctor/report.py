"""What a check found: counts and examples by code, in an order that a reader follows; as text, JSON, and for the page."""

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
"""Examples of each finding that are kept."""
_PRINTED = 3
"""Of those, in the terminal."""
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
"""What to do about a finding, where its message does not say it."""


@dataclass(slots=True)
class Example:
    """One place where something was found."""

    message: str
    file: str = ""
    line: int | None = None
    picture: str = ""
    """Its key."""


@dataclass(slots=True)
class Finding:
    """One kind of fault."""

    code: str
    severity: str
    """``error`` (such rows cannot be trained on, or results would be wrong), ``warning`` or ``info``."""
    count: int = 0
    examples: list[Example] = field(default_factory=list)

    @property
    def advice(self) -> str:
        """What to do about it; may be empty."""
        return ADVICE.get(self.code, "")


@dataclass(slots=True, repr=False)
class Report:
    """All that a check found."""

    path: str
    kind: str
    rows: int = 0
    good_rows: int = 0
    """Rows to train on or to test with."""
    passed_over: int = 0
    """Rows without an answer in a test file, and those that the source's filters leave out; nothing is wrong with them."""
    records: Counter[str] = field(default_factory=Counter)
    """Records by task."""
    pictures: int = 0
    looked_at: int = 0
    """Pictures that this check decoded; the others were known from an earlier one."""
    splits: Counter[str] = field(default_factory=Counter)
    """Rows by split."""
    languages: Counter[str] = field(default_factory=Counter)
    """Texts by language, a guess."""
    labels: dict[str, TypeReport] = field(default_factory=dict)
    """Of short answers: all under ``""``, then by type."""
    provenance: list[str] = field(default_factory=list)
    """What names a licence or a source."""
    lengths: str = ""
    """The length plan of a recipe, as text."""
    is_unlabelled: bool = False
    """Whether it was read without answers, to be asked about: then there is nothing to train on."""
    findings: dict[str, Finding] = field(default_factory=dict)
    page: str = ""
    """Where it is to be looked at."""
    stops: list[str] = field(default_factory=list)
    """Why training may not start; empty where it may."""
    media: Mapping[str, Medium] = field(default_factory=dict, compare=False)
    """Pictures that examples name, by their keys, for a notebook; not saved."""

    def __repr__(self) -> str:
        named = {"error": "error", "warning": "warning", "info": "note"}
        counts = {word: self.count(severity) for severity, word in named.items()}
        told = [f"{count} {word}{'s' * (count > 1)}" for word, count in counts.items() if count]
        found = ", ".join(told) or "nothing found"
        facts = f"{self.kind}, {self.rows} rows, {self.pictures} images"
        return in_short(f"Report({self.path!r}: {facts}; {found}. {self.verdict()})")

    def _repr_html_(self) -> str:
        pictures = {
            key: address for key, one in self.media.items() for address in thumbnails.addresses([one])
        }
        facts = {
            "data": f"{self.path} ({self.kind})",
            "rows": f"{self.rows} ({_counts(self.splits)})",
            "pictures": self.pictures,
            "tasks": _counts(self.records),
        }
        return notebook.check(self.to_json(), facts, pictures)

    def add(self, code: str, severity: str, example: Example | None, count: int = 1) -> None:
        """Counts a finding and keeps a few examples."""
        found = self.findings.setdefault(code, Finding(code, severity))
        found.count += count
        if example is not None and len(found.examples) < EXAMPLES:
            found.examples.append(example)

    @property
    def bad_rows(self) -> int:
        """Rows that training would leave out."""
        return self.rows - self.passed_over - self.good_rows

    @property
    def may_train(self) -> bool:
        """Whether training may start."""
        return not self.stops and not self.is_unlabelled

    @property
    def is_sound(self) -> bool:
        """Whether nothing speaks against using the data for what it is: to train on, or to ask about."""
        return not self.stops

    def ordered(self) -> list[Finding]:
        """Errors first, then by count."""
        return sorted(self.findings.values(), key=lambda one: (_ORDER[one.severity], -one.count, one.code))

    def count(self, severity: str) -> int:
        """Findings of one severity."""
        return sum(one.count for one in self.findings.values() if one.severity == severity)

    def verdict(self) -> str:
        """One sentence."""
        if self.stops:
            return "Training should not start: " + "; ".join(self.stops) + "."
        bad = self.bad_rows
        if self.is_unlabelled:
            return f"Nothing to train on; a model can be asked about {self.good_rows} of {self.rows} rows."
        left = f" {bad} of {self.rows} rows would be skipped." if bad else ""
        return f"Training may start.{left}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
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
        """A table: a line for each example of a finding, or for a finding without examples."""
        lines = [csv_line(FINDINGS)]
        for found in self.ordered():
            for one in found.examples or [Example("")]:
                place = (one.file, one.line, one.picture)
                lines.append(
                    csv_line((found.severity, found.code, found.count, *place, one.message, found.advice))
                )
        return "".join(lines)

    def to_text(self) -> str:
        """For the terminal."""
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
        for found in self.ordered():
            lines.append(f"\n{found.severity} {found.code}: {found.count}  {found.advice}".rstrip())
            for example in found.examples[:_PRINTED]:
                place = f"{example.file}:{example.line}: " if example.line is not None else ""
                lines.append(f"    {place}{example.message}")
            shown = min(len(found.examples), _PRINTED)
            if 0 < shown < found.count:
                lines.append(f"    ({shown} of {found.count} shown)")
        # Names of files may hold what no terminal can show.
        return "\n".join([*lines, "", self.verdict()]).encode("utf-8", "backslashreplace").decode("utf-8")


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common(12)) or "none"
