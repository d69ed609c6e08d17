"""Links that stay in a folder, links that leave it, and those of the hub's cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightweave.core.links import stays_in


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
    assert stays_in(folder / "link", folder) is stays


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
    assert stays_in(folder / "own", folder)
    assert not stays_in(folder / "others", folder)
    assert not stays_in(folder / "above", folder)
