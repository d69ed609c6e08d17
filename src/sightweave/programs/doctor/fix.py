"""A clean copy of a data set in its own format: bad and doubled rows taken out, places of taking erased, all written down.

What a format's rows are is told by the file: lines, cells, elements of an array, rows of a table, members of a shard.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightweave.core import json_lines
from sightweave.core.errors import DataError
from sightweave.data.datasets._folders import OTHER_FORMATS, SUFFIXES
from sightweave.data.tasks.translation import LANGUAGES
from sightweave.programs.doctor.jpeg import without_tags

LOG = "changes.jsonl"
Places = tuple[tuple[str, int], ...]
_ARRAYS = ("questions", "images", "annotations", "data")
"""Keys under which official files hold their rows; the first that is there."""


def fix(
    root: Path,
    out: Path,
    drop: Iterable[tuple[Places, str]],
    located: Iterable[str],
    files: Collection[Path] | None = None,
) -> int:
    """Writes the copy, and ``changes.jsonl`` in it with every change.

    Args:
        root: The folder of the data set, or its only file.
        out: A new folder.
        drop: Rows to take out, each with its places and the reason.
        located: Pictures, as paths below `root`, that say where they were taken.
        files: What to copy; None means everything below `root`.

    Returns:
        Number of changes.

    Raises:
        DataError: `out` is there already or lies in `root`, or a file is of a kind whose rows cannot be taken out.
    """
    folder = (root if root.is_dir() else root.parent).resolve()
    out, erase = out.resolve(), set(located)
    if out.exists() and any(out.iterdir()):
        raise DataError(f"--fix {out}: holds files already; name a new folder.")
    if out.is_relative_to(folder):
        raise DataError(f"--fix {out}: lies in the data itself ({folder}); name a folder beside it.")
    wanted: dict[Path, dict[int, str]] = {}
    for places, reason in drop:
        for file, number in places:
            wanted.setdefault(Path(file).resolve(), {}).setdefault(number, reason)
    for one in wanted:
        _way_of(one)  # said before anything is copied
    out.mkdir(parents=True, exist_ok=True)
    changes = 0
    with (out / LOG).open("w", encoding="utf-8") as log:
        for source in _sources(folder, files):
            relative = source.relative_to(folder).as_posix()
            target = out / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            for change in _copied(source, target, wanted, erase=relative in erase):
                changes += 1
                log.write(json_lines.dumps({"file": relative, **change}) + "\n")
    return changes


def _sources(folder: Path, files: Collection[Path] | None) -> list[Path]:
    if files is None:
        return sorted(path for path in folder.rglob("*") if path.is_file())
    found = {path.resolve() for path in files}
    return sorted(path for path in found if path.is_file() and path.is_relative_to(folder))


def _copied(
    source: Path, target: Path, wanted: Mapping[Path, Mapping[int, str]], *, erase: bool
) -> list[dict[str, Any]]:
    """Copies one file, and says what was changed in it."""
    if counted := _counts_of(source, wanted):
        return [{"change": "left out", "reason": f"its counts of {counted} hold no longer"}]
    rows = wanted.get(source.resolve(), {})
    if rows:
        _way_of(source)(source, target, set(rows))
        return [{"row": n, "change": "taken out", "reason": reason} for n, reason in sorted(rows.items())]
    if not erase:
        shutil.copy2(source, target)
        return []
    data = source.read_bytes()
    erased = without_tags(data)
    target.write_bytes(erased)
    change = "left as it is: only JPEG files are changed" if erased == data else "place erased"
    return [{"change": change, "reason": "image_location"}]


def _counts_of(file: Path, wanted: Mapping[Path, Any]) -> str:
    """The changed shard whose samples a file beside it counts; empty for other files."""
    shards = [one for one in wanted if one.suffix == ".tar"]
    if file.name.endswith("_stats.json"):
        shards = [one for one in shards if one.stem == file.name.removesuffix("_stats.json")]
    elif file.parent.name != ".nv-meta":
        return ""
    return shards[0].name if shards else ""


def _way_of(file: Path) -> Callable[[Path, Path, set[int]], None]:
    name = file.name.lower().removesuffix(".gz")
    for endings, way in _WAYS.items():
        if name.endswith(endings):
            return way
    raise DataError(f"--fix: rows of {file.name} cannot be taken out; mend that file by hand.")


def _read(file: Path) -> bytes:
    data = file.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _write(file: Path, data: bytes, like: Path) -> None:
    with like.open("rb") as source:
        is_packed = source.read(2) == b"\x1f\x8b"
    # Without a time in it, the same data gives the same file.
    file.write_bytes(gzip.compress(data, mtime=0) if is_packed else data)


def _lines(source: Path, target: Path, drop: set[int]) -> None:
    """Lines from 1: only a newline ends one, whatever else may stand in a sentence."""
    lines = _read(source).split(b"\n")
    _write(target, b"\n".join(line for number, line in enumerate(lines, 1) if number not in drop), source)


def _cells(source: Path, target: Path, drop: set[int]) -> None:
    """Rows of a table, by the number of their first line: a quoted cell may hold the ends of lines."""
    kept, row, start = [], b"", 1
    for number, line in enumerate(_read(source).split(b"\n"), 1):
        row = line if number == start else row + b"\n" + line
        if row.count(b'"') % 2 == 0:
            if start not in drop:
                kept.append(row)
            row, start = b"", number + 1
    _write(target, b"\n".join([*kept, row] if row else kept), source)


def _json(source: Path, target: Path, drop: set[int]) -> None:
    text = _read(source).decode("utf-8-sig")
    try:
        values = json.loads(text)
    except json.JSONDecodeError:  # JSON lines under the name of JSON, as NLVR2 has them
        return _lines(source, target, drop)
    if isinstance(values, list):
        values = _without(values, drop)
    else:
        key = next((key for key in _ARRAYS if isinstance(values.get(key), list)), None)
        if key is None:  # one member a row
            values = {k: v for i, (k, v) in enumerate(values.items()) if i not in drop}
        else:
            if key == "images" and isinstance(values.get("annotations"), list):
                gone = {values[key][i].get("id") for i in drop if i < len(values[key])}
                values["annotations"] = [a for a in values["annotations"] if a.get("image_id") not in gone]
            values[key] = _without(values[key], drop)
    _write(target, json_lines.dumps(values).encode("utf-8"), source)


def _without(values: Sequence[Any], drop: set[int]) -> list[Any]:
    return [value for number, value in enumerate(values) if number not in drop]


def _parquet(source: Path, target: Path, drop: set[int]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(source) as file:
        at = 0
        with parquet.ParquetWriter(target, file.schema_arrow) as writer:
            for batch in file.iter_batches(256):
                mask = pa.array([at + i not in drop for i in range(batch.num_rows)])
                writer.write_batch(batch.filter(mask))
                at += batch.num_rows


def _arrow(source: Path, target: Path, drop: set[int]) -> None:
    import pyarrow as pa

    with source.open("rb") as stream:
        is_file = stream.read(6) == b"ARROW1"
    with pa.OSFile(str(source)) as opened, pa.OSFile(str(target), "wb") as sink:
        reader: Any = pa.ipc.open_file(opened) if is_file else pa.ipc.open_stream(opened)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if is_file else iter(reader)
        make = pa.ipc.new_file if is_file else pa.ipc.new_stream
        at = 0
        with make(sink, reader.schema) as writer:
            for batch in batches:
                mask = pa.array([at + i not in drop for i in range(batch.num_rows)])
                writer.write_batch(batch.filter(mask))
                at += batch.num_rows


def _tar(source: Path, target: Path, drop: set[int]) -> None:
    """Members that share the name before the first dot are one sample, as the reader has it."""
    numbers: dict[str, int] = {}
    with tarfile.open(source, "r:") as old, tarfile.open(target, "w:", format=tarfile.PAX_FORMAT) as new:
        for member in old:
            folder, _, name = member.name.rpartition("/")
            sample = f"{folder}/{name.partition('.')[0]}"
            if not member.isfile():
                continue
            if numbers.setdefault(sample, len(numbers)) not in drop:
                new.addfile(member, old.extractfile(member))


def _leave_out(source: Path, target: Path, drop: set[int]) -> None:
    """A picture that is a row of its own: the copy has none."""


_WAYS: Mapping[tuple[str, ...], Callable[[Path, Path, set[int]], None]] = {
    (".jsonl", ".ndjson"): _lines,
    (".csv", ".tsv"): _cells,
    (".json",): _json,
    (".parquet",): _parquet,
    (".arrow",): _arrow,
    (".tar",): _tar,
    (*SUFFIXES, *OTHER_FORMATS): _leave_out,
    (".txt", ".order", *(f".{language}" for language in LANGUAGES)): _lines,
}
