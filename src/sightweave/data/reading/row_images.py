"""The pictures of rows: found below a folder or inside the row, remembered in a few bytes, and looked at once."""

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
"""Where a row's picture is: below the root, in a shard (path, offset, size, key), in the store (offset, size, key)."""
_REMEMBERED = 50_000
"""Paths of pictures that are not looked up again."""


def given_images(values: Mapping[str, Any]) -> list[Any]:
    """What a row says of its pictures, as a list.

    Raises:
        RowError: no picture is named, or both fields are there, or ``images`` is no list.
    """
    if values.get("images") is not None:
        found = values["images"]
        if values.get("image") is not None:
            raise RowError("duplicate_field", "images", found, "image and images are both given.")
        if not isinstance(found, list | tuple):
            raise RowError("wrong_type", "images", found, f"must be a list (got {shown(found)}).")
        return list(found)

    if values.get("image") is None:
        have = ", ".join(str(name) for name in values if name != "unread") or "nothing"
        raise RowError(
            "missing_field",
            "image",
            None,
            f"missing; each row needs an image (for text only, images: []). The row has: {have}."
            f"{image_marks.hint(values.get('unread') or ())}",
        )
    return [values["image"]]


class RowImages:
    """Turns references into pictures. It is kept as long as the rows are, so it holds nothing for each of them.

    Args:
        folder: Where image paths lead; None for rows whose pictures are Python objects.
        store: Holds pictures that came inside rows; None for rows whose pictures are Python objects.
    """

    def __init__(self, folder: Folder | None, store: Store | None) -> None:
        self.folder, self.store = folder, store

    @property
    def home(self) -> str:
        """The folder that paths start from; empty where there is none."""
        return str(self.folder.root) if self.folder is not None else ""

    def medium(self, reference: Reference) -> Medium:
        """The picture at a reference."""
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
    """Finds the pictures that rows name, and reads each one's header once; not needed any more once all rows were read.

    Args:
        images: Where they are.
        root: For rows whose pictures are Python objects, the folder that text paths start from, if any.
        probe: Whether headers are read; whoever decodes every picture anyway has no need of it.
    """

    def __init__(self, images: RowImages, *, root: Path | None, probe: bool) -> None:
        self.images, self.root, self.probe = images, root, probe
        self._found: dict[str, str] = {}
        self._faults: dict[str, MediaError | None] = {}

    def reference(self, value: Any) -> Reference:
        """Where a picture is that a row names.

        Raises:
            RowError: no path, or one that leads out of the folder.
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

        if value not in self._found:  # many rows name one picture, and following links takes time
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[value] = folder.find(value)
        return self._found[value]

    def look(self, medium: Medium) -> None:
        """Reads a picture's header, unless that was done.

        Raises:
            RowError: it cannot be read, or is no picture.
        """
        if self.probe and medium.key not in self._faults:
            try:
                is_drawn = callable(medium.source) and not isinstance(medium.source, partial)
                if not is_drawn:  # what is drawn has no header
                    modalities.check(medium)
                self._faults[medium.key] = None
            except MediaError as error:
                self._faults[medium.key] = error

        fault = self._faults.get(medium.key)
        if fault is not None:
            raise RowError(fault.code, "image", medium.key, str(fault))


def _writable(key: str) -> str:
    """A key that can be written down, made of names in whatever encoding."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")
