"""The public names are a list, and this test owns it; a command and its function have one name."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import sightweave
from sightweave import api, cli

NAMES = {
    "VLM",
    "Explanation",
    "Recipe",
    "Run",
    "SightweaveError",
    "TextRegion",
    "answer_all",
    "beside",
    "build",
    "cache_data",
    "caption",
    "check",
    "check_data",
    "compare",
    "compose",
    "detect_data",
    "draw",
    "evaluate",
    "explain",
    "export",
    "faithfulness",
    "find_lr",
    "forecast",
    "generate",
    "kinds",
    "load",
    "pairs",
    "read_recipe",
    "recipes",
    "render",
    "report",
    "runs",
    "sample_data",
    "train",
    "translate",
}
NOT_IN_API = {"demo", "list"}
"""Commands that tell a story or print a table; `list` shows `kinds` and `pairs`."""
COMPARED = (
    *("train", "forecast", "evaluate", "caption", "translate", "report", "runs"),
    *("sample_data", "check_data", "cache_data", "detect_data"),
)
ROOT = Path(__file__).parents[1]


def test_the_public_names() -> None:
    assert set(sightweave.__all__) == NAMES
    assert len(sightweave.__all__) == len(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_resolves_and_is_described(name: str) -> None:
    found = getattr(sightweave, name)
    assert found.__name__ == name
    assert (found.__doc__ or "").strip()
    assert name in dir(sightweave)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        sightweave.nothing  # noqa: B018  # asking is the test


def commands() -> dict[str, object]:
    """By the name of their function: `sightweave data check` is `check_data`."""
    found = {}
    for app, end in ((cli.app, ""), (cli.data_app, "_data")):
        for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # a group has some
            if not hasattr(command, "commands"):
                found[f"{name}{end}".replace("-", "_")] = command.function
    return found


def test_each_command_has_a_function_of_its_name() -> None:
    found = commands()
    assert set(found) >= {
        "train",
        "evaluate",
        "generate",
        "caption",
        "translate",
        "report",
        "list",
        "sample_data",
        "check_data",
        "demo",
    }
    for name in set(found) - NOT_IN_API:
        assert callable(getattr(api, name)), name
        assert found[name].__doc__, name


@pytest.mark.parametrize("name", COMPARED)
def test_a_command_and_its_function_take_the_same_arguments(name: str) -> None:
    of_function = set(inspect.signature(getattr(api, name)).parameters)
    # Options of generation travel through `**options`; `split` may be given again and again and becomes `splits`.
    options = {"decoding", "max_tokens", "stop", "seed"} if "options" in of_function else set()
    renamed = {"split": "splits", "control": "controls"} if name == "evaluate" else {}
    of_command = {renamed.get(word, word) for word in inspect.signature(commands()[name]).parameters}
    assert of_command <= of_function | options


def test_names_that_the_documents_use_exist() -> None:
    used = set()
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        used |= set(re.findall(r"\bsightweave\.([A-Za-z_]+)\(", page.read_text(encoding="utf-8")))
    assert used <= NAMES


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import sightweave", ["torch", "numpy", "pydantic", "transformers"]),
        ("import sightweave; sightweave.runs('.')", ["torch", "numpy", "pydantic", "transformers"]),
        ("import sightweave.cli", ["torch", "transformers", "matplotlib"]),
        ("import sightweave.api", ["transformers", "matplotlib.pyplot"]),
    ],
)
def test_importing_loads_no_more_than_is_needed(code: str, forbidden: list[str]) -> None:
    script = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n{code}\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True
    ).stdout.split()
    assert not set(forbidden) & set(loaded)
