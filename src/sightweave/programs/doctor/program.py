"""The data doctor whole: a check with its progress, its report as JSON and as a page, and the clean copy."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from sightweave.core import files
from sightweave.core.errors import DataError
from sightweave.core.outputs import CHECK_FILES, CHECK_MARKERS
from sightweave.core.progress import LiveLine
from sightweave.core.terminal import visible
from sightweave.data.inputs import image_files, thumbnails
from sightweave.data.reading.source import FilesConfig
from sightweave.pages import check as page
from sightweave.programs.doctor.check import Lengths, Progress, Rows, check
from sightweave.programs.doctor.fix import LOG, fix
from sightweave.programs.doctor.proof import prove
from sightweave.programs.doctor.report import Report
from sightweave.programs.doctor.state import State

_THUMBNAIL = (224, 224)
REPORT, PAGE = "report.json", "report.html"
PICTURES, PICTURES_AGAINST = "pictures.sqlite", "pictures-against.sqlite"


def run(
    source: FilesConfig,
    *,
    out: Path,
    against: FilesConfig | None = None,
    fix_to: Path | None = None,
    lengths: Lengths | None = None,
    plan: str = "",
    workers: int | None = None,
    console: Console | None = None,
) -> Report:
    """Checks a source, writes ``report.json`` and ``report.html``, and a clean copy where one is asked for.

    Args:
        source: What to check.
        out: A folder for the report and for what is known of each picture.
        against: A test set that training must not have seen.
        fix_to: A new folder for the copy.
        lengths: Tokens of records under a recipe, and the limit.
        plan: The recipe's length plan, as text.
        workers: Processes that decode; None means one for each core.
        console: Where progress is shown.

    Raises:
        DataError: the data cannot be read as a whole, or the copy cannot be made.
        FolderError: `out` holds files that Sightweave did not write and would overwrite, or another process writes into it.
    """
    with contextlib.ExitStack() as stack:
        claim = files.claimed(out, writes=CHECK_FILES, markers=CHECK_MARKERS, purpose="data check")
        stack.enter_context(claim)
        state = State(out / PICTURES)
        stack.callback(state.close)
        other_state = None
        if against is not None:
            other_state = State(out / PICTURES_AGAINST)
            stack.callback(other_state.close)
        with _shown(console) as progress:
            report, rows = check(
                source,
                state=state,
                against=against,
                against_state=other_state,
                lengths=lengths,
                workers=workers,
                progress=progress,
            )
        report.lengths = plan
        found = report.to_json()
        text = json.dumps(found, indent=1, ensure_ascii=False)
        files.write_bytes(out / REPORT, text.encode("utf-8", "replace"))
        pictures = _thumbnails(found, rows)
        named = {key: medium for key in pictures if (medium := rows.medium(key)) is not None}
        report.media = {key: thumbnails.kept(medium) for key, medium in named.items()}
        page.write_check(out / PAGE, found, pictures)
        report.page = str(out / PAGE)
        if fix_to is not None:
            changes = _copy(source, fix_to, rows)
            if console is not None:
                text = f"{fix_to}: a copy with {changes} changes, listed in its {LOG}."
                console.print(visible(text), markup=False, highlight=False, soft_wrap=True)
    return report


def _copy(source: FilesConfig, out: Path, rows: Rows) -> int:
    root = Path(source.path).expanduser()
    folder = root if root.is_dir() else root.parent
    gone = {place for places, _ in rows.drop for place in places}

    def proof(copy: Path) -> None:
        prove(source, copy if root.is_dir() else copy / root.name, gone)

    # Beside a single file may lie anything: only what belongs to it is copied.
    used = None if root.is_dir() else rows.files_used()
    return fix(root, out, rows.drop, rows.located_below(folder), used, proof)


@contextlib.contextmanager
def _shown(console: Console | None) -> Iterator[Progress | None]:
    if console is None:
        yield None
        return
    start = time.perf_counter()
    with LiveLine(console, transient=True) as line:
        line.start("reading", None)

        def tell(rows: int, pictures: int) -> None:
            rate = pictures / max(time.perf_counter() - start, 1e-3)
            line.update(rows, note=f"{rows} rows, {pictures} images, {rate:.0f} images per second")

        yield tell


def _thumbnails(found: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """Pixels of the pictures that a report names, of those that can be read."""
    pictures = {}
    for key in {one["picture"] for finding in found["findings"] for one in finding["examples"]} - {""}:
        medium = rows.medium(key)
        try:
            if medium is not None:
                pictures[key] = image_files.load(medium, size_hint=_THUMBNAIL)
        except DataError:
            continue  # the report says what is wrong with it
    return pictures
