"""Words of the command line become arguments of the api; help is quick and loads nothing heavy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sightweave
from sightweave import cli


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("greedy", None, None, None, None), {"kind": "greedy"}),
        (("greedy", 0.7, None, None, None), {"kind": "sampling", "temperature": 0.7}),
        (("greedy", None, 5, 0.9, None), {"kind": "sampling", "top_k": 5, "top_p": 0.9}),
        (("greedy", None, None, None, 4), {"kind": "beam", "num_beams": 4}),
        (("sampling", None, None, None, None), {"kind": "sampling"}),
    ],
)
def test_fields_choose_the_kind_of_decoding(given: tuple[object, ...], expected: dict[str, object]) -> None:
    assert cli._decoding(*given) == expected


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sightweave", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_help_names_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    said = capsys.readouterr().out
    for name in (
        "train",
        "evaluate",
        "generate",
        "caption",
        "translate",
        "draw",
        "report",
        "list",
        "data",
        "demo",
    ):
        assert name in said


def test_help_shows_brackets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Rich would read ``[validation]`` as markup and drop it."""
    assert run(monkeypatch, "compare", "--help") == 0
    assert "evaluate.splits=[validation]" in capsys.readouterr().out


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"sightweave {sightweave.__version__}\n"


def test_completion_can_be_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    assert "--install-completion" in capsys.readouterr().out


def test_list_shows_kinds_and_pairs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "list") == 0
    said = capsys.readouterr().out
    assert "cross_attention" in said
    assert "classifies" in said
    assert run(monkeypatch, "list", "connectors") == 0
    assert "resampler" in capsys.readouterr().out
    assert run(monkeypatch, "list", "connector") == 1
    assert "error: no family 'connector'. Did you mean 'connectors'?" in capsys.readouterr().err


def test_generate_without_a_question_says_what_to_give(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "generate", "somewhere", "a.png") == 2
    assert "give an image and a question, or --data FOLDER" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "words",
    [
        ("caption", "nowhere", "a.png"),
        ("generate", "nowhere", "a.png", "What?"),
        ("generate", "nowhere", "--data", "."),
        ("translate", "nowhere", "a.png", "Hello.", "--to", "de"),
        ("evaluate", "nowhere"),
        ("report", "nowhere"),
    ],
)
def test_a_run_that_is_not_there_is_one_error(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        ("error: nowhere: folder not found", "error: nowhere: file or folder not found")
    )
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("chosen", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_commands_make_the_threads_of_torch_sleep_at_barriers(chosen: dict[str, str], policy: str) -> None:
    script = (
        "import sys; from sightweave import cli; sys.argv = ['sightweave', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    import torch"
    )
    ways = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    environment = {name: value for name, value in os.environ.items() if name not in ways}
    source = str(Path(cli.__file__).parents[1])
    environment |= {"PYTHONPATH": source, "OMP_DISPLAY_ENV": "TRUE"} | chosen
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    # The OpenMP library itself says what it read.
    found = re.findall(r"OMP_WAIT_POLICY\s*=\s*'(\w+)'", done.stderr)
    assert found
    assert set(found) == {policy}


def test_help_loads_no_torch() -> None:
    source = str(Path(cli.__file__).parents[1])
    script = (
        f"import sys; sys.path.insert(0, {source!r}); sys.argv = ['sightweave', '--help']\n"
        "from sightweave import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True
    )
    loaded = set(done.stdout.partition("LOADED")[2].split())
    assert not loaded & {"torch", "transformers", "matplotlib", "numpy"}
