"""A new modality is a user's own module: it trains, packs, generates, is cached, controlled and exported, unknown to us."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from contracts.series import modality

import sightweave
from sightweave.core import config
from sightweave.core.errors import DataError, ExportError, MediaError, RecipeError
from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs.collate import bundle
from sightweave.data.inputs.processor import Processor
from sightweave.data.tasks.vqa import Record
from sightweave.models.vlm import VLM
from sightweave.programs.evaluation.controls import CONTROLS

SERIES = modality.__name__
PARTS = {SERIES: {"encoder": {"kind": "contracts.series.encoder", "dim": 8}, "connector": "linear"}}
ALONE = {"media": PARTS, "fusion": "concat", "language_model": tiny.MODEL["language_model"]}
BOTH = {**tiny.MODEL, "media": PARTS}


def series(number: int, folder: Path | None = None) -> tuple[Medium, str]:
    """Numbers that rise or fall, and which they do."""
    rng = np.random.default_rng(number)
    rises = number % 2 == 0
    slope = rng.uniform(0.2, 0.5) * (1 if rises else -1)
    length = int(rng.integers(5, 30))
    values = (slope * np.arange(length) + rng.uniform(-1, 1)).astype(np.float32)
    source: Any = values
    if folder is not None:
        source = folder / f"{number}.npy"
        np.save(source, values)
    return Medium(source, f"series-{number}", modality=SERIES), "it rises" if rises else "it falls"


def records(folder: Path | None = None, count: int = 80) -> list[Record]:
    found = []
    for number in range(count):
        medium, answer = series(number, folder)
        split = "train" if number < count * 3 // 4 else "test"
        found.append(Record(f"r{number}", (medium,), "which way ?", (answer,), split=split))
    return found


def recipe(model: Mapping[str, Any] = ALONE, **stage: Any) -> dict[str, Any]:
    return {
        "data": [],
        "model": dict(model),
        "inputs": {"vocab_size": 280},
        "evaluate": {"max_tokens": 6},
        "train": {
            "device": "cpu",
            "precision": "fp32",
            "stages": [{"steps": 2, **stage}],
        },
    }


def composed(model: Mapping[str, Any] = BOTH) -> tuple[VLM, Processor]:
    """Both without training, drawn from one seed."""
    read = sightweave.read_recipe(recipe(model))
    torch.manual_seed(0)
    tokenizer = read.build_tokenizer([])
    made = read.model.build(vocab_size=tokenizer.vocab_size).eval()
    return made, read.build_processor(tokenizer, made, ())


def asked(*content: str | Medium) -> Sample:
    parts = [Part("user", one) for one in content]
    return Sample("asked", "vqa", (*parts, Part("assistant", "it rises", learn=True)), ("it rises",))


IMAGE = Medium(tiny.PICTURE, "image")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that learnt from files of series, and nothing of images."""
    folder = tmp_path_factory.mktemp("series")
    rate = {"name": "adamw", "lr": 0.01}
    values = recipe(steps=150, optimizer=rate)
    return sightweave.train(values, data=records(folder), out=folder / "run", evaluate=False)


def test_it_trains_and_its_answers_come_from_the_series(trained: Any) -> None:
    (scores,) = sightweave.evaluate(trained, data=records(), splits=["test"])
    (task,) = scores.tasks
    assert task.score.value >= 0.9
    passes = {name: one.value for name, one in task.controls.items()}
    assert max(passes["no_image"], passes["shuffled_image"]) < 0.8
    assert passes["blank_image"] < 0.8


def test_it_answers_about_a_file(trained: Any, tmp_path: Path) -> None:
    for number in (100, 101):
        medium, expected = series(number, tmp_path)
        assert trained.generate(medium, "which way ?", max_tokens=6).text == expected


def test_a_run_with_it_loads_where_its_module_is_trusted(trained: Any) -> None:
    with pytest.raises(RecipeError, match=r"contracts.series.*--trust-run"):
        sightweave.load(trained.folder)
    loaded = sightweave.load(trained.folder, trust_run=True)
    medium, expected = series(100)
    assert loaded.generate(medium, "which way ?", max_tokens=6).text == expected


def test_a_processor_that_names_a_module_is_refused_without_trust(trained: Any) -> None:
    with pytest.raises(RecipeError, match=r"contracts.series.modality"):
        Processor.load(trained.folder / "checkpoint")


