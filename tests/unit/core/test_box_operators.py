"""Libraries that import torchvision work beside one that was built for another torch."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src"
TORCHVISION = """
import torch

for name in ("torchvision::nms", "torchvision::qnms"):
    torch.library.register_fake(name)(lambda dets, scores, iou_threshold: dets)
"""
"""What a torchvision for CUDA does when it is imported, beside a torch without: its operators are not there."""
TIMM = """
from sightweave.core.errors import BackendError
from sightweave.models.encoders.from_timm import import_timm

try:
    print(import_timm().__version__)
except BackendError as error:
    print(error)
"""
TRANSFORMERS = """
from sightweave.core.from_transformers import imported

imported()
import torchvision
"""


def run(program: str, place: Path, torchvision: str) -> str:
    """What a program prints where such a torchvision is installed."""
    for name, text in (("torchvision", torchvision), ("timm", "import torchvision\n__version__ = '1.0'\n")):
        (place / name).mkdir()
        (place / name / "__init__.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(SOURCE)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("torchvision", "said"),
    [
        (TORCHVISION, "1.0"),
        ("raise RuntimeError('made for torch 9')", "cannot be imported: made for torch 9"),
    ],
)
def test_missing_operators_do_not_stop_timm(torchvision: str, said: str, tmp_path: Path) -> None:
    assert said in run(TIMM, tmp_path, torchvision)


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="Transformers is not installed")
def test_what_transformers_imports_later_finds_them(tmp_path: Path) -> None:
    assert run(TRANSFORMERS, tmp_path, TORCHVISION) == ""


def test_nothing_is_named_without_torchvision(tmp_path: Path) -> None:
    program = (
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "from sightweave.core import box_operators; print(box_operators.supply())"
    )
    assert run(program, tmp_path, TORCHVISION) == "None\n"
