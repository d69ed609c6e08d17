"""WebDataset: tar archives (shards) in which members with the same name up to the first dot form one sample.

High Performance I/O For Large Scale Deep Learning (Aizman et al. 2019, arXiv:2001.01858). Shards are accepted as img2dataset
writes them. Images are read directly from the shards, without unpacking. A truncated shard is an error, and so is a shard
whose number of samples differs from that in ``00000_stats.json`` or ``.nv-meta/.info.json`` next to it.

Names may themselves contain dots, such as ``1.5.jpg``, ``1.5.txt``, ``1.6.jpg`` and ``1.6.txt``, which the rule would merge
into one sample. An image and a text whose names differ only in the last suffix therefore form their own sample.
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

_IMAGE_SUFFIXES = tuple(suffix[1:] for suffix in SUFFIXES)
_TEXT_SUFFIXES = ("txt", "json", "cls")
_PICKLE_SUFFIXES = ("pkl", "pickle", "pyd", "pth", "pt", "npy", "npz")
_SAMPLES, _IMAGES_ONLY = "samples", "images only"
_GLANCED_MEMBERS = 64
"""Number of members that are inspected to determine what a shard contains."""
_MAX_TEXT_BYTES = 16 << 20
"""Maximum size of a text or JSON member in bytes."""
_MAX_SHARDS = 1_000_000
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_Sample = list[tuple[str, tar_files.Member]]
"""The members of a sample, each with its suffix, such as ``seg.png``."""


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    if path.is_file() and path.name.lower().endswith((".tar.gz", ".tgz")):
        return "a compressed shard"
    return _described(path, _SAMPLES)


def recognise_pictures(path: Path) -> str:
    """A short description of the shards that contain only images; empty if there are none."""
    return _described(path, _IMAGES_ONLY)


def _described(path: Path, contents: str) -> str:
    """A short description of the shards at or below `path`; empty if the first one has other contents."""
    found = files(path, ".tar")
    if not found or _contents(found[0]) != contents:
        return ""
    return f"{contents} in {among([file.name for file in found])}"


def _contents(shard: Path) -> str:
    """Contents of a shard, judged by its first members: `_SAMPLES` (images with texts), `_IMAGES_ONLY`, or empty."""
    try:
        members = list(islice(tar_files.members(shard), _GLANCED_MEMBERS))
    except DataError:
        return ""

    image_keys, text_keys = set(), set()
    has_others = False
    for member in members:
        key, suffix = _key_and_suffix(member.name)
        if _last(suffix) in _IMAGE_SUFFIXES:
            image_keys.add(key)
            continue
        if _last(suffix) in _TEXT_SUFFIXES:
            text_keys.add(key)
        # Hidden files, such as those that macOS adds, have a key without a name.
        if key.rpartition("/")[2]:
            has_others = True

    if image_keys & text_keys:
        return _SAMPLES
    return _IMAGES_ONLY if image_keys and not has_others else ""


def _key_and_suffix(name: str) -> tuple[str, str]:
    """Splits a member's name into the sample's key and a lower-case suffix: ``a/1.seg.png`` into ``a/1``, ``seg.png``."""
    folder, slash, base = name.rpartition("/")
    key, _, suffix = base.partition(".")
    return folder + slash + key, suffix.lower()


def _last(suffix: str) -> str:
    """The last part of a suffix, such as ``png`` for ``seg.png``."""
    return suffix.rpartition(".")[2]


def _shards(pattern: str) -> list[Path]:
    """The shards of a folder, of a pattern such as ``a/{00000..00123}.tar``, or of several of these joined by ``::``.

    Raises:
        DataError: There are no shards, a shard is missing, or a pattern is a command or a URL.
    """
    found: list[Path] = []
    for part in pattern.split("::"):
        if part.startswith("pipe:") or "://" in part:
            raise DataError(
                f"path {shown(part)}: commands and URLs are not supported; copy the shards to a folder and give its path."
            )
        path = Path(part).expanduser()
        if path.is_dir():
            found += files(path, ".tar")
        else:
            found += [Path(name).expanduser() for name in _expanded(part)]

    for file in found:
        if not file.is_file():
            raise DataError(f"{file}: shard not found (from {pattern!r}).")
    if not found:
        raise DataError(f"{pattern}: no shards (*.tar) found.")
    return found


def _expanded(pattern: str) -> list[str]:
    """Expands the number ranges in braces of a pattern into all names."""
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]

    first, last = match.groups()
    if len(last) > 12 or not 0 <= int(last) - int(first) < _MAX_SHARDS:
        raise DataError(
            f"{pattern}: {{{first}..{last}}} must count upwards, over at most {_MAX_SHARDS} shards."
        )

    before, after = pattern[: match.start()], pattern[match.end() :]
    names: list[str] = []
    for number in range(int(first), int(last) + 1):
        names += _expanded(f"{before}{number:0{len(first)}d}{after}")
    return names


@config
class Config(FilesConfig):
    """A folder with shards, one shard, a pattern such as ``{00000..00123}.tar``, or several of these joined by ``::``."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per sample."""
        root = Path(self.path).expanduser()
        shards = _shards(self.path)
        if self.labelled and _contents(shards[0]) == _IMAGES_ONLY:
            raise DataError(
                f"{shards[0]}: contains images, but no captions, questions or answers, so there is nothing to train on or "
                "evaluate. Pack a 1.txt with each 1.jpg, or set labelled: false to ask about them."
            )

        for shard in shards:
            name = table_layouts.split_below(shard, root)
            if split and name and name != split:
                continue
            label = shard.relative_to(root).as_posix() if root.is_dir() else shard.name
            yield from _read_shard(shard, label, name)

    def to_check(self) -> FilesConfig:
        """The config with which ``data check`` reads the source: without texts, only images are checked."""
        is_images_only = _contents(_shards(self.path)[0]) == _IMAGES_ONLY
        return replace(self, labelled=False) if is_images_only else self

    def pictures(self) -> Folder:
        """The folder of the first shard; the images themselves are inside the shards."""
        return Folder(_shards(self.path)[0].parent, search=False)


