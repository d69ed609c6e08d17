"""The list of runs: which folders are in it, in which order, and that it loads nothing slow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import sightweave
from sightweave import cli
from sightweave.core.errors import DataError, RecipeError
from sightweave.verbs.runs import runs


def make(
    folder: Path, day: int, *, score: float | None = None, metric: str = "accuracy", **known: object
) -> None:
    folder.mkdir(parents=True)
    facts = {"format_version": 1, "began": f"2026-11-{day:02d}T00:00:00+00:00", "interrupted": True}
    (folder / "run.json").write_text(json.dumps(facts | known))
    if score is not None:
        facts_of = {metric: {"unit": "%", "less_is_better": metric == "error"}}
        task = {"task": "vqa", "metric": metric, "score": {"value": score}, "facts": facts_of}
        document = {"format_version": 1, "splits": [{"split": "test", "tasks": [task]}]}
        (folder / "evaluation.json").write_text(json.dumps(document))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    make(folder / "old", 1, score=0.4, training_seconds=5.0)
    make(folder / "new", 3, training_seconds=7.0)
    make(folder / "grid" / "a", 2, score=0.9, training_seconds=1.0)
    make(folder / "grid" / "b", 4, score=0.6)
    return folder


def names(found: list[sightweave.core.run_summary.RunSummary]) -> list[str]:
    return [one.folder.name for one in found]


def test_runs_are_found_below_a_comparison_and_sorted(place: Path) -> None:
    assert names(runs(place)) == ["b", "new", "a", "old"]
    assert names(runs(place, sort="score")) == ["a", "b", "old", "new"]
    assert names(runs(place, sort="score", task="captioning")) == names(runs(place))
    assert names(runs(place, sort="time")) == ["new", "old", "a", "b"]
    (place / "old" / "large.bin").write_bytes(bytes(5000))
    assert names(runs(place, sort="size"))[0] == "old"
    assert names(runs(place / "old")) == ["old"]


def test_scores_of_different_metrics_are_not_mixed(place: Path) -> None:
    make(place / "low", 5, score=0.05, metric="error")
    make(place / "high", 6, score=0.99, metric="error")
    assert names(runs(place, sort="score")) == ["a", "b", "old", "low", "high", "new"]


def test_what_is_no_run_is_not_listed(place: Path, tmp_path: Path) -> None:
    make(place / ".hidden", 7)
    make(tmp_path / "outside", 8)
    (place / "link").symlink_to(tmp_path / "outside")
    (place / "loop").symlink_to(place)
    make(place / "1" / "2" / "3" / "4" / "too-deep", 9)
    (place / "notes.txt").write_text("of the user's own")
    assert sorted(names(runs(place))) == ["a", "b", "new", "old"]


def test_a_missing_folder_or_an_unknown_order_is_an_error(place: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: folder not found; give the folder that holds"):
        runs(place / "nowhere")
    with pytest.raises(RecipeError, match=r"'scores' is unknown\. Did you mean 'score'"):
        runs(place, sort="scores")
    assert sightweave.runs is runs


def shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[str, str]:
    monkeypatch.setattr(sys, "argv", ["sightweave", "runs", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    return capsys.readouterr()


def test_the_table_has_a_row_for_each_run_and_the_reason_of_a_failure(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    make(place / "bad", 8, steps=1200, steps_planned=5000, failure="MemoryError: \x1b[2J[red]no room")
    out, err = shown(monkeypatch, capsys, str(place), "--sort", "score")
    rows = [line for line in out.splitlines() if "interrupted" in line or "failed " in line]
    assert [line.split()[0] for line in rows] == ["grid/a", "grid/b", "old", "bad", "new"]
    assert "test: vqa 90.0 %" in rows[0]
    assert "1200/5000" in rows[3]
    assert rf"{place}/bad: failed: MemoryError: \x1b[2J[red]no room" in out.replace("\n", "")
    assert err == ""

    monkeypatch.setenv("COLUMNS", "80")
    narrow, _ = shown(monkeypatch, capsys, str(place))
    assert all(len(line) <= 80 for line in narrow.splitlines() if "interrupted" in line)
    assert narrow.count("interrupted") == 4

    empty = place / "empty"
    empty.mkdir()
    assert shown(monkeypatch, capsys, str(empty)) == ("", f"{empty}: no runs found\n")


def test_the_list_loads_nothing_slow(place: Path) -> None:
    script = (
        f"import sys; sys.argv = ['sightweave', 'runs', {str(place)!r}]\n"
        "from sightweave import cli\n"
        "try:\n    cli.main()\nfinally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(cli.__file__).parents[1])},
    )
    assert "interrupted" in done.stdout
    assert not set(done.stderr.split()) & {"torch", "numpy", "transformers", "matplotlib"}
