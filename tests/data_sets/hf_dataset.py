"""What `datasets` writes with ``save_to_disk``: folders of splits with Arrow streams and their descriptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from data_sets._colours import COLOURS, picture

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = {"image": {"_type": "Image"}, "label": {"names": list(COLOURS), "_type": "ClassLabel"}}
SCHEMA = pa.schema(
    [("image", PICTURE), ("label", pa.int64())],
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)


def write_stream(file: Path, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for start in range(0, len(rows), 2):
            writer.write_batch(pa.RecordBatch.from_pylist(rows[start : start + 2], schema))
    return file


def write_split(folder: Path, name: str, shards: list[list[str]]) -> None:
    files = [f"data-{index:05d}-of-{len(shards):05d}.arrow" for index in range(len(shards))]
    for file, colours in zip(files, shards, strict=True):
        rows = [
            {
                "image": {"bytes": picture(one, "WEBP", lossless=True), "path": None},
                "label": list(COLOURS).index(one),
            }
            for one in colours
        ]
        write_stream(folder / file, rows)
    state = {
        "_data_files": [{"filename": file} for file in files],
        "_fingerprint": "f66dd4cf9a0d0c4b",
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": name,
    }
    info = {
        "builder_name": "parquet",
        "citation": "",
        "dataset_name": "colours",
        "description": "",
        "features": FEATURES,
        "homepage": "",
        "license": "",
        "splits": {name: {"name": name, "num_bytes": 0, "num_examples": sum(map(len, shards))}},
    }
    (folder / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")


def write(folder: Path) -> Path:
    """Six pictures to train on in two files, one for validation, one for the test."""
    names = list(COLOURS)
    write_split(folder / "train", "train", [names[:3], names[3:6]])
    write_split(folder / "validation", "validation", [names[6:7]])
    write_split(folder / "test", "test", [names[7:]])
    splits = {"splits": ["train", "validation", "test"]}
    (folder / "dataset_dict.json").write_text(json.dumps(splits), encoding="utf-8")
    return folder
