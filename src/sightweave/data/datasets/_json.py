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
from sightweave.data.datasets._rows import no_constant, no_duplicates, shown

_CHUNK = 1 << 20
MAX_VALUE = 256 << 20
"""Characters of one element; more is no row, and would be held in memory."""
_SPACE = re.compile(r"[ \t\n\r]*")
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
        except (OSError, EOFError) as error:  # a gzip file that is cut or damaged
            raise self.wrong(f"cannot be read ({error})") from None
        self.is_end = not data
        self.before += self.at
        self.text, self.at = self.text[self.at :] + text, 0
        return not self.is_end

    def wrong(self, problem: str) -> DataError:
        """An error with its place."""
        near = shown(self.text[self.at : self.at + 40])
        return DataError(f"{self.path}: character {self.before + self.at}: {problem} (near {near}).")

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
            raise self.wrong("the file ends too early" if not found else f"{expected!r} was expected")
        self.at += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if self._grow():
                    continue
                is_cut = error.pos >= len(self.text) or error.msg.startswith("Unterminated")
                raise self.wrong("the file ends inside this value" if is_cut else error.msg) from None
            except RecursionError:
                raise self.wrong("nested too deep") from None
            except DataError as error:
                raise self.wrong(str(error)) from None
            except ValueError as error:
                raise self.wrong(str(error).split(";")[0]) from None
            # A number at the window's edge may go on: 0 of 0.5 is a number too.
            if isinstance(value, str | list | dict) or end < len(self.text) or not self.more():
                self.at = end
                return value

    def _grow(self) -> bool:
        if len(self.text) - self.at > MAX_VALUE:
            raise self.wrong(f"one value of over {MAX_VALUE} characters")
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
    return gzip.GzipFile(fileobj=file) if head == b"\x1f\x8b" else file  # type: ignore[return-value]  # reads bytes


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
            text.value()
    raise DataError(f"{path}: no key {key!r} in the outermost object.")


def members(path: Path, *, chunk: int = _CHUNK) -> Iterator[tuple[str, Any]]:
    """Keys and values of the outermost object, one after the other.

    Raises:
        DataError: as `elements`.
    """
    with opened(path) as file:
        text = _Text(path, file, chunk)
        for name in _members(text):
            yield name, text.value()


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


def _members(text: _Text) -> Iterator[str]:
    """Keys; whoever asks for the next one has read the value."""
    text.take("{")
    if text.peek() == "}":
        text.take("}")
        return
    while True:
        name = text.value() if text.peek() == '"' else None
        if name is None:
            raise text.wrong("a key in double quotes was expected")
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
    try:
        with opened(path) as file:
            head = file.read(_GLANCE)
        is_packed = head and path.suffix.lower() == ".gz"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _GLANCE))
            tail = b"" if is_packed else file.read(_GLANCE)
    except (DataError, OSError, EOFError, zlib.error):
        return "", frozenset()
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    kind = {b"{": "object", b"[": "array"}.get(first, "")
    names = {match.decode() for match in _KEY.findall(head) + _KEY.findall(tail)} if kind else set()
    return kind, frozenset(names)
