"""Pictures looked at in other processes give the same facts; a process that dies costs no picture that did not kill it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from sightweave.core.types import Medium
from sightweave.data.reading.image_paths import Slice
from sightweave.programs.doctor.pictures import inspect
from sightweave.programs.doctor.workers import Workers, facts_of, serve


def media(folder: Path) -> list[Medium]:
    """Files, one that is gone, one inside another file, and one that lies in this process."""
    found = []
    for number in range(4):
        Image.new("RGB", (20 + number, 16), (40 * number, 9, 9)).save(folder / f"{number}.png")
        found.append(Medium(folder / f"{number}.png", f"{number}"))
    data = (folder / "0.png").read_bytes()
    (folder / "shard").write_bytes(b"head" + data)
    kept = partial(lambda start, size: data[start : start + size], 0, len(data))
    return [
        *found,
        Medium(folder / "gone.png", "gone"),
        Medium(Slice(folder / "shard", 4, len(data), "in"), "in"),
        Medium(kept, "kept"),
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_facts_are_those_of_this_process_in_their_order(count: int, tmp_path: Path) -> None:
    pictures = media(tmp_path)
    expected = [inspect(one) for one in pictures]
    with Workers(count) as pool:
        futures = [
            pool.submit(pictures),
            pool.submit(pictures[::-1]),
            pool.submit([]),
            pool.submit(pictures[:1]),
        ]
        assert futures[0].result() == expected
        assert futures[1].result() == expected[::-1]
        assert futures[2].result() == []
        assert futures[3].result() == expected[:1]


def test_a_worker_that_was_killed_is_replaced(tmp_path: Path) -> None:
    pictures = media(tmp_path)[:4]
    with Workers(1) as pool:
        assert len(pool.submit(pictures).result()) == 4
        worker = pool._idle.get()
        assert worker is not None
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
        pool._idle.put(worker)
        assert pool.submit(pictures[:1]).result() == [inspect(pictures[0])]


def test_a_picture_that_kills_its_decoder_is_named_and_the_others_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A program of workers that dies, by a real signal, of one name; the rest of it is the real one.
    program = tmp_path / "deadly_workers.py"
    program.write_text(
        "import os, signal, sys\n"
        "from sightweave.programs.doctor import workers\n"
        "real = workers.inspect_all\n"
        "def inspect_all(media):\n"
        "    if any(medium.key == '2' for medium in media):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return real(media)\n"
        "workers.inspect_all = inspect_all\n"
        "workers.serve(sys.stdin.buffer, sys.stdout.buffer)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    pictures = media(tmp_path)
    with Workers(1, program="deadly_workers") as pool:
        found = pool.submit(pictures).result()
    assert [one.findings[0].code if one.findings else "" for one in found[:5]] == [
        "image_blank", "image_blank", "image_corrupt", "image_blank", "image_missing"
    ]  # fmt: skip
    assert "'2': it crashed the decoder" in found[2].findings[0].message


def test_requests_and_answers_are_lines_of_json(tmp_path: Path) -> None:
    picture = media(tmp_path)[0]
    requests = io.BytesIO(json.dumps([[str(tmp_path / "0.png"), "0"]]).encode() + b"\n[]\n")
    answers = io.BytesIO()
    serve(requests, answers)
    first, second = answers.getvalue().splitlines()
    assert [facts_of(one) for one in json.loads(first)] == [inspect(picture)]
    assert json.loads(second) == []


def test_a_worker_loads_no_torch() -> None:
    code = "import sys, sightweave.programs.doctor.workers; print('torch' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.strip() == "False"
