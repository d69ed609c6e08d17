"""Families that come through adapters, from folders that Transformers wrote: its numbers, every fusion, and no surprise."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from contracts._compose import (
    ANSWERS,
    gradients,
    nudge,
    picture,
    sample,
    samples,
    small,
    tokenizer,
    total_loss,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightweave.core import checkpoint
from sightweave.core.batch import TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.config import build, to_plain
from sightweave.core.errors import CheckpointError, RecipeError
from sightweave.data.inputs import transforms
from sightweave.data.inputs.processor import Processor
from sightweave.models.encoders import from_transformers as encoders
from sightweave.models.language_models import from_transformers as language_models
from sightweave.models.loss import training_loss
from sightweave.models.vlm import VLM

pytest.importorskip("transformers")
from parity import _adapted
from parity._adapted import BIDIRECTIONAL, CAUSAL, ENCODER_DECODER, ENCODERS, LANGUAGE_MODELS, VOCABULARY

GENERATING = CAUSAL | ENCODER_DECODER
FUSIONS = {
    "causal": ["concat", "addition", "cross_attention"],
    "encoder_decoder": ["concat", "addition", "cross_attention", "memory"],
    "classify": ["concat", "addition", "cross_attention", "bilinear"],
}
MEMBERS = [
    (name, fusion)
    for family, form in (
        (CAUSAL, "causal"),
        (ENCODER_DECODER, "encoder_decoder"),
        (BIDIRECTIONAL, "classify"),
    )
    for name in family
    for fusion in FUSIONS[form]
]
TEXT = sample("text", "how many cats are there ?", answer="two")


def loaded(folder: Path, **sizes: int) -> Any:
    made = language_models.Config(folder=str(folder)).build(
        **{"vocab_size": VOCABULARY, "num_answers": len(ANSWERS)} | sizes
    )
    made.load_folder(folder)
    return made.eval()


def sequence(ids: Tensor, ar: int = 1, start: int = 0) -> TokenSequence:
    zeros = torch.zeros_like(ids)
    positions = torch.arange(ids.shape[1]).expand_as(ids) + start
    return TokenSequence(ids, zeros - 100, positions, zeros - 1, zeros + ar, zeros, zeros, zeros == 0)


def ordinary(rows: int, length: int) -> Tensor:
    """Ids that are no special token's of any family."""
    return torch.randint(10, VOCABULARY - 10, (rows, length), generator=torch.Generator().manual_seed(1))


def read(model: Any, ids: Tensor, source: Tensor | None = None) -> Tensor:
    """What our model makes of ids: logits, or what BERT's family calls its last hidden state."""
    memory = None if source is None else model.encode(model.embed(source), sequence(source, 0))
    tokens = sequence(ids, 0 if model.form == "classify" else 1)
    hidden = model.run(model.embed(ids), tokens, memory=memory)
    return hidden if model.form == "classify" else model.head(hidden.flatten(0, 1)).unflatten(0, ids.shape)


def expected_of(theirs: Any, ids: Tensor, source: Tensor | None = None) -> Tensor:
    if source is not None:
        return theirs(input_ids=source, decoder_input_ids=ids).logits  # type: ignore[no-any-return]
    output = theirs(input_ids=ids)
    return output.logits if hasattr(output, "logits") else output.last_hidden_state  # type: ignore[no-any-return]


def composed(folder: Path, fusion: str, *, nudged: bool = True, **fields: Any) -> tuple[VLM, Processor]:
    """A language model of a folder with a tiny ViT."""
    torch.manual_seed(0)
    eyes = small("models.encoders", "vit").build()
    speaker = loaded(folder)
    joint = small("models.connectors", "linear").build(in_dim=eyes.dim, out_dim=speaker.dim, grid=eyes.grid())
    made = small("models.fusions", fusion, **fields).build(
        dim=speaker.dim, num_heads=speaker.num_heads, depth=speaker.depth
    )
    model = VLM(eyes, joint, made, speaker)
    if nudged:
        nudge(model)
    processor = Processor(
        tokenizer=tokenizer(),
        transform=transforms.Config(size=eyes.image_size),
        layout=model.layout,
        answers=ANSWERS,
    )
    return model.eval(), processor


