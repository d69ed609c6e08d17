"""The pair of GGUF files in the real llama.cpp: its converter makes them, its decoder and its image encoder answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from programs import test_export as exports

from sightweave.core.errors import BackendError, ExportError
from sightweave.core.types import Medium, Part, Sample
from sightweave.programs.exports import gguf

pytestmark = pytest.mark.foreign
pytest.importorskip("llama_cpp")


def questions(count: int) -> list[Sample]:
    """Pictures of many sizes, each with a question."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        height, width = rng.integers(20, 90, 2)
        medium = Medium(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), key=f"q{number}")
        parts = (Part("user", medium), Part("user", f"What is left of dog {number}?"))
        found.append(Sample(id=f"q{number}", task="vqa", parts=parts))
    return found


def test_answers_are_equal_on_twenty_pictures_in_full_precision(tmp_path: Path) -> None:
    run = exports.composed(tmp_path, "idefics3")
    made = gguf.export(
        exports.source(run), tmp_path / "out", questions(20) + exports.samples(), numbers="f32"
    )
    assert made.program.startswith("llama-cpp-python 0.")
    assert (len(made.compared), made.equal_answers) == (25, 25)
    assert made.largest < 0.005  # its GELU is a table of half precision
    assert sorted(file.name for file in made.folder.iterdir()) == ["mmproj.gguf", "model.gguf"]


def test_its_own_log_stays_out_of_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = exports.composed(tmp_path, "idefics3")
    gguf.export(exports.source(run), tmp_path / "out", questions(2), numbers="f32")
    found = capfd.readouterr()
    assert (found.out, found.err) == ("", "")


def test_answers_are_equal_in_half_precision(tmp_path: Path) -> None:
    run = exports.composed(tmp_path, "idefics3")
    made = gguf.export(exports.source(run), tmp_path / "out", questions(20), card="# A card\n")
    # Random weights make near ties, which half precision may turn over, here or there on another processor.
    assert all(one.ours == one.theirs or 0 < one.lead < 0.05 for one in made.compared)
    assert made.equal_answers >= 15
    assert (tmp_path / "out" / "README.md").read_text() == "# A card\n"


def test_another_way_of_cutting_is_found_by_its_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = exports.composed(tmp_path, "idefics3")
    monkeypatch.setattr(gguf, "cuts_as", lambda content: "gpt-2")  # which keeps digits together
    with pytest.raises(ExportError, match=r"llama\.cpp tokenizes .* as .*, but Sightweave answers as"):
        gguf.export(exports.source(run), tmp_path / "out", questions(2), numbers="f32")


def test_other_weights_are_found(tmp_path: Path) -> None:
    run = exports.composed(tmp_path, "idefics3")
    gguf.export(exports.source(run), tmp_path / "out", questions(2), numbers="f32")
    run.model.connector.projection.weight.data.mul_(1.2)
    with pytest.raises(ExportError, match=r"the logits of sample .* differ by"):
        gguf.compare(exports.source(run), tmp_path / "out", questions(2)).check()


def test_a_converter_that_fails_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "convert_hf_to_gguf.py").write_text("")
    run = exports.composed(tmp_path, "idefics3")
    with pytest.raises(
        BackendError, match=r"converter failed: ModuleNotFoundError: No module named 'conversion'"
    ):
        gguf.export(exports.source(run), tmp_path / "out", [], llama_cpp=str(tmp_path))
