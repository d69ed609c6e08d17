"""An endpoint against a real server on this machine: what is asked, what is understood, and every fault."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from typing import Any

import numpy as np
import pytest
from _endpoint_server import Handler, Server, response, serving
from PIL import Image

from sightweave.core import config as configs
from sightweave.core.errors import BackendError, DataError, RecipeError
from sightweave.core.types import Medium, Part, Prediction, Sample
from sightweave.programs.predictors import endpoint

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
    with serving(echo) as server, pytest.raises(DataError, match="audio 'bell': only pictures can be sent"):
        made(server).predict([asking("1", Medium(b"RIFF", "bell", "audio"))])
    assert not server.asked


def test_answers_keep_their_order_while_several_are_asked_at_once() -> None:
    def slow_first(sample: Sample, max_tokens: int) -> Prediction:
        time.sleep(0.2 if "question 0?" in sample.prompt else 0.02)
        return echo(sample, max_tokens)

    told: list[int] = []
    with serving(slow_first) as server:
        samples = [asking(str(n)) for n in range(12)]
        found = made(server, at_once=3).predict(samples, progress=told.append)
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
        with pytest.raises(BackendError, match=r"2 models \(a, b\); name the one"):
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
        same = made(server, model="a", at_once=1, timeout=3.0, retries=0)
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
        found = made(server, at_once=1).predict([asking("1"), asking("2")], max_tokens=5)
    assert [one.tokens for one in found] == [5, 5]
    assert len(server.asked) == 2 + len(refuses)
    assert kept in server.asked[-1]
    assert dropped not in server.asked[-1]
    assert found[0].logprob == (None if "logprobs" in refuses else -0.5)


def test_answers_without_log_probabilities_are_noted() -> None:
    with serving(echo, refuses=("logprobs",)) as server:
        found = made(server)
        assert found.notes == ()
        found.predict([asking("1"), asking("2")])
    assert "2 of 2 answers came without log-probabilities" in found.notes[0]


def test_texts_are_not_judged() -> None:
    with serving(echo) as server:
        found = made(server)
        assert not found.can_score
        with pytest.raises(BackendError, match="does not say how likely"):
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
    assert endpoint._retry_after(value) == seconds


def test_it_never_waits_longer_than_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_LONGEST_WAIT", 0.05)
    with serving(echo, faults=[status(503, {"Retry-After": "900"}), status(503)]) as server:
        assert made(server, wait=800).predict([asking()])[0].text == "question 1?"


# Faults that stay: each is one clear error.


def test_errors_to_the_end_say_how_often_it_was_asked() -> None:
    with serving(echo, faults=[status(500, said="out of memory")] * 9) as server:
        message = refusal(server)
    assert (
        f"{server.url}/chat/completions: sample 'q-7': status 500: out of memory; try again later" in message
    )
    assert "asked 3 time(s)" in message
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (400, "does not take such a request"),
        (401, "OPENAI_API_KEY is not set"),
        (403, "may not use this model"),
        (404, "check the model's name"),
        (418, "documentation"),
    ],
)
def test_what_asking_again_cannot_mend_fails_at_once(number: int, words: str) -> None:
    with serving(echo, faults=[status(number, said="no\nsuch " + "x" * 5000)]) as server:
        message = refusal(server)
    assert f"sample 'q-7': status {number}: no such xxx" in message
    assert words in message
    assert len(message) < 800
    assert len(server.asked) == 1


def test_a_wrong_key_is_said_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with serving(echo, key="another") as server:
        message = refusal(server, model="m", key_variable="MY_KEY")
        assert "status 401: Incorrect API key provided: ***" in message
        assert "check the key" in message
        server.key = KEY
        assert made(server, key_variable="MY_KEY").predict([asking()])
    assert server.requests[-1][1]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("value", ["sk-1\nX: y", "two words", "schl\u00fcssel"])
def test_a_key_that_cannot_be_one_is_not_shown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(BackendError, match="MY_KEY holds characters") as caught:
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
        return endpoint._key(endpoint._parsed(url), variable)

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
            assert f"status {number}: the server sends on to http://127.0.0.1/v1/chat/completions" in message
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
        message = refusal(server, timeout=0.3, retries=1)
        free.set()
    assert "no answer within 0.3 seconds" in message


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
        assert "no answer within 0.4 seconds" in refusal(server, timeout=0.4, retries=0)
        assert time.monotonic() - start < 4  # the server would go on for ten seconds


def test_a_body_without_end_is_not_read() -> None:
    def flood(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        for _ in range(1 << 20):
            handler.wfile.write(b"x" * (1 << 16))

    with serving(echo, faults=[flood]) as server:
        assert "bytes of response; this is no answer" in refusal(server)


def choice(**values: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": "x"}, "finish_reason": "stop", **values}]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><body>Welcome!</body></html>", "no JSON (application/json: <html><body>Welcome!"),
        (b"", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        ([1], "must be an object"),
        ({}, "holds no choices (got None)"),
        ({"choices": []}, "holds no choices"),
        ({"choices": ["x"]}, "holds no choices"),
        ({"choices": {"0": {}}}, "holds no choices"),
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
def test_a_response_that_is_none(body: Any, words: str) -> None:
    with serving(echo, faults=[lambda handler: handler.send(200, body)]) as server:
        message = refusal(server)
    assert words in message
    assert "sample 'q-7'" in message
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("body", "prediction"),
    [
        (choice(), Prediction("x")),
        (choice(finish_reason="length"), Prediction("x", finish="length")),
        (choice(finish_reason=None), Prediction("x")),
        (choice(finish_reason="content_filter"), Prediction("x", extra={"finish_reason": "content_filter"})),
        (choice(message={"content": None, "refusal": "no"}), Prediction("")),
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
        found = made(server)
        found.predict([asking(str(n)) for n in range(3)])
    notes = " ".join(found.notes)
    assert "1 of 3 answers held no text" in notes
    assert "2 of 3 answers came without log-probabilities" in notes
    assert "1 of 3 answers were ended by the server" in notes


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.org/v1", "starts with http"),
        ("http://", "starts with http"),
        ("localhost:8000", "starts with http"),
        ("http://me:secret-word@example.org/v1", "http://example.org... holds more than host and path"),
        ("https://example.org:8443/v1?key=secret-word", "https://example.org:8443... holds more"),
        ("https://example.org/v1#secret-word", "holds more"),
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
            made(server, at_once=4).predict([asking(str(n)) for n in range(8)])
        assert time.monotonic() - start < 10
        free.set()
    assert len(server.asked) <= 4
