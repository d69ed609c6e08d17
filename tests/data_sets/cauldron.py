"""The Cauldron and FineVision: a folder for each part, parquet with pictures, turns and ratings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from data_sets._colours import COLOURS, picture

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
RATINGS = ("relevance", "image_correspondence", "visual_dependency", "formatting")
SCHEMA = pa.schema(
    [
        ("images", pa.list_(PICTURE)),
        ("texts", pa.list_(pa.struct([("user", pa.string()), ("assistant", pa.string())]))),
        ("source", pa.string()),
        *((f"{name}_ratings", pa.list_(pa.int64())) for name in RATINGS),
        *((f"{name}_min", pa.int64()) for name in RATINGS),
    ]
)


def row(colours: list[str], second: int = 4) -> dict[str, Any]:
    named = " and ".join(colours)
    return {
        "images": [{"bytes": picture(colour), "path": None} for colour in colours],
        "texts": [
            {"user": "Which colour is it?", "assistant": f"It is {named}."},
            {"user": "Say it in one word.", "assistant": named},
        ],
        "source": "colours",
        **{f"{name}_ratings": [5, second] for name in RATINGS},
        **{f"{name}_min": min(5, second) for name in RATINGS},
    }


def write_table(file: Path, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), file, row_group_size=4)
    return file


def write(folder: Path) -> Path:
    """Two parts; the first has six pictures in two files, the second one row of two pictures and one of text alone."""
    names = list(COLOURS)
    write_table(folder / "colours" / "train-00000-of-00002.parquet", [row([n], 2) for n in names[:3]])
    write_table(folder / "colours" / "train-00001-of-00002.parquet", [row([n]) for n in names[3:6]])
    texts = row(["red"]) | {
        "images": [],
        "texts": [{"user": "Name a colour.", "assistant": "Red."}],
        **{f"{name}_ratings": [5] for name in RATINGS},
    }
    write_table(folder / "pairs" / "train-00000-of-00001.parquet", [row(names[6:]), texts])
    return folder
