"""Only ordinary files, no larger and no deeper than their reader takes."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from sightweave.core import bounded
from sightweave.core.bounded import MAX_DEPTH, UnreadableError, check_no_links, opened, parse, parsed, read


def test_an_ordinary_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    assert read(tmp_path / "b", most=3) == b"abc"
    with pytest.raises(UnreadableError, match="3 bytes; the maximum is 2"):
        read(tmp_path / "a", most=2)
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "none")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableError, match="a named pipe; a regular file is needed"):
        opened(tmp_path / "pipe")
    with pytest.raises(UnreadableError, match="a device"):
        read(Path("/dev/zero"), most=10)
    with pytest.raises(UnreadableError, match=r"a folder; a file is needed\."):
        opened(tmp_path)
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises((UnreadableError, OSError)):
            opened(Path("socket"))


def test_depth_is_bounded() -> None:
    def deep(levels: int) -> str:
        return '{"a":[' * (levels // 2) + "]}" * (levels // 2)

    assert isinstance(parse(deep(MAX_DEPTH)), dict)
    for levels in (MAX_DEPTH + 2, 100_000):
        with pytest.raises(UnreadableError, match="nested deeper than 64 levels"):
            parse(deep(levels))


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[1,]", b"9" * 5000])
def test_what_is_no_json_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(UnreadableError, match="not valid JSON"):
        parsed(tmp_path / "a.json", most=1 << 20)


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(json.dumps(1))
    check_no_links(tmp_path, "report.html", "none")
    (tmp_path / "link.html").symlink_to("nowhere")
    with pytest.raises(UnreadableError, match=r"link\.html: is a symbolic link"):
        check_no_links(tmp_path, "report.html", "link.html")


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("a.txt", True),
        ("sub/../a.txt", True),
        ("none", True),
        ("../out.txt", False),
        ("..", False),
        ("/etc", False),
    ],
)
def test_links_of_a_folder(tmp_path: Path, target: str, stays: bool) -> None:
    folder = (tmp_path / "data").resolve()
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").touch()
    (folder / "link").symlink_to(target)
    assert bounded.is_inside(folder, folder / "link") is stays


@pytest.mark.parametrize("below", ["", "sub"])
def test_a_snapshot_leads_to_its_own_blobs(tmp_path: Path, below: str) -> None:
    cache = tmp_path.resolve()
    for name in ("mine", "other"):
        (cache / name / "blobs").mkdir(parents=True)
        (cache / name / "blobs" / "1").touch()
    folder = cache / "mine" / "snapshots" / "0a1b" / below
    folder.mkdir(parents=True)
    (folder / "own").symlink_to(cache / "mine" / "blobs" / "1")
    (folder / "others").symlink_to(cache / "other" / "blobs" / "1")
    (folder / "above").symlink_to(cache / "mine" / "blobs" / ".." / "secret")
    assert bounded.is_inside(folder, folder / "own")
    assert not bounded.is_inside(folder, folder / "others")
    assert not bounded.is_inside(folder, folder / "above")
