"""Published weights and real pictures: read, joined, trained, controlled, exported, reopened and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import sightweave
from sightweave.core.types import Medium, Part, Sample
from sightweave.models.encoders.from_timm import import_timm
from sightweave.models.nn import adapter_proof

pytestmark = pytest.mark.network
transformers = pytest.importorskip("transformers")

RECIPE = Path(__file__).parents[2] / "recipes" / "stamps.yaml"
VIT = {"kind": "vit", "image_size": 32, "patch_size": 8, "dim": 32, "depth": 1}
TEXTS = (
    "The capital of France is",
    "In 1987, 42 red balls\n\n and 7 blue ones",
    "def add(a, b):\n    return",
    "\u4e00\u53ea\u7ea2\u8272\u7684\u888b\u9f20\u3002 \u00c0 bient\u00f4t, Stra\u00dfe!",
)
CONTROLS = ("no_image", "shuffled_image", "blank_image")
LANGUAGES = {"de", "fr", "es", "zh"}


def rows(pictures: Path, split: str, key: str) -> list[dict[str, Any]]:
    """Rows of one split that have a column."""
    every = [json.loads(line) for line in (pictures / "data.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in every if row["split"] == split and key in row]


def some(pictures: Path, folder: Path, chosen: list[dict[str, Any]]) -> dict[str, Any]:
    """A source of some rows, whose pictures stay where they are."""
    lines = [json.dumps(row, ensure_ascii=False) for row in chosen]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"kind": "own", "path": str(folder / "rows.jsonl"), "image_root": str(pictures)}


@torch.inference_mode()
def logits(run: sightweave.Run, sample: Sample) -> Tensor:
    """Of the first token of the answer."""
    encoded = run.processor.encode(sample)
    last = len(encoded.trunk.ids) + len(encoded.prompt.ids) - 1
    return run.model.eval()(run.processor.batch([sample]), at=torch.tensor([last])).logits[0]


def question(picture: Path) -> Sample:
    medium = Medium(picture, key=picture.name)
    return Sample(id="0", task="vqa", parts=(Part("user", medium), Part("user", "What is this?")))


@pytest.fixture(scope="session")
def trained(
    pictures: Path,
    language_model: Path,
    encoder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> sightweave.Run:
    """The recipe with two steps in each of its stages."""
    settings = [
        f"data={pictures}",
        f"model.encoder={encoder}",
        f"model.language_model={language_model}",
        "train.device=cpu",
        "train.precision=fp32",
        "train.stages.1.tasks=[vqa,captioning,translation]",
        *(f"train.stages.{stage}.{name}=2" for stage in (0, 1) for name in ("steps", "pictures")),
    ]
    out = tmp_path_factory.mktemp("trained") / "run"
    return sightweave.train(RECIPE, *settings, out=out, evaluate=False)


@torch.no_grad()
def test_smollm2_says_what_transformers_says(language_model: Path) -> None:
    (file,) = language_model.glob("*.gguf")
    run = sightweave.compose(VIT, str(language_model), connector="mlp", device="cpu")
    ours = run.model.language_model.eval()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        language_model, gguf_file=file.name, dtype=torch.float32
    ).eval()
    for text in TEXTS:
        tokens = torch.tensor(run.processor.tokenizer.encode(text))
        hidden = ours.run(ours.embed(tokens[None]), adapter_proof._text(tokens))
        expected = theirs(tokens[None]).logits[0]
        found = ours.head(hidden[0])[:, : expected.shape[1]]
        assert (found - expected).abs().max() < 2e-5 * expected.abs().max()
        assert torch.equal(found.argmax(-1), expected.argmax(-1))
    assert run.processor.tokenizer.decode(run.processor.tokenizer.encode(TEXTS[3])) == TEXTS[3]
    answer = run.generate(None, "What is the capital of France?", max_tokens=24).text
    assert "Paris" in answer


def test_the_encoder_sees_what_timm_sees(encoder: Path, language_model: Path) -> None:
    timm = import_timm()
    run = sightweave.compose(str(encoder), str(language_model), device="cpu")
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    theirs.load_state_dict(load_file(encoder / "model.safetensors"))
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = run.model.encoder.eval()(pixels)
        expected = theirs.forward_features(pixels).flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours.values.reshape(expected.shape), expected, atol=1e-4, rtol=1e-4)
    assert run.processor.transform.fit == "squash"


def test_minilm_is_joined_as_a_classifier(
    minilm: Path, encoder: Path, pictures: Path, tmp_path: Path
) -> None:
    """When it is loaded, it is compared with itself alone and packed, and refused where the numbers differ."""
    kinds = rows(pictures, "train", "question")[::50]
    data = some(pictures, tmp_path, kinds)
    run = sightweave.compose(
        str(encoder), str(minilm), fusion="bilinear", connector="mlp", data=[data], device="cpu"
    )
    theirs = transformers.AutoTokenizer.from_pretrained(minilm)
    text = "What kind of thing is this?"
    assert run.processor.tokenizer.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
    answer = run.generate(pictures / kinds[0]["image"], text).text
    assert answer in {row["answer"] for row in kinds}


def test_two_stages_train_what_they_name(trained: sightweave.Run, encoder: Path) -> None:
    published = load_file(encoder / "model.safetensors")
    ours = trained.model.encoder.model.state_dict()
    assert all(torch.equal(value, published[name]) for name, value in ours.items())
    assert not [name for name in trained.model.state_dict() if "lora" in name]
    assert trained.folder is not None
    steps = [json.loads(line) for line in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    assert {"align", "adapt"} <= {step.get("stage") for step in steps}


def test_controls_and_four_languages(trained: sightweave.Run, pictures: Path, tmp_path: Path) -> None:
    kinds = rows(pictures, "test", "question")[:4]
    sentences = rows(pictures, "test", "source")[:4]
    assert {row["target_language"] for row in sentences} == LANGUAGES
    (found,) = sightweave.evaluate(
        trained,
        "tasks.translation.metrics=[chrf]",
        "evaluate.max_tokens=8",
        data=some(pictures, tmp_path, kinds + sentences),
        controls=CONTROLS,
        out=tmp_path / "scores",
    )
    assert {one.task for one in found.tasks} == {"vqa", "translation"}
    kept = (tmp_path / "scores" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line) for line in kept]
    assert len(asked) == 8
    for one in found.tasks:
        assert set(CONTROLS) <= set(one.controls)


def test_the_picture_reaches_the_answer(trained: sightweave.Run, pictures: Path) -> None:
    first, second = (pictures / row["image"] for row in rows(pictures, "test", "caption")[:2])
    one, other = (logits(trained, question(picture)) for picture in (first, second))
    assert (one - other).abs().max() > 1e-2


@pytest.mark.parametrize("to", ["onnx", "custom_code"])
def test_an_export_answers_as_the_run(
    to: str, trained: sightweave.Run, pictures: Path, tmp_path: Path
) -> None:
    data = some(pictures, tmp_path, rows(pictures, "train", "question")[:2])
    made = sightweave.export(trained, to=to, out=tmp_path / to, data=data, samples=2)
    assert made.equal_answers == len(made.compared) == 2


def test_smollm2_leaves_for_transformers_and_comes_back(language_model: Path, tmp_path: Path) -> None:
    """In the shape of Idefics3, whose encoder is a SigLIP: a small one with random weights."""
    from parity import _checkpoints

    _checkpoints.siglip(tmp_path / "siglip")
    run = sightweave.compose(str(tmp_path / "siglip"), str(language_model), device="cpu")
    made = sightweave.export(run, to="transformers", out=tmp_path / "out", samples=2)
    assert made.equal_answers == len(made.compared) == 2
    again = sightweave.load(tmp_path / "out", device="cpu")
    sample = Sample(id="0", task="vqa", parts=(Part("user", "What is the capital of France?"),))
    torch.testing.assert_close(logits(again, sample), logits(run, sample), atol=1e-4, rtol=1e-4)


def test_every_stamp_is_read_and_nothing_is_a_false_alarm(pictures: Path, tmp_path: Path) -> None:
    found = sightweave.check_data(pictures, out=tmp_path / "check", workers=1)
    assert found.kind == "own"
    assert (found.bad_rows, found.stops) == (0, [])
    assert found.rows == found.good_rows == len((pictures / "data.jsonl").read_text().splitlines())
    assert found.pictures == found.looked_at > 700
    # Translations into four languages are no copies of one row, and no picture is in training and in a test.
    assert set(found.findings) <= {
        "image_near_duplicate",
        "image_extreme_size",
        "image_blank",
        "image_duplicate",
        "no_licence",
    }
