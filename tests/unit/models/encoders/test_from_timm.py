"""timm beside a torchvision that was built for another torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[4] / "src"
TORCHVISION = """
import torch

for name in ("torchvision::nms", "torchvision::qnms"):
    torch.library.register_fake(name)(lambda dets, scores, iou_threshold: dets)
"""
"""What a torchvision for CUDA does when it is imported, beside a torch without: its operators are not there."""
PROGRAM = """
from sightweave.core.errors import BackendError
from sightweave.models.encoders.from_timm import import_timm

try:
    print(import_timm().__version__)
except BackendError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("torchvision", "said"),
    [
        (TORCHVISION, "1.0"),
        ("raise RuntimeError('made for torch 9')", "cannot be imported: made for torch 9"),
    ],
)
def test_its_missing_operators_do_not_stop_timm(torchvision: str, said: str, tmp_path: Path) -> None:
    for name, text in (("torchvision", torchvision), ("timm", "import torchvision\n__version__ = '1.0'\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    paths = os.pathsep.join([str(tmp_path), str(SOURCE)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
