"""Runs in the files of Transformers: its own auto classes open them and answer as we do."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import sightweave
from sightweave.core.errors import CheckpointError, ExportError, RecipeError
from sightweave.core.types import Medium, Part, Sample
from sightweave.programs.exports import transformers as exporter
from sightweave.programs.exports._base import up_to_end
from sightweave.programs.exports._layout import Source

pytest.importorskip("transformers")
import transformers
from parity import _checkpoints

GOLDEN = Path(__file__).parent / "golden"
SHAPES = {"idefics3": ({}, None), "llava": ({"post_norm": False}, "mlp")}


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40 + seed, 50, 3), dtype=np.uint8)


def composed(folder: Path, layout: str, words: str = "byte_level", *, tied: bool = True) -> sightweave.Run:
    fields, connector = SHAPES[layout]
    _checkpoints.siglip(folder / "siglip")
    tokenizer = getattr(_checkpoints, words)(folder / "llama")
    _checkpoints.llama(folder / "llama", vocab_size=len(tokenizer), tie_word_embeddings=tied)
    encoder = {"kind": str(folder / "siglip"), **fields}
    return sightweave.compose(encoder, str(folder / "llama"), connector=connector, device="cpu")


def source(run: sightweave.Run) -> Source:
    return Source(
        model=run.model, processor=run.processor, parts=run.recipe.model, recipe=run.recipe.to_plain()
    )


def samples() -> list[Sample]:
    """One and several pictures, several turns, and none."""
    media = [Medium(picture(seed), key=f"p{seed}") for seed in range(3)]
    question = Part("user", "What is left of the red dog?")
    answer = Part("assistant", "a car", True)
    earlier = (Part("user", media[0]), question, Part("assistant", "a car"), Part("user", "Why?"))
    return [
        Sample(id="one", task="vqa", parts=(Part("user", media[0]), question, answer)),
        Sample(
            id="two", task="vqa", parts=(Part("user", media[1]), Part("user", media[2]), question, answer)
        ),
        Sample(id="behind", task="vqa", parts=(question, Part("user", media[2]), answer)),
        Sample(id="turns", task="vqa", parts=(*earlier, Part("user", media[1]), answer)),
        Sample(id="none", task="vqa", parts=(question, answer)),
    ]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("words", ["byte_level", "byte_fallback"])
@pytest.mark.parametrize("layout", SHAPES)
def test_transformers_answers_as_we_do(layout: str, words: str, tied: bool, tmp_path: Path) -> None:
    run = composed(tmp_path, layout, words, tied=tied)
    made = exporter.export(source(run), tmp_path / "out", samples())
    assert (made.layout, len(made.compared), len(made.batched), made.equal_answers) == (layout, 5, 5, 5)
    assert made.largest < 1e-5
    assert made.largest_share < 1e-4
    _, told = transformers.AutoModelForImageTextToText.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(told[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))


@pytest.mark.parametrize("layout", SHAPES)
def test_names_and_files_are_those_on_record(layout: str, tmp_path: Path) -> None:
    run = composed(tmp_path, layout)
    exporter.write(source(run), tmp_path / "out", exporter.LAYOUTS[layout])
    keys = {
        name: list(value.shape) for name, value in load_file(tmp_path / "out" / "model.safetensors").items()
    }
    found = {"files": sorted(file.name for file in (tmp_path / "out").iterdir()), "keys": keys}
    assert found == json.loads((GOLDEN / f"{layout}.json").read_text())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["text_config"]["architectures"] == ["LlamaForCausalLM"]
    assert config["text_config"]["vocab_size"] % 64 == 0


@pytest.mark.parametrize("layout", SHAPES)
def test_a_tied_head_stands_in_the_file_and_stays_tied(layout: str, tmp_path: Path) -> None:
    """mlx-vlm looks for an Idefics3's there and refuses a LLaVA's; llama.cpp's converter would write the table twice."""
    run = composed(tmp_path, layout)
    for repeats in (True, False):
        folder = tmp_path / str(repeats)
        exporter.write(source(run), folder, exporter.LAYOUTS[layout], repeats_head=repeats)
        found = load_file(folder / "model.safetensors")
        heads = [name for name in found if name.endswith("lm_head.weight")]
        (table,) = (value for name, value in found.items() if name.endswith("embed_tokens.weight"))
        assert len(heads) == (repeats and layout == "idefics3")
        assert all(found[name].equal(table) for name in heads)
        model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"]


