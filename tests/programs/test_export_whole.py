"""An export that is killed or fails leaves no folder that looks whole, and an earlier one as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import test_export as exports

import sightweave
from sightweave.core.errors import BackendError, CheckpointError
from sightweave.programs.exports import custom_code, gguf

_SECONDS = 300
"""After which a process that does not come to the awaited point is taken for stuck."""
_CONVERTER = """
import sys

def main():
    arguments = dict(zip(sys.argv, sys.argv[1:]))
    open(arguments["--outfile"], "wb").write(b"GGUF")
    if "--mmproj" in sys.argv:
        sys.exit("no projector today")
"""


def files_in(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


@pytest.mark.slow
def test_a_killed_onnx_export_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    sightweave.build(exports.scratch()).save(tmp_path / "run")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sightweave", "export", str(tmp_path / "run"), "--to", "onnx"]
    process = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE)
    began = time.monotonic()
    while not list(tmp_path.glob(".out.tmp-*/encoder.onnx")):
        assert process.poll() is None
        assert time.monotonic() - began < _SECONDS
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists()


def test_a_converter_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    root = tmp_path / "llama.cpp"
    (root / "conversion").mkdir(parents=True)
    (root / "conversion" / "__init__.py").touch()
    (root / "conversion" / "base.py").write_text("class TextModel:\n    pass\n")
    (root / "convert_hf_to_gguf.py").write_text(_CONVERTER)
    source = exports.source(exports.composed(tmp_path, "idefics3"))
    with pytest.raises(BackendError, match="no projector today"):
        gguf.export(source, tmp_path / "a" / "out", [], llama_cpp=str(root))
    assert not (tmp_path / "a").exists()


def test_files_that_were_added_to_an_export_are_not_replaced(tmp_path: Path) -> None:
    run = sightweave.build(exports.scratch())
    run.save(tmp_path / "run")
    made = custom_code.write
    made(run.model, run.processor, run.recipe.to_plain(), tmp_path / "out")
    made(run.model, run.processor, run.recipe.to_plain(), tmp_path / "out")  # an export of ours is replaced
    (tmp_path / "out" / "notes.txt").write_text("mine")
    before = files_in(tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"holds notes\.txt, which manifest\.json does not list"):
        made(run.model, run.processor, run.recipe.to_plain(), tmp_path / "out")
    assert files_in(tmp_path / "out") == before
