"""Reads large JSON files one element at a time, so that memory use is bounded by the largest element.

Many official datasets are a single array of up to a million rows, either at the top level or under a key. ``json.load``
would hold all rows in memory.
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
"""Maximum number of characters in one element, which is held in memory."""
_SPACE = re.compile(r"[ \t\n\r]*")
_EDGE = 16
"""Number of characters at the end of the window in which a JSON literal or escape sequence may be cut off."""
_GLANCE = 1 << 17
_KEY = re.compile(rb'"([A-Za-z_][\w-]{0,60})"\s*:')


class _Text:
    """A window of a JSON file's text that moves forward as values are read.

    Args:
        path: Path of the file, for messages.
        file: The file, opened for reading bytes.
        chunk: Bytes to read at a time.
    """

    def __init__(self, path: Path, file: IO[bytes], chunk: int) -> None:
        self.path, self.file, self.chunk = path, file, chunk
        self.text = ""
        self.at = 0
        """Current position in `text`."""
        self.before = 0
        """Number of characters in the file before the start of `text`."""
        self.is_end = False
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder(object_pairs_hook=no_duplicates, parse_constant=no_constant)

    def more(self) -> bool:
        """Reads another chunk and drops the text before the current position; returns False at the end of the file."""
        if self.is_end:
            return False

        try:
            data = self.file.read(self.chunk)
            text = self._decode.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise self.wrong(f"not UTF-8 ({error.reason})") from None
        except (OSError, EOFError, zlib.error) as error:  # a truncated or damaged gzip file
            raise self.wrong(f"cannot be read ({error})") from None

        self.is_end = not data
        self.before += self.at
        self.text, self.at = self.text[self.at :] + text, 0
        return not self.is_end

    def wrong(self, problem: str, at: int | None = None) -> DataError:
        """Makes the error for a problem at a position in the window, which defaults to the current one."""
        place = self.at if at is None else at
        near = shown(self.text[place : place + 40])
        return DataError(
            f"{self.path}: character {self.before + place}: {problem.rstrip('.')} (near {near})."
        )

    def peek(self) -> str:
        """Skips white space and returns the next character without consuming it; empty at the end of the file."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> None:
        """Skips white space and consumes one expected character.

        Raises:
            DataError: The next character is a different one.
        """
        found = self.peek()
        if found != expected:
            raise self.wrong("unexpected end of file" if not found else f"expected {expected!r}")
        self.at += 1

    def value(self) -> Any:
        """Reads the next JSON value, which may be nested.

        Raises:
            DataError: The value is not valid JSON, incomplete, too large or nested too deeply.
        """
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                self._grow_or_raise(error)
                continue
            except RecursionError:
                raise self.wrong("nested too deeply") from None
            except RowError as error:  # a duplicate key
                raise self.wrong(f"{error.field}: {error}" if error.field else str(error)) from None
            except ValueError as error:
                raise self.wrong(str(error).split(";")[0]) from None

            size = end - self.at
            if isinstance(value, list | dict) and is_too_deep(self.text[self.at : end], value):
                raise self.wrong("nested too deeply")
            # A number at the end of the window may continue: 1 is a number, but so is 1e+5.
            is_complete = isinstance(value, str | list | dict) or end < len(self.text) - 2
            if is_complete or not self._grow():
                self.at += size
                return value

    def _grow_or_raise(self, error: json.JSONDecodeError) -> None:
        """Reads more text if that may complete a value that could not be parsed; otherwise raises the error."""
        is_open = error.msg.startswith("Unterminated")
        ahead = error.pos - self.at  # reading more moves the window

        # An error well before the end of the window remains one whatever text follows, so reading more would not help.
        may_continue = is_open or error.pos >= len(self.text) - _EDGE
        if may_continue and self._grow():
            return
        if is_open or self.at + ahead >= len(self.text):
            raise self.wrong("the file ends inside this value") from None
        raise self.wrong(error.msg, self.at + ahead) from None

    def _grow(self) -> bool:
        """Doubles the window, so that a long value is not parsed again for every chunk.

        Returns:
            Whether any text was added; False at the end of the file.
        """
        if len(self.text) - self.at > MAX_VALUE:
            raise self.wrong(f"a value of more than {MAX_VALUE} characters")

        wanted = 2 * max(len(self.text) - self.at, self.chunk)
        grew = self.more()
        while grew and len(self.text) < wanted and self.more():
            pass
        return grew


