"""Recognises GGUF files, the format of llama.cpp, and reads their headers.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The header is read here without a library; Transformers
reads the weights (`core/from_transformers.py`).
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
"""Maximum size of a string in bytes."""
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Format characters of the `struct` module by GGUF's number of the scalar type."""
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
"""The pre-tokenizer step that splits numbers into single digits."""
GPT2 = _GPT2
CUTS: Mapping[str, tuple[str, ...]] = {
    "smollm": (DIGITS, _GPT2),
    "gpt-2": (_GPT2,),
    "llama-bpe": (_LLAMA3,),
    "qwen2": (_LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"),),
}
"""Pre-tokenizers by llama.cpp's name for them: steps that split a text before merges, as regular expressions or `DIGITS`."""


def is_named(value: str | Path) -> bool:
    """Whether a value is the path of a GGUF file, or of a folder that contains GGUF files and no config.json."""
    path = Path(value).expanduser()
    if path.suffix == SUFFIX:
        return True
    return path.is_dir() and not (path / "config.json").is_file() and bool(_models(path))


def file_of(value: str | Path) -> Path:
    """The GGUF file at a path, or the only one in the folder at that path.

    Raises:
        CheckpointError: The file does not exist, or the folder does not contain exactly one model.
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
    """The GGUF models in a folder, without the projector files (mmproj) that llama.cpp keeps next to them."""
    return sorted(file for file in folder.glob(f"*{SUFFIX}") if not file.name.startswith("mmproj"))


def header(file: Path) -> dict[str, Any]:
    """Reads the header of a GGUF file: numbers and strings by key, and None for lists, such as the vocabulary.

    Raises:
        CheckpointError: The file is not a GGUF file of version 2 or 3, or its header is damaged.
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

    # Skip lists, since the only long one, the vocabulary, is not needed here.
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
        raise ValueError(f"a string of {length} bytes")

    found = stream.read(length)
    if len(found) < length:
        raise ValueError("it ends inside a string")
    return found.decode()
