"""GGUF, the file format of llama.cpp: which paths name such a file, and the values of its header.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Only the header is read here, value by value and without a
library; weights are read by Transformers (`core/from_transformers.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sightweave.core.errors import CheckpointError

SUFFIX = ".gguf"
_MAGIC = b"GGUF"
_MOST_KEYS = 10_000
_MOST_BYTES = 1 << 20
"""Maximum size of a string."""
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""The format's numbers of types, with their codes in `struct`."""
_TEXT, _ARRAY = 8, 9

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
DIGITS = "Digits"
"""The step that makes each digit a separate piece."""
GPT2 = _GPT2
CUTS: Mapping[str, tuple[str, ...]] = {
    "smollm": (DIGITS, _GPT2),
    "gpt-2": (_GPT2,),
    "llama-bpe": (_LLAMA3,),
    "qwen2": (_LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"),),
}
"""llama.cpp's names for the ways of splitting text before merges, with their steps: regular expressions, or `DIGITS`."""


def is_named(value: str | Path) -> bool:
    """Whether a value names a GGUF file, or a folder that holds one and no config.json."""
    path = Path(value).expanduser()
    if path.suffix == SUFFIX:
        return True
    return path.is_dir() and not (path / "config.json").is_file() and bool(_models(path))


def file_of(value: str | Path) -> Path:
    """The file that a value names.

    Raises:
        CheckpointError: no such file, or a folder with several.
    """
    path = Path(value).expanduser()
    if path.is_dir():
        found = _models(path)
        if len(found) != 1:
            raise CheckpointError(
                f"{path}: holds {len(found)} GGUF models ({', '.join(file.name for file in found[:5])}); give the "
                "path of one file."
            )
        return found[0]

    if not path.is_file():
        raise CheckpointError(f"{path}: file not found.")
    return path


def _models(folder: Path) -> list[Path]:
    """GGUF files in a folder, without the projectors that llama.cpp keeps next to a language model."""
    return sorted(file for file in folder.glob(f"*{SUFFIX}") if not file.name.startswith("mmproj"))


def header(file: Path) -> dict[str, Any]:
    """Numbers and strings of the header by key; its lists, such as the vocabulary, are skipped.

    Raises:
        CheckpointError: not a GGUF file, or a damaged one.
    """
    with file.open("rb") as stream:
        if stream.read(4) != _MAGIC:
            raise CheckpointError(f"{file}: not a GGUF file; it does not start with {_MAGIC.decode()}.")

        try:
            version, _, count = struct.unpack("<IQQ", stream.read(20))
            if version not in (2, 3) or count > _MOST_KEYS:
                raise CheckpointError(
                    f"{file}: version {version} with {count} keys; versions 2 and 3 with up to {_MOST_KEYS} keys are read."
                )
            return dict(_pair(stream) for _ in range(count))
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            raise CheckpointError(f"{file}: its header is damaged: {error}. Copy the file again.") from error


def _pair(stream: BinaryIO) -> tuple[str, Any]:
    return _text(stream), _value(stream, _number(stream, "I"))


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _text(stream)
    if kind != _ARRAY:
        return _number(stream, _code(kind))

    # Skip lists: nothing here needs the vocabulary.
    inner, count = _number(stream, "I"), _number(stream, "Q")
    if inner == _TEXT:
        for _ in range(count):
            _text(stream)
    else:
        stream.seek(count * struct.calcsize(_code(inner)), 1)
    return None


def _code(kind: int) -> str:
    if kind not in _SCALARS:
        raise ValueError(f"unknown type {kind}")
    return _SCALARS[kind]


def _number(stream: BinaryIO, code: str) -> Any:
    return struct.unpack(f"<{code}", stream.read(struct.calcsize(code)))[0]


def _text(stream: BinaryIO) -> str:
    length = _number(stream, "Q")
    if length > _MOST_BYTES:
        raise ValueError(f"a text of {length} bytes")

    found = stream.read(length)
    if len(found) < length:
        raise ValueError("it ends inside a text")
    return found.decode()
