"""Symbolic links: which of them stay in the folder that they were found in."""

from __future__ import annotations

from pathlib import Path


def stays_in(path: Path, folder: Path) -> bool:
    """Whether a path leads to a place inside a folder once all links are followed.

    A snapshot in the cache of the Hugging Face Hub consists of links to the ``blobs`` of the same repository; these count
    as inside.

    Args:
        path: Anything below `folder`; it need not exist.
        folder: With links in its own path already followed.

    Raises:
        OSError, RuntimeError: a loop of links.
    """
    target = path.resolve()
    if target.is_relative_to(folder):
        return True

    # models--NAME/snapshots/REVISION/FILE -> ../../blobs/HASH
    above = (folder, *folder.parents)
    snapshots = next((one for one in above if one.parent.name == "snapshots"), None)
    return snapshots is not None and target.parent == snapshots.parent.parent / "blobs"
