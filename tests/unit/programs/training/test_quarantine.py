"""What was left out is counted and written once, also by a run that was resumed."""

from __future__ import annotations

from pathlib import Path

from sightweave.core.errors import DataError
from sightweave.programs.training.quarantine import Quarantine


def test_a_resumed_run_writes_nothing_twice(tmp_path: Path) -> None:
    file = tmp_path / "quarantine.jsonl"
    before = Quarantine(file, seen=7, unreadable={"b"})
    before.add("b", DataError("broken"))

    after = Quarantine.of(before.kept())
    assert after.path is None
    after.path = file
    after.add("b", DataError("broken"))
    after.add("c", DataError("broken, too"))
    assert after.kept().known == ["b", "c"]
    assert (after.seen, after.unreadable, dict(after.reasons)) == (7, {"b"}, {"DataError": 2})
    assert file.read_text(encoding="utf-8").count("\n") == 2
