"""Files of answers that commands write: JSON lines, or a table (CSV) if the name ends in ``.csv``.

A table has the column ``question`` for the prompt, so that it can be read as data and as a file of answers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightweave.core import files, json_lines

COLUMNS = ("id", "image", "question", "answer", "logprob")
"""First columns of a table of answers."""
FINDINGS = ("severity", "code", "count", "file", "line", "image", "message", "advice")
"""Columns of a table of findings."""
_NAMES = {"prompt": "question", "references": "expected"}
"""Fields that a table has under another name: ``references`` would be read as a correct answer."""
_MOST_HEAD_BYTES = 1 << 20


def is_table(path: str | Path | None) -> bool:
    """Whether a file name asks for CSV."""
    return path is not None and Path(path).suffix.lower() == ".csv"


def check(path: Path) -> None:
    """Checks that an output file overwrites only answers that we wrote; a server's file is never mistaken for those.

    Raises:
        FolderError: it would, or it is a folder.
    """
    files.refuse_other(path, is_ours=_is_ours)


def _is_ours(path: Path) -> bool:
    """Whether a file begins like one that we write."""
    with path.open("rb") as stream:
        line = stream.readline(_MOST_HEAD_BYTES)

    if is_table(path):
        headers = [csv_line(columns).rstrip().encode() for columns in (COLUMNS, FINDINGS)]
        return line.startswith(tuple(headers))
    fields = [f'"{key}": '.encode() for key in ("prompt", "answer", "logprob")]
    return line.startswith(b"{") and all(field in line for field in fields)


def write(
    path: Path, rows: Iterable[Mapping[str, Any]], more: Sequence[str] = ()
) -> Iterator[Mapping[str, Any]]:
    """Writes rows as they arrive, and yields each one after that.

    Args:
        path: The file.
        rows: Answers; each has an ``image``, a ``prompt``, an ``answer`` and a ``logprob``, and may have an ``id``.
        more: Further columns of a table.
    """
    with path.open("w", encoding="utf-8", newline="") as stream:
        if is_table(path):
            stream.write(csv_line((*COLUMNS, *more)))
        for row in rows:
            stream.write(_cells(row, more) if is_table(path) else json_lines.dumps(row) + "\n")
            yield row


def _cells(row: Mapping[str, Any], more: Sequence[str]) -> str:
    named = {_NAMES.get(name, name): value for name, value in row.items()}
    return csv_line([named.get(name) for name in (*COLUMNS, *more)])


def csv_line(values: Iterable[Any]) -> str:
    """One row of CSV, with an empty cell for None, and lists and mappings as JSON."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([_cell(value) for value in values])
    return line.getvalue().encode("utf-8", "replace").decode("utf-8")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json_lines.dumps(list(value) if isinstance(value, tuple) else value)
