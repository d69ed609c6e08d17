"""Caches resized pixels in memory-mapped files, so that training decodes each image only once and not in every epoch.

The cache stores pixels after resizing and before normalisation, so that batches are bit-identical with and without it. A
folder belongs to one transform::

    cache/
      index.json           the transform's fields, and the position, size and key of each image
      pixels-0000.safetensors   "pixels": uint8 count 3 size size
      ...

The key of an image is a SHA-256 of its file's digest, the tile (if any) and the relevant fields of the transform. Another
image with the same name is therefore a cache miss, and so is every image with another transform. A file's digest is computed
again only if its size or a modification time differs from those recorded in the cache. Each image has a checksum, which is
verified when it is first read. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightweave.core import files
from sightweave.core.errors import DataError, MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files
from sightweave.data.inputs.tiles import Tile, whole
from sightweave.data.inputs.transforms import ImageTransform, Resized

FORMAT_VERSION = 1
INDEX = "index.json"
SHARD_BYTES = 128 << 20
"""Approximate size of a shard file in bytes; writing it takes twice as much memory."""
_KEYS = {"format_version", "fields", "shards", "items"}


def fields_of(transform: ImageTransform, *, is_whole: bool) -> dict[str, Any]:
    """The settings on which the resized pixels depend, which identify a cache.

    Args:
        transform: The transform; its settings for normalisation and augmentation are irrelevant and not included.
        is_whole: Whether JPEGs are decoded at full scale.
    """
    names = ("size", "fit", "resize_to", "resample", "exact")
    settings = {name: getattr(transform, name) for name in names}
    return settings | {"is_whole": is_whole or transform.exact}


@dataclass(frozen=True, slots=True)
class Written:
    """The number of images that `write` stored, and the images that it could not read."""

    pictures: int
    """Number of images and tiles in the cache."""
    left_out: Mapping[str, str]
    """For each image that is not in the cache, by key: the reason why it could not be read."""


def write(
    transform: ImageTransform,
    media: Iterable[Medium],
    folder: Path,
    *,
    is_whole: bool = False,
    progress: Callable[[int], None] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Written:
    """Resizes images and writes them to a cache folder, which atomically replaces an older cache there.

    Args:
        transform: Transform that resizes the images, without augmentation.
        media: Images and tiles; media with equal keys are written once. Tiles should directly follow their image, so that
            it is decoded only once.
        folder: Folder of the cache.
        is_whole: Whether JPEGs are decoded at full scale, as by a processor with tiles.
        progress: Called with 1 after each image and tile.
        shard_bytes: Approximate size of a shard file in bytes.

    Raises:
        DataError: The folder holds other files than a cache, or cannot be written.
    """
    folder = Path(folder)
    _check_replaceable(folder)

    try:
        with files.making(folder.parent), files.temporary_folder(folder) as temporary:
            writer = _Writer(temporary, transform, fields_of(transform, is_whole=is_whole), shard_bytes)
            for medium in media:
                writer.add(medium)
                if progress is not None:
                    progress(1)
            writer.close()
            files.swap(temporary, folder)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{folder}: cannot write the cache: {error}; free some space or choose another folder."
        ) from None

    return Written(len(writer.items), writer.left_out)


def join(parts: Sequence[Path], folder: Path) -> None:
    """Joins caches of one transform, such as several processes have written, into one, which replaces an older one.

    Args:
        parts: Folders of the caches, on the same disk; their files are moved, and the folders are removed.
        folder: Folder of the joined cache.

    Raises:
        DataError: A part is not a cache or has another transform; the folder holds other files, or cannot be written.
    """
    folder = Path(folder)
    _check_replaceable(folder)
    indices = list(map(_read_index, parts))
    fields = indices[0]["fields"]
    for part, index in zip(parts, indices, strict=True):
        if index["fields"] != fields:
            raise DataError(f"{part}: made with {index['fields']}, but {parts[0]} with {fields}.")

    shards: list[dict[str, Any]] = []
    items: dict[str, dict[str, Any]] = {}
    try:
        with files.making(folder.parent), files.temporary_folder(folder) as temporary:
            for part, index in zip(parts, indices, strict=True):
                first = len(shards)
                for name, item in index["items"].items():
                    items[name] = {**item, "shard": first + item["shard"]}
                for shard in index["shards"]:
                    name = _shard_name(len(shards))
                    os.rename(part / shard["file"], temporary / name)
                    shards.append({**shard, "file": name})

            _write_index(temporary, fields, shards, items)
            files.swap(temporary, folder)
            for part in parts:
                shutil.rmtree(part)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the cache: {error}; free some space or choose another folder."
        ) from None


def _shard_name(number: int) -> str:
    return f"pixels-{number:04d}.safetensors"


def _write_index(
    folder: Path,
    fields: Mapping[str, Any],
    shards: Sequence[Mapping[str, Any]],
    items: Mapping[str, Mapping[str, Any]],
) -> None:
    index = {"format_version": FORMAT_VERSION, "fields": fields, "shards": shards, "items": items}
    with (folder / INDEX).open("w", encoding="utf-8") as file:
        json.dump(index, file)
        file.flush()
        os.fsync(file.fileno())


def _check_replaceable(folder: Path) -> None:
    """Raises `DataError` unless the folder is missing, empty or a cache."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return

    try:
        _read_index(folder)
    except DataError as error:
        raise DataError(f"{error} It was not changed; choose another folder for the cache.") from None

    known = files.present(folder, (INDEX, "pixels-*.safetensors", files.MARK))
    others = sorted({path.name for path in folder.iterdir()} - set(known))
    if others:
        raise DataError(
            f"{folder}: holds {', '.join(others[:10])} in addition to a cache, and a new cache would replace "
            "them; move these files."
        )


