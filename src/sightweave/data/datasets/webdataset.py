"""WebDataset: tar archives in which members that share the name up to the first dot are one sample.

Where names hold dots of their own, so that ``1.5.jpg`` and ``1.5.txt`` lie beside ``1.6.jpg`` and ``1.6.txt``, that rule
would make one sample of all of them; a picture and a text that share all but the last ending are a sample of their own.

High Performance I/O For Large Scale Deep Learning (Aizman et al. 2019, arXiv:2001.01858); shards as img2dataset writes
them. Pictures are read from their place in the shard, and nothing is unpacked. A shard that is cut anywhere is an error,
as is one with another number of samples than ``00000_stats.json`` or ``.nv-meta/.info.json`` beside it says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading import json_stream, table_columns, table_layouts, tar_files
from sightweave.data.reading.choice_columns import Convention
from sightweave.data.reading.file_names import among, files
from sightweave.data.reading.image_folders import SUFFIXES
from sightweave.data.reading.image_paths import Folder, Slice
from sightweave.data.reading.row_files import Row, RowError, is_too_deep, no_constant, no_duplicates, shown
from sightweave.data.reading.source import FilesConfig

_PICTURES = tuple(suffix[1:] for suffix in SUFFIXES)
_TEXTS = ("txt", "json", "cls")
_SAMPLES, _ALONE = "samples", "pictures alone"
_PICKLES = ("pkl", "pickle", "pyd", "pth", "pt", "npy", "npz")
_MAX_TEXT = 16 << 20
"""Bytes of one text or JSON member."""
_MAX_SHARDS = 1_000_000
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_Sample = list[tuple[str, tar_files.Member]]


def recognise(path: Path) -> str:
    """What there is of this format below a path; empty where there is nothing."""
    if path.is_file() and path.name.lower().endswith((".tar.gz", ".tgz")):
        return "a compressed shard"
    found = files(path, ".tar")
    is_ours = bool(found) and _holds(found[0]) == _SAMPLES
    return f"{_SAMPLES} in {among([file.name for file in found])}" if is_ours else ""


def recognise_pictures(path: Path) -> str:
    """The same for shards of pictures and nothing else."""
    found = files(path, ".tar")
    is_ours = bool(found) and _holds(found[0]) == _ALONE
    return f"{_ALONE} in {among([file.name for file in found])}" if is_ours else ""


def _holds(shard: Path) -> str:
    """What the first members of a shard are, in words; empty for anything else.

    They are samples where a picture and something about it share a name.
    """
    try:
        names = [_parts(member.name) for member in islice(tar_files.members(shard), 64)]
    except DataError:
        return ""
    pictures = {key for key, end in names if end.rpartition(".")[2] in _PICTURES}
    if any(key in pictures and end.rpartition(".")[2] in _TEXTS for key, end in names):
        return _SAMPLES
    named = [end for key, end in names if key.rpartition("/")[2]]
    is_alone = bool(pictures) and all(end.rpartition(".")[2] in _PICTURES for end in named)
    return _ALONE if is_alone else ""


def _parts(name: str) -> tuple[str, str]:
    """The sample's key and the ending, in lower case: ``a/1`` and ``seg.png`` of ``a/1.seg.png``."""
    folder, slash, base = name.rpartition("/")
    key, _, end = base.partition(".")
    return folder + slash + key, end.lower()


def _shards(pattern: str) -> list[Path]:
    """Files of ``a/{00000..00123}.tar``, of several such joined by ``::``, or of a folder."""
    found: list[Path] = []
    for one in pattern.split("::"):
        if one.startswith("pipe:") or "://" in one:
            raise DataError(
                f"path {shown(one)}: commands and URLs are not supported; copy the shards to a folder and give its path."
            )
        place = Path(one).expanduser()
        if place.is_dir():
            found += files(place, ".tar")
        else:
            found += [Path(name).expanduser() for name in _unfolded(one)]
    for file in found:
        if not file.is_file():
            raise DataError(f"{file}: shard not found (from {pattern!r}).")
    if not found:
        raise DataError(f"{pattern}: no shards (*.tar) found.")
    return found