@pytest.mark.parametrize("layout", SHAPES)
def test_the_way_that_users_go(layout: str, tmp_path: Path) -> None:
    """Messages with pictures through the processor's own chat template, as on every model card."""
    run = composed(tmp_path, layout)
    exporter.export(source(run), tmp_path / "out", samples()[:1])
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "out", backend="pil")
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "out").eval()
    content = [
        {"type": "image", "image": Image.fromarray(picture(1))},
        {"type": "text", "text": "What is left of the red dog?"},
    ]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    made = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    said = run.processor.tokenizer.decode(made[0, inputs["input_ids"].shape[1] :].tolist())
    assert said == run.generate(picture(1), "What is left of the red dog?", max_tokens=12).text


def test_what_is_not_what_was_trained_fails(tmp_path: Path) -> None:
    run = composed(tmp_path, "idefics3")
    layout = exporter.LAYOUTS["idefics3"]
    exporter.write(source(run), tmp_path / "out", layout)
    file = tmp_path / "out" / "model.safetensors"
    tensors = load_file(file)
    name = "model.vision_model.embeddings.patch_embedding.weight"
    save_file(tensors | {name: tensors[name].flip(1).contiguous()}, file, metadata={"format": "pt"})  # BGR
    made = exporter.compare(source(run), tmp_path / "out", samples(), "idefics3")
    assert made.largest > 1e-2
    with pytest.raises(ExportError, match=r"the logits of sample .* differ by"):
        made.check()
    save_file({key: value for key, value in tensors.items() if key != name}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 weight\(s\) are not in the files"):
        exporter.compare(source(run), tmp_path / "out", samples(), "idefics3")


def test_a_processor_with_other_pixels_fails(tmp_path: Path) -> None:
    run = composed(tmp_path, "llava")
    exporter.write(source(run), tmp_path / "out", exporter.LAYOUTS["llava"])
    for name in ("processor_config.json", "preprocessor_config.json"):
        text = (tmp_path / "out" / name).read_text()
        (tmp_path / "out" / name).write_text(text.replace("0.5", "0.4"))
    with pytest.raises(ExportError, match="differ by"):
        exporter.compare(source(run), tmp_path / "out", samples(), "llava").check()


@pytest.mark.parametrize("layout", SHAPES)
def test_prompts_of_unequal_length_answer_together_as_alone(layout: str, tmp_path: Path) -> None:
    """By the folder's own settings of padding and generation, as on a model card."""
    run = composed(tmp_path, layout)
    exporter.export(source(run), tmp_path / "out", samples())
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "out", backend="pil")
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "out").eval()
    questions = ("Why?", "What is left of the red dog? What is left of the red dog?")
    images = [Image.fromarray(picture(seed)) for seed in range(2)]
    texts = [
        processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}],
            add_generation_prompt=True,
        )
        for text in questions
    ]
    inputs = processor(text=texts, images=[[one] for one in images], padding=True, return_tensors="pt")
    assert not inputs["attention_mask"].all()
    made = model.generate(**inputs, max_new_tokens=8)
    end = run.processor.tokenizer.end_id
    for row, (image, text) in enumerate(zip(images, questions, strict=True)):
        said = run.processor.tokenizer.decode(
            up_to_end(made[row, inputs["input_ids"].shape[1] :].tolist(), end)
        )
        assert said == run.generate(image, text, max_tokens=8).text


