"""A thousand damaged files of every format: each is read, or refused with one of our own errors; nothing else happens."""

from __future__ import annotations

import contextlib
import importlib
import logging
import random
import resource
import shutil
from pathlib import Path

import pytest

from sightweave.core import catalog
from sightweave.core.errors import DataError
from sightweave.data.inputs import image_files
from sightweave.data.reading.detect import detect

KINDS = [kind for kind in catalog.kinds("data.datasets") if kind not in ("own", "scenes")]
EACH = 1 + 1000 // len(KINDS)
GROWTH = 300 << 20
"""Bytes of memory that one format's mutants may take together, at the peak."""


def mutated(data: bytes, dice: random.Random) -> bytes:
    """A cut, flipped bytes, a stretch that is doubled, left out or filled, or numbers that are very large."""
    if not data:
        return bytes(dice.randrange(256) for _ in range(dice.randrange(9)))
    at = dice.randrange(len(data))
    size = 1 + dice.randrange(min(len(data), 64))
    way = dice.randrange(7)
    if way == 0:
        return data[:at]
    if way == 1:
        return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
    if way == 2:
        return data[:at] + data[at : at + size] * 3 + data[at + size :]
    if way == 3:
        return data[:at] + data[at + size :]
    if way == 4:
        return data[:at] + bytes([dice.choice((0, 255, 10, 34, 91, 123))]) * size + data[at + size :]
    if way == 5:
        return (
            data[:at] + dice.choice((b"null", b"[]", b"{}", b'"\\ud800"', b"9" * 40, b"\xff\xfe")) + data[at:]
        )
    return data[:at] + data[-size:] + data[at + size :]


def read(kind: str, path: Path) -> None:
    """All that training, evaluation and the doctor do to find out what there is."""
    for one in {kind, *detect(path)}:
        source = catalog.config_class("data.datasets", one)(path=str(path), max_bad=1.0)
        for split in source.splits:
            try:
                dataset = source.build(split=split)
            except DataError:
                continue
            for group in dataset:
                for record in group:
                    for image in record.images:
                        with contextlib.suppress(DataError):
                            image_files.load(image)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    whole = tmp_path / "whole"
    named = importlib.import_module(f"data_sets.{kind}").write(whole)
    assert named == whole or whole in named.parents
    files = sorted(p for p in whole.rglob("*") if p.is_file())
    # Pictures are many and alike; files of rows are few, and matter as much.
    rows = [p for p in files if p.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp", ".gif")] or files
    dice = random.Random(kind)
    read(kind, named)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(EACH):
        folder = tmp_path / "mutant"
        shutil.copytree(whole, folder)
        victim = dice.choice(rows if number % 3 else files)
        target = folder / victim.relative_to(whole)
        target.write_bytes(mutated(victim.read_bytes(), dice))
        read(kind, folder / named.relative_to(whole) if named != whole else folder)
        shutil.rmtree(folder)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < GROWTH
