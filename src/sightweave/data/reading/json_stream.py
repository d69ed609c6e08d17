"""Large JSON files, read one element at a time: memory stays that of the largest element.

Official files hold one array of a million rows, at the top or under a key. A plain parser would hold all of it as objects.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sightweave.core.errors import DataError
from sightweave.data.reading.file_names import among, json_files
from sightweave.data.reading.row_files import RowError, is_too_deep, no_constant, no_duplicates, shown

_CHUNK = 1 << 20
MAX_VALUE = 256 << 20
"""Characters of one element; more is no row, and would be held in memory."""
_SPACE = re.compile(r"[ \t\n\r]*")
_EDGE = 16
"""The longest word of JSON or escape in it that the end of a window may cut, and some more."""
_GLANCE = 1 << 17
_KEY = re.compile(rb'"([A-Za-z_][\w-]{0,60})"\s*:')


class _Text:
    """A window of a file's text that moves forward."""

    def __init__(self, path: Path, file: IO[bytes], chunk: int) -> None:
        self.path, self.file, self.chunk = path, file, chunk
        self.text, self.at, self.before, self.is_end = "", 0, 0, False
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder(object_pairs_hook=no_duplicates, parse_constant=no_constant)

    def more(self) -> bool:
        """Reads on; False at the end."""
        if self.is_end:
            return False
        try:
            data = self.file.read(self.chunk)
            text = self._decode.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise self.wrong(f"not UTF-8 ({error.reason})") from None
        except (OSError, EOFError, zlib.error) as error:  # a gzip file that is cut or damaged
            raise self.wrong(f"cannot be read ({error})") from None
        self.is_end = not data
        self.before += self.at
        self.text, self.at = self.text[self.at :] + text, 0
        return not self.is_end

    def wrong(self, problem: str, at: int | None = None) -> DataError:
        """An error with its place: where it reads, or at a character of the window."""
        place = self.at if at is None else at
        near = shown(self.text[place : place + 40])
        return DataError(
            f"{self.path}: character {self.before + place}: {problem.rstrip('.')} (near {near})."
        )

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> None:
        """Steps over one character.

        Raises:
            DataError: another one stands there.
        """
        found = self.peek()
        if found != expected:
            raise self.wrong("unexpected end of file" if not found else f"expected {expected!r}")
        self.at += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith("Unterminated")
                ahead = error.pos - self.at  # reading on moves the window
                # Well before the window's edge it is an error whatever follows, and the file need not be read on.
                if (is_open or error.pos >= len(self.text) - _EDGE) and self._grow():
                    continue
                if is_open or self.at + ahead >= len(self.text):
                    raise self.wrong("the file ends inside this value") from None
                raise self.wrong(error.msg, self.at + ahead) from None
            except RecursionError:
                raise self.wrong("nested too deeply") from None
            except RowError as error:  # a key given twice
                raise self.wrong(f"{error.field}: {error}" if error.field else str(error)) from None
            except ValueError as error:
                raise self.wrong(str(error).split(";")[0]) from None
            # A number at the window's edge may go on: 1 of 1e+5 is a number too.
            size = end - self.at
            if isinstance(value, list | dict) and is_too_deep(self.text[self.at : end], value):
                raise self.wrong("nested too deep")
            if isinstance(value, str | list | dict) or end < len(self.text) - 2 or not self._grow():
                self.at += size
                return value

    def _grow(self) -> bool:
        if len(self.text) - self.at > MAX_VALUE:
            raise self.wrong(f"a value of more than {MAX_VALUE} characters")
        # Doubling, so that a long value is not parsed again for every chunk.
        wanted = 2 * max(len(self.text) - self.at, self.chunk)
        grew = self.more()
        while grew and len(self.text) < wanted and self.more():
            pass
        return grew


def opened(path: Path) -> IO[bytes]:
    """A file for reading, unpacked where it is gzip (by its first bytes, whatever it is called).

    Raises:
        DataError: it cannot be opened.
    """
    try:
        file = path.open("rb")
        head = file.read(2)
        file.seek(0)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from None
    if head != b"\x1f\x8b":
        return file
    file.close()  # one that it did not open itself, GzipFile would leave open
    return gzip.GzipFile(path, "rb")  # type: ignore[return-value]  # reads bytes


