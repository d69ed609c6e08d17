"""A chat server for tests: real HTTP on this machine, with answers from whatever answers samples, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sightweave.core.types import Medium, Part, Prediction, Sample

Answer = Callable[[Sample, int], Prediction]
Fault = Callable[["Handler"], None]


@dataclass
class Server:
    """What a server was asked, and what it is to do instead of answering, in order."""

    answer: Answer
    url: str = ""
    models: tuple[str, ...] = ("tiny",)
    key: str = ""
    """What it wants as a key; empty for none."""
    refuses: tuple[str, ...] = ()
    """Fields that it takes no value for."""
    refusal: Callable[[str], tuple[int, Any]] = lambda field: (400, unsupported(field))
    """Status and body of such a refusal."""
    judge: Callable[[Any], tuple[int, Any] | None] = lambda body: None
    """Status and body for requests that it does not answer, whatever their fields."""
    wants_top_logprobs: bool = False
    """Whether it gives log-probabilities only where ``top_logprobs`` is asked for, as llama-cpp-python does."""
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    """Path, headers and body of each."""
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def asked(self) -> list[Any]:
        """Bodies of the requests for an answer."""
        return [body for path, _, body in self.requests if path.endswith("/chat/completions")]


def unsupported(field: str) -> dict[str, Any]:
    """What OpenAI says of a field that a model does not take."""
    message = f"Unsupported parameter: '{field}' is not supported with this model."
    return {"error": {"message": message, "param": field}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shared: Server

    def log_message(self, *_: Any) -> None:
        pass

    def send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def read(self) -> Any:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(data) if data else None
        with self.shared.lock:
            self.shared.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        return body

    def is_welcome(self) -> bool:
        wanted = self.shared.key
        if wanted and self.headers.get("Authorization") != f"Bearer {wanted}":
            given = str(self.headers.get("Authorization")).removeprefix("Bearer ")
            self.send(401, {"error": {"message": f"Incorrect API key provided:\n{given}."}})
            return False
        return True

    def do_GET(self) -> None:
        self.read()
        if self.is_welcome():
            self.send(200, {"object": "list", "data": [{"id": name} for name in self.shared.models]})

    def do_POST(self) -> None:
        body = self.read()
        shared = self.shared
        with shared.lock:
            fault = shared.faults.pop(0) if shared.faults else None
            shared.at_once += 1
            shared.most_at_once = max(shared.most_at_once, shared.at_once)
        try:
            if fault is not None:
                fault(self)
            elif self.is_welcome():
                self.respond(body)
        finally:
            with shared.lock:
                shared.at_once -= 1

    def respond(self, body: Any) -> None:
        refused = [name for name in self.shared.refuses if name in body]
        if refused:
            self.send(*self.shared.refusal(refused[0]))
            return
        judged = self.shared.judge(body)
        if judged is not None:
            self.send(*judged)
            return
        length = body.get("max_completion_tokens", body.get("max_tokens", 16))
        logprobs = body.get("logprobs", False)
        if self.shared.wants_top_logprobs:
            logprobs = logprobs and bool(body.get("top_logprobs"))
        self.send(200, response(self.shared.answer(sample_of(body), length), logprobs))


def sample_of(body: Any) -> Sample:
    """The sample that a request asks."""
    parts = []
    for message in body["messages"]:
        content = message["content"]
        for piece in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            parts.append(Part(message["role"], _content(piece)))
    return Sample(id="asked", task="", parts=tuple(parts))


def _content(piece: Any) -> str | Medium:
    if piece["type"] == "text":
        return str(piece["text"])
    head, _, data = piece["image_url"]["url"].partition(",")
    assert head.startswith("data:image/")
    assert head.endswith(";base64")
    source = base64.b64decode(data)
    return Medium(source, key=hashlib.sha256(source).hexdigest())


def response(prediction: Prediction, logprobs: bool = True) -> dict[str, Any]:
    """What a server sends for a prediction."""
    tokens = [{"token": "?", "logprob": prediction.logprob}] * prediction.tokens
    return {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": prediction.text},
                "finish_reason": prediction.finish,
                "logprobs": {"content": tokens} if logprobs else None,
            }
        ],
        "usage": {"completion_tokens": prediction.tokens},
    }


@contextmanager
def serving(answer: Answer, **options: Any) -> Iterator[Server]:
    """A server at ``shared.url``, until the block ends."""
    shared = Server(answer, **options)
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"shared": shared}))
    http.daemon_threads = True
    http.block_on_close = False
    http.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that went away is no news
    shared.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield shared
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
