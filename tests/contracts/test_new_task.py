"""A new task is one new file: its records train, are scored, are checked and come out of rows, with no edit elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightweave
from sightweave.core import catalog
from sightweave.core.errors import DataError
from sightweave.data.datasets import own
from sightweave.data.reading.dataset import is_record, task_of, texts_of
from sightweave.data.tasks import vqa
from sightweave.data.tasks._base import record_class

PACKAGE = Path(sightweave.__file__).parent
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np, sightweave
from sightweave import api
from PIL import Image
from sightweave.core.types import Medium
from sightweave.data.tasks._base import record_class
from sightweave.data.tasks.conversation import Turn

assert Path(sightweave.__file__).parent == Path.cwd() / "sightweave", sightweave.__file__
names = sys.argv[1:]
values = {"question": "where ?", "answers": ("here",), "captions": ("a red ball",), "rationale": "look", "source": "a ball",
    "targets": ("ein Ball",), "source_language": "en", "target_language": "de", "thing": "dots", "number": 2,
    "signs": ("[0 0 500 200] bat => Ball",)}
recipe = {"data": [], "model": {"encoder": {"kind": "cnn", "image_size": 32, "channels": [4, 8], "blocks": [0, 0]},
    "connector": "linear", "fusion": "concat",
    "language_model": {"kind": "decoder_only", "dim": 16, "depth": 1, "num_heads": 2}},
    "inputs": {"vocab_size": 300, "min_frequency": 1},
    "evaluate": {"controls": ["no_image"], "max_tokens": 4, "max_images": 9},
    "tasks": {name: {} for name in names if "." in name},
    "train": {"device": "cpu", "precision": "fp32", "num_threads": 1, "check": False,
        "stages": [{"steps": 1, "batch_size": 2, "tasks": names}]}}
sightweave.read_recipe(recipe).build_tasks()
records = []
for task in names:
    kind = record_class(task)
    assert kind is not None, task
    mine = values if "turns" not in kind.__dataclass_fields__ else {
        "turns": (Turn("user", (0, "what ?")), Turn("assistant", ("red",)))}
    mine = {name: value for name, value in mine.items() if name in kind.__dataclass_fields__}
    for number, split in enumerate(("train", "train", "test")):
        image = Medium(np.full((16, 16, 3), 80 * number, np.uint8), f"{task}/{number}")
        records.append(kind(id=f"{task}-{number}", images=(image,), split=split, **mine))
run = sightweave.train(recipe, data=records, out="run", evaluate=False)
(scores,) = sightweave.evaluate(run, data=records, splits=["test"])
assert sorted(one.task for one in scores.tasks) == sorted(names), [one.task for one in scores.tasks]
assert {one.task: one.count for one in scores.tasks} == dict.fromkeys(names, 1)
counting = next(name for name in names if name.endswith("counting"))
shown = sightweave.evaluate(run, data=records, splits=["test"], out="scored") and Path("scored/report.html").read_text()
assert all(name in shown for name in names)
# The same as a file of rows, where the row names its task.
Path("mine").mkdir()
Image.new("RGB", (16, 16)).save("mine/a.png")
rows = [{"image": "a.png", "task": counting, "thing": "dots", "number": number, "type": "count"} for number in (1, 2)]
Path("mine/data.jsonl").write_text("\\n".join(map(json.dumps, rows)))
(first, second) = [record for group in api.source("mine").build(split="train") for record in group]
assert isinstance(first, record_class(counting)) and (first.number, second.number) == (1, 2), first
assert first.tags == {"type": "count"}
found = sightweave.check_data("mine")
assert found.records == {counting: 2}, found.records
assert found.rows == found.good_rows == 2
print("well")
"""


def counting() -> str:
    """The file that the page on adding a task shows."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "add-a-task.md").read_text(encoding="utf-8")
    return page.partition("file=src/sightweave/data/tasks/counting.py\n")[2].partition("```")[0]


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_a_copy_of_each_task_under_another_name_does_all_that_the_task_does(
    where: str, tmp_path: Path
) -> None:
    tasks = tmp_path / "my_lab"
    if where == "inside":
        shutil.copytree(PACKAGE, tmp_path / "sightweave", ignore=shutil.ignore_patterns("__pycache__"))
        tasks = tmp_path / "sightweave" / "data" / "tasks"
    else:
        (tmp_path / "sightweave").symlink_to(PACKAGE)
        tasks.mkdir()
    names = []
    for name in catalog.kinds("data.tasks"):
        if name == "drawing":  # its answers are images, which this model cannot make
            continue
        names.append(f"other_{name}")
        shutil.copy(PACKAGE / "data" / "tasks" / f"{name}.py", tasks / f"other_{name}.py")
    prefix = "" if where == "inside" else "my_lab."
    text = counting()
    assert 'task="counting"' in text
    (tasks / "counting.py").write_text(
        text.replace('task="counting"', f'task="{prefix}counting"'), encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *(f"{prefix}{name}" for name in [*names, "counting"])],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("well\n"), done.stderr[-3000:]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"thing": "dots", "number": 2}, ""),
        ({"thing": "dots"}, "number: missing; task 'their_lab.counting' needs it"),
        ({"thing": "dots", "number": "many"}, "valid integer.*'many'"),
        ({"thing": 3, "number": 2}, "valid string"),
    ],
)
def test_a_row_that_names_its_task_is_checked_by_its_record(
    row: dict[str, Any], fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_lab").mkdir()
    (tmp_path / "their_lab" / "counting.py").write_text(counting(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_lab", raising=False)
    picture = np.zeros((8, 8, 3), np.uint8)
    rows = [{"image": picture, "task": "their_lab.counting", **row}]
    with pytest.raises(DataError, match="nothing to train on"):
        own.from_records(rows, strict=True)  # what a data file names is never imported
    module = catalog.module("data.tasks", "their_lab.counting")  # as a recipe does that names it
    try:
        if fault:
            with pytest.raises(DataError, match=fault):
                own.from_records(rows, strict=True)
        else:
            ((record,),) = own.from_records(rows, strict=True)
            assert (type(record), record.thing, record.number) == (module.Record, "dots", 2)
    finally:
        del sys.modules["their_lab.counting"]


def test_a_column_called_task_that_names_no_other_task_changes_nothing() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    for task in ("vqa", "captioning", "VQA v2", "os.path", 7, None):
        row = {"image": picture, "question": "what ?", "answer": "red", "task": task}
        ((record,),) = own.from_records([row], strict=True)
        assert isinstance(record, vqa.Record)


def test_only_a_tasks_file_defines_records() -> None:
    class MyRecord:
        """Of no task."""

    class Special(vqa.Record):
        """A user's own addition to one."""

    assert all(record_class(name) is not None for name in catalog.kinds("data.tasks"))
    assert record_class("nothing") is record_class("os.path") is None
    special = Special(id="a", images=(), question="what ?", answers=("red",))
    assert (is_record(special), task_of(special)) == (True, "vqa")
    assert list(texts_of(special)) == ["what ?", "red"]
    assert not is_record(MyRecord())
    assert not is_record({"question": "what ?"})
    with pytest.raises(DataError, match=r"a MyRecord of the module .*is not a task's record; a task module"):
        task_of(MyRecord())  # type: ignore[arg-type]