def elements(path: Path, key: str | None = None, *, chunk: int = _CHUNK) -> Iterator[Any]:
    """Elements of the array at the top, or of the one under a key of the outermost object.

    Raises:
        DataError: not that shape, not JSON, or the file ends early; said with its place.
    """
    with opened(path) as file:
        text = _Text(path, file, chunk)
        if key is None:
            yield from _array(text)
            return
        for name in _members(text):
            if name == key:
                yield from _array(text)
                return  # what follows is not needed, and may be large
            _skip(text)
    raise DataError(f"{path}: no key {key!r} in the top-level object.")


def members(path: Path, *, chunk: int = _CHUNK) -> Iterator[tuple[str, Any]]:
    """Keys and values of the outermost object, one after the other.

    Raises:
        DataError: as `elements`.
    """
    with opened(path) as file:
        text = _Text(path, file, chunk)
        for name in _members(text):
            yield name, text.value()


def check(path: Path, *, chunk: int = _CHUNK) -> None:
    """Reads an object to its end, one element at a time.

    Raises:
        DataError: as `elements`.
    """
    with opened(path) as file:
        text = _Text(path, file, chunk)
        for _ in _members(text):
            _skip(text)


def _array(text: _Text) -> Iterator[Any]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield text.value()
        if text.peek() == "]":
            text.take("]")
            return
        text.take(",")


def _skip(text: _Text) -> None:
    """Reads over a value. An array goes by one element at a time: COCO's boxes stand before their categories."""
    if text.peek() != "[":
        text.value()
        return
    for _ in _array(text):
        pass


def _members(text: _Text) -> Iterator[str]:
    """Keys; whoever asks for the next one has read the value."""
    text.take("{")
    if text.peek() == "}":
        text.take("}")
        return
    while True:
        name = text.value() if text.peek() == '"' else None
        if name is None:
            raise text.wrong("expected a key in double quotes")
        text.take(":")
        yield name
        if text.peek() == "}":
            text.take("}")
            return
        text.take(",")


def glance(path: Path) -> tuple[str, frozenset[str]]:
    """``object`` or ``array``, and names of keys at any depth, from the beginning and the end of a file alone.

    Official files are large, and their first and last elements tell what they are. ``""`` where it is no JSON.
    """
    head, tail = _ends(path)
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    kind = {b"{": "object", b"[": "array"}.get(first, "")
    names = {match.decode() for match in _KEY.findall(head) + _KEY.findall(tail)} if kind else set()
    return kind, frozenset(names)


def text_of(path: Path, key: str) -> str:
    """The text that first stands under a key, looked for where `glance` looks; empty where there is none."""
    for part in _ends(path):
        found = re.search(rb'"' + re.escape(key.encode()) + rb'"\s*:\s*"([^"\\]*)"', part)
        if found:
            return found[1].decode("utf-8", "replace")
    return ""


def missing(path: Path, wanted: str) -> DataError:
    """The error for a path where a format has no files; of one file that is no whole JSON, what is wrong with it."""
    if not path.exists():
        return DataError(f"{path}: file or folder not found.")
    if path.is_file():
        try:
            for _ in members(path) if glance(path)[0] == "object" else elements(path):
                pass
        except DataError as error:
            return DataError(f"{str(error).rstrip('.')}. Expected: {wanted}.")
        return DataError(f"{path}: does not have the fields of {wanted}.")
    names = [file.name for file in json_files(path)]
    return DataError(f"{path}: expected {wanted}; found {among(names) if names else 'no JSON file'}.")


def _ends(path: Path) -> tuple[bytes, bytes]:
    """The first bytes of a file and, where it is not packed, its last ones; nothing where it cannot be read."""
    try:
        with opened(path) as file:
            is_packed = isinstance(file, gzip.GzipFile)
            head = file.read(_GLANCE)
            if is_packed or len(head) < _GLANCE:
                return head, b""
            file.seek(max(_GLANCE, path.stat().st_size - _GLANCE))
            return head, file.read(_GLANCE)
    except (DataError, OSError, EOFError, zlib.error):
        return b"", b""
