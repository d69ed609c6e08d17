"""What every test runs under: one thread, no network, and a check of every array's shape."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# Side by side, each worker has a core of its own: two processes whose threads wait for one another take ten times as long.
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

import torch  # it reads the number of threads when it is imported
from jaxtyping import install_import_hook

torch.set_num_threads(1)


def _speaking_of_arrays() -> list[str]:
    """Modules that state shapes; in any other the hook would only take time, at every call."""
    source = Path(__file__).parents[1] / "src"
    files = [
        one
        for one in source.rglob("*.py")
        if "import jaxtyping" in (text := one.read_text()) or "from jaxtyping" in text
    ]
    return [".".join(one.relative_to(source).with_suffix("").parts) for one in files]


install_import_hook(_speaking_of_arrays(), "array_types.check_arrays")  # the shapes of every call


@pytest.fixture(autouse=True, scope="session")
def temporary_files_in_pytests_own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Pytest empties that folder even after a run that was killed; the system's own folder it does not."""
    place = str(tmp_path_factory.mktemp("temporary"))
    before, tempfile.tempdir, os.environ["TMPDIR"] = os.environ.get("TMPDIR"), place, place
    yield
    tempfile.tempdir = before
    if before is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):  # a socket of this machine's own file system
        return True
    host = str(address[0])
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is remembered of this machine goes into a folder of the tests, not into the user's own."""
    os.environ["SIGHTWEAVE_CACHE"] = str(tmp_path_factory.mktemp("remembered"))


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuses every connection that would leave this machine."""
    if request.node.get_closest_marker("network"):
        yield
        return
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if not _is_local(address):
            raise OSError(f"tests have no network, and this one asked for {address!r}; mark it `network`")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
    yield