def _unfolded(pattern: str) -> list[str]:
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    first, last = match.groups()
    if len(last) > 12 or not 0 <= int(last) - int(first) < _MAX_SHARDS:
        raise DataError(
            f"{pattern}: {{{first}..{last}}} must count upwards, over at most {_MAX_SHARDS} shards."
        )
    numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    return [
        name for one in numbers for name in _unfolded(pattern[: match.start()] + one + pattern[match.end() :])
    ]


@config
class Config(FilesConfig):
    """A folder with shards, one shard, a pattern such as ``{00000..00123}.tar``, or several of these joined by ``::``."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row a sample."""
        root = Path(self.path).expanduser()
        shards = _shards(self.path)
        if self.labelled and _holds(shards[0]) == _ALONE:
            raise DataError(
                f"{shards[0]}: contains images, but no captions, questions or answers, so there is nothing to train on or "
                "evaluate. Pack a 1.txt with each 1.jpg, or set labelled: false to ask about them."
            )
        for shard in shards:
            name = table_layouts.split_below(shard, root)
            if split and name and name != split:
                continue
            label = shard.relative_to(root).as_posix() if root.is_dir() else shard.name
            yield from _of_shard(shard, label, name)

    def to_check(self) -> FilesConfig:
        """Pictures alone are looked at, though nothing is written about them."""
        is_alone = _holds(_shards(self.path)[0]) == _ALONE
        return replace(self, labelled=False) if is_alone else self

    def pictures(self) -> Folder:
        """The folder of the first shard; pictures themselves lie in the shards."""
        return Folder(_shards(self.path)[0].parent, search=False)


def _of_shard(shard: Path, label: str, split: str) -> Iterator[Row]:
    seen: set[str] = set()
    convention = Convention(lambda: _objects_of(shard))
    for number, (key, sample) in enumerate(samples(shard)):
        try:
            if key in seen:
                text = f"sample {key!r} appears twice in this shard, or its members are not adjacent."
                raise RowError("duplicate_sample", "id", key, text)
            values: Any = _values(shard, f"{label}#{key}", key, sample, convention)
            if split:
                values.setdefault("split", split)
        except RowError as error:
            values = error
        seen.add(key)
        yield Row(number, values, str(shard))
    told = _told(shard)
    if told is not None and told[0] != len(seen):
        raise DataError(f"{shard}: {len(seen)} samples, but {told[1]} lists {told[0]}; copy the shard again.")


def samples(shard: Path) -> Iterator[tuple[str, _Sample]]:
    """The samples of a shard in order: the key of each, and its members by their endings.

    Raises:
        DataError: as `tar_files.members`.
    """
    is_alone = _holds(shard) == _ALONE
    named = ((*_parts(member.name), member) for member in tar_files.members(shard))
    for key, group in groupby(named, key=lambda one: one[0]):
        if key.rpartition("/")[2] == "":  # hidden files, such as those that macOS adds
            continue
        sample = [(end, member) for _, end, member in group]
        stems = {kinds: _stems(sample, kinds) for kinds in (_PICTURES, _TEXTS)}
        apart = stems[_PICTURES] if is_alone else stems[_PICTURES] & stems[_TEXTS]
        if apart <= {""}:
            yield key, sample
        else:
            yield from _by_last_dot(sample)


def _stems(sample: _Sample, kinds: tuple[str, ...]) -> set[str]:
    """What stands before the last dot of the endings of some kinds of members; empty for a plain ``jpg``."""
    return {end.rpartition(".")[0] for end, _ in sample if end.rpartition(".")[2] in kinds}


