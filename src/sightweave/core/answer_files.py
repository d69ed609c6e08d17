"""Writes answers to a file as JSON lines, or as a CSV table if the file name ends in ``.csv``.

In a table, the prompt's column is called ``question``, so that the file can be read again as data or as a file of answers.
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
"""Columns of a table with the findings of a data check."""
_NAMES = {"prompt": "question", "references": "expected"}
"""Column names of fields that are renamed in a table. A column ``references`` would be read as correct answers."""
_MOST_HEAD_BYTES = 1 << 20


def is_table(path: str | Path | None) -> bool:
    """Whether a file name ends in ``.csv``."""
    return path is not None and Path(path).suffix.lower() == ".csv"


def check(path: Path) -> None:
    """Checks that an output file does not exist yet or holds answers that Sightweave wrote.

    Raises:
        FolderError: The path is a folder, or a file that Sightweave did not write.
    """
    files.refuse_other(path, is_ours=_is_ours)


def _is_ours(path: Path) -> bool:
    """Whether a file starts like those that `write` makes."""
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
    """Writes answers to a file one by one, and yields each after it is written.

    Args:
        path: The output file.
        rows: Answers, each with ``image``, ``prompt``, ``answer`` and ``logprob``, and optionally an ``id``.
        more: Names of further columns, if the file is a table.
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
    """Formats one row of CSV; None becomes an empty cell, and lists and mappings become JSON."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([_cell(value) for value in values])
    return line.getvalue().encode("utf-8", "replace").decode("utf-8")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json_lines.dumps(list(value) if isinstance(value, tuple) else value)