def _read_shard(shard: Path, label: str, split: str) -> Iterator[Row]:
    seen: set[str] = set()
    convention = Convention(lambda: _json_objects(shard))

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

    listed = _listed_size(shard)
    if listed is None:
        return
    size, source = listed
    if size != len(seen):
        raise DataError(f"{shard}: {len(seen)} samples, but {source} lists {size}; copy the shard again.")


def samples(shard: Path) -> Iterator[tuple[str, _Sample]]:
    """Yields the samples of a shard in order, each as its key and a list of its members with their suffixes.

    Raises:
        DataError: As for `tar_files.members`.
    """
    is_images_only = _contents(shard) == _IMAGES_ONLY
    members = ((*_key_and_suffix(member.name), member) for member in tar_files.members(shard))

    for key, group in groupby(members, key=lambda one: one[0]):
        if key.rpartition("/")[2] == "":  # hidden files, such as those that macOS adds
            continue
        sample = [(suffix, member) for _, suffix, member in group]

        # An image (and its text) with additional dots in the name is a sample of its own.
        own_stems = _stems(sample, _IMAGE_SUFFIXES)
        if not is_images_only:
            own_stems &= _stems(sample, _TEXT_SUFFIXES)
        if own_stems <= {""}:
            yield key, sample
        else:
            yield from _split_at_last_dot(sample)


def _stems(sample: _Sample, kinds: tuple[str, ...]) -> set[str]:
    """The parts before the last dot of the suffixes that end in one of `kinds`: ``5`` for ``5.jpg``, empty for ``jpg``."""
    return {suffix.rpartition(".")[0] for suffix, _ in sample if _last(suffix) in kinds}


def _split_at_last_dot(sample: _Sample) -> Iterator[tuple[str, _Sample]]:
    """Regroups the members of a sample into samples by their names up to the last dot."""
    found: dict[str, _Sample] = {}
    for _, member in sample:
        key, _, suffix = member.name.rpartition(".")
        found.setdefault(key, []).append((suffix.lower(), member))
    yield from found.items()


def _json_objects(shard: Path) -> Iterator[dict[str, Any]]:
    """Yields the objects in the JSON members of a shard; unreadable members are skipped."""
    for member in tar_files.members(shard):
        if member.problem is None and member.name.lower().endswith(".json"):
            try:
                yield _object(_read(shard, member))
            except RowError:
                continue


def _values(shard: Path, label: str, key: str, sample: _Sample, convention: Convention) -> dict[str, Any]:
    _check_members(sample)

    # Images stay in the shard until they are needed.
    found = [member for suffix, member in sample if _last(suffix) in _IMAGE_SUFFIXES]
    images = []
    for index, member in enumerate(found):
        name = label if len(found) == 1 else f"{label}.{index}"
        images.append(Slice(shard, member.offset, member.size, name))

    # A JSON member holds further fields of the row.
    texts = {suffix: _read(shard, member) for suffix, member in sample if suffix in _TEXT_SUFFIXES}
    cells = _object(texts["json"]) if "json" in texts else {}
    fields = table_columns.fields(cells, num_images=len(images), convention=convention)
    values: dict[str, Any] = {"id": label, **fields, "images": images}
    if not images and "turns" not in values:
        names = ", ".join(member.name for _, member in sample)
        raise RowError("missing_field", "image", None, f"sample {key!r} has no image ({names}).")

    # A .txt member is a caption; a .cls member (class) is used as one only if there is no other text.
    if "txt" in texts:
        more = values.get("captions", [])
        values["captions"] = [texts["txt"].strip(), *(more if isinstance(more, list) else [more])]
    elif "cls" in texts and not values.keys() & {"captions", "question", "turns"}:
        values["captions"] = [texts["cls"].strip()]
    return values


def _check_members(sample: _Sample) -> None:
    """Checks the members of a sample.

    Raises:
        RowError: A member is damaged, a duplicate, or may be a pickle.
    """
    suffixes = [suffix for suffix, _ in sample]
    for suffix, member in sample:
        if member.problem is not None:
            raise member.problem
        if _last(suffix) in _PICKLE_SUFFIXES:
            message = (
                f"{member.name!r} may be a pickle, which runs code when it is read; such members are refused."
            )
            raise RowError("pickle_member", suffix, member.name, message)
        if suffixes.count(suffix) > 1:
            message = f"{member.name!r} appears {suffixes.count(suffix)} times."
            raise RowError("duplicate_member", suffix, member.name, message)


def _read(shard: Path, member: tar_files.Member) -> str:
    if member.size > _MAX_TEXT_BYTES:
        message = f"{member.name!r} has {member.size} bytes; the maximum is {_MAX_TEXT_BYTES}."
        raise RowError("too_long", "", member.name, message)

    data = Slice(shard, member.offset, member.size, member.name)()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{member.name!r} is not UTF-8 ({error.reason})."
        raise RowError("bad_encoding", "", member.name, message) from None


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


def _listed_size(shard: Path) -> tuple[int, str] | None:
    """The number of samples in a shard according to a file next to it, and the name of that file; None if unknown."""
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
