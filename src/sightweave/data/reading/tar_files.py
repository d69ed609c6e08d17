"""Lists the members of tar archives, with their names, positions and sizes, without extracting them.

Supports POSIX ustar and pax, and the variants of GNU tar. Every archive must end with two blocks of zeros; otherwise, an
archive that is truncated between two members would be taken for a smaller dataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from sightweave.core.errors import DataError
from sightweave.data.reading.row_files import RowError, shown

BLOCK = 512
_MAX_EXTRA = 1 << 20
"""Maximum size of a long name or of pax records in bytes."""
_COMPRESSED = (
    (b"\x1f\x8b", "gunzip -k"),
    (b"\x28\xb5\x2f\xfd", "unzstd"),
    (b"BZh", "bunzip2 -k"),
    (b"\xfd7zXZ\x00", "unxz -k"),
    (b"\x04\x22\x4d\x18", "unlz4"),
)
"""Magic numbers of compressed files, with the command that decompresses each."""
_KINDS = {b"1": "hard link", b"2": "link", b"3": "device", b"4": "device", b"6": "pipe"}


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive."""

    name: str
    offset: int
    """Position of the member's content in the archive, in bytes."""
    size: int
    """Size of the member's content in bytes."""
    problem: RowError | None = None
    """Error that says why the member must not be read; None if it may be."""


def members(path: Path) -> Iterator[Member]:
    """Yields all members of an archive except folders, in order.

    Raises:
        DataError: The file is not a tar archive, or is compressed, damaged or truncated. The message gives the position.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from None

    with file:
        end = file.seek(0, 2)
        file.seek(0)
        _check_compression(path, file.read(6))
        yield from _members(path, file, end)


def _check_compression(path: Path, head: bytes) -> None:
    for magic, command in _COMPRESSED:
        if head.startswith(magic):
            raise DataError(
                f"{path}: a compressed archive; images are read in place, so decompress it first: {command} {path.name}"
            )


def _members(path: Path, file: BinaryIO, end: int) -> Iterator[Member]:
    at = 0
    attributes: dict[str, str] = {}  # attributes of the next member, from the entries before it
    while True:
        header = _block(path, file, at, end)
        if header == bytes(BLOCK):
            if _block(path, file, at + BLOCK, end) != bytes(BLOCK):
                raise DataError(f"{path}: byte {at}: a block of zeros inside the archive; it is damaged.")
            return _check_rest(path, file, at + 2 * BLOCK)

        # Read the header of this entry, and compute where the next one starts.
        _check_sum(path, header, at)
        kind, size = header[156:157], _number(path, header[124:136], at)
        start = at + BLOCK
        name = attributes.get("path", _name(header))
        if kind in (
            b"1",
            b"2",
            b"5",
        ):  # links and folders have no content, even if their header states a size
            at = start
        else:
            size = _size(path, attributes.get("size"), size, at)
            if start + size > end:
                raise DataError(
                    f"{path}: byte {at}: {shown(name)} has {size} bytes, but only {end - start} follow; the archive is "
                    "truncated; copy it again."
                )
            at = start + -(-size // BLOCK) * BLOCK

        # Some entries only describe the next one.
        if kind in (b"x", b"L", b"K", b"g"):
            file.seek(start)
            found = _attributes(path, kind, file.read(_bounded(path, size, start)), start)
            if kind != b"g":
                attributes = attributes | found
            continue

        if kind == b"S":
            raise DataError(
                f"{path}: byte {start - BLOCK}: {shown(name)} is a sparse file; pack it again as a regular file."
            )
        if kind != b"5":
            yield Member(name, start, size, _problem(name, kind, attributes))
        attributes = {}


def _block(path: Path, file: BinaryIO, at: int, end: int) -> bytes:
    file.seek(at)
    data = file.read(BLOCK)
    if len(data) < BLOCK:
        raise DataError(
            f"{path}: byte {min(at, end)}: the archive has no end marker (two blocks of zeros), so it is "
            "truncated, and members may be missing; copy it again."
        )
    return data


def _check_rest(path: Path, file: BinaryIO, at: int) -> None:
    """Checks that only zeros follow the end marker, because any archive appended after it would be ignored."""
    file.seek(at)
    while data := file.read(1 << 20):
        if data.strip(b"\0"):
            raise DataError(
                f"{path}: byte {at}: data follows the end of the archive, as in concatenated archives; split them."
            )
        at += len(data)


def _check_sum(path: Path, header: bytes, at: int) -> None:
    expected = _number(path, header[148:156], at)
    if expected != sum(header[:148]) + sum(header[156:]) + 8 * ord(" "):
        what = "not a tar archive" if not at else "the header is damaged"
        raise DataError(f"{path}: byte {at}: {what} (its checksum is wrong).")


def _number(path: Path, field: bytes, at: int) -> int:
    """Decodes a number in a header field: octal digits, or big-endian bytes if the first byte is 0x80."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")

    digits = field.split(b"\0")[0].strip()
    if digits.strip(b"01234567"):
        what = "not a tar archive" if not at else "the header is damaged"
        raise DataError(
            f"{path}: byte {at}: {what} ({shown(digits.decode('latin-1'))} is not an octal number)."
        )
    return int(digits or b"0", 8)


def _size(path: Path, attribute: str | None, size: int, at: int) -> int:
    """The size of a member in bytes, from its pax records if they state one, otherwise from its header."""
    if attribute is None:
        return size
    if not (attribute.isascii() and attribute.isdigit() and len(attribute) < 20):
        raise DataError(f"{path}: byte {at}: size {shown(attribute)} is not a number.")
    return int(attribute)


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0]
    # POSIX archives store the first part of a long name here; GNU archives store dates.
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "surrogateescape")


def _bounded(path: Path, size: int, at: int) -> int:
    if size > _MAX_EXTRA:
        raise DataError(
            f"{path}: byte {at}: {size} bytes of name or attributes; the maximum is {_MAX_EXTRA}."
        )
    return size


def _attributes(path: Path, kind: bytes, data: bytes, at: int) -> dict[str, str]:
    """Attributes of the next member, from a GNU long name or from pax records such as ``12 path=a.jpg``."""
    if kind == b"L":
        return {"path": data.split(b"\0")[0].decode("utf-8", "surrogateescape")}

    found: dict[str, str] = {}
    while kind != b"K" and data.strip(b"\0"):
        digits, _, _ = data.partition(b" ")
        size = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        key, equals, value = data[len(digits) + 1 : size - 1].partition(b"=")
        if not equals or size > len(data) or data[size - 1 : size] != b"\n":
            raise DataError(f"{path}: byte {at}: unreadable pax records; the archive is damaged.")

        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[size:]
    return found


def _problem(name: str, kind: bytes, attributes: dict[str, str]) -> RowError | None:
    """The error that says why a member must not be read; None if it may be."""
    if any(key.startswith("GNU.sparse") for key in attributes):
        message = f"{shown(name)} is a sparse file; pack it again as a regular file."
        return RowError("tar_sparse", "", name, message)
    if kind not in (b"0", b"\0", b"7"):
        what = _KINDS.get(kind, f"member of type {kind!r}")
        return RowError("tar_link", "", name, f"{shown(name)} is a {what}, not a file.")

    windows = PureWindowsPath(name)
    if name.startswith(("/", "\\")) or windows.drive or ".." in windows.parts:
        return RowError("tar_name", "", name, f"{shown(name)} is absolute or leaves the archive.")

    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return RowError("bad_encoding", "", ascii(name), f"the member's name {name!a} is not UTF-8.")
    return None