@dataclass(slots=True)
class _Writer:
    folder: Path
    transform: ImageTransform
    fields: dict[str, Any]
    shard_bytes: int
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    shards: list[dict[str, Any]] = field(default_factory=list)
    _rows: list[Tensor] = field(default_factory=list)
    _decoded: tuple[str, np.ndarray, dict[str, Any]] | None = None
    """Key, pixels and stamp of the last decoded image, kept for its tiles, which follow it."""

    def add(self, medium: Medium) -> None:
        if medium.key in self.items or medium.key in self.left_out:
            return
        try:
            pixels, stamp = self._decode(whole(medium))
        except MediaError as error:
            self.left_out[medium.key] = str(error)
            return

        # Resize the image or the tile, and paste it into the padded square.
        tile = medium.source if isinstance(medium.source, Tile) else None
        resized = self.transform.resize(
            pixels if tile is None else tile.cut(pixels), is_tile=tile is not None
        )
        height, width = resized.values.shape[1:]
        size = self.transform.size
        row = torch.zeros(3, size, size, dtype=torch.uint8)
        row[:, resized.top : resized.top + height, resized.left : resized.left + width] = resized.values

        self.items[medium.key] = {
            "shard": len(self.shards),
            "row": len(self._rows),
            "box": [resized.left, resized.top, width, height],
            "picture": [resized.width, resized.height],
            "check": _checksum(row),
            **stamp,
            "key": _key(stamp["digest"], medium, self.fields),
        }
        self._rows.append(row)
        if len(self._rows) * row.numel() >= self.shard_bytes:
            self._flush()

    def _decode(self, medium: Medium) -> tuple[np.ndarray, dict[str, Any]]:
        if self._decoded is None or self._decoded[0] != medium.key:
            hint = None if self.fields["is_whole"] else (self.transform.size, self.transform.size)
            stamp = _stamp(
                medium
            )  # taken before decoding, so that a change during decoding is detected later
            pixels = image_files.load(medium, size_hint=hint)
            self._decoded = (medium.key, pixels, {**stamp, "digest": image_files.digest(medium)})
        return self._decoded[1], self._decoded[2]

    def _flush(self) -> None:
        path = self.folder / _shard_name(len(self.shards))
        save_file({"pixels": torch.stack(self._rows)}, path)
        files.follow_umask(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())

        self.shards.append({"file": path.name, "count": len(self._rows)})
        self._rows = []

    def close(self) -> None:
        if self._rows:
            self._flush()
        _write_index(self.folder, self.fields, self.shards, self.items)


