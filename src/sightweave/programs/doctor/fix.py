"""Writes a clean copy of a dataset in its own format: without bad and duplicate rows and without locations in images.

Every change is logged. A file is split into rows by the same parser that reads it for training. The copy is read back
before it gets its name, and is discarded unless exactly the named rows are missing.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightweave.core import bounded, json_lines
from sightweave.core.errors import DataError
from sightweave.data.datasets import webdataset
from sightweave.data.reading import delimited, row_files
from sightweave.data.reading.image_folders import OTHER_FORMATS, SUFFIXES
from sightweave.data.tasks.translation import LANGUAGES
from sightweave.programs.doctor.jpeg import without_tags

LOG = "changes.jsonl"
Places = tuple[tuple[str, int], ...]
Proof = Callable[[Path], None]
"""Function that is called with the folder of the copy; raises a `DataError` unless the copy is correct."""
_ARRAYS = ("questions", "images", "annotations", "data")
"""Keys under which official files store their rows; the first one present is used."""
_LEFT_OUT = "left out"


def fix(
    root: Path,
    out: Path,
    drop: Iterable[tuple[Places, str]],
    located: Iterable[str],
    files: Collection[Path] | None = None,
    proof: Proof | None = None,
) -> int:
    """Writes a clean copy, with every change listed in its ``changes.jsonl``.

    Links are followed only within the dataset; the target of a link that leaves it is not copied.

    Args:
        root: The folder of the dataset, or its only file.
        out: A new folder; it appears once the copy is complete and checked.
        drop: Rows to remove, each with its places and the reason.
        located: Images whose metadata contains a geographic location, as paths relative to `root`.
        files: Files to copy; None means everything below `root`.
        proof: Checks the copy before it gets its name.

    Returns:
        Number of changes.

    Raises:
        DataError: `out` is not empty or inside `root`, a file is of a kind whose rows cannot be removed, a row is in a
            file that is not copied, or the check of the copy fails.
    """
    home = root if root.is_dir() else root.parent
    folder = home.resolve()
    out = out.resolve()
    if out.exists() and any(out.iterdir()):
        raise DataError(f"--fix {out}: is not empty; choose a new folder.")
    if out.is_relative_to(folder):
        raise DataError(f"--fix {out}: is inside the data ({folder}); choose a folder outside it.")

    # Check everything before anything is copied.
    wanted = _rows_to_drop(drop, home)
    for name in wanted:
        _cutter_of(folder / name)
    erase = {(folder / name).resolve() for name in located}
    names = None
    if files is not None:
        names = {_below(file, home) for file in files if _is_below(file, home)}

    # Copy to a temporary folder, which gets its final name only if the copy is correct.
    out.parent.mkdir(parents=True, exist_ok=True)
    copy = out.with_name(f".{out.name}.tmp-{uuid.uuid4().hex[:12]}")
    copy.mkdir()
    try:
        changes = _copy_all(folder, copy, wanted, erase, names)
        if proof is not None:
            proof(copy)
        if out.exists():
            out.rmdir()
        copy.rename(out)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return changes


def _rows_to_drop(drop: Iterable[tuple[Places, str]], home: Path) -> dict[str, dict[int, str]]:
    """Numbers of the rows to remove, with the reason for each, by the file's path relative to the dataset."""
    wanted: dict[str, dict[int, str]] = {}
    for places, reason in drop:
        for file, number in places:
            wanted.setdefault(_below(Path(file), home), {}).setdefault(number, reason)
    return wanted


def _is_below(file: Path, home: Path) -> bool:
    """Whether a file is in the dataset, by its own path or by the target of its links."""
    return any(_plain(file).is_relative_to(one) for one in (_plain(home), home.resolve()))


