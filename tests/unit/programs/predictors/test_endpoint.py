"""An endpoint against a real server on this machine: what is asked, what is understood, and every fault."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _endpoint_server import Handler, Server, response, serving
from PIL import Image

from sightweave.core import config as configs
from sightweave.core.errors import BackendError, DataError, RecipeError
from sightweave.core.types import Medium, Part, Prediction, Sample
from sightweave.programs.predictors import _notes, endpoint
from sightweave.programs.predictors._endpoint import server as remote
from sightweave.programs.predictors._endpoint import words

KEY = "sk-very-secret-0123456789"
GREY = np.full((6, 10, 3), 90, np.uint8)
GREY[2, 3] = (255, 0, 17)


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def echo(sample: Sample, max_tokens: int) -> Prediction:
    """Says what it was asked, and the size and a pixel of each picture."""
    words = [part.content for part in sample.parts if isinstance(part.content, str)]
    for medium in sample.media:
        image = Image.open(io.BytesIO(medium.source)).convert("RGB")
        words.append(f"{image.size} {image.getpixel((3, 2))}")
    return Prediction(" | ".join(words), logprob=-0.5, tokens=max_tokens, finish="length")


def asking(name: str = "1", *contents: str | Medium) -> Sample:
    parts = tuple(Part("user", one) for one in contents or (f"question {name}?",))
    return Sample(id=name, task="vqa", parts=(*parts, Part("assistant", "the secret target", learn=True)))


def made(server: Server, **options: Any) -> endpoint.Endpoint:
    return endpoint.Config(url=server.url, **{"wait": 0.01, "retries": 2, "timeout": 20.0, **options}).build()


def refusal(server: Server, **options: Any) -> str:
    """The message of the error that one question ends in."""
    with pytest.raises(BackendError) as caught:
        made(server, **options).predict([asking("q-7")])
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def unanswered(server: Server, **options: Any) -> tuple[str, bool]:
    """Why one question has no answer, and whether that may pass."""
    (found,) = made(server, **options).predict([asking("q-7")])
    assert found.text == ""
    reason = found.extra["unanswered"]
    assert "\n" not in reason
    return reason, found.extra.get("may_pass", False)


def notes(found: endpoint.Endpoint, samples: list[Sample], max_tokens: int = 96) -> str:
    """What is said of the answers to some samples."""
    said = found.predict(samples, max_tokens=max_tokens)
    ids = [sample.id for sample in samples]
    return " ".join(_notes.on(found.name, list(zip(ids, said, strict=True)), max_tokens))


def test_addresses_are_recognised() -> None:
    assert endpoint.recognise("http://localhost:8000/v1")
    assert endpoint.recognise("HTTPS://api.example.org/v1")
    assert not endpoint.recognise("runs/http")
    assert not endpoint.recognise("ftp://example.org")


def test_what_is_asked_keeps_the_order_of_parts_and_leaves_the_target_out() -> None:
    picture = Medium(GREY, "grey")
    sample = Sample(
        id="1",
        task="conversation",
        parts=(
            Part("system", "Be short."),
            Part("user", "Before"),
            Part("user", picture),
            Part("user", "after?"),
            Part("assistant", "An earlier answer.", learn=True),
            Part("user", "And now?"),
            Part("assistant", "the secret target", learn=True),
        ),
    )
    with serving(echo) as server:
        found = made(server, model="m").predict([sample], max_tokens=7)
    (body,) = server.asked
    assert [one["role"] for one in body["messages"]] == ["system", "user", "assistant", "user"]
    assert [one["type"] for one in body["messages"][1]["content"]] == ["text", "image_url", "text"]
    assert body["messages"][2]["content"] == "An earlier answer."
    assert {key: body[key] for key in body if key != "messages"} == {
        "model": "m",
        "temperature": 0,
        "seed": 0,
        "max_tokens": 7,
        "logprobs": True,
        "top_logprobs": 1,
    }
    said = "Be short. | Before | after? | An earlier answer. | And now? | (10, 6) (255, 0, 17)"
    assert found == [Prediction(said, logprob=-0.5, tokens=7, finish="length")]
    assert "secret target" not in json.dumps(body)


def test_pictures_are_shrunk_and_compressed_only_if_asked() -> None:
    sample = asking("1", Medium(GREY, "grey"))
    with serving(echo) as server:
        small = made(server, max_side=5).predict([sample])
        assert small[0].text.startswith("(5, 3)")
        made(server, max_side=50, jpeg_quality=80).predict([sample])
    urls = [body["messages"][0]["content"][0]["image_url"]["url"] for body in server.asked]
    assert [url.partition(";")[0] for url in urls] == ["data:image/png", "data:image/jpeg"]


def test_a_medium_that_is_no_picture_is_not_sent() -> None:
    with serving(echo) as server, pytest.raises(DataError, match="audio 'bell': only images can be sent"):
        made(server).predict([asking("1", Medium(b"RIFF", "bell", "audio"))])
    assert not server.asked


def test_answers_keep_their_order_while_several_are_asked_at_once() -> None:
    def slow_first(sample: Sample, max_tokens: int) -> Prediction:
        time.sleep(0.2 if "question 0?" in sample.prompt else 0.02)
        return echo(sample, max_tokens)

    told: list[int] = []
    with serving(slow_first) as server:
        samples = [asking(str(n)) for n in range(12)]
        found = made(server, num_concurrent=3).predict(samples, progress=told.append)
    assert [one.text for one in found] == [f"question {n}?" for n in range(12)]
    assert sum(told) == 12
    assert 2 <= server.most_at_once <= 3


def test_the_only_model_is_taken_and_of_several_one_must_be_named() -> None:
    with serving(echo) as server:
        found = made(server)
        assert (found.model, found.name) == ("tiny", f"{server.url} tiny")
        found.predict([asking()])
        assert server.asked[0]["model"] == "tiny"
        server.models = ("b", "a")
        with pytest.raises(BackendError, match=r"2 models \(a, b\); set `model`"):
            made(server)
        server.models = ()
        with pytest.raises(BackendError, match=r"0 models \(none\)"):
            made(server)


def test_the_fingerprint_tells_what_is_asked_and_never_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(echo) as server:
        one = made(server, model="a")
        others = [
            made(server, model="b"),
            made(server, model="a", max_side=9),
            made(server, model="a", jpeg_quality=9),
        ]
        same = made(server, model="a", num_concurrent=1, timeout=3.0, retries=0)
    assert same.fingerprint == one.fingerprint
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert KEY not in one.fingerprint + one.name


@pytest.mark.parametrize(
    ("refuses", "kept", "dropped"),
    [
        (("max_tokens",), "max_completion_tokens", "max_tokens"),
        (("logprobs",), "max_tokens", "logprobs"),
        (("seed",), "logprobs", "seed"),
        (("max_tokens", "logprobs"), "max_completion_tokens", "logprobs"),
    ],
)
def test_what_a_server_refuses_is_left_out_once_for_all(
    refuses: tuple[str, ...], kept: str, dropped: str
) -> None:
    with serving(echo, refuses=refuses) as server:
        found = made(server, num_concurrent=1).predict([asking("1"), asking("2")], max_tokens=5)
    assert [one.tokens for one in found] == [5, 5]
    assert len(server.asked) == 2 + len(refuses)
    assert kept in server.asked[-1]
    assert dropped not in server.asked[-1]
    assert found[0].logprob == (None if "logprobs" in refuses else -0.5)


def test_answers_without_log_probabilities_are_noted() -> None:
    with serving(echo, refuses=("logprobs",)) as server:
        said = notes(made(server), [asking("1"), asking("2")])
    assert "2 of 2 answers had no log-probabilities" in said


def test_texts_are_not_judged() -> None:
    with serving(echo) as server:
        found = made(server)
        assert not found.can_score
        with pytest.raises(BackendError, match=": a chat server does not return likelihoods of given texts;"):
            found.predict([asking()], [["yes"]])
        with pytest.raises(DataError, match="2 list"):
            found.predict([asking()], [[], []])
        assert found.predict([asking()], [[]])[0].text == "question 1?"
        assert found.predict([asking()], max_tokens=0) == [Prediction("", finish="none")]
        assert found.predict([]) == []
    assert len(server.asked) == 1


# Faults that pass.


def status(number: int, headers: dict[str, str] | None = None, said: str = "try\nlater") -> Any:
    return lambda handler: handler.send(number, {"error": {"message": said}}, headers)


def hang_up(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


@pytest.mark.parametrize("fault", [status(429), status(408), status(500), status(503), hang_up])
def test_it_asks_again(fault: Any) -> None:
    with serving(echo, faults=[fault, fault]) as server:
        assert made(server).predict([asking()])[0].text == "question 1?"
    assert len(server.asked) == 3


def test_it_waits_as_long_as_the_server_says() -> None:
    with serving(echo, faults=[status(429, {"Retry-After": "1"})]) as server:
        start = time.monotonic()
        made(server).predict([asking()])
        assert time.monotonic() - start >= 1
        server.faults = [status(429, {"Retry-After": "0"})]
        made(server, wait=50).predict([asking()])  # 0 seconds, not 50


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("soon", None),
    ],
)
def test_how_long_a_server_says(value: str, seconds: float | None) -> None:
    assert words.retry_after(value) == seconds


def test_it_never_waits_longer_than_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_LONGEST_WAIT", 0.05)
    with serving(echo, faults=[status(503, {"Retry-After": "900"}), status(503)]) as server:
        assert made(server, wait=800).predict([asking()])[0].text == "question 1?"


# Faults that stay: each is one clear error.


def test_errors_to_the_end_say_how_often_it_was_asked() -> None:
    with serving(echo, faults=[status(500, said="out of memory")] * 9) as server:
        reason, may_pass = unanswered(server)
    assert "status 500: out of memory; try again later" in reason
    assert "asked 3 time(s)" in reason
    assert may_pass
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (401, "OPENAI_API_KEY is not set"),
        (403, "the API key has no access to this model"),
        (404, "check the model name, and that the address is the part before"),
        (405, "documentation"),
    ],
)
def test_what_asking_again_cannot_mend_fails_at_once(number: int, words: str) -> None:
    with serving(echo, faults=[status(number, said="no\nsuch " + "x" * 5000)]) as server:
        message = refusal(server)
    assert f"sample 'q-7': status {number}: no such xxx" in message
    assert words in message
    assert len(message) < 800
    assert len(server.asked) == 1


@pytest.mark.parametrize("number", [400, 406, 413, 415, 418, 422, 451, 501])
def test_a_prompt_that_a_server_does_not_take_is_left_without_an_answer(number: int) -> None:
    with serving(echo, faults=[status(number, said="no\nsuch " + "x" * 5000)]) as server:
        reason, may_pass = unanswered(server)
    assert f"status {number}: no such xxx" in reason
    assert len(reason) < 400
    assert not may_pass
    assert len(server.asked) == 1


def test_a_wrong_key_is_said_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with serving(echo, key="another") as server:
        message = refusal(server, model="m", key_variable="MY_KEY")
        assert "status 401: Incorrect API key provided: ***" in message
        assert "check the API key" in message
        server.key = KEY
        assert made(server, key_variable="MY_KEY").predict([asking()])
    assert server.requests[-1][1]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("value", ["sk-1\nX: y", "two words", "schl\u00fcssel"])
def test_a_key_that_cannot_be_one_is_not_shown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(BackendError, match="MY_KEY contains characters") as caught:
        endpoint.Config(url="http://127.0.0.1:1/v1", model="m", key_variable="MY_KEY").build()
    assert value not in str(caught.value)


def test_a_key_in_place_of_its_variable_is_not_shown() -> None:
    with pytest.raises(RecipeError, match="name of an environment variable") as caught:
        endpoint.Config(url="http://127.0.0.1:1/v1", model="m", key_variable=KEY).build()
    assert KEY not in str(caught.value)


def test_the_usual_key_is_not_sent_unencrypted_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MY_KEY", KEY)

    def key(url: str, variable: str = "OPENAI_API_KEY") -> tuple[str, str]:
        return remote.key(remote.parsed(url), variable)

    assert key("http://10.0.0.5:8000/v1")[0] == ""
    assert "not encrypted" in key("http://10.0.0.5:8000/v1")[1]
    assert key("http://10.0.0.5:8000/v1", "MY_KEY")[0] == KEY
    assert key("https://api.example.org/v1")[0] == KEY
    assert key("http://localhost:8000/v1")[0] == key("http://[::1]:8000/v1")[0] == KEY
    assert key("https://api.example.org/v1", "")[0] == ""


def test_a_redirect_is_not_followed_so_the_key_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(echo) as thief, serving(echo) as server:
        for number in (301, 302, 307, 308):
            place = f"{thief.url}/chat/completions?token={KEY}"
            server.faults = [status(number, {"Location": place})]
            message = refusal(server)
            assert f"status {number}: the server redirects to http://127.0.0.1/v1/chat/completions" in message
    assert not thief.requests


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(BackendError, match=r"no connection .*is the server running\? \(asked 2 time"):
            endpoint.Config(url=url, retries=1, wait=0.0).build()


def test_a_server_that_takes_too_long() -> None:
    free = threading.Event()
    with serving(echo, faults=[lambda _: free.wait(20)] * 2) as server:
        reason, may_pass = unanswered(server, timeout=0.3, retries=1)
        free.set()
    assert "no answer within 0.3 seconds" in reason
    assert may_pass


def test_a_server_that_drips_takes_too_long_too() -> None:
    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(200):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)

    with serving(echo, faults=[drip]) as server:
        start = time.monotonic()
        assert "no answer within 0.4 seconds" in unanswered(server, timeout=0.4, retries=0)[0]
        assert time.monotonic() - start < 4  # the server would go on for ten seconds


def test_a_body_without_end_is_not_read() -> None:
    def flood(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        for _ in range(1 << 20):
            handler.wfile.write(b"x" * (1 << 16))

    with serving(echo, faults=[flood]) as server:
        assert "the response exceeds" in unanswered(server)[0]


def choice(**values: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": "x"}, "finish_reason": "stop", **values}]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html><body>Welcome!</body></html>", "not JSON (application/json: <html><body>Welcome!"),
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ([1], "must be an object"),
        ({}, "has no choices (got None)"),
        ({"choices": []}, "the response has no choices"),
        ({"choices": ["x"]}, "the response has no choices"),
        ({"choices": {"0": {}}}, "the response has no choices"),
        ({"choices": [{}]}, "message must be an object (got None)"),
        (choice(message="x"), "message must be an object"),
        (choice(message={"content": 5}), "content must be text"),
        (choice(message={"content": 0}), "content must be text"),
        (choice(message={"content": False}), "content must be text"),
        (choice(message={"content": {"text": "x"}}), "content must be text"),
        (choice(message={"content": ["x"]}), "content must be text"),
        (choice(message={"content": [{"type": "image"}]}), "content must be text"),
    ],
)
def test_a_response_that_is_none(body: Any, said: str) -> None:
    with serving(echo, faults=[lambda handler: handler.send(200, body)]) as server:
        reason, may_pass = unanswered(server)
    assert said in reason
    assert may_pass
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("body", "prediction"),
    [
        (choice(), Prediction("x")),
        (choice(finish_reason="length"), Prediction("x", finish="length")),
        (choice(finish_reason=None), Prediction("x")),
        (choice(finish_reason="content_filter"), Prediction("x", extra={"finish_reason": "content_filter"})),
        (choice(message={"content": None, "refusal": "no"}), Prediction("", extra={"declined": "no"})),
        (choice(message={}), Prediction("")),
        (choice(message={"content": [{"type": "text", "text": "a"}, {"text": "b"}]}), Prediction("ab")),
        (choice(message={"content": "\ud800"}), Prediction("?")),
        (choice(logprobs={"content": [{"logprob": -1}, {"logprob": -0.5}]}), Prediction("x", -0.75, 2)),
        (choice(logprobs={"content": [{"logprob": -1}, {}]}), Prediction("x")),
        (choice(logprobs={"content": [{"logprob": float("nan")}]}), Prediction("x")),
        (choice(logprobs={"content": [{"logprob": -(10**400)}]}), Prediction("x")),
        (choice(logprobs={"content": [{"logprob": True}]}), Prediction("x")),
        (choice(logprobs={"content": None}), Prediction("x")),
        (choice(logprobs={"content": 5}), Prediction("x")),
        (choice(logprobs=[1]), Prediction("x")),
        (choice() | {"usage": {"completion_tokens": 4}}, Prediction("x", tokens=4)),
        (choice() | {"usage": {"completion_tokens": "4"}}, Prediction("x")),
        (choice() | {"usage": None}, Prediction("x")),
    ],
)
def test_what_a_response_says(body: Any, prediction: Prediction) -> None:
    with serving(echo, faults=[lambda handler: handler.send(200, body)]) as server:
        assert made(server).predict([asking()]) == [prediction]


def test_odd_answers_are_counted() -> None:
    bodies = [
        choice(message={"content": " "}),
        choice(finish_reason="content_filter"),
        response(echo(asking(), 3)),
    ]
    faults = [lambda handler, body=body: handler.send(200, body) for body in bodies]
    with serving(echo, faults=faults) as server:
        said = notes(made(server, num_concurrent=1), [asking(f"q{n}") for n in range(3)], 3)
    assert "1 of 3 answers had no text; each counts as an empty answer: 'q0'." in said
    assert "2 of 3 answers had no log-probabilities" in said
    assert "1 of 3 answers were ended by the server for another reason, such as a filter: 'q1'." in said
    assert "1 of 3 answers were cut at max_tokens=3; raise evaluate.max_tokens" in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.org/v1", "url: must start with http:// or https:// and a host"),
        ("http://", "url: must start with http:// or https:// and a host"),
        ("localhost:8000", "url: must start with http:// or https:// and a host"),
        ("http://me:secret-word@example.org/v1", "http://example.org... has more than a host and a path"),
        ("https://example.org:8443/v1?key=secret-word", "https://example.org:8443... has more"),
        ("https://example.org/v1#secret-word", "has more"),
        ("http://127.0.0.1:6666\\@example.org/", ""),
        ("http://exa mple.org:port/", ""),
    ],
)
def test_what_is_no_address(url: str, words: str) -> None:
    with pytest.raises(RecipeError, match=r"^url: ") as caught:
        endpoint.Config(url=url, model="m").build()
    assert words in str(caught.value)
    assert "secret-word" not in str(caught.value)


def test_a_slash_at_the_end_makes_no_difference() -> None:
    one, other = (endpoint.Config(url=f"http://127.0.0.1:1/v1{end}", model="m").build() for end in ("", "/"))
    assert one.fingerprint == other.fingerprint


def test_a_proxy_is_not_used_for_this_machine_and_a_broken_one_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(echo) as server:
        assert made(server).predict([asking()])
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "odd://me:secret-word@127.0.0.1:1")
    far = endpoint.Config(url="http://far.example/v1", model="m").build()
    with pytest.raises(BackendError, match="the proxy of HTTP_PROXY") as caught:
        far.predict([asking()])
    assert "secret-word" not in str(caught.value)


def test_a_recipe_may_name_it_and_mistakes_are_said() -> None:
    values = configs.to_plain(endpoint.Config(url="http://localhost/v1", model="m"))
    assert values["kind"] == "endpoint"
    assert "key" not in values
    with pytest.raises(RecipeError, match="jpeg_quality"):
        configs.build(endpoint.Config, {"url": "http://localhost/v1", "jpeg_quality": 0}, where="who")


def test_the_first_error_ends_it_without_waiting_for_the_others() -> None:
    free = threading.Event()

    def one_bad(sample: Sample, max_tokens: int) -> Prediction:
        free.wait(20)
        return echo(sample, max_tokens)

    with serving(one_bad, faults=[status(404)]) as server:
        start = time.monotonic()
        with pytest.raises(BackendError, match="status 404"):
            made(server, num_concurrent=4).predict([asking(str(n)) for n in range(8)])
        assert time.monotonic() - start < 10
        free.set()
    assert len(server.asked) <= 4


# Requests that a server takes only without some field.


def body_field(field: str) -> dict[str, Any]:
    """How pydantic names a field that is not known."""
    return {
        "type": "extra_forbidden",
        "loc": ["body", field],
        "msg": "Extra inputs are not permitted",
        "input": 0,
    }


WORDINGS: dict[str, Any] = {
    "openai": lambda field: (400, {"error": {"message": f"Unsupported value: '{field}'", "param": field}}),
    "openai code": lambda field: (
        400,
        {"error": {"message": "Not with this model.", "param": field, "code": "unsupported_parameter"}},
    ),
    "capital": lambda field: (400, {"error": {"message": f"{field.capitalize()} must be left out."}}),
    "fastapi": lambda field: (422, {"detail": [body_field(field)]}),
    "mistral": lambda field: (422, {"object": "error", "message": {"detail": [body_field(field)]}}),
    "vllm": lambda field: (
        400,
        {
            "object": "error",
            "message": f"[{{'type': 'extra_forbidden', 'loc': ('body', '{field}')}}]",
            "code": 400,
        },
    ),
    "gemini": lambda field: (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": f'Invalid JSON payload received. Unknown name "{field}": Cannot find field.',
                }
            }
        ],
    ),
    "ollama": lambda field: (400, {"error": f"invalid option provided: {field}"}),
    "anthropic": lambda field: (
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message": f"{field}: not supported"}},
    ),
    "plain": lambda field: (400, f"unknown argument {field}".encode()),
    "llama-cpp-python": lambda field: (
        500,
        {"error": {"message": f"{field} is not supported", "code": None}},
    ),
    "inside 200": lambda field: (200, {"error": {"message": f"{field} is not supported", "code": 400}}),
    "unnamed": lambda field: (400, {"error": {"message": "Unrecognized request arguments supplied."}}),
}


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("field", ["temperature", "seed", "logprobs", "top_logprobs"])
def test_every_wording_of_a_refused_field_is_understood(field: str, wording: str) -> None:
    with serving(echo, refuses=(field,), refusal=WORDINGS[wording]) as server:
        found = made(server, num_concurrent=1)
        assert [one.text for one in found.predict([asking("1"), asking("2")])] == [
            "question 1?",
            "question 2?",
        ]
    assert len(server.asked) == 3
    assert field not in server.asked[-1]
    assert "max_tokens" in server.asked[-1]


@pytest.mark.parametrize("wording", [name for name in WORDINGS if name != "unnamed"])
def test_several_refused_fields_are_left_out_one_after_another(wording: str) -> None:
    refuses = ("temperature", "logprobs", "max_tokens", "max_completion_tokens", "seed")
    with serving(echo, refuses=refuses, refusal=WORDINGS[wording]) as server:
        assert made(server).predict([asking()])[0].text == "question 1?"
    assert set(server.asked[-1]) == {"model", "messages"}
    assert len(server.asked) == 1 + len(refuses)


def test_without_a_temperature_the_answers_are_said_not_to_be_greedy() -> None:
    with serving(echo, refuses=("temperature",)) as server:
        found = made(server)
        said = notes(found, [asking("1"), asking("2")])
    assert "2 of 2 answers are not greedy, because the server rejects temperature 0" in said
    with serving(echo) as server:
        assert "greedy" not in notes(made(server), [asking("1"), asking("2")])


def test_a_refusal_that_quotes_the_prompt_leaves_no_field_out() -> None:
    def judge(body: Any) -> tuple[int, Any] | None:
        asked = body["messages"][0]["content"]
        return (400, {"error": {"message": f"Stopped by a filter: {asked}"}}) if "seed" in asked else None

    with serving(echo, judge=judge) as server:
        found = made(server, num_concurrent=1)
        said = found.predict([asking("1", "At which temperature does this seed grow?"), asking("2")])
    assert "Stopped by a filter" in said[0].extra["unanswered"]
    assert said[1].text == "question 2?"
    assert {"temperature", "seed"} <= set(server.asked[-1])


def test_a_limit_that_a_prompt_exceeds_is_no_refused_field() -> None:
    message = (
        "'max_tokens' or 'max_completion_tokens' is too large: 96. The maximum context length is 512 tokens."
    )

    def judge(body: Any) -> tuple[int, Any] | None:
        return (400, {"error": {"message": message}}) if "long" in body["messages"][0]["content"] else None

    with serving(echo, judge=judge) as server:
        found = made(server, num_concurrent=1)
        said = notes(found, [asking("a", "short"), asking("b", "long"), asking("c", "short")])
    assert (
        "the server refused 1 of 3 prompts; each counts as an empty answer and is asked again only with "
        in said
    )
    assert "'b' (status 400: 'max_tokens' or 'max_completion_tokens' is too large: 96" in said
    assert len(server.asked) == 3


SYSTEM = Sample(
    id="s",
    task="conversation",
    parts=(Part("system", "Be short."), Part("user", Medium(GREY, "grey")), Part("user", "What?")),
)


@pytest.mark.parametrize(
    "words",
    [
        "System role not supported",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "messages[0].role: must be one of user, assistant (got system)",
        "Only user and assistant roles are supported!",
        "Developer instruction is not enabled for this model",
    ],
)
def test_a_model_without_a_system_turn_reads_it_before_the_question(words: str) -> None:
    def judge(body: Any) -> tuple[int, Any] | None:
        has_system = any(turn["role"] == "system" for turn in body["messages"])
        return (400, {"error": {"message": words}}) if has_system else None

    plain = Sample(id="p", task="conversation", parts=(Part("system", "Be kind."), Part("user", "Who?")))
    with serving(echo, judge=judge) as server:
        said = made(server, num_concurrent=1).predict([SYSTEM, plain])
    assert said[0].text == "Be short.\n | What? | (10, 6) (255, 0, 17)"
    assert said[1].text == "Be kind.\nWho?"
    assert len(server.asked) == 3


def test_log_probabilities_come_from_servers_that_give_them_only_with_the_most_likely_tokens() -> None:
    with serving(echo, wants_top_logprobs=True) as server:
        assert made(server).predict([asking()])[0].logprob == -0.5


# Errors that come with status 200.


def inside(error: Any, **more: Any) -> Any:
    return lambda handler: handler.send(200, {"error": error, **more})


ROUTER = "The provider behind this router is overloaded, try again."
PASSING = [
    inside({"message": ROUTER, "code": 502}),
    inside({"message": ROUTER, "code": "503"}),
    inside({"message": ROUTER, "code": 429}, choices=[]),
    inside({"message": ROUTER, "type": "overloaded_error"}, choices=[{"message": {"content": ""}}]),
    inside({"message": ROUTER, "code": "rate_limit_exceeded"}),
    inside({"message": ROUTER, "type": "server_error"}),
    lambda handler: handler.send(
        200, {"choices": [{"error": {"message": ROUTER, "code": 504}, "message": {}}]}
    ),
    lambda handler: handler.send(200, {"object": "error", "message": ROUTER, "code": 500}),
]


@pytest.mark.parametrize("fault", PASSING)
def test_an_error_inside_status_200_is_shown_and_asked_again(fault: Any) -> None:
    with serving(echo, faults=[fault]) as server:
        assert made(server).predict([asking()])[0].text == "question 1?"
    assert len(server.asked) == 2
    with serving(echo, faults=[fault] * 9) as server:
        reason, may_pass = unanswered(server)
    assert ROUTER.rstrip(".") in reason
    assert "asked 3 time(s)" in reason
    assert may_pass


@pytest.mark.parametrize(
    "fault",
    [
        inside({"message": "stopped by the policy", "code": "content_filter"}),
        inside({"message": "stopped by the policy", "code": 400}, choices=[{"message": {"content": "x"}}]),
        inside("stopped by the policy"),
        inside({"message": "stopped by the policy", "code": None, "type": "invalid_request_error"}),
    ],
)
def test_other_errors_inside_status_200_are_refusals(fault: Any) -> None:
    with serving(echo, faults=[fault]) as server:
        reason, may_pass = unanswered(server)
    assert "stopped by the policy" in reason
    assert not may_pass
    assert len(server.asked) == 1


def test_the_words_of_the_server_behind_a_router_are_shown() -> None:
    error = {"message": "Provider returned error", "code": 400, "metadata": {"raw": "image too large"}}
    with serving(echo, faults=[inside(error)]) as server:
        assert unanswered(server)[0] == "status 400: Provider returned error: image too large"


def test_a_wrong_key_inside_status_200_ends_it() -> None:
    with serving(echo, faults=[inside({"message": "bad key", "code": 401})]) as server:
        assert "status 401: bad key" in refusal(server)


def test_an_error_that_is_null_is_none() -> None:
    with serving(echo, faults=[inside(None, **choice())]) as server:
        assert made(server).predict([asking()])[0].text == "x"


# Prompts that have no answer.


def test_moderation_refuses_a_prompt_where_a_wrong_key_ends_it() -> None:
    with serving(echo, faults=[status(403, said="Your input was flagged by moderation.")]) as server:
        assert unanswered(server) == ("status 403: Your input was flagged by moderation", False)
    with serving(echo, faults=[status(403, said="This key is not allowed.")]) as server:
        assert "the API key has no access to this model" in refusal(server)


def test_a_server_that_fails_on_prompt_after_prompt_is_down() -> None:
    with (
        serving(echo, faults=[status(500)] * 99) as server,
        pytest.raises(BackendError, match="17 prompts in a row"),
    ):
        made(server, retries=0, num_concurrent=1).predict([asking(str(n)) for n in range(40)])
    assert len(server.asked) == 17


def test_a_lost_connection_costs_one_prompt_and_a_server_that_went_away_all() -> None:
    with serving(echo, faults=[hang_up] * 2) as server:
        found = made(server, retries=1, num_concurrent=1)
        said = found.predict([asking("1"), asking("2")])
        assert "no connection" in said[0].extra["unanswered"]
        assert said[0].extra["may_pass"]
        assert said[1].text == "question 2?"
    with pytest.raises(BackendError, match="is the server running"):
        found.predict([asking("3")])


# What is thought.


@pytest.mark.parametrize(
    ("message", "finish", "text", "thought"),
    [
        ({"content": "<think>\nA dog? No.\n</think>\n\ncat"}, "stop", "cat", "A dog? No."),
        ({"content": "A dog? No.</think>cat"}, "stop", "cat", "A dog? No."),
        ({"content": "<think>A dog"}, "length", "", "A dog"),
        ({"content": "cat", "reasoning_content": "A dog? No."}, "stop", "cat", "A dog? No."),
        ({"content": "cat", "reasoning": "A dog? No."}, "stop", "cat", "A dog? No."),
        ({"content": None, "reasoning_content": "A dog"}, "length", "", "A dog"),
        ({"content": None, "reasoning": "A dog"}, "length", "", "A dog"),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "A dog?"}]},
                    {"text": "cat"},
                ]
            },
            "stop",
            "cat",
            "A dog?",
        ),
    ],
)
def test_what_is_thought_is_no_answer(message: Any, finish: str, text: str, thought: str) -> None:
    tokens = {"content": [{"logprob": -0.1}]}
    body = choice(message=message, finish_reason=finish, logprobs=tokens)
    with serving(echo, faults=[lambda handler: handler.send(200, body)]) as server:
        (found,) = made(server).predict([asking()])
    assert (found.text, found.finish, found.extra) == (text, finish, {"thought": thought})
    assert found.logprob is None


def test_answers_that_were_cut_while_thinking_name_the_setting() -> None:
    hidden = choice(message={"content": ""}, finish_reason="length") | {
        "usage": {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 9}}
    }
    shown = choice(message={"content": None, "reasoning_content": "A"}, finish_reason="length")
    faults = [lambda handler, body=body: handler.send(200, body) for body in (hidden, shown)]
    with serving(echo, faults=faults) as server:
        said = notes(made(server), [asking("1"), asking("2")], 9)
    assert (
        "2 of 2 answers were cut at max_tokens=9 while thinking and contain no answer; raise evaluate.max_tokens"
        in said
    )
    assert "had no text;" not in said


def test_a_template_that_opens_the_block_leaves_cut_answers_without_any_tag() -> None:
    bodies = [
        choice(message={"content": "A dog? No.</think>cat"}),
        choice(message={"content": "Perhaps a"}, finish_reason="length"),
    ]
    faults = [lambda handler, body=body: handler.send(200, body) for body in bodies]
    with serving(echo, faults=faults) as server:
        said = made(server, num_concurrent=1).predict([asking("1"), asking("2")])
    assert [(one.text, one.extra["thought"]) for one in said] == [("cat", "A dog? No."), ("", "Perhaps a")]


def test_an_answer_may_speak_of_the_tag() -> None:
    texts = ["The first tag is <think>.", "<think>", "</think>", "Write <think>x</think>."]
    faults = [
        lambda handler, text=text: handler.send(200, choice(message={"content": text})) for text in texts
    ]
    with serving(echo, faults=faults) as server:
        said = made(server, num_concurrent=1).predict([asking(str(n)) for n in range(4)])
    assert [one.text for one in said] == texts
    assert not any(one.extra for one in said)


# A request ends in time, whatever part of the response is slow.


def dripping(first: bytes, drop: bytes) -> Any:
    """Sends the first bytes, then drops without end."""

    def fault(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(first)
        for _ in range(600):
            handler.wfile.write(drop)
            handler.wfile.flush()
            time.sleep(0.05)

    return fault


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x: 1\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (CHUNKED + b"1;ext=", b"a"),
        (CHUNKED + b"0\r\n", b"x: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" "),
        (b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps({"choices": []}).encode(), b" "),
    ],
)
def test_whatever_is_slow_in_a_response_ends_in_time(first: bytes, drop: bytes) -> None:
    with serving(echo, faults=[dripping(first, drop)]) as server:
        found = made(server, timeout=0.4, retries=0)
        start = time.monotonic()
        (said,) = found.predict([asking()])
        assert time.monotonic() - start < 10  # the server would go on for thirty seconds
        assert "no answer within 0.4 seconds" in said.extra["unanswered"]
        assert said.extra["may_pass"]
        assert made(server).predict([asking()])[0].text == "question 1?"


def test_after_a_slow_response_the_same_thread_asks_again() -> None:
    with serving(echo, faults=[dripping(b"HTTP/1.1 200 OK\r\n", b"x: 1\r\n")]) as server:
        found = made(server, timeout=1.5, retries=1, num_concurrent=1)
        assert [one.text for one in found.predict([asking("1"), asking("2")])] == [
            "question 1?",
            "question 2?",
        ]
    assert len(server.asked) == 3


# Log-probabilities that are none.


def told(*values: float) -> dict[str, Any]:
    return choice(logprobs={"content": [{"token": "a", "logprob": value} for value in values]})


@pytest.mark.parametrize(
    ("values", "logprob", "extra"),
    [
        ((1e-7,), 0.0, {}),
        ((1e-4,), 0.0, {}),
        ((-1.0, 1e-4), pytest.approx(-0.49995), {}),
        ((0.5,), None, {"impossible": 0.5}),
        ((-9.0, 0.5), None, {"impossible": 0.5}),
        ((500.0, -1.0), None, {"impossible": 500.0}),
    ],
)
def test_a_log_probability_above_0_is_rounding_or_is_not_used(
    values: tuple[float, ...], logprob: Any, extra: dict[str, Any]
) -> None:
    with serving(echo, faults=[lambda handler: handler.send(200, told(*values))]) as server:
        (found,) = made(server).predict([asking()])
    assert (found.text, found.logprob, found.extra) == ("x", logprob, extra)


def test_impossible_log_probabilities_are_noted() -> None:
    with serving(echo, faults=[lambda handler: handler.send(200, told(0.5))]) as server:
        said = notes(made(server, num_concurrent=1), [asking("a"), asking("b")])
    assert "1 of 2 answers had invalid log-probabilities above 0" in said
    assert "'a'" in said
    assert "had no log-probabilities, so the model's confidence is" not in said


# The key is never shown, wherever the server repeats it.


def echoing(status: int, body: Any, headers: dict[str, str] | None = None) -> Any:
    return lambda handler: handler.send(status, body, headers)


SPLIT = KEY[:9] + "\u200b" + KEY[9:14] + "\n" + KEY[14:]
PLACES = {
    "no JSON": echoing(200, f"<p>{KEY}</p>".encode()),
    "a type": echoing(200, b"<p>", {"Content-Type": f"text/{KEY}"}),
    "no object": echoing(200, [KEY]),
    "a number": echoing(200, {"choices": [KEY]}),
    "a message": echoing(200, {"choices": [{"message": KEY}]}),
    "a content": echoing(200, {"choices": [{"message": {"content": [{"key": KEY}]}}]}),
    "a name": echoing(200, {"choices": [{"message": {"content": [{KEY: 1}]}}]}),
    "an answer": echoing(200, choice(message={"content": f"your key is {KEY}."})),
    "a split answer": echoing(200, choice(message={"content": f"your key is {SPLIT}."})),
    "a finish": echoing(200, choice(finish_reason=KEY)),
    "a refusal": echoing(200, choice(message={"content": None, "refusal": KEY})),
    "a thought": echoing(200, choice(message={"content": "x", "reasoning_content": KEY})),
    "an error inside": echoing(200, {"error": {"message": KEY, "code": 400}}),
    "a refused prompt": echoing(400, {"error": {"message": f"bad key {KEY}"}}),
    "a field": echoing(422, {"detail": [{"loc": ["body", KEY], "msg": KEY}]}),
    "a failure": echoing(500, {"error": {"message": f"bad key {KEY}"}}),
    "a split failure": echoing(500, {"error": {"message": f"bad key {SPLIT}"}}),
    "a cut failure": echoing(500, f"bad key {KEY[:-4]}".encode()),
    "capitals": echoing(500, KEY.upper().encode()),
    "a long failure": echoing(500, ("x" * 290 + KEY).encode()),
    "a redirect": echoing(307, b"", {"Location": f"http://127.0.0.1/{KEY}/v1"}),
    "a redirected host": echoing(307, b"", {"Location": f"http://{KEY}.example/v1"}),
    "a status": lambda handler: handler.wfile.write(f"HTTP/1.1 2x0 {KEY}\r\n\r\n".encode()),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_repeated_key_is_not_shown(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(echo, faults=[PLACES[place]]) as server:
        found = made(server, retries=0)
        try:
            shown = str(found.predict([asking()]))
        except BackendError as error:
            shown = str(error)
    assert "secret" not in shown.lower()
    assert "***" in shown or place == "a long failure"


def test_a_repeated_key_is_not_shown_among_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with (
        serving(echo, models=(f"a-{KEY}", "b")) as server,
        pytest.raises(BackendError, match="2 models") as caught,
    ):
        made(server)
    assert "secret" not in str(caught.value)


def test_a_placeholder_for_a_key_may_be_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    faults = [echoing(200, choice(message={"content": "EMPTY"})), echoing(400, {"error": "bad key EMPTY"})]
    with serving(echo, faults=faults) as server:
        said = made(server, num_concurrent=1).predict([asking("1"), asking("2")])
    assert said[0].text == "EMPTY"
    assert "bad key ***" in said[1].extra["unanswered"]


@pytest.mark.parametrize(
    ("key", "text", "shown"),
    [
        ("", "nothing", "nothing"),
        ("abcdefghijklmnop", "x abcdefghijklmnop y", "x *** y"),
        ("abcdefghijklmnop", "abcdefghijklmnop abcdefghijklmnop", "*** ***"),
        ("abcdefghijklmnop", "cdefghijklmn", "***"),
        ("abcdefghijklmnop", "cdefghijklm", "cdefghijklm"),
        ("abcdefghijklmnop", "a\u200bb c\td\u00ade fghijklmnop!", "***!"),
        ("aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaa.", "***."),
        ("key", "the key", "the ***"),
    ],
)
def test_what_is_left_of_a_text_without_a_key(key: str, text: str, shown: str) -> None:
    assert words.Secret(key).removed(text) == shown
    assert key not in repr(words.Secret(key)) or not key


# One odd row.


def test_a_picture_that_cannot_be_read_costs_its_own_prompt(tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    torn = Medium(tmp_path / "torn.png", "torn")
    gone = Medium(tmp_path / "gone.png", "gone")
    samples = [asking("a", torn, "What?"), asking("b"), asking("c", gone, "What?")]
    with serving(echo) as server:
        found = made(server)
        said = found.predict(samples)
        noted = notes(found, samples)
    assert [one.text for one in said] == ["", "question b?", ""]
    assert "torn" in said[0].extra["unanswered"]
    assert "2 of 3 prompts got no answer; each counts as an empty answer" in noted
    assert {body["messages"][0]["content"] for body in server.asked} == {"question b?"}


def test_a_sample_without_a_prompt_costs_itself() -> None:
    empty = Sample(id="e", task="captioning", parts=(Part("assistant", "x", learn=True),))
    with serving(echo) as server:
        said = made(server).predict([empty, asking("b")])
    assert [one.text for one in said] == ["", "question b?"]
    assert "the prompt is empty" in said[0].extra["unanswered"]


def test_every_answer_is_told_as_it_comes_those_that_were_cut_too() -> None:
    told_of: dict[int, Prediction] = {}
    with serving(echo) as server:  # its answers are all cut
        found = made(server).predict([asking("1"), asking("2")], each=told_of.__setitem__)
    assert told_of == dict(enumerate(found))
    assert {one.finish for one in found} == {"length"}
