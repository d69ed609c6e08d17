"""Runs, processors, tokenizers, models and data sets are pickled and copied for other processes, and stay what they are."""

from __future__ import annotations

import contextlib
import copy
import importlib
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from contracts._compose import CASES, Case, compose, logits_of, samples
from contracts._folders import installed

import sightweave
from sightweave import api
from sightweave import run as runs
from sightweave.core import catalog
from sightweave.core.errors import DataError
from sightweave.data.inputs import image_files
from sightweave.data.inputs.cache import PixelCache
from sightweave.data.inputs.tokenizer import FRAMED, Template, Tokenizer
from sightweave.data.reading.dataset import texts_of

QUESTIONS = [f"What is it{'?' * number}" for number in range(1, 9)]
ON_DISK = [kind for kind in catalog.kinds("data.datasets") if kind not in ("own", "scenes")]


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


COPIES = pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])
Copy = Callable[[Any], Any]


@pytest.fixture(scope="module")
def run() -> runs.Run:
    made = api.build(tiny.RECIPE, data=tiny.ROWS)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # at the start the blocks add nothing, so that no picture would matter
        for parameter in made.model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return made


def said(run: runs.Run, question: str) -> tuple[str, float]:
    answer = run.generate(tiny.PICTURE, question, max_tokens=6)
    return answer.text, round(answer.logprob, 4)


@COPIES
@pytest.mark.parametrize("template", [Template(), FRAMED])
def test_no_text_is_special_to_a_copy_of_a_tokenizer(copied: Copy, template: Template) -> None:
    tokenizer = Tokenizer.train(["a ball", "a box"], 300, template=template)
    special = [template.image, template.end, template.pad]
    texts = [*special, *(f"a ball{mark}{mark} a box" for mark in special), "a ball", "\u4eba \U0001f600"]
    expected = [tokenizer.encode(text) for text in texts]
    again = copied(tokenizer)
    assert [again.encode(text) for text in texts] == expected
    assert not {tokenizer.image_id, tokenizer.end_id, tokenizer.pad_id} & {
        one for ids in expected for one in ids
    }
    assert [again.decode(ids) for ids in expected] == texts
    assert (again.vocab_size, again.template, again.start_ids) == (
        tokenizer.vocab_size,
        template,
        tokenizer.start_ids,
    )
    copied(again).encode(template.image)  # a copy of a copy too
    assert copied(again).encode(template.image) == expected[0]


@COPIES
def test_a_copy_of_a_run_answers_the_same(run: runs.Run, copied: Copy) -> None:
    expected = said(run, "What is it?")
    again = copied(run)
    assert said(again, "What is it?") == expected
    assert again.fingerprint() == run.fingerprint()
    assert again.recipe == run.recipe


@COPIES
def test_a_copy_of_a_run_as_it_is_evaluated_answers_the_same(run: runs.Run, copied: Copy) -> None:
    predictor = run.predictor()
    asked = samples()[:2]
    expected = predictor.predict(asked, max_tokens=4)
    assert [one.text for one in copied(predictor).predict(asked, max_tokens=4)] == [
        one.text for one in expected
    ]


@COPIES
def test_a_copy_of_a_processor_makes_equal_batches_with_and_without_a_cache(
    run: runs.Run, copied: Copy, tmp_path: Path
) -> None:
    asked = samples()
    run.processor.write_cache(asked, tmp_path / "cache")
    cached = type(run.processor)(
        *(getattr(run.processor, name) for name in ("tokenizer", "transform", "layout")),
        cache=PixelCache.open(tmp_path / "cache"),
    )
    for processor in (run.processor, cached):
        ours, theirs = processor.batch(asked), copied(processor).batch(asked)
        assert ours.target is not None
        assert theirs.target is not None
        assert torch.equal(ours.target.ids, theirs.target.ids)
        assert torch.equal(ours.media["image"].dense, theirs.media["image"].dense)
    assert copied(cached).cache is not None