class PixelCache:
    """A pixel cache opened for reading by `PixelCache.open`; thread-safe.

    Args:
        folder: Folder of the cache, for error messages.
        fields: Settings with which the cache was written, as returned by `fields_of`.
        shards: One memory-mapped tensor per shard file, uint8 count 3 size size.
        items: Entry of each image (position, size, stamp and key), by the key of its medium.
    """

    def __init__(
        self, folder: Path, fields: Mapping[str, Any], shards: list[Tensor], items: dict[str, Any]
    ) -> None:
        self.folder, self.fields = folder, dict(fields)
        self._shards, self._items = shards, items
        self._checked: set[str] = set()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return PixelCache.open, (self.folder,)  # a copy opens the files again

    @classmethod
    def open(cls, folder: Path) -> PixelCache:
        """Opens a cache folder without reading any pixels.

        Raises:
            DataError: The folder does not exist, is not a cache, has another format version, or is damaged.
        """
        folder = files.whole(Path(folder))
        index = _read_index(folder)
        try:
            size = int(index["fields"]["size"])
            shards = [_open_shard(folder, one, size) for one in index["shards"]]
            for name, item in index["items"].items():
                _check_item(item, shards, size, name)
        except DataError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OSError, SafetensorError) as error:
            raise _damaged(folder, f"{type(error).__name__} {error}") from None
        return cls(folder, index["fields"], shards, index["items"])

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[str]:
        """Iterates over the keys of all cached images and tiles."""
        return iter(self._items)

    def get(self, medium: Medium) -> Resized | None:
        """Looks up a resized image or tile; returns None if it is not in the cache.

        Raises:
            DataError: The cached pixels are corrupt (checksum mismatch).
            MediaError: The image file has changed and cannot be read.
        """
        item = self._items.get(medium.key)
        if item is None or not self._is_same(item, medium):
            return None

        row = self._shards[item["shard"]][item["row"]]
        if medium.key not in self._checked:
            if _checksum(row) != item["check"]:
                raise _damaged(
                    self.folder, f"the pixels of {medium.key!r} have changed since they were written"
                )
            self._checked.add(medium.key)

        left, top, width, height = item["box"]
        return Resized(row[:, top : top + height, left : left + width], left, top, *item["picture"])

    def _is_same(self, item: dict[str, Any], medium: Medium) -> bool:
        """Whether an image is unchanged: its file has the same size and times or, if these differ, the same digest."""
        source = whole(medium)
        stamp = _stamp(source)
        if stamp and all(item.get(name) == value for name, value in stamp.items()):
            return True
        if _key(image_files.digest(source), medium, self.fields) != item["key"]:
            return False
        with self._lock:
            item.update(
                stamp
            )  # the file was copied or touched, but has the same bytes; remember the new times
        return True


def _checksum(row: Tensor) -> int:
    return zlib.crc32(row.numpy().data)


def _key(digest: str, medium: Medium, fields: Mapping[str, Any]) -> str:
    part = medium.source.name if isinstance(medium.source, Tile) else ""
    text = json.dumps([digest, part, dict(fields)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _stamp(medium: Medium) -> dict[str, int]:
    """Size and modification times of an image file; empty if the image is not in a file."""
    if not isinstance(medium.source, Path):
        return {}
    try:
        status = os.stat(medium.source)
    except (OSError, ValueError):
        return {}
    # Programs cannot set ctime, so it reveals that a file was replaced by one with the same size and mtime.
    return {
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(f"{folder}: the cache is damaged: {what}; delete the folder and write it again.")


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder}: not a pixel cache: it has no {INDEX}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, f"{INDEX} cannot be read ({type(error).__name__})") from None
    if not isinstance(index, dict) or index.keys() != _KEYS:
        raise DataError(f"{folder}: not a pixel cache: its {INDEX} belongs to something else.")
    if index["format_version"] != FORMAT_VERSION:
        raise DataError(
            f"{folder}: the cache has format {index['format_version']!r}, but this version reads {FORMAT_VERSION}. "
            "Write it again."
        )
    return index


def _open_shard(folder: Path, shard: Mapping[str, Any], size: int) -> Tensor:
    name, count = shard["file"], shard["count"]
    if Path(name).name != name:
        raise _damaged(folder, f"a shard is outside the folder ({name!r})")
    pixels = load_file(folder / name)["pixels"]  # memory-mapped, so pages are read on first access
    if pixels.dtype != torch.uint8 or tuple(pixels.shape) != (count, 3, size, size):
        raise _damaged(
            folder,
            f"{name} holds {pixels.dtype} {tuple(pixels.shape)}, expected uint8 {(count, 3, size, size)}",
        )
    return pixels


def _check_item(item: Mapping[str, Any], shards: list[Tensor], size: int, name: str) -> None:
    left, top, width, height = map(int, item["box"])
    is_valid = (
        0 <= item["shard"] < len(shards)
        and 0 <= item["row"] < len(shards[item["shard"]])
        and min(left, top) >= 0
        and min(width, height) >= 1
        and max(left + width, top + height) <= size
        and min(map(int, item["picture"])) >= 1
        and len(item["picture"]) == 2
        and isinstance(item["key"], str)
        and isinstance(item["check"], int)
    )
    if not is_valid:
        raise ValueError(f"the entry of {name!r} points outside its shard")
