"""Shards as img2dataset writes them: picture, caption and description of each sample, and counts beside the shard."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from data_sets._colours import COLOURS, picture


def sample(key: str, colour: str) -> list[tuple[str, bytes]]:
    data = picture(colour)
    caption = f"All of it is {colour}."
    about = {
        "caption": caption,
        "url": f"https://example.com/{colour}.jpg",
        "key": key,
        "status": "success",
        "error_message": None,
        "width": 24,
        "height": 16,
        "original_width": 24,
        "original_height": 16,
        "exif": "{}",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return [
        (f"{key}.jpg", data),
        (f"{key}.json", json.dumps(about, indent=4).encode()),
        (f"{key}.txt", caption.encode()),
    ]


def pack(file: Path, members: list[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(file, "w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file


def write(folder: Path) -> Path:
    """Eight samples in two shards."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(COLOURS)
    for shard, colours in enumerate((names[:4], names[4:])):
        members = [
            member
            for number, colour in enumerate(colours)
            for member in sample(f"{shard:05d}{number:04d}", colour)
        ]
        pack(folder / f"{shard:05d}.tar", members)
        stats = {
            "count": len(colours) + 1,
            "successes": len(colours),
            "failed_to_download": 1,
            "failed_to_resize": 0,
            "duration": 1.5,
            "start_time": 1700000000.0,
            "end_time": 1700000001.5,
            "status_dict": {"success": len(colours), "HTTP Error 404: Not Found": 1},
        }
        (folder / f"{shard:05d}_stats.json").write_text(json.dumps(stats, indent=4), encoding="utf-8")
    return folder
