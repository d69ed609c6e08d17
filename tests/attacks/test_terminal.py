"""Escape sequences in data, answers, names of files and answers of servers do not reach the terminal."""

from __future__ import annotations

import ast
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import sightweave

ROOT = Path(sightweave.__file__).parent
ESCAPES = "\x1b]0;PWNED\x07\x1b[2J\x9b2J"


def seen(folder: Path, *command: str) -> str:
    """What a command sends to a terminal of its own."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-m", "sightweave", *command],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    text = b""
    try:
        while data := os.read(ours, 1 << 16):
            text += data
    except OSError:  # Linux says so at the end
        pass
    os.close(ours)
    process.wait()
    return text.decode("utf-8", "surrogateescape")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    rows = []
    for number in range(4):
        Image.new("RGB", (16, 16), (60 * number, 9, 9)).save(data / f"{number}.png")
        row = {"id": str(number), "image": f"{number}.png", "question": "q", "answer": "a", "split": "test"}
        rows.append({**row, "type": f"T{ESCAPES}", f"extra{ESCAPES}": 1})
    rows.append({"image": f"missing{ESCAPES}.png", "question": "q", "answer": "a"})
    (data / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = [{"id": str(number), "answer": f"a{ESCAPES}"} for number in range(4)]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    return tmp_path


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("data", "check", "data", "--out", "report", "--workers", "1"), "missing"),
        (("evaluate", "answers.jsonl", "--data", "data", "--out", "scores"), "T\\x1b"),
        (("data", "check", f"none{ESCAPES}", "--out", "report"), "none\\x1b"),
        (("evaluate", f"{{kind: {ESCAPES}}}", "--data", "data"), "PWNED"),
    ],
)
def test_no_sequence_gets_through(folder: Path, command: tuple[str, ...], shown: str) -> None:
    text = seen(folder, *command)
    assert shown in text
    for code in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\udc9b"):
        assert code not in text


def prints(source: str) -> set[str]:
    """Calls that write to a terminal."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("print", "typer.echo", "click.echo", "Console", "rich.console.Console", "rich.print"):
                found.add(name)
            if name in ("sys.stdout.write", "sys.stderr.write"):
                found.add(name)
    return found


def test_one_place_prints() -> None:
    allowed = {ROOT / "core" / "terminal.py": {"Console"}, ROOT / "cli.py": {"typer.echo"}}
    found = {path: prints(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
    assert {path: names for path, names in found.items() if names - allowed.get(path, set())} == {}
    assert (ROOT / "cli.py").read_text(encoding="utf-8").count("typer.echo(") == 1
