"""A name on the hub: fetched once by the hub's own client from a real server, without pickles and code; then found."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import sightweave

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"weights",
    "chat_template.jinja": b"{{ messages }}",
    "pytorch_model.bin": b"a pickle",
    "modeling_own.py": b"raise SystemExit",
}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as its client asks for: a revision's list of files, and the files."""

    asked: list[str]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path.startswith("/api/models/lab/tiny/revision/"):
            listed = {
                "id": "lab/tiny",
                "modelId": "lab/tiny",
                "sha": COMMIT,
                "siblings": [{"rfilename": name} for name in FILES],
            }
            self._send(json.dumps(listed).encode(), with_body=with_body)
        elif path == f"/api/models/lab/tiny/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for name, body in FILES.items()
            ]
            self._send(json.dumps(tree).encode(), with_body=with_body)
        elif (name := path.rpartition("/")[2]) in FILES and path.startswith("/lab/tiny/resolve/"):
            self._send(FILES[name], with_body=with_body)
        else:
            self.send_error(404)

    def _send(self, body: bytes, *, with_body: bool) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Mine", (Hub,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def said(code: str, home: Path, endpoint: str, **more: str) -> str:
    """What a process of its own prints: the client reads its settings when it is imported."""
    settings = {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(Path(sightweave.__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | settings | more,
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout or done.stderr).strip()


PLACE = """
from sightweave.core import transformers_folder as folders
try:
    place = folders.place("lab/tiny")
    print(sorted(file.name for file in place.iterdir()), folders.read_config("lab/tiny"))
except folders.CheckpointError as error:
    print("refused:", error)
"""


def test_it_is_fetched_once_and_then_found_offline(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    endpoint, asked = hub
    expected = "['chat_template.jinja', 'config.json', 'model.safetensors'] {'model_type': 'llama'}"
    assert said(PLACE, tmp_path, endpoint) == expected
    assert any(path.endswith("/model.safetensors") for path in asked)
    assert not any(path.endswith((".bin", ".py")) for path in asked)
    asked.clear()
    assert said(PLACE, tmp_path, endpoint) == expected
    assert asked == []
    assert said(PLACE, tmp_path, endpoint, HF_HUB_OFFLINE="1") == expected


def test_a_name_that_the_hub_does_not_know(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    refused = said(PLACE.replace("lab/tiny", "lab/other"), tmp_path, hub[0])
    assert refused.startswith(
        "refused: lab/other: folder not found, and it could not be downloaded from the Hub: "
    )
    assert refused.endswith("hf download lab/other --local-dir lab/other.")


def test_without_a_network_the_command_is_named(tmp_path: Path) -> None:
    refused = said(PLACE, tmp_path, "http://127.0.0.1:9")
    assert refused.startswith("refused: lab/tiny: no such folder, and ")
    assert "hf download lab/tiny --local-dir lab/tiny" in refused
