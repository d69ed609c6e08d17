"""The complete check of a dataset: shows progress, writes the report as JSON and HTML, and writes the clean copy."""

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
from sightweave.core.types import Medium
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
    """Checks a source and writes ``report.json`` and ``report.html``, and a clean copy if one is requested.

    Args:
        source: The dataset to check.
        out: Folder for the report and for the facts about each image.
        against: A test set that training must not have seen.
        fix_to: A new folder for the clean copy; None writes no copy.
        lengths: Computes the number of tokens of records under a recipe, and the maximum.
        plan: The recipe's length plan, as text.
        workers: Number of decoding processes; None means one per core.
        console: Console for the progress; None shows no progress.

    Raises:
        DataError: the dataset cannot be read at all, or the copy cannot be made.
        FolderError: `out` has files that Sightweave did not write and would overwrite, or another process is writing to
            it.
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

        # Read everything while showing the progress.
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

        # Write the report, and the clean copy.
        _write(report, rows, out)
        if fix_to is not None:
            changes = _copy(source, fix_to, rows)
            if console is not None:
                text = f"{fix_to}: a copy with {changes} changes, listed in its {LOG}."
                console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    return report


def _write(report: Report, rows: Rows, out: Path) -> None:
    """Writes the report as JSON and as an HTML page with thumbnails of the images that it names."""
    found = report.to_json()
    text = json.dumps(found, indent=1, ensure_ascii=False)
    files.write_bytes(out / REPORT, text.encode("utf-8", "replace"))

    pictures = _thumbnails(found, rows)
    shown: dict[str, Medium] = {}
    for key in pictures:
        medium = rows.medium(key)
        if medium is not None:
            shown[key] = thumbnails.kept(medium)
    report.media = shown

    page.write_check(out / PAGE, found, pictures)
    report.page = str(out / PAGE)


def _copy(source: FilesConfig, out: Path, rows: Rows) -> int:
    """Writes the clean copy and returns its number of changes."""
    root = Path(source.path).expanduser()
    folder = root if root.is_dir() else root.parent
    gone: set[tuple[str, int]] = set()
    for places, _ in rows.drop:
        gone.update(places)

    def proof(copy: Path) -> None:
        prove(source, copy if root.is_dir() else copy / root.name, gone)

    # Other files may be next to a single data file: copy only those that belong to it.
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
    """Pixels of the images that a report names, by key; images that cannot be read are left out."""
    names = set[str]()
    for finding in found["findings"]:
        names.update(example["picture"] for example in finding["examples"])

    pictures = {}
    for key in names - {""}:
        medium = rows.medium(key)
        try:
            if medium is not None:
                pictures[key] = image_files.load(medium, size_hint=_THUMBNAIL)
        except DataError:
            continue  # the report has a finding for this image
    return pictures
