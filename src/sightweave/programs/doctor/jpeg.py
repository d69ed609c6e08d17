"""Removes metadata such as the location, time and author from JPEG files without changing their pixels."""

from __future__ import annotations

import struct

_ORIENTATION = 0x0112
_TAGS = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0")


def without_tags(data: bytes) -> bytes:
    """A JPEG file without EXIF and XMP metadata except its orientation; any other file is returned unchanged.

    Only segments before the first scan are read (ITU-T T.81, annex B); nothing is decoded.
    """
    if data[:2] != b"\xff\xd8":
        return data

    # Copy all segments before the first scan except metadata.
    kept, at, orientation = [data[:2]], 2, 1
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue

        size = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at : at + 2 + size]
        is_tag = data[at + 1] == 0xE1 and segment[4:].startswith(_TAGS)
        if is_tag and segment[4:].startswith(_TAGS[0]):
            orientation = _orientation(segment[10:])
        if not is_tag:
            kept.append(segment)
        at += 2 + size

    # Keep the orientation, because viewers need it.
    if orientation != 1:
        kept.insert(1, _turned(orientation))
    return b"".join([*kept, data[at:]])


def _orientation(tiff: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none or the metadata is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return 1

    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return 1

    (count,) = struct.unpack_from(order + "H", tiff, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == _ORIENTATION and kind == 3 and 1 <= value <= 8:
            return int(value)
    return 1


def _turned(orientation: int) -> bytes:
    """An EXIF segment that contains only the orientation."""
    tiff = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)
    body = _TAGS[0] + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
