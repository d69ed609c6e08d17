"""The folder is the catalogue, and a user's own module is another shelf."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sightweave.core import catalog
from sightweave.core.errors import RecipeError


def test_kinds_are_the_files_of_the_folder() -> None:
    folder = Path(catalog.__file__).parent.parent / "models" / "fusions"
    names = {path.stem for path in folder.iterdir() if path.suffix == ".py" and path.name[0] != "_"}
    assert set(catalog.kinds("models.fusions")) == names
    assert catalog.kinds("no.such.family") == []


def test_kinds_are_listed_without_importing_any() -> None:
    code = (
        "import sys; from sightweave.core import catalog; "
        "kinds = catalog.kinds('models.fusions'); lines = [catalog.summary('models.fusions', k) for k in kinds]; "
        "assert all(lines); assert 'torch' not in sys.modules; "
        "assert not any(m.startswith('sightweave.models') for m in sys.modules)"
    )
    source = str(Path(catalog.__file__).parents[2])
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": source})


def test_one_kind_is_imported_and_its_config_found() -> None:
    assert catalog.config_class("models.connectors", "pool").__module__ == "sightweave.models.connectors.pool"
    assert catalog.module("data.tasks", "vqa").__name__ == "sightweave.data.tasks.vqa"


def test_a_misspelt_kind_names_the_nearest_and_all() -> None:
    with pytest.raises(
        RecipeError, match=r"no connectors kind 'poll'\. Did you mean 'pool'\? Known: linear, mlp"
    ):
        catalog.module("models.connectors", "poll")


def test_a_users_own_module_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my_lab_of_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "fusion.py").write_text("class Config:\n    pass\n")
    (folder / "empty.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert catalog.config_class("models.fusions", "my_lab_of_tests.fusion").__name__ == "Config"
    with pytest.raises(RecipeError, match="has no class Config"):
        catalog.module("models.fusions", "my_lab_of_tests.empty")
    with pytest.raises(
        RecipeError, match=r"my_lab_of_tests\.none' cannot be imported: .*It must be on the Python path\."
    ):
        catalog.module("models.fusions", "my_lab_of_tests.none")


@pytest.mark.parametrize("kind", ["..concat", ".", "a..b", "no_such_lab.fusion"])
def test_a_path_that_is_none_is_refused(kind: str) -> None:
    with pytest.raises(RecipeError, match="cannot be imported"):
        catalog.module("models.fusions", kind)
