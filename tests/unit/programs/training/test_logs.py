"""What a run leaves: rows that read back, events that TensorBoard reads, and progress that can be silent."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sightweave.programs.training.logs import METRICS, MetricsFile, ProgressLine, RunLog, read_metrics


def write(folder: Path, first: int, last: int) -> None:
    with RunLog(folder, steps=last, first_step=first) as log:
        for step in range(first, last):
            log.write(step, {"loss": 10.0 - step, "lr": 0.1, "stage": "words"})


def test_rows_read_back(tmp_path: Path) -> None:
    write(tmp_path / "run", 0, 3)
    rows = read_metrics(tmp_path / "run" / METRICS)
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert rows[2]["loss"] == 8.0
    assert rows[2]["stage"] == "words"


def test_a_row_is_in_the_file_at_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path, steps=2)
    log.write(0, {"loss": 1.0})
    assert len(read_metrics(tmp_path / METRICS)) == 1
    log.close()


def test_values_that_are_not_finite_stay_valid_json(tmp_path: Path) -> None:
    with RunLog(tmp_path, steps=1) as log:
        log.write(0, {"loss": float("nan"), "norm": float("inf")})
    text = (tmp_path / METRICS).read_text()
    row = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert [row["loss"], row["norm"]] == ["nan", "inf"]


def test_resuming_drops_the_rows_that_come_again(tmp_path: Path) -> None:
    write(tmp_path, 0, 5)
    with (tmp_path / METRICS).open("a") as stream:
        stream.write('{"step": 5, "lo')  # a crash in the middle of a row
    write(tmp_path, 3, 6)
    assert [row["step"] for row in read_metrics(tmp_path / METRICS)] == [0, 1, 2, 3, 4, 5]


def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    write(tmp_path, 0, 4)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss", "lr"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (0, 10.0),
        (1, 9.0),
        (2, 8.0),
        (3, 7.0),
    ]


def test_tensorboard_sees_each_step_of_a_resumed_run_once(tmp_path: Path) -> None:
    write(tmp_path, 0, 4)
    write(tmp_path, 2, 5)
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [0, 1, 2, 3, 4]


def test_the_writers_never_load_tensorflow(tmp_path: Path) -> None:
    # A module of that name stands on the path: whoever imports it, fails.
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('tensorflow was imported')")
    code = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1]); from sightweave.programs.training.logs import RunLog\n"
        "assert 'tensorboard' not in sys.modules\n"
        "with RunLog(pathlib.Path(sys.argv[1]) / 'run', steps=1) as log: log.write(0, {'loss': 1.0})\n"
        "assert 'tensorflow' not in sys.modules"
    )
    source = str(Path(__file__).parents[4] / "src")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_progress_shows_loss_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    line = ProgressLine(steps=3, console=Console(file=out, width=100), title="stage 1")
    for step in range(3):
        line.update(step, {"loss": 2.0})
    line.close()
    assert "stage 1 3/3 loss 2.000" in out.getvalue()
    assert "steps/s, 0:00 left" in out.getvalue()
    assert line.seconds_left == 0
    assert capsys.readouterr().out == ""


def test_progress_on_a_terminal_is_a_live_line() -> None:
    out = io.StringIO()
    line = ProgressLine(steps=2, console=Console(file=out, force_terminal=True, width=100), title="train")
    line.update(0, {"loss": 1.5})
    line.update(1, {"loss": 1.5})
    line.close()
    assert "loss 1.500" in out.getvalue()
    assert "2/2" in out.getvalue()


ROW = {
    "stage": "answers",
    "loss": 0.83,
    "samples_per_second": 12.345,
    "tokens_per_second": 3412.4,
    "waiting_share": 0.021,
    "peak_memory_bytes": 1.4e9,
}
SPEEDS = "12.3 samples/s, 3,412 tokens/s, 2% waiting for data, 1.40 GB"


def test_a_log_shows_speeds_waiting_and_memory_of_the_newest_row() -> None:
    out = io.StringIO()
    line = ProgressLine(steps=2, console=Console(file=out, width=60))
    line.update(0, ROW | {"samples_per_second": 1.0})
    line.update(1, ROW)
    line.close()
    (said,) = out.getvalue().splitlines()  # however narrow the terminal is said to be
    assert said.startswith("train 2/2 answers: loss 0.830, ")
    assert said.endswith(f" left, {SPEEDS}")
    assert ProgressLine(steps=2).note() == ""


def test_a_stage_without_text_shows_no_tokens() -> None:
    line = ProgressLine(steps=2)
    line.update(0, ROW | {"tokens_per_second": 0.0, "waiting_share": 0.0})
    assert line.note().endswith("12.3 samples/s, 0% waiting for data, 1.40 GB")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_live_line_is_one_line_and_keeps_title_and_counts(width: int) -> None:
    out = io.StringIO()
    line = ProgressLine(steps=500, console=Console(file=out, force_terminal=True, width=width))
    line.update(119, ROW)
    line.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).rstrip("\n")
    assert "\n" not in shown
    last = shown.rpartition("\r")[2]
    assert len(last) <= width
    assert last.startswith("train ")
    assert "120/500 answers: loss 0.830" in last
    assert (SPEEDS in last) == (width == 200)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_loss_is_that_of_the_newest_row_and_of_its_stage(is_terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, width=120)
    line = ProgressLine(steps=40, console=console)
    for step, loss in ((9, 190.0), (19, 4.0)):
        line.update(step, {"stage": "words", "loss": loss})
    line.update(29, {"stage": "answers", "loss": 1.5})
    line.update(39, {"stage": "answers", "loss": 0.83})
    line.close()
    assert (line.stage, line.loss) == ("answers", 0.83)
    assert "answers: loss 0.830" in out.getvalue()
    if not is_terminal:  # each stage leaves a line with the loss that it ended with
        said = out.getvalue().splitlines()
        assert [one.partition(",")[0] for one in said] == [
            "train 20/40 words: loss 4.000",
            "train 40/40 answers: loss 0.830",
        ]


def test_a_stages_name_is_shown_as_it_is() -> None:
    out = io.StringIO()
    line = ProgressLine(steps=1, console=Console(file=out, force_terminal=True, width=120))
    line.update(0, {"stage": "[red]a[/red]", "loss": 1.0})
    line.close()
    assert "[red]a[/red]: loss" in out.getvalue()


def test_the_number_of_steps_may_change_while_the_clock_decides() -> None:
    out = io.StringIO()
    line = ProgressLine(steps=10, console=Console(file=out, width=120))
    line.steps = 30
    line.update(29, {"loss": 1.0})
    line.close()
    assert "train 30/30 loss 1.000" in out.getvalue()


def test_silent_progress_still_knows_rate_and_loss(capsys: pytest.CaptureFixture[str]) -> None:
    line = ProgressLine(steps=10)
    line.update(0, {"loss": 4.0})
    line.update(1, {"loss": 2.0})
    line.close()
    assert line.loss == 2.0
    assert line.seconds_left is not None
    assert capsys.readouterr().out == ""


def test_a_word_with_a_line_separator_is_read_back(tmp_path):
    log = MetricsFile(tmp_path / METRICS)
    log.write(0, {"stage": "one\u2028two\x85"})
    log.close()
    assert read_metrics(tmp_path / METRICS)[0]["stage"] == "one\u2028two\x85"
    # Earlier versions left the separators unescaped.
    (tmp_path / METRICS).write_text('{"step": 1, "stage": "one\u2028two\x85"}\n', encoding="utf-8")
    assert [row["step"] for row in read_metrics(tmp_path / METRICS)] == [1]
