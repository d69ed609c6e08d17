"""The house as a whole: what an import costs, and what the library never touches."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sightweave

SOURCE = Path(sightweave.__file__).parent
UNIT = Path(__file__).parent / "unit"


def loaded_after(code: str) -> set[str]:
    """Names of the modules that a fresh Python holds after some code."""
    script = f"{code}\nimport sys\nprint('modules:', *sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(SOURCE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.rpartition("modules: ")[2].split())


def test_importing_it_loads_no_torch() -> None:
    loaded = loaded_after("import sightweave; sightweave.__version__; dir(sightweave)")
    assert "sightweave" in loaded
    assert not loaded & {"torch", "transformers", "numpy", "PIL", "matplotlib", "pydantic"}


def test_the_command_lines_help_loads_neither() -> None:
    code = """
import sys
from sightweave.cli import main
sys.argv = ["sightweave", "--help"]
try:
    main()
except SystemExit as ended:
    assert not ended.code
"""
    assert not loaded_after(code) & {"torch", "transformers"}


def test_using_it_loads_no_transformers() -> None:
    code = """
import numpy as np, torch
import sightweave
from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs import transforms
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.tokenizer import Tokenizer
from sightweave.models.connectors import linear
from sightweave.models.encoders import vit
from sightweave.models.fusions import concat
from sightweave.models.language_models import decoder_only
from sightweave.programs.generation import Options, generate
from sightweave.programs.training import trainer
tokenizer = Tokenizer.train(["what is it ? a cat"] * 2, vocab_size=280)
eyes = vit.Config(image_size=16, patch_size=8, dim=16, depth=1, num_heads=2).build()
text = decoder_only.Config(dim=16, depth=1, num_heads=2).build(vocab_size=tokenizer.vocab_size)
joint = linear.Config().build(in_dim=16, out_dim=16, grid=eyes.grid())
model = sightweave.VLM(eyes, joint, concat.Config().build(dim=16, num_heads=2, depth=1), text)
processor = Processor(tokenizer=tokenizer, transform=transforms.Config(size=16), layout=model.layout)
image = Medium(np.zeros((9, 9, 3), np.uint8), key="a")
sample = Sample(id="s", task="vqa", parts=(Part("user", image), Part("user", "what ?")))
assert generate(model, processor, [sample], Options(max_tokens=2))
"""
    loaded = loaded_after(code)
    assert "torch" in loaded
    assert "transformers" not in loaded


@pytest.mark.parametrize("name", sightweave.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(sightweave, name) is not None
    assert name in dir(sightweave)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = sightweave.no_such_name


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_nothing_is_pickled_and_nothing_is_downloaded() -> None:
    forbidden = {
        "pickle",
        "dill",
        "cloudpickle",
        "shelve",
        "marshal",
        "joblib",
        "requests",
        "urllib3",
        "httpx",
    }
    offenders = {}
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found = sorted(imported(path) & forbidden)
        found += [call for call in ("torch.load(", "torch.save(") if call in text]
        if found:
            offenders[path.relative_to(SOURCE).as_posix()] = found
    assert not offenders


_BATCH_MAKERS = ("data/inputs/", "models/fusions/_base.py", "models/nn/adapter_proof.py")
"""Who may build token sequences and media: the processor's folder, and two places that read plain tensors."""


def calls(path: Path, names: set[str]) -> list[str]:
    """Line and name of each call of one of these names, as a plain name or as an attribute."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            found += [f"{node.lineno}: {name}"] * (name in names)
    return found


def test_the_processor_alone_builds_token_sequences_and_media() -> None:
    every = {
        path.relative_to(SOURCE).as_posix(): calls(path, {"TokenSequence", "Media"})
        for path in SOURCE.rglob("*.py")
    }
    building = {name: found for name, found in every.items() if found}
    makers = {name for name in building if name.startswith(_BATCH_MAKERS)}
    assert makers >= {"data/inputs/collate.py", "data/inputs/prompts.py", *_BATCH_MAKERS[1:]}
    assert {name: building[name] for name in building.keys() - makers} == {}


def test_loading_a_run_imports_no_training() -> None:
    loaded = loaded_after("import sightweave.run")
    assert "sightweave.run" in loaded
    # A recipe says how to train, so its settings are read; the loop and what it needs are not.
    assert "sightweave.programs.training.settings" in loaded
    assert not loaded & {
        f"sightweave.programs.training.{name}" for name in ("trainer", "state", "feed", "gradients", "logs")
    }


def test_unit_tests_are_in_the_folder_of_what_they_test() -> None:
    offenders = []
    for path in UNIT.rglob("test_*.py"):
        inside = path.parent.relative_to(UNIT)
        if inside == Path():  # tests of benchmarks and recipes, and of what whole programs say
            continue
        module = path.stem.removeprefix("test_")
        folder = SOURCE / inside
        is_of_a_module = (folder / f"{module}.py").is_file() or (folder / f"_{module}.py").is_file()
        room = ".".join(("sightweave", *inside.parts))
        if not is_of_a_module and room not in path.read_text(encoding="utf-8"):
            offenders.append(path.relative_to(UNIT).as_posix())
    assert offenders == []


def test_every_folder_has_unit_tests() -> None:
    folders = {path.parent.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if path.stem != "__init__"}
    public = [folder for folder in folders if not any(part.startswith("_") for part in folder.parts)]
    assert [folder.as_posix() for folder in public if not list((UNIT / folder).glob("test_*.py"))] == []
