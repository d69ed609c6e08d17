"""What every test runs under: one thread, no network."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import torch  # it reads the number of threads when it is imported

torch.set_num_threads(1)


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