def opened(path: Path) -> IO[bytes]:
    """Opens a file for reading bytes; a gzip file, which is recognised by its first bytes, is decompressed.

    Raises:
        DataError: The file cannot be opened.
    """
    try:
        file = path.open("rb")
        head = file.read(2)
        file.seek(0)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from None

    if head != b"\x1f\x8b":
        return file
    file.close()  # GzipFile closes only a file that it opened itself
    return gzip.GzipFile(path, "rb")  # type: ignore[return-value]  # reads bytes


def elements(path: Path, key: str | None = None, *, chunk: int = _CHUNK) -> Iterator[Any]:
    """Yields the elements of a file's top-level array, or of the array under a key of its top-level object.

    Args:
        path: A JSON file, plain or gzip.
        key: Key of the array; None if the array is at the top level.
        chunk: Bytes to read at a time.

    Raises:
        DataError: There is no such array, or the file is truncated or not valid JSON. The message gives the position.
    """
    with opened(path) as file:
        text = _Text(path, file, chunk)
        if key is None:
            yield from _array(text)
            return

        for name in _members(text):
            if name == key:
                yield from _array(text)
                return  # the rest is not needed and may be large
            _skip(text)

    raise DataError(f"{path}: no key {key!r} in the top-level object.")


def members(path: Path, *, chunk: int = _CHUNK) -> Iterator[tuple[str, Any]]:
    """Yields the keys and values of a file's top-level object.

    Raises:
        DataError: The file is not a JSON object, or is truncated. The message gives the position.
    """
    with opened(path) as file:
        text = _Text(path, file, chunk)
        for name in _members(text):
            yield name, text.value()


def check(path: Path, *, chunk: int = _CHUNK) -> None:
    """Reads a file's top-level object to its end, one element at a time, to check that the file is complete.

    Raises:
        DataError: The file is not a JSON object, or is truncated. The message gives the position.
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
    """Skips a value. An array is skipped element by element, because it may be huge, such as the boxes of COCO."""
    if text.peek() != "[":
        text.value()
        return
    for _ in _array(text):
        pass


def _members(text: _Text) -> Iterator[str]:
    """Yields the keys of an object; the caller must read or skip each value before requesting the next key."""
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
    """Guesses the content of a JSON file from its start and end, since official files are large.

    Returns:
        ``object`` or ``array``, or an empty text if the file is not JSON; and the keys at any depth in the parts that were
        read.
    """
    head, tail = _ends(path)
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    kind = {b"{": "object", b"[": "array"}.get(first, "")
    if not kind:
        return "", frozenset()

    keys = _KEY.findall(head) + _KEY.findall(tail)
    return kind, frozenset(key.decode() for key in keys)


def text_of(path: Path, key: str) -> str:
    """The first text value of a key in the start and the end of a file, as `glance` reads them; empty if there is none."""
    for part in _ends(path):
        found = re.search(rb'"' + re.escape(key.encode()) + rb'"\s*:\s*"([^"\\]*)"', part)
        if found:
            return found[1].decode("utf-8", "replace")
    return ""


def missing(path: Path, wanted: str) -> DataError:
    """The error for a path without a file of the expected format, with the position if the file is not valid JSON.

    Args:
        path: A file or folder.
        wanted: Description of the file that the format needs.
    """
    if not path.exists():
        return DataError(f"{path}: file or folder not found.")

    if path.is_file():
        read: Iterator[Any] = members(path) if glance(path)[0] == "object" else elements(path)
        try:
            for _ in read:
                pass
        except DataError as error:
            return DataError(f"{str(error).rstrip('.')}. Expected: {wanted}.")
        return DataError(f"{path}: does not have the fields of {wanted}.")

    names = [file.name for file in json_files(path)]
    return DataError(f"{path}: expected {wanted}; found {among(names) if names else 'no JSON file'}.")


def _ends(path: Path) -> tuple[bytes, bytes]:
    """The start of a file and, unless it is compressed, its end (128 KiB each); both empty if it cannot be read."""
    try:
        with opened(path) as file:
            is_compressed = isinstance(file, gzip.GzipFile)
            head = file.read(_GLANCE)
            if is_compressed or len(head) < _GLANCE:
                return head, b""

            file.seek(max(_GLANCE, path.stat().st_size - _GLANCE))
            return head, file.read(_GLANCE)
    except (DataError, OSError, EOFError, zlib.error):
        return b"", b""