@pytest.mark.parametrize("layout", SHAPES)
def test_what_answers_otherwise_in_a_batch_fails(layout: str, tmp_path: Path) -> None:
    run = composed(tmp_path, layout)
    exporter.write(source(run), tmp_path / "out", exporter.LAYOUTS[layout])
    file = tmp_path / "out" / "tokenizer_config.json"
    file.write_text(file.read_text().replace('"left"', '"right"'))
    made = exporter.compare(source(run), tmp_path / "out", samples(), layout)
    dataclasses.replace(made, batched=()).check()  # alone nothing is padded
    with pytest.raises(ExportError, match="in a batch of unequal prompts differ by"):
        made.check()


def test_settings_of_generation_that_change_answers_fail(tmp_path: Path) -> None:
    run = composed(tmp_path, "llava")
    exporter.write(source(run), tmp_path / "out", exporter.LAYOUTS["llava"])
    file = tmp_path / "out" / "generation_config.json"
    said = run.predict(samples(), max_tokens=1)
    first = run.processor.tokenizer.encode(said[0].text)[:1] or [run.processor.tokenizer.end_id]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"suppress_tokens": first}))
    with pytest.raises(ExportError, match="answers sample"):
        exporter.compare(source(run), tmp_path / "out", samples(), "llava").check()