@torch.no_grad()
@pytest.mark.parametrize("family", LANGUAGE_MODELS)
def test_a_language_model_gives_the_same_numbers(tmp_path: Path, family: str) -> None:
    theirs = LANGUAGE_MODELS[family](tmp_path)
    source = ordinary(2, 9) if family in ENCODER_DECODER else None
    ids = ordinary(2, 13)
    torch.testing.assert_close(
        read(loaded(tmp_path), ids, source), expected_of(theirs, ids, source), atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
@pytest.mark.parametrize(("family", "sizes"), [("gpt2", _adapted.GPT2_SMALL), ("bert", _adapted.BERT_BASE)])
def test_a_language_model_of_published_width(tmp_path: Path, family: str, sizes: dict[str, Any]) -> None:
    theirs = LANGUAGE_MODELS[family](tmp_path, **sizes)
    found = read(loaded(tmp_path, vocab_size=sizes["vocab_size"]), ordinary(1, 17))
    torch.testing.assert_close(found, expected_of(theirs, ordinary(1, 17)), atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("family", GENERATING)
def test_32_greedy_tokens_with_the_cache_are_the_same(tmp_path: Path, family: str) -> None:
    theirs = GENERATING[family](tmp_path)
    ours, start = loaded(tmp_path), ordinary(1, 5)
    settings = {"do_sample": False, "max_new_tokens": 32, "min_new_tokens": 32, "eos_token_id": None}
    memory = None
    if family in ENCODER_DECODER:
        begin = {"decoder_input_ids": start, "decoder_start_token_id": int(start[0, 0])}
        written = theirs.generate(ordinary(1, 7), forced_eos_token_id=None, **begin, **settings)
        memory = ours.encode(ours.embed(ordinary(1, 7)), sequence(ordinary(1, 7), 0))
    else:
        written = theirs.generate(start, attention_mask=torch.ones_like(start), pad_token_id=0, **settings)
    cache, fed, ids = Cache(1), start, start
    for _ in range(32):
        tokens = sequence(fed, start=ids.shape[1] - fed.shape[1])
        hidden = ours.run(ours.embed(fed), tokens, cache=cache, memory=memory)
        fed, memory = ours.head(hidden[:, -1]).argmax(-1, keepdim=True), None
        ids = torch.cat([ids, fed], 1)
    assert ids.tolist() == written.tolist()


@torch.no_grad()
@pytest.mark.parametrize("family", CAUSAL)
def test_images_stand_where_they_would_as_given_embeddings(tmp_path: Path, family: str) -> None:
    theirs = CAUSAL[family](tmp_path)
    model, processor = composed(tmp_path, "concat", bidirectional="none")
    batch = processor.batch(
        [sample("one", picture(1), "what colour is the ball ?", answer="the ball is red")]
    )
    images = model.encoders.path("image")(batch.media["image"]).embeddings
    given = theirs.get_input_embeddings()(batch.target.ids)
    given[batch.target.item >= 0] = images
    expected = theirs(inputs_embeds=given, attention_mask=torch.ones_like(batch.target.ids)).logits
    output = model(batch)
    torch.testing.assert_close(output.logits, expected[0, output.at], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("family", "fusion"), [one for one in MEMBERS if one[0] in GENERATING])
def test_without_an_image_a_composed_models_logits_are_theirs(
    tmp_path: Path, family: str, fusion: str
) -> None:
    theirs = GENERATING[family](tmp_path)
    model, processor = composed(tmp_path, fusion)
    batch = processor.batch([TEXT])
    output = model(batch)
    source = None if batch.source is None else batch.source.ids
    expected = expected_of(theirs, batch.target.ids, source)[0, output.at]
    torch.testing.assert_close(output.logits, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", LANGUAGE_MODELS)
def test_closed_gates_leave_the_logits_as_they_are(tmp_path: Path, family: str) -> None:
    LANGUAGE_MODELS[family](tmp_path)
    model, processor = composed(tmp_path, "cross_attention", nudged=False)
    batch = processor.batch(samples())
    blind = dataclasses.replace(batch, media={})
    assert torch.equal(model(batch).logits, model(blind).logits)
    nudge(model)
    assert (model(batch).logits - model(blind).logits).abs().max() > 1e-4


@pytest.mark.parametrize(("family", "fusion"), MEMBERS)
def test_every_fusion_learns_and_packing_and_padding_change_nothing(
    tmp_path: Path, family: str, fusion: str
) -> None:
    LANGUAGE_MODELS[family](tmp_path)
    model, processor = composed(tmp_path, fusion)
    alone = gradients(model, (total_loss(model, processor.batch([one])) for one in samples()))
    frozen = {name for name, one in model.named_parameters() if not one.requires_grad}
    silent = {
        name for name, one in model.named_parameters() if name not in alone[1] or not alone[1][name].any()
    }
    assert silent == frozen
    for settings in ({"share": False, "pack_to": 1000}, {"share": True}, {"share": False}):
        found = gradients(model, [total_loss(model, processor.batch(samples(), **settings))])
        assert found[0] == pytest.approx(alone[0], rel=1e-5)
        for name, gradient in alone[1].items():
            scale = max(1.0, float(gradient.abs().max()))
            torch.testing.assert_close(found[1][name] / scale, gradient / scale, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize(
    ("family", "fusion", "form"),
    [
        ("gpt2", "memory", "Causal"),
        ("gpt2", "bilinear", "Causal"),
        ("mbart", "bilinear", "EncoderDecoder"),
        ("bert", "memory", "Bidirectional"),
    ],
)
def test_a_fusion_without_a_place_is_refused(tmp_path: Path, family: str, fusion: str, form: str) -> None:
    LANGUAGE_MODELS[family](tmp_path)
    with pytest.raises(RecipeError, match=f"but {form} offers .*Fusions for {form}: .*concat"):
        composed(tmp_path, fusion)


@torch.no_grad()
@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoder_gives_the_same_features(tmp_path: Path, family: str) -> None:
    theirs = ENCODERS[family](tmp_path)
    fields = {"image_size": 64} if family == "resnet" else {}
    ours = encoders.Config(folder=str(tmp_path), **fields).build()
    ours.load_folder(tmp_path)
    pixels = torch.randn(3, 3, ours.image_size, ours.image_size)
    inner = getattr(theirs, "vision_model", getattr(theirs, "vit", theirs))
    expected = inner(pixels).last_hidden_state
    expected = expected.flatten(2).transpose(1, 2) if expected.ndim == 4 else expected
    expected = expected[:, _adapted.EXTRA_TOKENS.get(family, 0) :]
    found = ours.eval()(pixels)
    torch.testing.assert_close(found.values, expected, atol=1e-5, rtol=1e-5)
    assert found.grid[1] == found.grid[2] == expected.shape[1] ** 0.5


@torch.no_grad()
@pytest.mark.parametrize("side", [16, 48])
@pytest.mark.parametrize("family", ["vit", "siglip", "dinov2 with registers", "convnext"])
def test_an_encoder_reads_pictures_of_another_size(tmp_path: Path, family: str, side: int) -> None:
    theirs = ENCODERS[family](tmp_path)
    side *= 2 if family == "convnext" else 1
    ours = encoders.Config(folder=str(tmp_path), image_size=side).build()
    ours.load_folder(tmp_path)
    pixels = torch.randn(2, 3, side, side)
    asked = {"interpolate_pos_encoding": True} if family in ("vit", "siglip") else {}
    expected = theirs(pixels, **asked).last_hidden_state
    expected = expected.flatten(2).transpose(1, 2) if expected.ndim == 4 else expected
    expected = expected[:, _adapted.EXTRA_TOKENS.get(family, 0) :]
    torch.testing.assert_close(ours.eval()(pixels).values, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_an_encoder_of_published_width(tmp_path: Path) -> None:
    theirs = ENCODERS["convnext"](tmp_path, **_adapted.CONVNEXT_TINY)
    ours = encoders.Config(folder=str(tmp_path)).build()
    ours.load_folder(tmp_path)
    pixels = torch.randn(1, 3, 224, 224)
    expected = theirs(pixels).last_hidden_state.flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours.eval()(pixels).values, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ENCODERS)
def test_every_weight_of_an_encoder_has_a_use(tmp_path: Path, family: str) -> None:
    ENCODERS[family](tmp_path)
    fields = {"image_size": 64} if family == "resnet" else {}
    ours = encoders.Config(folder=str(tmp_path), **fields).build()
    ours.load_folder(tmp_path)
    ours(torch.randn(2, 3, ours.image_size, ours.image_size)).values.square().sum().backward()
    assert [name for name, one in ours.named_parameters() if one.grad is None] == []


def test_the_statistics_of_a_batch_norm_stay(tmp_path: Path) -> None:
    ENCODERS["resnet"](tmp_path)
    ours = encoders.Config(folder=str(tmp_path), image_size=64).build()
    ours.load_folder(tmp_path)
    before = {name: value.clone() for name, value in ours.named_buffers()}
    ours.train()(torch.randn(4, 3, 64, 64) * 9)
    assert any("running_mean" in name for name in before)
    assert all(value.equal(before[name]) for name, value in ours.named_buffers())


@torch.no_grad()
@pytest.mark.parametrize("family", LANGUAGE_MODELS)
def test_a_run_is_loaded_without_the_folder(tmp_path: Path, family: str) -> None:
    LANGUAGE_MODELS[family](tmp_path / "theirs")
    config = language_models.Config(folder=str(tmp_path / "theirs"))
    ours = loaded(tmp_path / "theirs")
    checkpoint.write_folder(tmp_path / "run", {"model": ours.state_dict()})
    plain = json.loads(json.dumps(to_plain(config)))
    shutil.rmtree(tmp_path / "theirs")
    plain.pop("kind")
    again = build(language_models.Config, plain)
    assert again == config
    with torch.device("meta"):
        other = again.build(vocab_size=VOCABULARY, num_answers=len(ANSWERS))
    assert all(one.is_meta for one in other.parameters())
    checkpoint.load_into(other, tmp_path / "run", assign=True)
    assert not any(one.is_meta for one in (*other.parameters(), *other.buffers()))
    source = ordinary(1, 6) if family in ENCODER_DECODER else None
    assert torch.equal(
        read(other.eval().to("cpu"), ordinary(1, 9), source), read(ours, ordinary(1, 9), source)
    )
    assert len(list(other.parameters())) == len(list(ours.parameters()))  # what was tied is tied


@pytest.mark.parametrize("family", ["gpt2", "gemma", "mbart", "bert", "t5"])
def test_rows_of_new_tokens_begin_near_the_others(tmp_path: Path, family: str) -> None:
    theirs = LANGUAGE_MODELS[family](tmp_path)
    table = loaded(tmp_path, vocab_size=VOCABULARY + 9).token_embedding.weight
    old = theirs.get_input_embeddings().weight
    assert table[:VOCABULARY].equal(old)
    assert table[VOCABULARY:].std() > 0
    torch.testing.assert_close(table[VOCABULARY:].mean(0), old.mean(0), atol=0.1, rtol=0.1)
    shorter = loaded(tmp_path, vocab_size=VOCABULARY - 9).token_embedding.weight
    assert shorter.equal(old[: VOCABULARY - 9])


def test_a_copy_and_threads_do_not_meet(tmp_path: Path) -> None:
    CAUSAL["gpt2"](tmp_path)
    model, processor = composed(tmp_path, "cross_attention")
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    batches = [processor.batch([sample("one", picture(n), "what colour is it ?")]) for n in range(4)]
    with torch.no_grad():
        expected = [one(batch).logits for batch in batches for one in (model, other)]
    found: dict[int, Tensor] = {}

    def work(number: int) -> None:
        with torch.no_grad():
            for _ in range(5):
                found[number] = (model, other)[number % 2](batches[number // 2]).logits

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for number, logits in enumerate(expected):
        torch.testing.assert_close(found[number], logits, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(expected[0], expected[1])


def test_training_moves_the_folders_weights(tmp_path: Path) -> None:
    CAUSAL["gemma"](tmp_path)
    model, processor = composed(tmp_path, "concat")
    model.train()
    batch = processor.batch(samples())
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = training_loss(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("family", _adapted.REFUSED)
def test_a_family_whose_positions_or_masks_cannot_be_set_is_refused(tmp_path: Path, family: str) -> None:
    _adapted.REFUSED[family](tmp_path)
    with pytest.raises(
        CheckpointError, match=r"computes positions itself|the same results here|no list of blocks"
    ):
        loaded(tmp_path)


def test_a_text_longer_than_the_learnt_positions_is_refused(tmp_path: Path) -> None:
    CAUSAL["gpt2"](tmp_path, n_positions=24)
    with pytest.raises(ValueError, match="position 39 is outside the 24"):
        read(loaded(tmp_path), ordinary(1, 40))


def test_a_target_without_a_source_is_refused(tmp_path: Path) -> None:
    ENCODER_DECODER["mbart"](tmp_path)
    ours = loaded(tmp_path)
    with pytest.raises(ValueError, match="needs a memory"):
        read(ours, ordinary(1, 4))
    other = sequence(ordinary(1, 4))
    other.segment += 1
    memory = ours.encode(ours.embed(ordinary(1, 4)), sequence(ordinary(1, 4), 0))
    with pytest.raises(ValueError, match="a target token has no source to attend to; give each sample"):
        ours.run(ours.embed(ordinary(1, 4)), other, memory=memory)


def change(folder: Path, **settings: Any) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | settings), encoding="utf-8")


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    # A name on the hub is looked up when the model is built, not when a recipe is read.
    unread = language_models.Config(folder="lab/gone")
    with pytest.raises(CheckpointError, match=r"folder not found.*hf download lab/gone"):
        unread.build(vocab_size=10)
    CAUSAL["gpt2"](tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(one for one in tensors if one.endswith("mlp.c_fc.weight"))
    save_file({key: value for key, value in tensors.items() if key != name}, tmp_path / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"1 weight\(s\) of a GPT2LMHeadModel are missing: .*c_fc.weight"
    ):
        loaded(tmp_path)
    save_file(tensors | {name: tensors[name][:, :3].contiguous()}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="mismatch"):
        loaded(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickle"):
        loaded(tmp_path)
    change(tmp_path, auto_map={"AutoModelForCausalLM": "theirs.Model"})
    with pytest.raises(ValueError, match="auto_map"):
        language_models.Config(folder=str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"model_type": "gpt99"}, "'gpt99' is unknown to Transformers"),
        ({"model_type": "vit"}, "'vit' is not a language model"),
        ({"vocab_size": "many"}, "its config.json is invalid:"),
    ],
)
def test_foreign_settings_are_refused(tmp_path: Path, settings: dict[str, Any], fault: str) -> None:
    CAUSAL["gpt2"](tmp_path)
    change(tmp_path, **settings)
    with pytest.raises(CheckpointError, match=fault):
        language_models.Config(folder=str(tmp_path)).build(vocab_size=9)


def test_an_encoder_that_names_no_size_or_cannot_read_one_is_refused(tmp_path: Path) -> None:
    ENCODERS["resnet"](tmp_path / "resnet")
    with pytest.raises(ValueError, match=r"its config\.json has no square image_size \(got"):
        encoders.Config(folder=str(tmp_path / "resnet")).build()
    ENCODERS["beit"](tmp_path / "beit")
    with pytest.raises(ValueError, match="cannot encode images of 7 x 7 pixels"):
        encoders.Config(folder=str(tmp_path / "beit"), image_size=7).build()
    CAUSAL["gpt2"](tmp_path / "gpt2")
    with pytest.raises(ValueError, match="cannot encode images of 32 x 32 pixels"):
        encoders.Config(folder=str(tmp_path / "gpt2"), image_size=32).build()
