"""Runs Sightweave commands in separate processes, several at a time, each with its own log file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightweave.core import files
from sightweave.core.cores import OMP_THREADS, num_cores, threads_in

LOG = "log.txt"
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """A Sightweave command and its output folder."""

    folder: Path
    words: tuple[str, ...]
    """Command-line arguments after ``sightweave``."""
    is_fresh: bool = True
    """Whether the output of an earlier job in the folder is deleted; if not, the new log is appended to the old one."""
    note: str = ""
    """Text shown when the job starts."""


def run_jobs(
    jobs: Sequence[Job],
    *,
    at_once: int = 1,
    threads: int | None = None,
    say: Callable[[str], None],
    progress: Callable[[int, int, str], None] = lambda _done, _total, _note: None,
) -> list[str]:
    """Runs jobs in parallel and returns a message about each failed one; after a failure, no more jobs are started.

    Args:
        jobs: Jobs in the order in which they start.
        at_once: Maximum number of jobs that run at the same time.
        threads: Number of threads per process. None uses ``OMP_NUM_THREADS`` if it is set, and otherwise divides the cores
            among the jobs that run at the same time.
        say: Called with a message when a job starts and when it ends.
        progress: Called repeatedly with the number of ended jobs, the number of all jobs, and a text with the running jobs
            and their times.

    Raises:
        FolderError: An earlier process is still writing to a job's folder.
    """
    queue, failed = list(jobs), list[str]()
    if threads is None and at_once > 1 and threads_in(os.environ) is None:
        threads = max(1, num_cores() // at_once)

    running: dict[str, tuple[Job, subprocess.Popen[bytes], float]] = {}
    try:
        while running or (queue and not failed):
            # Start the maximum number of jobs.
            while queue and len(running) < at_once and not failed:
                job = queue.pop(0)
                running[job.folder.name] = job, _start(job, threads), time.monotonic()
                say(f"{job.folder.name}: started{job.note and f' ({job.note})'}")

            # Report those that have ended.
            for name, (job, process, began) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[name]
                say(f"{name}: ended after {(time.monotonic() - began) / 60:.1f} min")
                if process.returncode:
                    failed.append(f"{name} (status {process.returncode}; see {job.folder / LOG})")

            # Report those that are running.
            now = time.monotonic()
            note = ", ".join(f"{name} {_minutes(now - began)}" for name, (_, _, began) in running.items())
            progress(len(jobs) - len(queue) - len(running), len(jobs), note)
            if running:
                time.sleep(_POLL_SECONDS)
    finally:
        for _, process, _ in running.values():
            process.terminate()
            process.wait()

    return failed


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min"


def _start(job: Job, threads: int | None) -> subprocess.Popen[bytes]:
    files.check_free(job.folder)  # an earlier job may have outlived the process that started it

    # Delete only a folder that one of our jobs wrote.
    if job.is_fresh and (job.folder / LOG).exists() and _is_of_a_job(job.folder):
        shutil.rmtree(job.folder)

    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sightweave", *job.words],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | ({OMP_THREADS: str(threads)} if threads else {}),
        )


def _is_of_a_job(folder: Path) -> bool:
    """Whether Sightweave wrote a folder, or the folder holds only a log file."""
    names = {one.name for one in folder.iterdir()}
    return names == {LOG} or files.is_ours(folder, {"run.json": "format_version"})
