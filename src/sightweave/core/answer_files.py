"""Files of rows that commands write: answers as JSON lines, and tables (CSV) where a name ends in ``.csv``.

A table of answers has the column ``question`` for the prompt, so that it reads back as data and as a file of answers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightweave.core import files, json_lines

COLUMNS = ("id", "image", "question", "answer", "logprob")
"""First ones of a table of answers."""
FINDINGS = ("severity", "code", "count", "file", "line", "image", "message", "advice")
"""Of a table of what is wrong with data."""
_NAMES = {"prompt": "question", "references": "expected"}
"""Keys of rows that a table has under another name: a reference would be read as a right answer."""
_MOST_HEAD_BYTES = 1 << 20


def is_table(path: str | Path | None) -> bool:
    """Whether a name asks for CSV."""
    return path is not None and Path(path).suffix.lower() == ".csv"


def check(path: Path) -> None:
    """Refuses to overwrite a file that does not begin with an answer of ours; the file of a server is never taken for one.

    Raises:
        FolderError: it is such a file, or a folder.
    """
    files.refuse_other(path, is_ours=_is_ours)


def _is_ours(path: Path) -> bool:
    """Whether a file begins as one of ours does, or is empty."""
    with path.open("rb") as stream:
        line = stream.readline(_MOST_HEAD_BYTES)
    if is_table(path):
        return any(line.startswith(csv_line(one).rstrip().encode()) for one in (COLUMNS, FINDINGS))
    return line.startswith(b"{") and all(
        f'"{key}": '.encode() in line for key in ("prompt", "answer", "logprob")
    )


def write(
    path: Path, rows: Iterable[Mapping[str, Any]], more: Sequence[str] = ()
) -> Iterator[Mapping[str, Any]]:
    """Writes rows as they come, and passes each on.

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
    """One row of CSV; nothing for None, and a list or a mapping as JSON."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([_cell(value) for value in values])
    return line.getvalue().encode("utf-8", "replace").decode("utf-8")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json_lines.dumps(list(value) if isinstance(value, tuple) else value)
