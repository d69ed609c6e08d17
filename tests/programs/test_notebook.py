"""In the kernel of a notebook: progress is one output that is rewritten, and results are shown with their pictures."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ipykernel", reason="not run: no ipykernel")

CELL = """
import numpy as np
import tiny
import sightweave

recipe = {
    "data": [],
    "model": tiny.MODEL,
    "inputs": {"vocab_size": 280},
    "evaluate": {"max_tokens": 4, "controls": ["no_image"]},
    "train": {"stages": [{"steps": 40, "batch_size": 2}], "num_threads": 1, "precision": "fp32", "log_every": 2},
}
rows = [
    {"image": np.full((6, 6, 3), 25 * n, np.uint8), "question": "How bright?", "answer": str(n)}
    for n in range(10)
]
run = sightweave.train(recipe, data=rows, out=OUT, **SETTINGS)
"""


class Notebook:
    """A kernel as Jupyter, VS Code and Colab start one."""

    def __init__(self) -> None:
        from jupyter_client.manager import KernelManager

        here = Path(__file__).parents[2]
        self.manager = KernelManager(kernel_name="python3")
        self.manager.kernel_spec.argv[0] = sys.executable
        self.manager.start_kernel(
            extra_arguments=["--HistoryManager.enabled=False"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here / "src"), str(here / "tests")])},
        )
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def run(self, code: str) -> list[dict[str, Any]]:
        """What a cell sends to the browser."""
        sent: list[dict[str, Any]] = []
        reply = self.client.execute_interactive(code, output_hook=sent.append, timeout=300)
        assert reply["content"]["status"] == "ok", reply["content"].get("traceback")
        return sent

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture(scope="module")
def notebook():
    made = Notebook()
    yield made
    made.close()


def of_type(sent: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [one["content"] for one in sent if one["msg_type"] in names]


def text(sent: list[dict[str, Any]], stream: str) -> str:
    return "".join(one["text"] for one in of_type(sent, "stream") if one["name"] == stream)


def shown(notebook: Notebook, expression: str) -> tuple[str, str]:
    (result,) = of_type(notebook.run(expression), "execute_result")
    return result["data"]["text/plain"], result["data"]["text/html"]


@pytest.fixture(scope="module")
def trained(notebook: Notebook, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "run"
    return notebook.run(f"OUT, SETTINGS = {str(out)!r}, {{}}\n{CELL}")


def test_progress_is_one_line_that_is_rewritten_in_its_place(trained: list[dict[str, Any]]) -> None:
    lines = of_type(trained, "display_data", "update_display_data")
    training = [one for one in lines if one["data"]["text/plain"].startswith("train ")]
    assert len(training) > 1
    assert len({one["transient"]["display_id"] for one in training}) == 1
    last = training[-1]["data"]["text/plain"]
    assert last.startswith("train 40/40 main: loss ")
    for word in (" left, ", " samples/s, ", " tokens/s, ", "% waiting for data, ", " GB"):
        assert word in last
    assert not any("\n" in one["data"]["text/plain"] for one in training)
    # Each piece of work has an output of its own, and only its first message makes one.
    assert len(of_type(trained, "display_data")) == len({one["transient"]["display_id"] for one in lines})


def test_what_is_said_is_plain_text_and_no_fault(trained: list[dict[str, Any]]) -> None:
    said = text(trained, "stdout")
    assert "trained for 40 steps" in said
    assert not re.search("[\r\x1b]", said)
    assert text(trained, "stderr") == ""


@pytest.mark.usefixtures("trained")
def test_results_are_shown_with_pictures_and_tables(notebook: Notebook) -> None:
    for expression, start, pictures in (
        ("run", "Run(", 1),
        ("sightweave.evaluate(run, data=rows, progress=False)", "[Evaluation('test': ", 1),
        ("run.generate(rows[3]['image'], 'How bright?', max_tokens=3)", "Prediction(", 1),
        ("run.generate(rows[3]['image'], ['How bright?', 'Why?'], max_tokens=3)", "[Prediction(", 2),
    ):
        plain, html = shown(notebook, expression)
        assert plain.startswith(start), expression
        assert len(plain) < 500, expression
        assert html.count('<img src="data:image/') == pictures, expression
        assert "<script" not in html


@pytest.mark.usefixtures("trained")
def test_progress_can_be_turned_off(notebook: Notebook) -> None:
    sent = notebook.run(f"SETTINGS = {{'progress': False, 'overwrite': True}}\n{CELL}")
    assert of_type(sent, "display_data", "update_display_data", "stream") == []
