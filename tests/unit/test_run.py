"""A run answers, saves itself whole, and loads back the same."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import pickle
from html import escape
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image

from sightweave import api
from sightweave import run as runs
from sightweave.core.errors import CheckpointError, DataError, MediaError, RecipeError
from sightweave.core.types import Medium
from sightweave.data.inputs import turbo


@pytest.fixture(scope="module")
def run() -> runs.Run:
    made = api.build(tiny.RECIPE, data=tiny.ROWS)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # at the start the blocks add nothing, so that no picture would matter
        for parameter in made.model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return made


def test_one_prompt_gives_one_answer_and_several_a_list(run: runs.Run) -> None:
    one = run.generate(tiny.PICTURE, "What is it?", max_tokens=5)
    first, second = run.generate(tiny.PICTURE, ["What is it?", "Where?"], max_tokens=5)
    assert one.text == first.text
    assert one.logprob == pytest.approx(first.logprob, abs=1e-5)
    assert 1 <= second.tokens <= 5
    assert one.logprob < 0


def test_an_answer_ends_in_front_of_a_stop_text(run: runs.Run) -> None:
    drawn: dict[str, Any] = {
        "decoding": {"kind": "sampling", "temperature": 2.0},
        "max_tokens": 12,
        "seed": 1,
    }
    prompts = ["What is it?", "Where?"]
    whole = run.generate(tiny.PICTURE, prompts, **drawn)
    stop = [whole[0].text[2:4], whole[1].text[3]]
    found = run.generate(tiny.PICTURE, prompts, stop=stop, **drawn)
    assert [one.finish for one in found] == ["stop", "stop"]
    for one, before, prompt in zip(found, whole, prompts, strict=True):
        assert before.text.startswith(one.text)
        assert not any(text in one.text for text in stop)
        assert "".join(run.stream(tiny.PICTURE, prompt, stop=stop, **drawn)) == one.text
    assert (
        run.generate(tiny.PICTURE, "Where?", stop=stop[1], **drawn).text
        == whole[1].text.partition(stop[1])[0]
    )
    with pytest.raises(RecipeError, match="every stop text needs at least one character"):
        run.generate(tiny.PICTURE, "Where?", stop="", **drawn)


def test_a_picture_may_be_a_path_bytes_an_array_or_pillow(run: runs.Run, tmp_path: Path) -> None:
    Image.fromarray(tiny.PICTURE).save(tmp_path / "a.png")
    stream = io.BytesIO()
    Image.fromarray(tiny.PICTURE).save(stream, "PNG")
    forms: list[Any] = [
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        stream.getvalue(),
        Image.fromarray(tiny.PICTURE),
        Medium(tiny.PICTURE, key="mine"),
        [tiny.PICTURE],
    ]
    expected = run.generate(tiny.PICTURE, "What?", max_tokens=4)
    for form in forms:
        assert run.generate(form, "What?", max_tokens=4) == expected
    other = run.generate(255 - tiny.PICTURE, "What?", max_tokens=4)
    assert other.logprob != expected.logprob
    assert run.generate(None, "What?", max_tokens=4).logprob != expected.logprob


def test_a_stream_joins_to_the_answer(run: runs.Run) -> None:
    pieces = list(run.stream(tiny.PICTURE, "What?", max_tokens=6))
    assert "".join(pieces) == run.generate(tiny.PICTURE, "What?", max_tokens=6).text


def test_caption_and_translate_use_the_recipes_own_words(run: runs.Run) -> None:
    caption = run.generate(tiny.PICTURE, "Describe the image.", max_tokens=4)
    assert run.caption(tiny.PICTURE, max_tokens=4) == caption
    asked = run.recipe.task("translation").build().prompt("The sky.", "de")
    assert "German" in asked
    assert run.translate(tiny.PICTURE, "The sky.", to="de", max_tokens=4) == run.generate(
        tiny.PICTURE, asked, max_tokens=4
    )


@pytest.mark.parametrize("prompt", ["", " \n", ["What is it?", ""]])
def test_an_empty_question_is_an_error(run: runs.Run, prompt: str | list[str]) -> None:
    with pytest.raises(DataError, match="the question is empty"):
        run.generate(tiny.PICTURE, prompt)
    if isinstance(prompt, str):
        with pytest.raises(DataError, match="the question is empty"):
            run.stream(tiny.PICTURE, prompt)
        with pytest.raises(DataError, match="the text is empty"):
            run.translate(tiny.PICTURE, prompt, to="de")


def test_a_recipe_may_ask_for_captions_without_a_word() -> None:
    silent = api.build(tiny.RECIPE | {"tasks": {"captioning": {"instruction": ""}}}, data=tiny.ROWS)
    assert isinstance(silent.caption(tiny.PICTURE, max_tokens=1).text, str)


def test_only_languages_that_were_learnt_are_translated_into(run: runs.Run) -> None:
    known = dataclasses.replace(run, languages=frozenset({"en-de", "en-zh", "de-fr"}))
    for code in ("de", "German", "zh", "fr"):
        known.translate(tiny.PICTURE, "A ramp.", to=code, max_tokens=1)
    with pytest.raises(
        DataError, match=r"was not trained to translate into 'en'\. It was trained on: de, fr, zh\."
    ):
        known.translate(tiny.PICTURE, "Eine Rampe.", to="en")
    with pytest.raises(DataError, match=r"translate: this run was not trained on translation \(asked"):
        dataclasses.replace(run, languages=frozenset()).translate(tiny.PICTURE, "A ramp.", to="de")
    # Of earlier versions, and of parts that came with languages of their own, it is not known.
    for facts in ({}, {"languages": None}):
        assert runs.languages_of(facts) is None
    assert runs.languages_of({"languages": ["en-de"]}) == {"en-de"}
    assert runs.languages_of({"languages": []}) == frozenset()


def test_an_untrained_run_says_so_once_and_a_trained_one_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    untrained = api.build(tiny.RECIPE, data=tiny.ROWS)
    untrained.generate(tiny.PICTURE, "What is it?", max_tokens=1)
    list(untrained.stream(tiny.PICTURE, "What is it?", max_tokens=1))
    assert [
        record.message.count("the model is untrained, so its answers are meaningless;")
        for record in caplog.records
    ] == [1]
    caplog.clear()

    untrained.save(tmp_path / "untrained")
    api.load(tmp_path / "untrained").generate(tiny.PICTURE, "What is it?", max_tokens=1)
    assert [
        record.message.count("the model is untrained, so its answers are meaningless;")
        for record in caplog.records
    ] == [1]
    caplog.clear()

    by_hand = api.build(tiny.RECIPE, data=tiny.ROWS)
    with torch.no_grad():
        next(by_hand.model.parameters()).add_(0.01)
    by_hand.generate(tiny.PICTURE, "What is it?", max_tokens=1)
    by_hand.save(tmp_path / "by-hand")
    api.load(tmp_path / "by-hand").generate(tiny.PICTURE, "What is it?", max_tokens=1)
    assert not caplog.records


def test_wrong_options_are_refused(run: runs.Run) -> None:
    with pytest.raises(RecipeError, match=r"Did you mean 'greedy'\?"):
        run.generate(tiny.PICTURE, "What?", decoding="gredy")
    with pytest.raises(
        RecipeError, match=r"generate: 1 mistake\(s\)\n  max_tokens: .*greater than or equal to 0 \(got -1\)"
    ):
        run.generate(tiny.PICTURE, "What?", max_tokens=-1)


def test_a_saved_run_loads_equal_and_answers_the_same(run: runs.Run, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    for place in (tmp_path / "run", tmp_path / "run" / "checkpoint"):
        again = runs.load(place, device="cpu")
        assert again.recipe == run.recipe
        assert again.processor.layout == run.processor.layout
        own, there = run.model.state_dict(), again.model.state_dict()
        assert own.keys() == there.keys()
        assert all(torch.equal(own[name], there[name]) for name in own)
        ours = run.generate(tiny.PICTURE, "What?", max_tokens=5)
        theirs = again.generate(tiny.PICTURE, "What?", max_tokens=5)
        assert (theirs.text, theirs.ids) == (ours.text, ours.ids)
        # A run that wrote a long text before reads its weights in another order, which rounds differently.
        assert theirs.logprob == pytest.approx(ours.logprob, abs=1e-5)


def test_a_processor_of_another_model_is_refused(run: runs.Run, tmp_path: Path) -> None:
    other = api.build(tiny.RECIPE, "model.connector={kind: pool, side: 2}", data=tiny.ROWS)
    runs.Run(run.model, other.processor, run.recipe).save(tmp_path / "mixed")
    with pytest.raises(CheckpointError, match=r"the processor's layout .*tokens=4.*, but the model's is"):
        runs.load(tmp_path / "mixed")


def test_no_run_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: folder not found"):
        runs.load(tmp_path / "nowhere")


def test_facts_are_added_to_the_runs_own(tmp_path: Path) -> None:
    runs.record(tmp_path, {"seed": 1})
    runs.record(tmp_path, {"seed": 2, "steps": 5})
    known = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert known == {"format_version": 1, "seed": 2, "steps": 5}
    facts = runs.facts(torch.device("cpu"))
    assert facts["versions"]["torch"]
    assert facts["processor"]
    assert facts["versions"].get("simplejpeg") == turbo.version()


def test_a_reader_is_shown_what_training_saw_apart_from_what_there_was() -> None:
    known = {
        "seed": 1,
        "pictures_in_data": 1_000_000,
        "steps": 3,
        "steps_planned": 8,
        "pictures_shown": 24,
        "distinct_pictures_shown": 23,
        "samples_shown": 70,
        runs.ASKED_MODEL: {"encoder": "google/x"},
    }
    assert runs.shown_facts(known) == {
        "training images": {"shown": 24, "distinct": 23, "in the data": 1_000_000},
        "training samples shown": 70,
        "steps": {"done": 3, "planned": 8},
        "seed": 1,
    }


def test_runs_of_earlier_versions_are_shown_as_far_as_they_knew() -> None:
    earlier = {"format_version": 1, "pictures": 1_000_000, "steps": 5, "seed": 0}
    shown = runs.shown_facts(earlier)
    assert shown == {
        "training images": {"in the data": 1_000_000},
        "steps": 5,
        "format_version": 1,
        "seed": 0,
    }
    assert runs.shown_facts({}) == {}


def test_each_verb_takes_a_picture_in_every_form_and_fetches_nothing(run: runs.Run, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(tiny.PICTURE).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    Image.fromarray(tiny.PICTURE).save(tmp_path / "a.png")
    verbs = {
        "generate": lambda image: run.generate(image, "What?", max_tokens=3).text,
        "caption": lambda image: run.caption(image, max_tokens=3).text,
        "translate": lambda image: run.translate(image, "The sky.", to="de", max_tokens=3).text,
        "stream": lambda image: "".join(run.stream(image, "What?", max_tokens=3)),
    }
    forms = (text, f"data:image/png;base64,{text}", (tmp_path / "a.png").as_uri(), file.getvalue())
    for name, verb in verbs.items():
        expected = verb(tiny.PICTURE)
        for form in forms:
            assert verb(form) == expected, name
            assert verb([form]) == expected, name
        for address in ("https://example.com/a.png", Path("http://example.com/a.png"), "s3://bucket/a.png"):
            for given in (address, [tiny.PICTURE, address]):
                with pytest.raises(
                    MediaError, match=r": URLs are not fetched; save the image and give its path\."
                ):
                    verb(given)
    # Records as well.
    rows = [{"image": form, "question": "What?", "answer": "x"} for form in (tiny.PICTURE, *forms)]
    rows[3] |= {"image": str(tmp_path / "a.png")}
    logprobs = {round(row["logprob"], 4) for row in api.answer_all(run, rows, max_tokens=3)}
    assert len(logprobs) == 1
    with pytest.raises(DataError, match=r": URLs are not fetched; save the image and give its path\."):
        api.answer_all(run, [rows[0] | {"image": "https://example.com/a.png"}])


def test_an_answer_is_short_in_a_shell_and_shows_its_picture_in_a_notebook(
    run: runs.Run, tmp_path: Path
) -> None:
    Image.fromarray(tiny.PICTURE).save(tmp_path / "a.png")
    for image in (tiny.PICTURE, tmp_path / "a.png", Image.fromarray(tiny.PICTURE)):
        answer = run.generate(image, "What <b>is</b> it?", max_tokens=4)
        assert repr(answer).startswith(f"Prediction({answer.text!r}, logprob=")
        assert "\n" not in repr(answer)
        html = answer._repr_html_()
        assert html.count("<img") == html.count("data:image/png;base64,") == 1
        assert "What &lt;b&gt;is&lt;/b&gt; it?" in html
        assert escape(answer.text) in html
        again = pickle.loads(pickle.dumps(answer))  # processes that are spawned send answers back
        assert again == answer
        assert again._repr_html_() == html
    assert "<img" not in run.generate(None, "What?", max_tokens=4)._repr_html_()
    both = run.generate(tiny.PICTURE, ["What?", "Where?"], max_tokens=4)
    assert both._repr_html_().count("<img") == 2
    assert "finish='length'" in repr(dataclasses.replace(both[0], finish="length"))


def test_a_run_is_short_in_a_shell(run: runs.Run) -> None:
    alone = dataclasses.replace(run, folder=None)
    assert repr(alone) == "Run('in memory', cnn > linear > concat > decoder_only, 0.01 M parameters)"
    assert "cnn &gt; linear &gt; concat" in alone._repr_html_()
    stopped = dataclasses.replace(run, unfinished="training is unfinished")
    assert "training is unfinished" in repr(stopped)
