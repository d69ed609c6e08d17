"""Jobs in processes of their own: real commands of this program, with their logs."""

import re

import pytest

from sightweave.core import files
from sightweave.core.errors import FolderError
from sightweave.core.processes import LOG, Job, run_jobs


def test_each_job_has_a_log_and_failures_are_named_with_it(tmp_path):
    said: list[str] = []
    told: list[tuple[int, int, str]] = []
    jobs = [
        Job(tmp_path / "well", ("--help",)),
        Job(tmp_path / "ill", ("no-such-command",), note="to fail"),
        Job(tmp_path / "never", ("--help",)),
    ]
    failed = run_jobs(jobs, threads=1, say=said.append, progress=lambda *how: told.append(how))
    assert len(failed) == 1
    assert re.fullmatch(rf"ill \(status \d+; see {tmp_path / 'ill' / LOG}\)", failed[0])
    assert "no-such-command" in (tmp_path / "ill" / LOG).read_text(encoding="utf-8")
    assert (tmp_path / "well" / LOG).read_text(encoding="utf-8").strip()
    assert not (tmp_path / "never").exists()  # after a failure no more are started
    assert {(done, total, re.sub(r" \d+ min", "", note)) for done, total, note in told} >= {
        (0, 3, "well"),
        (1, 3, "ill"),
        (2, 3, ""),
    }
    assert [re.sub(r"[\d.]+ min", "T min", line) for line in said] == [
        "well: started",
        "well: ended after T min",
        "ill: started (to fail)",
        "ill: ended after T min",
    ]


def test_a_fresh_job_empties_only_a_folder_that_a_job_filled(tmp_path):
    ours, others = tmp_path / "ours", tmp_path / "others"
    for folder in (ours, others):
        folder.mkdir()
        (folder / "kept.txt").write_text("x", encoding="utf-8")
        (folder / LOG).write_text("before\n", encoding="utf-8")  # a name that others use too
    with files.claimed(ours, writes=(), markers={}, purpose="a test"):
        pass
    again = Job(tmp_path / "again", ("--help",), is_fresh=False)
    again.folder.mkdir()
    (again.folder / LOG).write_text("before\n", encoding="utf-8")
    jobs = [Job(ours, ("--help",)), Job(others, ("--help",)), again]
    assert run_jobs(jobs, at_once=3, say=lambda _: None) == []
    assert not (ours / "kept.txt").exists()
    assert (others / "kept.txt").exists()
    assert (others / LOG).read_text(encoding="utf-8").startswith("before\n")
    assert (again.folder / LOG).read_text(encoding="utf-8").startswith("before\n")


def test_a_folder_that_an_earlier_job_still_fills_is_left_to_it(tmp_path):
    job = Job(tmp_path / "ours", ("--help",))
    with files.claimed(job.folder, writes=(), markers={}, purpose="a test"):
        (job.folder / LOG).write_text("at work\n", encoding="utf-8")
        with pytest.raises(FolderError, match="in use by process"):
            run_jobs([job], say=lambda _: None)
    assert (job.folder / LOG).read_text(encoding="utf-8") == "at work\n"
