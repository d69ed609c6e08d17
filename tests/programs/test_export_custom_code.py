"""Any composition in a folder with code of its own: Transformers' auto classes open it, and so does `sightweave.load`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts import _folders
from contracts._compose import ADAPTED, CASES, Case, small
from parity._adapted import ENCODERS
from PIL import Image
from programs.test_export import card_example, picture, samples
from safetensors.torch import load_file, save_file

import sightweave
from sightweave.core import config
from sightweave.core.errors import CheckpointError, ExportError
from sightweave.models.loss import training_loss
from sightweave.programs.checks._base import nudge
from sightweave.programs.exports import custom_code
from sightweave.programs.exports._card import card
from sightweave.programs.exports._layout import Source

pytest.importorskip("transformers")
import transformers

OWN = [case for case in CASES if case not in ADAPTED]
ROWS = [
    {"image": picture(seed), "question": "What is left of the red dog ?", "answer": answer}
    for seed, answer in enumerate(("a car", "a blue box", "two cats"))
]


def built(case: Case, **values: Any) -> sightweave.Run:
    """A composition of that case, on three pictures."""
    parts = {
        "encoder": config.to_plain(small("models.encoders", "cnn")),
        "connector": config.to_plain(small("models.connectors", "linear")),
        "fusion": {"kind": case.fusion, **dict(case.fields)},
        "language_model": config.to_plain(small("models.language_models", case.language_model)),
    }
    inputs = {"vocab_size": 300, **values}
    train = {"device": "cpu", "stages": [{"steps": 1}]}
    run = sightweave.build({"model": parts, "inputs": inputs, "train": train, "data": []}, data=ROWS)
    nudge(run.model)  # a branch that begins with zeros hides what is behind it
    return run


def source(run: sightweave.Run) -> Source:
    return Source(
        model=run.model, processor=run.processor, parts=run.recipe.model, recipe=run.recipe.to_plain()
    )


def opened(folder: Path) -> tuple[Any, Any]:
    return (
        transformers.AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True),
        transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=True),
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[sightweave.Run, Path]:
    run = built(Case("concat", (), "decoder_only"))
    folder = tmp_path_factory.mktemp("plain") / "out"
    custom_code.export(source(run), folder, samples())
    return run, folder


def asked(*contents: Any, role: str = "user") -> dict[str, Any]:
    parts = [
        {"type": "text", "text": one} if isinstance(one, str) else {"type": "image", "image": one}
        for one in contents
    ]
    return {"role": role, "content": parts}


@pytest.mark.parametrize("case", OWN, ids=str)
def test_every_composition_answers_as_it_did(case: Case, tmp_path: Path) -> None:
    run = built(case)
    made = custom_code.export(source(run), tmp_path / "out", samples())
    assert (made.largest, made.equal_answers, len(made.batched)) == (0.0, 5, 5)
    assert made.program.startswith("transformers ")
    loaded = sightweave.load(tmp_path / "out", device="cpu")
    for name, value in run.model.state_dict().items():
        assert loaded.model.state_dict()[name].equal(value)


def test_the_example_on_the_card_runs(tmp_path: Path) -> None:
    run = built(Case("concat", (), "decoder_only"))
    text = card("A model", run.recipe.to_plain(), {}, [], use=custom_code.USE)
    custom_code.write(run.model, run.processor, run.recipe.to_plain(), tmp_path / "out", text)
    white = np.full((224, 224, 3), 255, np.uint8)
    assert card_example(tmp_path / "out") == run.generate(white, "Describe the image.", max_tokens=32).text


def test_tiles_are_seen_there_too(tmp_path: Path) -> None:
    run = built(Case("concat", (), "decoder_only"), max_tiles=4)
    made = custom_code.export(source(run), tmp_path / "out", samples())
    assert made.largest == 0
    _, processor = opened(tmp_path / "out")
    inputs = processor.apply_chat_template([asked(Image.new("RGB", (200, 90)), "what ?")])
    assert len(inputs["pixel_values"]) > 1


def test_conversations_in_a_batch_answer_as_alone(plain: tuple[sightweave.Run, Path]) -> None:
    run, folder = plain
    model, processor = opened(folder)
    shown = [Image.fromarray(picture(seed)) for seed in range(2)]
    many = [
        [asked(shown[0], "What is left of the red dog ?")],
        [asked("what ?")],
        [asked(shown[1], shown[0], "a car ?"), asked("two cats", role="assistant"), asked("why ?")],
    ]
    inputs = processor.apply_chat_template(
        many, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", padding=True
    )
    ids = model.generate(**inputs, max_new_tokens=6, do_sample=False, use_cache=True)
    said = processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    for one, text in zip(many, said, strict=True):
        alone = processor.apply_chat_template(one)
        found = model.generate(**alone, max_new_tokens=6)
        assert processor.decode(found[0, alone["input_ids"].shape[1] :]) == text
    assert said[0] == run.generate(picture(0), "What is left of the red dog ?", max_tokens=6).text
    called = processor(text="What is left of the red dog ?", images=shown[0], return_tensors="pt")
    assert (
        processor.decode(model.generate(**called, max_new_tokens=6)[0, called["input_ids"].shape[1] :])
        == said[0]
    )


def test_beams_and_draws_are_ours(plain: tuple[sightweave.Run, Path]) -> None:
    run, folder = plain
    model, processor = opened(folder)
    inputs = processor(text="what ?", images=Image.fromarray(picture(0)))
    start = inputs["input_ids"].shape[1]
    ours = run.generate(picture(0), "what ?", decoding={"kind": "beam", "num_beams": 3}, max_tokens=6)
    assert processor.decode(model.generate(**inputs, max_new_tokens=6, num_beams=3)[0, start:]) == ours.text
    drawn = set()
    torch.manual_seed(0)
    for _ in range(12):
        drawn.add(processor.decode(model.generate(**inputs, max_new_tokens=6, do_sample=True)[0, start:]))
    assert len(drawn) > 3
    again = []
    for _ in range(2):
        torch.manual_seed(3)
        again.append(model.generate(**inputs, max_new_tokens=6, do_sample=True))
    assert again[0].equal(again[1])
    cold = model.generate(**inputs, max_new_tokens=6, do_sample=True, top_k=1)
    assert cold.equal(model.generate(**inputs, max_new_tokens=6))


def test_what_is_learnt_there_is_what_is_learnt_here(
    plain: tuple[sightweave.Run, Path], tmp_path: Path
) -> None:
    run, folder = plain
    model, processor = opened(folder)
    talk = [
        asked(Image.fromarray(picture(0)), "What is left of the red dog?"),
        asked("a car", role="assistant"),
    ]
    inputs = processor.apply_chat_template(talk)
    made = model(**inputs)
    batch = run.processor.batch([samples()[0]])
    assert inputs["labels"][inputs["labels"] >= 0].tolist() == [
        *run.processor.tokenizer.encode("a car"),
        run.processor.tokenizer.end_id,
    ]
    ours = training_loss(run.model(batch), batch)
    assert float(made.loss.detach()) == pytest.approx(float(ours.detach()), abs=1e-6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for _ in range(5):
        made = model(**inputs)
        losses.append(float(made.loss.detach()))
        optimizer.zero_grad()
        made.loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    # What was trained is written whole, and opens again in both.
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "trainer_state.json").write_text(
        "{}"
    )  # as Transformers' own trainer keeps beside it
    model.save_pretrained(tmp_path / "again")
    processor.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "trainer_state.json").read_text() == "{}"
    again, _ = opened(tmp_path / "again")
    with torch.no_grad():
        assert again(**inputs).logits.equal(model(**inputs).logits)
    loaded = sightweave.load(tmp_path / "again", device="cpu")
    assert loaded.model.fusion.state_dict().keys() == run.model.fusion.state_dict().keys()


def test_a_processor_is_saved_alone(plain: tuple[sightweave.Run, Path], tmp_path: Path) -> None:
    _, folder = plain
    _, processor = opened(folder)
    processor.save_pretrained(tmp_path / "alone")
    again = transformers.AutoProcessor.from_pretrained(tmp_path / "alone", trust_remote_code=True)
    asks = [asked(Image.fromarray(picture(0)), "What is left of the red dog?")]
    first, second = (one.apply_chat_template(asks) for one in (processor, again))
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)


def test_no_text_becomes_a_special_token(plain: tuple[sightweave.Run, Path]) -> None:
    run, folder = plain
    _, processor = opened(folder)
    template = run.processor.tokenizer.template
    ids = processor.apply_chat_template([asked(f"a {template.image} {template.end}")])["input_ids"][
        0
    ].tolist()
    assert run.processor.tokenizer.image_id not in ids
    assert run.processor.tokenizer.end_id not in ids


def test_what_it_cannot_do_it_says(plain: tuple[sightweave.Run, Path]) -> None:
    _, folder = plain
    model, processor = opened(folder)
    with pytest.raises(ValueError, match="tokenize=False"):
        processor.apply_chat_template([asked("what ?")], tokenize=False)
    with pytest.raises(ValueError, match="no argument 'repetition_penalty'"):
        model.generate(**processor(text="what ?"), repetition_penalty=1.2)


def test_the_folder_runs_no_code_unless_it_is_asked_to(plain: tuple[sightweave.Run, Path]) -> None:
    _, folder = plain
    values = json.loads((folder / "config.json").read_text())
    assert set(values["auto_map"]) == {"AutoConfig", "AutoModelForImageTextToText"}
    with pytest.raises(ValueError, match="trust_remote_code"):
        transformers.AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=False)
    code = (folder / "modeling_sightweave.py").read_text().strip().splitlines()
    assert len(code) == 3


def test_another_weight_is_found(tmp_path: Path) -> None:
    run = built(Case("concat", (), "decoder_only"))
    custom_code.write(run.model, run.processor, run.recipe.to_plain(), tmp_path / "out")
    run.model.connector.projection.weight.data.mul_(3)
    with pytest.raises(ExportError, match="differ by"):
        custom_code.compare(source(run), tmp_path / "out", samples()).check()
    file = tmp_path / "out" / "model.safetensors"
    tensors = load_file(file)
    save_file({name: value + 1 for name, value in tensors.items()}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="SHA-256"):
        opened(tmp_path / "out")


ADAPTED_ENCODERS = ("convnext", "swin", "vit", "timm")


def adapted(name: str, folder: Path) -> sightweave.Run:
    """A run whose encoder another library builds."""
    if name == "timm":
        pytest.importorskip("timm")
        encoder = {"kind": "from_timm", "folder": _folders.folder("vit_tiny")}
    else:
        ENCODERS[name](folder / "encoder")
        encoder = {"kind": "from_transformers", "folder": str(folder / "encoder")}
    parts = {
        "encoder": encoder,
        "connector": "linear",
        "fusion": "concat",
        "language_model": {"kind": "decoder_only", "dim": 32, "depth": 1, "num_heads": 2},
    }
    recipe = {"model": parts, "inputs": {"vocab_size": 300}, "data": []}
    return sightweave.build(recipe | {"train": {"device": "cpu", "stages": [{"steps": 1}]}}, data=ROWS)


@pytest.mark.parametrize("name", ADAPTED_ENCODERS)
def test_an_encoder_of_another_library_is_exported_too(name: str, tmp_path: Path) -> None:
    run = adapted(name, tmp_path)
    made = custom_code.export(source(run), tmp_path / "out", samples())
    assert (made.largest, made.equal_answers) == (0.0, 5)


@pytest.mark.parametrize("name", ADAPTED_ENCODERS)
def test_what_is_loaded_under_inference_mode_can_be_trained(name: str, tmp_path: Path) -> None:
    run = adapted(name, tmp_path)
    run.save(tmp_path / "run")
    with torch.inference_mode():
        loaded = sightweave.load(tmp_path / "run", device="cpu")
        built = adapted(name, tmp_path)
    for one in (loaded, built):
        assert not any(value.is_inference() for value in one.model.state_dict().values())
        batch = one.processor.batch(samples()[:1])
        training_loss(one.model.train()(batch), batch).backward()
        assert all(value.grad is not None for value in one.model.encoder.parameters())


def test_it_is_evaluated_however_it_is_named(plain: tuple[sightweave.Run, Path], tmp_path: Path) -> None:
    _, folder = plain
    rows = [{**row, "split": "test"} for row in ROWS]
    scores = []
    for number, who in enumerate((str(folder), {"kind": "from_transformers", "path": str(folder)})):
        made = sightweave.evaluate(who, data=rows, controls=[], out=tmp_path / str(number))
        scores.append([(task.task, task.score.value) for one in made for task in one.tasks])
    text = f"{{kind: from_transformers, path: {folder}}}"
    assert sightweave.evaluate(text, data=rows, controls=[], out=tmp_path / "text")
    assert scores[0] == scores[1] != []