def _by_last_dot(sample: _Sample) -> Iterator[tuple[str, _Sample]]:
    """The samples that members make whose names hold dots of their own."""
    found: dict[str, _Sample] = {}
    for _, member in sample:
        key, _, end = member.name.rpartition(".")
        found.setdefault(key, []).append((end.lower(), member))
    yield from found.items()


def _objects_of(shard: Path) -> Iterator[dict[str, Any]]:
    """What the JSON members of a shard hold."""
    for member in tar_files.members(shard):
        if member.problem is None and member.name.lower().endswith(".json"):
            try:
                yield _object(_read(shard, member))
            except RowError:
                continue


def _values(shard: Path, label: str, key: str, sample: _Sample, convention: Convention) -> dict[str, Any]:
    ends = [end for end, _ in sample]
    for end, member in sample:
        if member.problem is not None:
            raise member.problem
        if end.rpartition(".")[2] in _PICKLES:
            text = (
                f"{member.name!r} may be a pickle, which runs code when it is read; such members are refused."
            )
            raise RowError("pickle_member", end, member.name, text)
        if ends.count(end) > 1:
            raise RowError(
                "duplicate_member", end, member.name, f"{member.name!r} appears {ends.count(end)} times."
            )
    found = [member for end, member in sample if end.rpartition(".")[2] in _PICTURES]
    slices = [
        Slice(shard, member.offset, member.size, label if len(found) == 1 else f"{label}.{index}")
        for index, member in enumerate(found)
    ]
    texts = {end: _read(shard, member) for end, member in sample if end in _TEXTS}
    cells = _object(texts["json"]) if "json" in texts else {}
    made = table_columns.fields(cells, num_images=len(slices), convention=convention)
    values: dict[str, Any] = {"id": label, **made}
    values["images"] = slices
    if not slices and "turns" not in values:
        have = ", ".join(member.name for _, member in sample)
        raise RowError("missing_field", "image", None, f"sample {key!r} has no image ({have}).")
    if "txt" in texts:
        more = values.get("captions", [])
        values["captions"] = [texts["txt"].strip(), *(more if isinstance(more, list) else [more])]
    elif "cls" in texts and not values.keys() & {"captions", "question", "turns"}:
        values["captions"] = [texts["cls"].strip()]
    return values


def _read(shard: Path, member: tar_files.Member) -> str:
    if member.size > _MAX_TEXT:
        raise RowError(
            "too_long",
            "",
            member.name,
            f"{member.name!r} has {member.size} bytes; the maximum is {_MAX_TEXT}.",
        )
    data = Slice(shard, member.offset, member.size, member.name)()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RowError(
            "bad_encoding", "", member.name, f"{member.name!r} is not UTF-8 ({error.reason})."
        ) from None


def _object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text, object_pairs_hook=no_duplicates, parse_constant=no_constant)
    except RowError:
        raise
    except (ValueError, RecursionError) as error:
        raise RowError("bad_json", "json", text, f"invalid JSON: {error}.") from None
    if not isinstance(values, dict):
        raise RowError("wrong_type", "json", values, f"must be a JSON object (got {shown(values)}).")
    if is_too_deep(text, values):
        raise RowError("bad_json", "json", text, "invalid JSON: nested too deeply.")
    return values


def _told(shard: Path) -> tuple[int, str] | None:
    """How many samples a file beside the shard says that it has, and which file."""
    stats = shard.with_name(f"{shard.stem}_stats.json")
    if stats.is_file():
        count = dict(json_stream.members(stats)).get("successes")
        return (count, stats.name) if isinstance(count, int) else None
    for folder in (shard.parent, *list(shard.parents)[1:3]):
        info = folder / ".nv-meta" / ".info.json"
        if info.is_file():
            counts = dict(json_stream.members(info)).get("shard_counts")
            count = counts.get(shard.relative_to(folder).as_posix()) if isinstance(counts, dict) else None
            return (count, ".nv-meta/.info.json") if isinstance(count, int) else None
    return None
