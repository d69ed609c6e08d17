"""What lmms-eval asks is answered as the run itself answers it; ``tests/foreign`` does the same with the real one."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any

import pytest
from PIL import Image

from sightweave.core.errors import BackendError
from sightweave.harnesses.lmms_eval import Wanted, generate, losses, manifest, read_options, simple_sample
from sightweave.run import Run

QUESTION = "What colour is it?"
is_missing = importlib.util.find_spec("lmms_eval") is None
GREEDY = (("kind", "greedy"),)


@pytest.mark.parametrize(
    ("options", "wanted", "unknown"),
    [
        ({}, Wanted(0, (), GREEDY), set()),
        ({"max_new_tokens": 16, "temperature": 0, "do_sample": False}, Wanted(16, (), GREEDY), set()),
        ({"until": "\n\n", "num_beams": 1, "top_p": None}, Wanted(0, ("\n\n",), GREEDY), set()),
        ({"until": ["", "A:"], "top_p": 0.9}, Wanted(0, ("A:",), GREEDY), set()),
        ({"num_beams": 3}, Wanted(0, (), (("kind", "beam"), ("num_beams", 3))), set()),
        (
            {"temperature": 0.5, "top_p": 0.9, "top_k": 0},
            Wanted(0, (), (("kind", "sampling"), ("temperature", 0.5), ("top_p", 0.9))),
            set(),
        ),
        ({"do_sample": True}, Wanted(0, (), (("kind", "sampling"), ("temperature", 1.0))), set()),
        ({"do_sample": True, "temperature": 0}, Wanted(0, (), GREEDY), set()),
        ({"do_sample": False, "temperature": 0.7}, Wanted(0, (), GREEDY), set()),
        (
            {"temperature": 1, "num_beams": 2, "image_aspect_ratio": "pad"},
            Wanted(0, (), (("kind", "sampling"), ("temperature", 1))),
            {"num_beams", "image_aspect_ratio"},
        ),
    ],
)
def test_options(options: dict[str, Any], wanted: Wanted, unknown: set[str]) -> None:
    assert read_options(options) == (wanted, unknown)


def test_answers_come_in_order_whatever_their_options(
    run: Run, pictures: dict[str, Image.Image], caplog: pytest.LogCaptureFixture
) -> None:
    asked = [
        ("blue", "Twice?", {"max_new_tokens": 12}, "blue\nblue"),
        ("red", QUESTION, {"max_new_tokens": 12, "num_beams": 2}, "red"),
        ("green", "Twice?", {"max_new_tokens": 12, "until": ["\n"]}, "green"),
        ("red", "Twice?", {"max_new_tokens": 12}, "red\nred"),
        ("blue", "Twice?", {"max_new_tokens": 12, "until": ["nothing", "ue"]}, "bl"),
    ]
    samples = [
        simple_sample(text, [pictures[name]], where=str(n)) for n, (name, text, _, _) in enumerate(asked)
    ]
    texts = generate(run, samples, [options for _, _, options, _ in asked], max_tokens=64)
    assert texts == [answer for _, _, _, answer in asked]
    assert not caplog.records


def test_an_answer_has_no_more_tokens_than_the_task_asks(run: Run, pictures: dict[str, Image.Image]) -> None:
    sample = simple_sample("Twice?", [pictures["green"]], where="a")
    (whole, cut) = generate(run, [sample] * 2, [{}, {"max_new_tokens": 1}], max_tokens=64)
    assert whole == "green\ngreen"
    assert cut == run.predict([sample], max_tokens=1)[0].text != whole


def test_what_is_not_kept_is_told_once(
    run: Run, pictures: dict[str, Image.Image], caplog: pytest.LogCaptureFixture
) -> None:
    sample = simple_sample("Twice?", [pictures["red"]], where="a")
    options = [
        {"max_new_tokens": 64, "repetition_penalty": 1.2},
        {"max_new_tokens": 64, "image_aspect_ratio": "pad"},
        {"max_new_tokens": 1},
        {},
    ]
    with caplog.at_level(logging.WARNING):
        generate(run, [sample] * 4, options, max_tokens=2)
    unknown, cut = [record.getMessage() for record in caplog.records]
    assert (
        "does not support image_aspect_ratio, repetition_penalty and ignores it; supported: max_new"
        in unknown
    )
    assert "3 of 4 answers were cut after 2 tokens, a limit that their tasks do not set" in cut


def test_likelihoods_are_losses_and_know_what_is_greedy(run: Run, pictures: dict[str, Image.Image]) -> None:
    options = ["red", " green", "blue"]
    samples = [
        simple_sample(QUESTION, [picture], where=name) for name, picture in pictures.items() for _ in options
    ]
    # The choices of one row share its sample, as the adapter does it; the last row's do not.
    shared = [samples[0]] * 3 + [samples[3]] * 3 + samples[6:]
    found = losses(run, shared, options * 3)
    (direct,) = run.predict([samples[0]], texts=[["red", "green", "blue"]], max_tokens=0)
    assert [loss for loss, _ in found[:3]] == pytest.approx(
        [-one.logprob for one in direct.likelihoods], abs=1e-4
    )
    for row, name in enumerate(pictures):
        three = found[3 * row : 3 * row + 3]
        # lmms-eval takes the smallest.
        assert min(range(3), key=lambda i: three[i][0]) == row
        assert [greedy for _, greedy in three] == [option.strip() == name for option in options]
        assert all(loss > 0 for loss, _ in three)
    assert losses(run, samples[:1], ["red\nred"])[0][1] is False


@pytest.mark.skipif(not is_missing, reason="lmms-eval is here")
def test_without_lmms_eval_it_says_so() -> None:
    module = importlib.import_module("sightweave.harnesses.lmms_eval")
    with pytest.raises(
        BackendError,
        match=r"lmms-eval cannot be imported here .*install it in the same environment: pip install lmms-eval\.",
    ):
        manifest()
    for name in ("Chat", "Simple"):
        with pytest.raises(BackendError, match="lmms-eval cannot be imported here"):
            getattr(module, name)
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = module.Other
