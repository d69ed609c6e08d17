"""Finds the images of rows, in a folder or inside the rows, and checks the header of each image once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import modalities
from sightweave.data.reading import image_marks
from sightweave.data.reading.image_paths import Folder, Inside, Slice, given
from sightweave.data.reading.row_files import RowError, shown
from sightweave.data.reading.row_store import Kept, Store

Reference = str | list[Any] | Medium
"""Location of a row's image: a path relative to the folder, [path, offset, size, key] in a shard, or [offset, size, key] in
the store; or the image itself."""
_REMEMBERED = 50_000
"""Maximum number of image paths that are cached."""


def given_images(values: Mapping[str, Any]) -> list[Any]:
    """The values in a row's ``images`` or ``image`` field that specify its images, then its ``target_image``, if any.

    Raises:
        RowError: The row has neither or both of these fields, or its ``images`` is not a list.
    """
    if values.get("images") is not None:
        found = values["images"]
        if values.get("image") is not None:
            raise RowError(
                "duplicate_field", "images", found, "image and images are both given; keep only one of them."
            )
        if not isinstance(found, list | tuple):
            raise RowError("wrong_type", "images", found, f"must be a list (got {shown(found)}).")
        return [*found, *_target_image(values)]

    if values.get("image") is None:
        present = ", ".join(str(name) for name in values if name != "unread") or "nothing"
        message = (
            f"missing; each row needs an image (for text only, images: []). The row has: {present}."
            f"{image_marks.hint(values.get('unread') or ())}"
        )
        raise RowError("missing_field", "image", None, message)
    return [values["image"], *_target_image(values)]


def _target_image(values: Mapping[str, Any]) -> list[Any]:
    target = values.get("target_image")
    return [] if target is None else [target]


class RowImages:
    """Converts references to images. It lives as long as the dataset, so it stores nothing per row.

    Args:
        folder: Folder that image paths are relative to; None for rows whose images are Python objects.
        store: Storage for images that were inside rows; None for rows whose images are Python objects.
    """

    def __init__(self, folder: Folder | None, store: Store | None) -> None:
        self.folder, self.store = folder, store

    @property
    def home(self) -> str:
        """Path of the folder that image paths are relative to; empty if there is none."""
        return str(self.folder.root) if self.folder is not None else ""

    def medium(self, reference: Reference) -> Medium:
        """The image that a reference points to."""
        if isinstance(reference, Medium):
            return reference
        if isinstance(reference, str):
            assert self.folder is not None
            return Medium(self.folder.root / reference, reference)
        if len(reference) == 4:
            path, offset, size, key = reference
            return Medium(Slice(Path(path), offset, size, key), key)
        assert self.store is not None
        return Medium(Kept(self.store.read, *reference[:2]), reference[2])


class ImageFinder:
    """Finds the images of rows and checks the header of each image once. Needed only while rows are being read.

    Args:
        images: Converts references to images, and provides the store for images that are inside rows.
        root: For rows whose images are Python objects, the folder that paths given as text are relative to; None leaves
            such paths unchanged.
        probe: Whether to check image headers; not needed if every image is decoded anyway.
    """

    def __init__(self, images: RowImages, *, root: Path | None, probe: bool) -> None:
        self.images, self.root, self.probe = images, root, probe
        self._found: dict[str, str] = {}
        self._faults: dict[str, MediaError | None] = {}

    def reference(self, value: Any) -> Reference:
        """Converts a row's value for an image to a reference; an image inside the row is stored first.

        Raises:
            RowError: The value is not an image, or is a path that leads outside the folder.
        """
        folder, store = self.images.folder, self.images.store
        if isinstance(value, Slice):
            return [str(value.path), value.offset, value.size, _writable(value.key)]
        if isinstance(value, Inside) and store is not None:
            return [*store.keep(value.data), _writable(value.key)]
        if folder is None:
            return given(self.root, value)
        if not isinstance(value, str):
            return folder.find(value)

        if value not in self._found:  # many rows have the same image, and resolving links takes time
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[value] = folder.find(value)
        return self._found[value]

    def look(self, medium: Medium) -> None:
        """Checks the header of an image; an earlier result for the same key is reused.

        Raises:
            RowError: The file cannot be read, or is not an image.
        """
        if self.probe and medium.key not in self._faults:
            try:
                is_generated = callable(medium.source) and not isinstance(medium.source, partial)
                if not is_generated:  # generated images have no header
                    modalities.check(medium)
                self._faults[medium.key] = None
            except MediaError as error:
                self._faults[medium.key] = error

        fault = self._faults.get(medium.key)
        if fault is not None:
            raise RowError(fault.code, "image", medium.key, str(fault))


def _writable(key: str) -> str:
    """Escapes the characters of a key that cannot be encoded in UTF-8."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")