def _below(file: Path, home: Path) -> str:
    """A file's path relative to the dataset, by its own path and not by the target of a link.

    Raises:
        DataError: the file is outside the dataset.
    """
    path = _plain(file)
    for base in (_plain(home), home.resolve()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()

    raise DataError(
        f"--fix: rows of {file} need to be removed, but it is outside {home}; give the folder that contains both."
    )


def _plain(path: Path) -> Path:
    """An absolute path without ``..`` in which links are not resolved."""
    return Path(os.path.abspath(path))


def _copy_all(
    folder: Path,
    copy: Path,
    wanted: Mapping[str, Mapping[int, str]],
    erase: Collection[Path],
    names: Collection[str] | None,
) -> int:
    """Copies the files of the dataset and writes the log; returns the number of changes."""
    changes = 0
    with (copy / LOG).open("w", encoding="utf-8") as log:
        for source in _sources(folder):
            name = source.relative_to(folder).as_posix()
            if names is not None and name not in names:
                continue

            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            for change in _copied(source, target, folder, wanted, erase):
                changes += 1
                log.write(json_lines.dumps({"file": name, **change}) + "\n")
    return changes


def _sources(folder: Path) -> Iterator[Path]:
    """Yields all files below a folder and all links to folders, sorted by name; links are not followed."""
    for inner, folders, names in os.walk(folder):
        linked = [name for name in folders if Path(inner, name).is_symlink()]
        folders[:] = sorted(set(folders) - set(linked))
        yield from (Path(inner, name) for name in sorted([*names, *linked]))


def _copied(
    source: Path,
    target: Path,
    folder: Path,
    wanted: Mapping[str, Mapping[int, str]],
    erase: Collection[Path],
) -> list[dict[str, Any]]:
    """Copies one file and returns the changes made to it."""
    # Handle files that cannot be copied as they are.
    if source.is_symlink() and not _stays_in(source, folder):
        return [{"change": _LEFT_OUT, "reason": "a symbolic link that leaves the data"}]
    if source.is_dir():  # for a link to another folder of the dataset, the copy gets the same link
        target.symlink_to(os.path.relpath(source.resolve(), source.parent.resolve()))
        return []
    if not source.is_file():
        return [{"change": _LEFT_OUT, "reason": "not a regular file"}]
    counted = _counts_of(source, wanted)
    if counted:
        return [{"change": _LEFT_OUT, "reason": f"its counts of {counted} are no longer valid"}]

    rows = wanted.get(source.relative_to(folder).as_posix(), {})
    if rows:
        _cutter_of(source)(source, target, set(rows))
        return [{"row": n, "change": "taken out", "reason": reason} for n, reason in sorted(rows.items())]

    if source.resolve() not in erase:
        shutil.copy2(source, target)
        return []

    data = source.read_bytes()
    erased = without_tags(data)
    target.write_bytes(erased)
    change = "unchanged: only JPEG files can be edited" if erased == data else "location removed"
    return [{"change": change, "reason": "image_location"}]


def _stays_in(link: Path, folder: Path) -> bool:
    try:
        return bounded.is_inside(folder, link)
    except (OSError, RuntimeError):  # a loop of links
        return False


def _counts_of(file: Path, wanted: Iterable[str]) -> str:
    """Name of a changed shard to which a file with sample counts belongs; empty for all other files."""
    shards = [Path(name) for name in wanted if name.endswith(".tar")]
    if file.name.endswith("_stats.json"):
        shards = [one for one in shards if one.stem == file.name.removesuffix("_stats.json")]
    elif file.parent.name != ".nv-meta":
        return ""
    return shards[0].name if shards else ""


def _cutter_of(file: Path) -> Callable[[Path, Path, set[int]], None]:
    """The function that copies a file of this kind without some of its rows.

    Raises:
        DataError: rows cannot be removed from files of this kind.
    """
    name = file.name.lower().removesuffix(".gz")
    for endings, cutter in _CUTTERS.items():
        if name.endswith(endings):
            return cutter
    raise DataError(f"--fix: rows cannot be removed from {file.name}; edit that file by hand.")


def _read(file: Path) -> bytes:
    data = file.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _write(file: Path, data: bytes, like: Path) -> None:
    with like.open("rb") as source:
        is_packed = source.read(2) == b"\x1f\x8b"
    # Without a timestamp, so that the same data gives the same file.
    file.write_bytes(gzip.compress(data, mtime=0) if is_packed else data)


def _lines(source: Path, target: Path, drop: set[int]) -> None:
    """Copies a text file without some of its lines, numbered from 1; only a newline ends a line."""
    lines = _read(source).split(b"\n")
    kept = [line for number, line in enumerate(lines, 1) if number not in drop]
    _write(target, b"\n".join(kept), source)


def _cells(source: Path, target: Path, drop: set[int]) -> None:
    """Copies a file of delimited text without some of its rows, numbered by their first line."""
    data = _read(source)
    lines = row_files.lines(io.BytesIO(data), max(1, len(data)))
    delimiter = delimited.delimiter_of(data.partition(b"\n")[0].removeprefix(row_files.BOM))

    kept, at = [], 0
    for row in delimited.extents(lines, delimiter, max_bytes=len(data)):
        if row.line in drop:
            kept.append(data[at : row.start])
            at = row.end
    _write(target, b"".join([*kept, data[at:]]), source)


def _json(source: Path, target: Path, drop: set[int]) -> None:
    text = _read(source).decode("utf-8-sig")
    try:
        values = json.loads(text)
    except json.JSONDecodeError:  # JSON lines in a .json file, as in NLVR2
        return _lines(source, target, drop)

    if isinstance(values, list):
        return _write_json(target, _without(values, drop), source)

    key = next((key for key in _ARRAYS if isinstance(values.get(key), list)), None)
    if key is None and not all(isinstance(value, dict) for value in values.values()):
        return _lines(source, target, drop)  # JSON lines with a single line

    if key is None:  # each member is a row
        members = _without(list(values.items()), drop)
        return _write_json(target, dict(members), source)

    # COCO: the annotations of a removed image are removed too.
    if key == "images" and isinstance(values.get("annotations"), list):
        gone = {values[key][number].get("id") for number in drop if number < len(values[key])}
        values["annotations"] = [one for one in values["annotations"] if one.get("image_id") not in gone]
    values[key] = _without(values[key], drop)
    _write_json(target, values, source)


def _write_json(target: Path, values: Any, like: Path) -> None:
    _write(target, json_lines.dumps(values).encode("utf-8"), like)


def _without(values: Sequence[Any], drop: set[int]) -> list[Any]:
    return [value for number, value in enumerate(values) if number not in drop]


def _parquet(source: Path, target: Path, drop: set[int]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    at = 0
    with (
        parquet.ParquetFile(source) as file,
        parquet.ParquetWriter(target, file.schema_arrow) as writer,
    ):
        for batch in file.iter_batches(256):
            mask = pa.array([at + i not in drop for i in range(batch.num_rows)])
            writer.write_batch(batch.filter(mask))
            at += batch.num_rows


def _arrow(source: Path, target: Path, drop: set[int]) -> None:
    import pyarrow as pa

    with source.open("rb") as stream:
        is_file = stream.read(6) == b"ARROW1"

    with pa.OSFile(str(source)) as opened, pa.OSFile(str(target), "wb") as sink:
        # A file has numbered batches; a stream yields them in turn.
        if is_file:
            reader: Any = pa.ipc.open_file(opened)
            batches: Iterator[Any] = (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            reader = pa.ipc.open_stream(opened)
            batches = iter(reader)

        make = pa.ipc.new_file if is_file else pa.ipc.new_stream

        at = 0
        with make(sink, reader.schema) as writer:
            for batch in batches:
                mask = pa.array([at + i not in drop for i in range(batch.num_rows)])
                writer.write_batch(batch.filter(mask))
                at += batch.num_rows


def _tar(source: Path, target: Path, drop: set[int]) -> None:
    """Copies a tar file without the members of some samples, numbered as by the reader; other members are kept."""
    gone = set[int]()
    for number, (_, sample) in enumerate(webdataset.samples(source)):
        if number in drop:
            gone.update(member.offset for _, member in sample)

    with tarfile.open(source, "r:") as old, tarfile.open(target, "w:", format=tarfile.PAX_FORMAT) as new:
        for member in old:
            if member.isfile() and member.offset_data not in gone:
                new.addfile(member, old.extractfile(member))


def _leave_out(source: Path, target: Path, drop: set[int]) -> None:
    """Copies nothing: an image that is a row by itself is removed as a whole."""


_CUTTERS: Mapping[tuple[str, ...], Callable[[Path, Path, set[int]], None]] = {
    (".jsonl", ".ndjson"): _lines,
    (".csv", ".tsv"): _cells,
    (".json",): _json,
    (".parquet",): _parquet,
    (".arrow",): _arrow,
    (".tar",): _tar,
    (*SUFFIXES, *OTHER_FORMATS): _leave_out,
    (".txt", ".order", *(f".{language}" for language in LANGUAGES)): _lines,
}
