"""What commands share: JSON without NaN, results for people and programs, options of other libraries, data in all forms."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

from sightweave import cli, command_line, json_results
from sightweave.command_line import Result, check_setting, command, data_of, json_line, refuse
from sightweave.core import places
from sightweave.core.errors import CheckpointError, DataError


def test_json_has_no_nan_and_nothing_that_a_terminal_obeys() -> None:
    value = {
        "a": float("nan"),
        "b": [1.5, float("-inf")],
        "c": (Path("x"), None, True),
        1: "\x1b[2J\u202e\x9b",
    }
    line = json_line(value)
    assert json.loads(line) == {
        "a": None,
        "b": [1.5, None],
        "c": ["x", None, True],
        "1": "\x1b[2J\u202e\x9b",
    }
    assert line.isprintable()


def app_of(plain: object, status: int = 0) -> typer.Typer:
    app = typer.Typer()

    @command(app)
    def first(
        word: str, settings: Annotated[list[str] | None, typer.Argument()] = None, max_tokens: int = 3
    ) -> Result:
        """Says a word."""
        typer.echo("on the way")
        return Result(lambda: plain, lambda: typer.echo(f"for people: {word} {max_tokens}"), status)

    @app.command()
    def other() -> None:
        """Another one, so that the first has a name."""

    return app


def commands(group: Any, before: str = "") -> dict[str, Any]:
    """All commands of an app by their words, such as ``data check``."""
    inner = getattr(group, "commands", None)
    if inner is None:
        return {before: group}
    found: dict[str, Any] = {}
    for name, one in inner.items():
        found |= commands(one, f"{before} {name}".strip())
    return found


def without_json(app: typer.Typer) -> list[str]:
    """The commands that have no ``--json``."""
    found = commands(get_command(app)).items()
    return [name for name, one in found if not any("--json" in param.opts for param in one.params)]


def test_every_command_has_json() -> None:
    # Nearly all commands print a table or a result, so a new one has to have the option.
    assert without_json(cli.app) == []
    assert {"runs", "list", "data check"} <= set(commands(get_command(cli.app)))
    assert without_json(app_of({})) == ["other"]  # which forgot it


def test_the_fields_of_every_commands_json_are_documented() -> None:
    words = set()
    for one in vars(json_results).values():
        if isinstance(one, type) and one.__module__ == json_results.__name__:
            words |= set(re.findall(r"``([a-z -]+?)(?: [A-Z]+)?``", (one.__doc__ or "").partition("\n")[0]))
    assert set(commands(get_command(cli.app))) - words == set()


def run(app: typer.Typer, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        app(list(words))
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out, said.err


def test_a_result_is_shown_or_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app_of({"a": 1}), capsys, "first", "hello") == (0, "on the way\nfor people: hello 3\n", "")
    assert run(app_of({"a": 1}), capsys, "first", "hello", "--json") == (0, '{"a": 1}\n', "on the way\n")


def test_rows_are_a_line_each_and_the_exit_status_stays(capsys: pytest.CaptureFixture[str]) -> None:
    rows = iter([{"a": 1}, {"a": 2}])
    assert run(app_of(rows, status=1), capsys, "first", "hello", "--json")[:2] == (1, '{"a": 1}\n{"a": 2}\n')
    assert run(app_of([], status=1), capsys, "first", "hello")[0] == 1
    assert run(app_of(iter([])), capsys, "first", "hello", "--json")[:2] == (0, "")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--epochs", "3"), "Write settings without dashes: train.stages.0.epochs=3."),
        (("--Learning-Rate=0.1",), "Write settings without dashes: train.stages.0.optimizer.lr=0.1."),
        (("--gpu", "0"), "Write settings without dashes, as path=value; this one is called train.device."),
        (("--fp16",), "Write settings without dashes, as path=value; this one is called train.precision."),
        (("--max_new_tokens", "3"), "The option is called --max-tokens."),
        (("--report_to", "wandb"), "Every run writes metrics.jsonl, TensorBoard events and"),
    ],
)
def test_an_option_of_another_library_names_the_right_one(
    words: tuple[str, ...], hint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERMINAL_WIDTH", "300")
    status, out, err = run(app_of({}), capsys, "first", "hello", *words)
    assert (status, out) == (2, "")
    assert hint in " ".join(err.replace("│", " ").split())


def test_an_option_that_nobody_knows_is_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(app_of({}), capsys, "first", "hello", "--max-token", "3")
    assert status == 2
    assert "--max-tokens" in err
    assert "Write settings without dashes:" not in err


def test_the_list_of_commands_reads_the_parameters_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    group: Any = get_command(app_of({}))
    with pytest.raises(SystemExit):
        group(["--help"])
    assert "Says a word." in capsys.readouterr().out
    first = group.commands["first"]
    assert "params" not in vars(first)
    assert [one.name for one in first.params] == ["word", "settings", "max_tokens", "as_json"]


def test_places_are_looked_at_before_a_command_runs_and_not_when_its_words_are_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app, ran = typer.Typer(), []

    @command(app)
    def look(
        one: Annotated[str, typer.Argument(callback=refuse(places.check_data))],
        more: Annotated[list[str] | None, typer.Option(callback=refuse(places.check_data))] = None,
    ) -> Result:
        ran.append((one, more))
        return Result(lambda: None, lambda: None)

    with pytest.raises(DataError, match="nowhere: file or folder not found"):
        app(["nowhere"])
    with pytest.raises(DataError, match="nowhere: file or folder not found"):
        app([".", "--more", "-", "--more", "nowhere"])
    assert not ran
    assert run(app, capsys, "-", "--more", ".")[0] == 0
    assert run(app, capsys, ".")[0] == 0
    assert [one for one, _ in ran] == ["-", "."]
    context = get_command(app).make_context("look", ["nowhere"])
    assert context.params["one"] == "nowhere"


def test_data_of_a_setting_are_looked_at(tmp_path: Path) -> None:
    for setting in ("seed=1", f"data={tmp_path}", "data={kind: scenes}", "title=data=nowhere"):
        check_setting(setting)
    with pytest.raises(DataError, match="nowhere"):
        check_setting("data=nowhere")
    with pytest.raises(CheckpointError, match="nowhere: folder not found"):
        check_setting("init_from=nowhere")


def test_data_of_the_command_line_are_those_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_of(None) is None
    assert data_of([]) is None
    assert data_of(["photos"]) == "photos"
    assert data_of(["a", "b"]) == ["a", "b"]
    assert data_of(["[a, b]"]) == ["a", "b"]
    assert data_of(["{kind: scenes, seed: 1}"]) == {"kind": "scenes", "seed": 1}

    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    give(b'{"a": 1}\n\n{"a": "\xe2\x80\xa8"}\n')
    assert data_of(["-"]) == [{"a": 1}, {"a": "\u2028"}]
    for data, message in ((b"{}\n[1]\n", "line 2 is a list"), (b"{} {}\n", "line 1 is not valid JSON")):
        give(data)
        with pytest.raises(DataError, match=message):
            data_of(["-"])
    with pytest.raises(DataError, match=r"cannot be combined with other sources \(got -, photos\)"):
        data_of(["-", "photos"])


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"], ["recipes", "own"]])
def test_help_version_and_recipes_load_nothing_heavy(words: list[str]) -> None:
    assert not heavy(f"sys.argv = ['sightweave', *{words!r}]")


def test_completion_loads_nothing_heavy() -> None:
    asked = (
        "os.environ.update(_SIGHTWEAVE_COMPLETE='complete_bash', COMP_WORDS='sightweave tra', COMP_CWORD='1')"
    )
    assert not heavy(f"sys.argv = ['sightweave']; {asked}")


def heavy(setup: str) -> set[str]:
    """What is loaded in a new process that is set up so and runs a command which says something."""
    source = str(Path(command_line.__file__).parents[1])
    script = (
        f"import os, sys; sys.path.insert(0, {source!r}); {setup}\n"
        "from sightweave import cli\n"
        "try:\n    cli.main()\nfinally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout
    return set(done.stderr.split()) & {"torch", "transformers", "matplotlib", "numpy"}