def card_example(folder: Path) -> str:
    """What the example on a model card prints, run as a reader would: in the folder, in a process of its own."""
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), flags=re.S)
    assert len(code) == 1
    done = subprocess.run(
        [sys.executable, "-c", code[0]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def scratch(**changes: Any) -> dict[str, Any]:
    return {
        "data": [{"kind": "scenes", "size": 12}],
        "model": {
            "encoder": {"kind": "vit", "image_size": 32, "patch_size": 8, "dim": 32, "depth": 1},
            "connector": "pixel_shuffle",
            "fusion": {"kind": "concat", "bidirectional": "none"},
            "language_model": {"kind": "decoder_only", "dim": 32, "depth": 1, "num_heads": 2, **changes},
        },
        "inputs": {"vocab_size": 400, "frame_images": True, "exact": True, "fit": "squash"},
        "train": {"device": "cpu", "precision": "fp32", "stages": [{"steps": 2, "batch_size": 2}]},
    }


def test_a_run_from_nothing_by_the_command(tmp_path: Path) -> None:
    sightweave.train(scratch(), out=tmp_path / "run", evaluate=False)
    command = [sys.executable, "-m", "sightweave", "export", str(tmp_path / "run"), "--samples", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "export-transformers: idefics3, loaded in transformers" in done.stdout
    assert "3 of 3 greedy answers are equal" in done.stdout
    card = (tmp_path / "run" / "export-transformers" / "README.md").read_text()
    assert "Not measured." in card
    assert "- mlx-vlm 0.7.10 always computes quick GELU" in card
    assert "- `scenes`" in card
    assert "- training seconds: " in card
    said = card_example(tmp_path / "run" / "export-transformers")
    white = np.full((224, 224, 3), 255, np.uint8)
    trained_run = sightweave.load(tmp_path / "run")
    assert said == trained_run.generate(white, "Describe the image.", max_tokens=32).text
    # The model that was exported is the one that was trained.
    trained = load_file(tmp_path / "run" / "checkpoint" / "model.safetensors")
    exported = load_file(tmp_path / "run" / "export-transformers" / "model.safetensors")
    assert exported["model.connector.modality_projection.proj.weight"].equal(
        trained["encoders.image.connector.projection.weight"]
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["model.fusion=cross_attention"], "model.fusion is cross_attention"),
        (["model.fusion.bidirectional=image"], "model.fusion has bidirectional=image"),
        (["model.connector=linear"], "model.connector is linear"),
        (["model.language_model.feed_forward=relu2"], r"llama: feed_forward is 'relu2' \(theirs: 'swiglu'\)"),
        (["model.language_model.qk_norm=true"], "model.language_model is of the family qwen3"),
        (["model.encoder.stem=convolution"], r"stem is 'convolution' \(theirs: 'patch'\)"),
        (
            ["model.encoder={kind: cnn, channels: [8, 8], blocks: [0, 0]}"],
            "no Transformers family corresponds to cnn",
        ),
        (["inputs.exact=false"], "train with inputs.exact=true"),
        (["inputs.fit=pad"], "train with inputs.fit=squash"),
        (["inputs.frame_images=false"], "train with inputs.frame_images=true"),
        (["inputs.max_tiles=4"], "only whole images can be exported"),
    ],
)
def test_what_has_no_place_is_refused_with_the_reason(
    settings: list[str], reason: str, tmp_path: Path
) -> None:
    run = sightweave.build(scratch(), *settings)
    with pytest.raises(ExportError, match=reason) as caught:
        exporter.export(source(run), tmp_path / "out", [])
    assert "nearest first:\n  idefics3:" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_without_transformers_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sightweave.build(scratch())
    monkeypatch.setitem(sys.modules, "transformers", None)
    made = exporter.export(source(run), tmp_path / "out", [])
    assert (made.program, made.compared) == ("", ())
    assert "not compared: pip install transformers" in made.to_text()


def test_an_unknown_format_and_a_run_in_the_way(tmp_path: Path) -> None:
    run = sightweave.build(scratch())
    with pytest.raises(RecipeError, match=r"no exports kind 'safetensor'\. Known:"):
        sightweave.export(run, to="safetensor", out=tmp_path / "out")
    run.save(tmp_path / "run")
    with pytest.raises(RecipeError, match="holds a run, which the export would replace; choose another"):
        sightweave.export(run, out=tmp_path / "run")


def test_a_layout_that_there_is_not(tmp_path: Path) -> None:
    run = sightweave.build(scratch())
    with pytest.raises(ExportError, match=r"no layout 'idefics'\. Did you mean 'idefics3'\?"):
        exporter.export(source(run), tmp_path / "out", [], layout="idefics")


def test_an_odd_text_in_the_template_stays_text() -> None:
    template = exporter.Template(start="it's {{ 7 }} \\ {% raw %}\n", speak="'", again="\\n", space=False)
    rendered = transformers.utils.chat_template_utils.render_jinja_template(
        conversations=[[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]],
        chat_template=exporter.chat_template(template, writes_frame=True),
    )[0]
    assert rendered == ["it's {{ 7 }} \\ {% raw %}\na'b<|end|>"]


def test_weights_are_not_changed_by_being_exported(tmp_path: Path) -> None:
    run = composed(tmp_path, "idefics3")
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    exporter.export(source(run), tmp_path / "out", samples()[:1])
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


@pytest.mark.parametrize("words", ["byte_level", "byte_fallback"])
@pytest.mark.parametrize("layout", SHAPES)
def test_an_exported_folder_loads_back_bit_equal(layout: str, words: str, tmp_path: Path) -> None:
    run = composed(tmp_path, layout, words)
    exporter.export(source(run), tmp_path / "out", [])
    again = sightweave.load(tmp_path / "out", device="cpu")
    there = again.model.state_dict()
    assert there.keys() == run.model.state_dict().keys()
    assert all(value.equal(there[name]) for name, value in run.model.state_dict().items())
    assert again.processor.tokenizer.template == run.processor.tokenizer.template
    assert again.processor.transform == run.processor.transform
    ours, theirs = (one.generate(picture(2), "What is it?", max_tokens=8) for one in (run, again))
    assert (ours.text, ours.logprob) == (theirs.text, theirs.logprob)
    # And out again: the same bytes.
    exporter.export(source(again), tmp_path / "twice", [])
    for name in ("model.safetensors", "chat_template.jinja", "config.json", "preprocessor_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes(), name


def test_the_shipped_recipe_for_own_pictures_is_exported(tmp_path: Path) -> None:
    rows = [
        {"image": picture(seed), "question": "Which one?", "answer": f"number {seed}", "id": str(seed)}
        for seed in range(6)
    ]
    few = [f"train.stages.{stage}.steps=2" for stage in range(2)]
    run = sightweave.train(
        "own_export", *few, "train.precision=fp32", data=rows, out=tmp_path / "run", evaluate=False
    )
    made = sightweave.export(run, to="transformers", data=rows, samples=3)
    assert made.layout == "idefics3"
    assert "3 of 3 greedy answers are equal" in made.to_text()
