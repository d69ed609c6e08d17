"""A set as lmms-lab has it on the Hub: VQA v2's columns and the picture, in parquet files of splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from data_sets._colours import COLOURS, picture

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ANSWER = pa.struct([("answer", pa.string()), ("answer_confidence", pa.string()), ("answer_id", pa.int64())])
SCHEMA = pa.schema(
    [
        ("question_type", pa.string()),
        ("multiple_choice_answer", pa.string()),
        ("answers", pa.list_(ANSWER)),
        ("image_id", pa.int64()),
        ("answer_type", pa.string()),
        ("question_id", pa.int64()),
        ("question", pa.string()),
        ("image", PICTURE),
    ]
)


def row(number: int, colour: str, *, answered: bool = True) -> dict[str, Any]:
    given = [colour] * 7 + ["dark"] * 3
    answers = [
        {"answer": text, "answer_confidence": "yes", "answer_id": index + 1}
        for index, text in enumerate(given)
    ]
    return {
        "question_type": "what color",
        "multiple_choice_answer": colour if answered else None,
        "answers": answers if answered else None,
        "image_id": 100 + number,
        "answer_type": "other",
        "question_id": 1000 + number,
        "question": "What color is it?",
        "image": {"bytes": picture(colour, "PNG"), "path": f"COCO_{number:012d}.png"},
    }


def write_table(file: Path, rows: list[dict[str, Any]], schema: pa.Schema | None = SCHEMA) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), file, row_group_size=2)
    return file


def write(folder: Path) -> Path:
    """Six pictures to train on, one each for validation and test; those of the test have no answers."""
    names = list(COLOURS)
    rows = [row(number, name) for number, name in enumerate(names[:7])]
    write_table(folder / "data" / "train-00000-of-00002.parquet", rows[:3])
    write_table(folder / "data" / "train-00001-of-00002.parquet", rows[3:6])
    write_table(folder / "data" / "validation-00000-of-00001.parquet", rows[6:])
    write_table(folder / "data" / "test-00000-of-00001.parquet", [row(7, names[7], answered=False)])
    return folder