@pytest.mark.parametrize("encoder", installed("models.encoders"))
def test_a_copy_of_every_encoder_computes_the_same(encoder: str) -> None:
    check_model(Case("concat", (), "decoder_only"), encoder)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_copy_of_every_composition_computes_the_same(case: Case) -> None:
    check_model(case, "cnn")


def check_model(case: Case, encoder: str) -> None:
    model, processor = compose(case, encoder=encoder)
    model.eval()
    one = samples()[0]
    expected = logits_of(model, processor, one)
    for copied in (pickled, copy.deepcopy):
        assert torch.equal(logits_of(copied(model), copied(processor), one), expected)


def contents(dataset: Any) -> list[Any]:
    """All that a data set says, with what its pictures hold."""
    return [
        [
            (record.id, list(texts_of(record)), [image_files.digest(one) for one in record.images])
            for record in group
        ]
        for group in dataset
    ]


@COPIES
@pytest.mark.parametrize("kind", ON_DISK)
def test_a_copy_of_every_data_set_on_disk_is_equal(kind: str, copied: Copy, tmp_path: Path) -> None:
    path = importlib.import_module(f"data_sets.{kind}").write(tmp_path / "data")
    source = api.source({"kind": kind, "path": str(path), "labelled": kind != "images"})
    for dataset in readable(source):
        expected = contents(dataset)
        assert expected
        again = copied(dataset)
        assert (contents(again), again.fingerprint) == (expected, dataset.fingerprint)
        assert contents(copied(again)) == expected


def readable(source: Any) -> list[Any]:
    """The parts of a source with anything in them: some hold a test alone."""
    found = []
    for split in source.splits:
        with contextlib.suppress(DataError):
            found.append(source.build(split=split))
    found = [one for one in found if len(one)]
    assert found
    return found


@COPIES
@pytest.mark.parametrize("data", ["scenes", {"kind": "scenes", "style": "drawn", "size": 3}])
def test_a_copy_of_a_drawn_data_set_is_equal(data: Any, copied: Copy) -> None:
    dataset = api.source(data).build(split="train")
    again = copied(dataset)
    assert len(again) == len(dataset)
    assert contents([again[0], again[1]]) == contents([dataset[0], dataset[1]])


@COPIES
def test_a_picture_that_came_inside_a_row_is_copied_alone(copied: Copy, tmp_path: Path) -> None:
    path = importlib.import_module("data_sets.parquet").write(tmp_path / "data")
    dataset = api.source(path).build(split="train")
    record = dataset[0][0]
    assert image_files.digest(copied(record).images[0]) == image_files.digest(record.images[0])
    assert len(pickle.dumps(record)) < len(record.images[0].source()) + 4096
    assert len(pickle.dumps(dataset)) > 2 * len(pickle.dumps(record))


def answered(job: tuple[runs.Run, Any, str]) -> tuple[tuple[str, float], int]:
    run, dataset, question = job
    torch.set_num_threads(1)
    return said(run, question), len(list(dataset))


def test_a_run_and_its_data_work_in_a_process_that_was_spawned(run: runs.Run, tmp_path: Path) -> None:
    path = importlib.import_module("data_sets.llava").write(tmp_path / "data")
    dataset = api.source(path).build(split="train")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.map(answered, [(run, dataset, QUESTIONS[0])])
    assert found == (said(run, QUESTIONS[0]), len(dataset))


def test_eight_threads_ask_one_run_at_the_same_time(run: runs.Run) -> None:
    expected = [said(run, question) for question in QUESTIONS]
    assert len(set(expected)) > 1
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda question: said(run, question), QUESTIONS)) == expected
        streams = list(pool.map(lambda q: "".join(run.stream(tiny.PICTURE, q, max_tokens=6)), QUESTIONS))
    assert streams == [text for text, _ in expected]
    assert not run.model.training


def test_a_trained_run_is_copied_too(tmp_path: Path) -> None:
    trained = sightweave.train(tiny.RECIPE, data=tiny.ROWS, out=tmp_path / "run", evaluate=False)
    expected = said(trained, "What is it?")
    assert said(pickled(trained), "What is it?") == expected
    assert said(pickled(sightweave.load(tmp_path / "run")), "What is it?") == expected