def test_several_modalities_in_one_prompt_are_numbered_in_order() -> None:
    model, processor = composed()
    (first, _), (second, _) = series(1), series(2)
    batch = processor.batch([asked(first, IMAGE, "and", second, "?"), asked(IMAGE, "what ?")], share=False)
    assert batch.media["image"].item.tolist() == [1, 3]
    assert batch.media[SERIES].item.tolist() == [0, 2]
    assert batch.media[SERIES].row.tolist() == [0, 0]

    # As many tokens as embeddings, of each medium, in the order of the text.
    with torch.no_grad():
        media = model.encoders.embed(batch.media)
    assert media is not None
    lengths = [-(-len(one.source) // 4) for one in (first, second)]  # type: ignore[arg-type]  # arrays
    image = processor.layout.tokens_per_image
    expected = [0] * lengths[0] + [1] * image + [2] * lengths[1] + [3] * image
    assert media.item.tolist() == expected
    assert batch.target is not None
    marks = batch.target.item.flatten()
    assert marks[marks >= 0].tolist() == expected


def test_media_of_two_modalities_may_have_one_key() -> None:
    model, processor = composed()
    series_1, image_1 = replace(series(1)[0], key="1"), replace(IMAGE, key="1")
    asked_of = [asked(series_1, "which ?"), asked(image_1, "which ?"), asked(image_1, series_1, "both ?")]
    with torch.no_grad():
        alone = torch.cat([model(processor.batch([one], share=False)).logits for one in asked_of])
        shared = model(processor.batch(asked_of)).logits
    torch.testing.assert_close(shared, alone, atol=1e-5, rtol=1e-4)
    assert [one.modality for one in processor.prompts(asked_of).media] == [SERIES, "image"]
    assert set(processor.media_batch(asked_of, words="captions").media) == {SERIES, "image"}


@pytest.mark.parametrize("fusion", ["concat", "cross_attention", "addition"])
def test_packing_and_padding_change_no_logit(fusion: str) -> None:
    model, processor = composed({**BOTH, "fusion": fusion})
    prompts = [asked(series(n)[0], "which ?") for n in range(4)]
    prompts += [asked(IMAGE, "and", series(7)[0], "?"), asked("none ?"), asked(series(3)[0], IMAGE, "both ?")]
    encoded = [processor.encode(one) for one in prompts]
    with torch.no_grad():
        alone = torch.cat([model(processor.batch([one], share=False)).logits for one in encoded])
        padded = model(processor.batch(encoded, share=False)).logits
        packed = model(processor.batch_rows([bundle(encoded, share=False)])).logits
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-4)


def test_the_wiring_is_proved() -> None:
    for model in (ALONE, BOTH):
        found = {one.name: one.finding for one in sightweave.check(recipe(model), data=records(count=4))}
        assert {one.state for one in found.values()} <= {"pass", "skip"}, found
        assert SERIES in found["images"].measured
        assert SERIES in found["counts"].measured


def test_frozen_features_are_cached_and_change_nothing(tmp_path: Path) -> None:
    parts = ["connector", "language_model"]
    plain = recipe(BOTH, steps=8, parts=parts)
    cached = recipe(BOTH, steps=8, parts=parts, cache_features=4)
    given = records(count=12)
    given += [
        Record("i", (IMAGE,), "what ?", ("a ramp",)),
        Record("b", (IMAGE, series(1)[0]), "both ?", ("yes",)),
    ]
    one = sightweave.train(plain, data=given, out=tmp_path / "one", evaluate=False)
    other = sightweave.train(cached, data=given, out=tmp_path / "other", evaluate=False)
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(other.model.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def test_an_embedding_is_remembered_for_the_next_prompt(trained: Any) -> None:
    counted = []
    encoder = trained.model.encoders.path(SERIES).encoder
    handle = encoder.register_forward_hook(lambda _, given, __: counted.append(len(given[0])))
    medium, expected = series(102)
    try:
        answers = trained.generate(medium, ["which way ?", "which way ?"], max_tokens=6)
    finally:
        handle.remove()
    assert [one.text for one in answers] == [expected] * 2
    assert sum(counted) == 1


def test_controls_keep_the_modality() -> None:
    samples = [replace(asked(IMAGE, series(n)[0], "?"), group=f"g{n}") for n in range(3)]
    other = replace(IMAGE, source=255 - tiny.PICTURE, key="other")
    samples[1] = replace(asked(other, series(1)[0], "?"), group="g1")
    for name in ("blank_image", "shuffled_image"):
        try:
            changed = CONTROLS[name](samples, 0)
        except DataError:  # two groups show the same image
            assert name == "shuffled_image"
            changed = CONTROLS[name](samples[:2], 0)
        for number, sample in changed.items():
            assert [one.modality for one in sample.media] == ["image", SERIES]
            keys = {one.key for one in samples[number].media}
            assert keys.isdisjoint(one.key for one in sample.media)
    blank = CONTROLS["blank_image"](samples, 0)[0].media[1].source
    assert isinstance(blank, np.ndarray)
    assert (len(blank), blank.any()) == (len(series(0)[0].source), False)  # type: ignore[arg-type]  # an array


def test_a_group_is_given_every_modality_that_any_of_its_samples_shows() -> None:
    other = replace(IMAGE, source=255 - tiny.PICTURE, key="other")
    third = replace(IMAGE, source=tiny.PICTURE[::-1].copy(), key="third")
    samples = [
        replace(asked(IMAGE, "?"), group="a"),
        replace(asked(IMAGE, series(0)[0], "?"), group="a"),
        replace(asked(other, "?"), group="b"),
        replace(asked(third, series(1)[0], "?"), group="c"),
    ]
    changed = CONTROLS["shuffled_image"](samples, 0)
    assert [one.key for one in changed[1].media] == ["third", "series-1"]
    with pytest.raises(DataError, match="no other image for group 'a'"):
        CONTROLS["shuffled_image"](samples[:3], 0)


def test_it_is_exported_as_custom_code(trained: Any, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    exported = sightweave.export(trained, to="custom_code", out=tmp_path / "out", data=records(), samples=3)
    assert len(exported.compared) == 3
    assert max(one.share for one in exported.compared) < 1e-4
    assert all(one.ours == one.theirs for one in exported.compared)


def test_formats_for_images_alone_refuse_it(trained: Any, tmp_path: Path) -> None:
    for name in ("transformers", "onnx"):
        with pytest.raises(ExportError, match=r"reads contracts\.series\.modality, but .* images only"):
            sightweave.export(trained, to=name, out=tmp_path / name)


def test_a_model_without_it_says_what_it_reads() -> None:
    _, processor = composed(tiny.MODEL)
    with pytest.raises(
        DataError, match=r"modality 'contracts\.series\.modality', but this model reads image;"
    ):
        processor.encode(asked(series(1)[0], "?"))


def test_a_file_that_cannot_be_read_is_left_out_by_name(tmp_path: Path, caplog: Any) -> None:
    given = records(tmp_path, count=12)
    (tmp_path / "3.npy").write_bytes(b"no numbers")
    with caplog.at_level(logging.WARNING):
        run = sightweave.train(recipe(steps=4), data=given, out=tmp_path / "run", evaluate=False)
    assert "3.npy" in caplog.text
    with pytest.raises(MediaError, match=r"3\.npy"):
        run.generate(Medium(tmp_path / "3.npy", "3", modality=SERIES), "which way ?")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {**ALONE, "media": {}}}, r"encoder: missing"),
        ({"model": {**tiny.MODEL, "encoder": None, "connector": None}}, r"encoder: needs a kind"),
        ({"model": {**ALONE, "media": {"image": PARTS[SERIES]}}}, r"images do not belong in model.media"),
        ({"model": {**ALONE, "media": {"vidoe": PARTS[SERIES]}}}, r"no media kind 'vidoe'"),
        ({"inputs": {"media": {SERIES: {"longst": 3}}}}, r"longst: unknown key .*longest"),
        ({"model": tiny.MODEL, "inputs": {"media": {SERIES: {}}}}, r"not in model\.media"),
        ({"model": {**ALONE, "media": {SERIES: {**PARTS[SERIES], "connector": {"kind": "pool", "side": 1}}}}}, r"any size"),
    ],
)  # fmt: skip
def test_mistakes_are_said_with_their_place(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        sightweave.read_recipe(recipe() | change).check()


def test_settings_reach_the_loader_and_come_back() -> None:
    values = recipe(BOTH)
    values["inputs"]["media"] = {SERIES: {"longest": 9}}
    read = sightweave.read_recipe(values)
    assert config.build(type(read), read.to_plain()) == read
    tokenizer = read.build_tokenizer([])
    processor = read.build_processor(tokenizer, read.model.build(vocab_size=tokenizer.vocab_size), ())
    assert processor.loaders[SERIES].size(series(4)[0]) == (9,)
    assert processor.to_plain()["media"] == {SERIES: {"kind": SERIES, "longest": 9}}
