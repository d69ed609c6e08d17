"""The package that users install: it holds what the commands need, and nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_holds_the_recipes(tmp_path: Path) -> None:
    words = [
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "--no-deps",
        "--quiet",
        "-w",
        tmp_path,
        ROOT,
    ]
    done = subprocess.run([sys.executable, *words], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
        content.extractall(tmp_path / "installed")
    recipes = {f"sightweave/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.yaml")}
    assert recipes <= names
    assert "sightweave/py.typed" in names

    # What is installed finds them by name, far from any checkout.
    code = "import sightweave; print(sightweave.__file__); print(sightweave.read_recipe('own').title, *sightweave.recipes())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert found.returncode == 0, found.stderr
    where, said = found.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path / "installed")
    assert said.split() == [
        "My",
        "own",
        "pictures",
        *sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")),
    ]

    assert all(name.startswith(("sightweave/", "sightweave-")) for name in names)
