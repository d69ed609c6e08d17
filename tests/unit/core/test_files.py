"""Files that are whole or not there, and folders that one command at a time writes into."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sightweave.core import files
from sightweave.core.errors import FolderError

WRITES = ("report.html", "rows-[0-9].jsonl", "gallery")
MARKERS = {"run.json": "format_version"}


def claim(folder: Path) -> None:
    with files.claimed(folder, writes=WRITES, markers=MARKERS, purpose="a test"):
        pass


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "old")

    def fail() -> None:
        with files.replacing(tmp_path / "a.txt") as stream:
            stream.write(b"half of the n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    files.write_text(tmp_path / "a.txt", "neu \u00fc")
    assert (tmp_path / "a.txt").read_bytes() == "neu \u00fc".encode()
    assert names(tmp_path) == ["a.txt"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "old")
    program = (
        "import os, signal, sys; from pathlib import Path; from sightweave.core import files\n"
        "with files.replacing(Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'half'); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.txt")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "old"
    # What it left goes once no writer can be at work on it any more.
    (left,) = tmp_path.glob(".a.txt.tmp-*")
    files.write_text(tmp_path / "a.txt", "new")
    assert left.exists()
    os.utime(left, (0, 0))
    files.write_text(tmp_path / "a.txt", "newer")
    assert names(tmp_path) == ["a.txt"]


def test_a_link_is_replaced_and_what_it_points_at_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "a.txt").symlink_to(tmp_path / "mine.txt")
    files.write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_device_is_written_to_as_it_is() -> None:
    files.write_text(Path("/dev/null"), "gone")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("mask", [0o022, 0o007, 0o077])
def test_files_have_the_permissions_that_the_umask_asks_for(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        files.write_text(tmp_path / "a.txt", "x")
        (tmp_path / "b.txt").touch(0o600)
        files.follow_umask(tmp_path / "b.txt")
    finally:
        os.umask(before)
    for name in ("a.txt", "b.txt"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_a_folder_with_files_of_somebody_else_is_refused_as_it_is(tmp_path: Path) -> None:
    for name in ("report.html", "rows-1.jsonl", "notes.txt"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(
        FolderError, match=r"holds report\.html, rows-1\.jsonl, which Sightweave did not write"
    ):
        claim(tmp_path)
    assert names(tmp_path) == ["notes.txt", "report.html", "rows-1.jsonl"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderError, match=r": is a file; a folder is needed\."):
        claim(tmp_path / "file")


def test_files_that_nothing_overwrites_are_in_no_way(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    claim(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_that_was_claimed_once_is_ours(tmp_path: Path) -> None:
    claim(tmp_path)
    (tmp_path / "report.html").write_text("ours")
    claim(tmp_path)
    assert files.is_ours(tmp_path, {})


def test_a_document_tells_a_copy_that_lost_its_mark(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("ours")
    (tmp_path / "run.json").write_text("[1]")  # not what we write
    with pytest.raises(FolderError, match="did not write"):
        claim(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"format_version": 1}))
    claim(tmp_path)


def test_what_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    def fail(name: str = "") -> None:
        with files.claimed(tmp_path / "a" / "b", writes=WRITES, markers=MARKERS, purpose="a test"):
            if name:
                (tmp_path / "a" / "b" / name).touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == []
    with pytest.raises(KeyboardInterrupt):
        fail("report.html")
    assert names(tmp_path / "a" / "b") == [files.MARK, "report.html"]


def test_two_at_once_and_one_after_another(tmp_path: Path) -> None:
    with files.claimed(tmp_path, writes=WRITES, markers=MARKERS, purpose="training"):
        with pytest.raises(FolderError, match=rf"in use by process {os.getpid()} on .*'training'"):
            claim(tmp_path)
        with pytest.raises(FolderError, match="in use"):
            files.check_free(tmp_path)
    files.check_free(tmp_path)
    claim(tmp_path)


def test_the_death_of_its_holder_frees_a_folder(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from sightweave.core import files\n"
        "with files.claimed(Path(sys.argv[1]), writes=(), markers={}, purpose='a test'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderError, match=f"in use by process {holder.pid} "):
            claim(tmp_path)
        holder.kill()
    claim(tmp_path)


def test_a_mark_that_is_a_link_or_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for name, make in (
        ("link", lambda path: path.symlink_to(tmp_path / "mine.txt")),
        ("pipe", os.mkfifo),
    ):
        (tmp_path / name).mkdir()
        make(tmp_path / name / files.MARK)
        with pytest.raises(FolderError, match=r"is a symbolic link|not a regular file"):
            claim(tmp_path / name)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_one_of_two_folders_is_found_at_any_moment_of_a_swap(tmp_path: Path) -> None:
    place = tmp_path / "a"
    for content in ("old", "new"):
        with files.temporary_folder(place) as temporary:
            (temporary / content).touch()
            files.swap(temporary, place)
    assert names(place) == ["new"]
    assert files.whole(place) == place
    place.rename(files.aside(place))  # as a crash between the two renames leaves it
    assert names(files.whole(place)) == ["new"]
    with files.temporary_folder(place) as temporary:
        files.swap(temporary, place)
    assert names(tmp_path) == ["a"]
