"""A small run trained on coloured pictures, and the same questions in the forms of the other harnesses.

These tests need the other harnesses and are run by ``make test-foreign``, in an environment that has them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sightweave

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "white": (245, 245, 245)}
OPTIONS = list(COLOURS)
QUESTION = "What colour is it?"
# As VLMEvalKit lays a question with its options out.
LETTERED = (
    f"Question: {QUESTION}\nOptions:\n"
    + "".join(f"{letter}. {name}\n" for letter, name in zip("ABCD", OPTIONS, strict=True))
    + "Please select the correct answer from the options above. \n"
)
WRONG = ("red-2", "white-0")
"""Pictures whose answer in the test is not their colour: a good model is wrong there, so no score is 1."""
RECIPE: dict[str, Any] = {
    "model": {
        "encoder": {"kind": "cnn", "image_size": 16, "channels": [8, 16], "blocks": [0, 0]},
        "connector": "linear",
        "fusion": "concat",
        "language_model": {"kind": "decoder_only", "dim": 32, "num_heads": 2},
    },
    "inputs": {"vocab_size": 400},
    "train": {
        "num_threads": 1,
        "precision": "fp32",
        "stages": [{"steps": 150, "batch_size": 4, "tasks": ["vqa"], "optimizer": {"lr": 0.005}}],
    },
}


@dataclass(frozen=True)
class Job:
    """Where things are."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def test_rows(self) -> list[dict[str, Any]]:
        """Picture, name and answer of each test question."""
        rows = []
        for colour in OPTIONS:
            for shade in range(3):
                name = f"{colour}-{shade}"
                wrong = OPTIONS[(OPTIONS.index(colour) + 1) % 4]
                answer = wrong if name in WRONG else colour
                rows.append({"image": str(self.folder / f"{name}.png"), "id": name, "answer": answer})
        return rows

    def score(self, question: str, metrics: list[Any], *, letters: bool = False) -> dict[str, float]:
        """Our own scores of the test questions, by metric."""
        rows = [
            {**row, "question": question, "options": OPTIONS, "split": "test"} for row in self.test_rows()
        ]
        if letters:
            rows = [
                {**row, "answer": "ABCD"[OPTIONS.index(row["answer"])], "options": list("ABCD")}
                for row in rows
            ]
        setting = "tasks.vqa.metrics=" + json.dumps(metrics)
        (evaluation,) = sightweave.evaluate(
            self.run, setting, "evaluate.max_tokens=8", data=rows, controls=[], out=self.folder / "ours"
        )
        (task,) = evaluation.tasks
        return {name: found.value for name, found in task.metrics.items() if found is not None}

    def command(self, *words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs Python with some words; it must succeed."""
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=self.folder,
            env=os.environ | offline | {"HF_HOME": str(self.folder / "hf"), "OMP_NUM_THREADS": "1"} | env,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done
