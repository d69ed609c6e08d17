"""Headers of GGUF files, written here byte by byte: what they say, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from sightweave.core import gguf, transformers_folder
from sightweave.core.errors import CheckpointError


def text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def value_of(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    inner = value_of(value[0])[:4]
    return (
        struct.pack("<I", 9)
        + inner
        + struct.pack("<Q", len(value))
        + b"".join(value_of(v)[4:] for v in value)
    )


def written(file: Path, values: dict[str, Any], *, magic: bytes = b"GGUF", version: int = 3) -> Path:
    body = b"".join(text(key) + value_of(value) for key, value in values.items())
    file.write_bytes(magic + struct.pack("<IQQ", version, 0, len(values)) + body)
    return file


VALUES: dict[str, Any] = {
    "general.architecture": "llama",
    "tokenizer.ggml.tokens": ["a", "\u4eba", "c" * 50],
    "tokenizer.ggml.token_type": [1, 2, 3],
    "tokenizer.ggml.pre": "smollm",
    "llama.block_count": 30,
    "llama.rope.freq_base": 0.5,
    "tokenizer.ggml.add_bos_token": False,
}


def test_numbers_and_texts_are_read_and_lists_passed_over(tmp_path: Path) -> None:
    found = gguf.header(written(tmp_path / "a.gguf", VALUES))
    assert found == {key: None if isinstance(value, list) else value for key, value in VALUES.items()}


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.gguf", VALUES).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"not a GGUF file|its header is damaged"):
            gguf.header(tmp_path / "cut.gguf")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"magic": b"GGML"}, "not a GGUF file"),
        ({"version": 1}, "version 1 with 1 keys"),
    ],
)
def test_what_is_no_such_file_is_refused(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=told):
        gguf.header(written(tmp_path / "a.gguf", {"general.architecture": "llama"}, **changes))


def test_a_length_without_bound_reads_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 62))
    with pytest.raises(CheckpointError, match="a string of 4611686018427387904 bytes"):
        gguf.header(file)


def test_a_file_and_its_folder_name_it(tmp_path: Path) -> None:
    file = written(tmp_path / "a.gguf", VALUES)
    written(tmp_path / "mmproj-a.gguf", VALUES)
    assert gguf.is_named(file)
    assert gguf.is_named(tmp_path)
    assert gguf.file_of(tmp_path) == file
    for name in (str(file), "OWNER/NAME.gguf"):  # the second is no name on the hub
        assert transformers_folder.is_named(name)
        assert not transformers_folder.is_on_hub(name)
    with pytest.raises(CheckpointError, match="b\\.gguf: file not found"):
        transformers_folder.place(tmp_path / "b.gguf")
    written(tmp_path / "b.gguf", VALUES)
    with pytest.raises(
        CheckpointError, match=r"holds 2 GGUF models \(a\.gguf, b\.gguf\); give the path of one file"
    ):
        gguf.file_of(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert not gguf.is_named(tmp_path)  # a folder of Transformers, whatever lies beside
