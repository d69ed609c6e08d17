"""Reads the ``objects`` of ms-swift's grounding rows, which fill placeholders in texts and become image regions.

An example is ``{"ref": ["dog"], "bbox": [[x1, y1, x2, y2]], "bbox_type": "real" | "norm1", "image_id": [0]}``. Boxes of
type ``real`` (the default) are in pixels of their image, and boxes of type ``norm1`` in fractions of it. The
``<ref-object>`` and ``<bbox>`` placeholders in the turns are replaced by names and boxes in order. Boxes are written in
thousandths of the image's size, as in ms-swift: ``[(x1,y1),(x2,y2)]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sightweave.data.reading.row_files import RowError, shown

_MARKS = re.compile("<ref-object>|<bbox>")
_LARGEST = 1e6


class Objects:
    """The names and boxes of one row.

    Args:
        given: The row's ``objects`` field; None if it has none.
        size: Returns the width and height in pixels of image number i of the row.

    Raises:
        RowError: `given` has the wrong form, or refers to an image that the row does not have.
    """

    def __init__(self, given: Any, size: Callable[[int], tuple[int, int]]) -> None:
        if given is not None and not isinstance(given, dict):
            raise RowError("wrong_type", "objects", given, f"must be a JSON object (got {shown(given)}).")
        self._is_given = bool(given)
        given = given or {}

        self.refs = _list(given, "ref")
        if not all(isinstance(ref, str) for ref in self.refs):
            raise RowError("wrong_type", "objects.ref", self.refs, f"must be texts (got {shown(self.refs)}).")

        kind = given.get("bbox_type") or "real"
        if kind not in ("real", "norm1"):
            message = f"must be 'real' (pixels) or 'norm1' (fractions) (got {shown(kind)})."
            raise RowError("wrong_type", "objects.bbox_type", kind, message)
        image_numbers = _list(given, "image_id")
        self.boxes: list[list[float]] = []
        """Boxes as x, y, x, y (or points as x, y) in fractions of their image."""
        for index, box in enumerate(_list(given, "bbox")):
            image = image_numbers[index] if index < len(image_numbers) else 0
            self.boxes.append(_fractions(box, (1, 1) if kind == "norm1" else size(image)))

        self._num_refs = self._num_boxes = 0

    def filled(self, text: str) -> str:
        """Replaces the placeholders in the next text; unchanged if the row has no objects.

        Texts must be passed in order, since names and boxes are used up one after another.

        Raises:
            RowError: There are more placeholders than names or boxes.
        """
        return _MARKS.sub(lambda match: self._next(match.group()), text) if self._is_given else text

    def _next(self, mark: str) -> str:
        is_box = mark == "<bbox>"
        count = len(self.boxes) if is_box else len(self.refs)
        number = self._num_boxes if is_box else self._num_refs
        if number >= count:
            message = f"at least {number + 1} {mark} placeholders in the turns but {count} in objects."
            raise RowError("object_marks", "objects", count, message)

        if not is_box:
            self._num_refs += 1
            return str(self.refs[number])
        self._num_boxes += 1
        box = [round(1000 * x) for x in self.boxes[number]]
        points = zip(box[::2], box[1::2], strict=True)
        return f"[{','.join(f'({x},{y})' for x, y in points)}]"

    def regions(self) -> list[dict[str, Any]]:
        """Regions, each with a box and its name as words; empty if it is unclear which name belongs to which box."""
        refs = self.refs * len(self.boxes) if len(self.refs) == 1 else self.refs
        if len(refs) != len(self.boxes):
            return []

        found = []
        for box, ref in zip(self.boxes, refs, strict=True):
            if len(box) == 4 and ref.strip():
                found.append({"box": box, "words": [ref]})
        return found


def _list(given: dict[str, Any], name: str) -> list[Any]:
    found = given.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise RowError("wrong_type", f"objects.{name}", found, f"must be a list (got {shown(found)}).")
    return found


def _fractions(box: Any, size: tuple[int, int]) -> list[float]:
    is_box = isinstance(box, list) and len(box) in (2, 4)
    if not is_box or not all(isinstance(x, int | float) and abs(x) <= _LARGEST for x in box):
        message = f"a box must be x1, y1, x2, y2 and a point x, y (got {shown(box)})."
        raise RowError("wrong_type", "objects.bbox", box, message)
    return [x / size[index % 2] for index, x in enumerate(box)]
