"""Families that load natively, from folders that Transformers wrote: its numbers, and its weights back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sightweave import recipe as recipes
from sightweave.core import catalog
from sightweave.core.batch import Batch, Media, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.config import build
from sightweave.core.transformers_folder import read_config, read_tensors
from sightweave.models.keymaps import _base as keymaps

pytest.importorskip("transformers")
import transformers
from parity import _checkpoints

FAMILIES = {"encoder": "models.encoders", "language_model": "models.language_models"}
ENCODERS = {
    "siglip": _checkpoints.siglip,
    "siglip pair": _checkpoints.siglip_pair,
    "clip": _checkpoints.clip,
    "vit": _checkpoints.vit,
    "vit classifier": _checkpoints.vit_classifier,
    "dinov2": _checkpoints.dinov2,
    "resnet": _checkpoints.resnet,
    "resnet, basic": _checkpoints.resnet_basic,
    "resnet classifier": _checkpoints.resnet_classifier,
}
LANGUAGE_MODELS = {
    "qwen2": _checkpoints.qwen2,
    "qwen3": _checkpoints.qwen3,
    "llama": _checkpoints.llama,
    "llama, tied": lambda folder: _checkpoints.llama(folder, tie_word_embeddings=True),
    "mistral": _checkpoints.mistral,
}
SEQUENCE_TO_SEQUENCE = {
    "t5": _checkpoints.t5,
    "t5 1.1": _checkpoints.t5_gated,
    "mt5": _checkpoints.mt5,
    "mt5, tied": _checkpoints.mt5_tied,
}


def loaded(folder: Path, part: str, **fields: Any) -> Any:
    """Our part, with the folder's sizes and weights."""
    values = keymaps.read(folder, part) | fields
    kind = values.pop("kind")
    sizes = {} if part == "encoder" else {"vocab_size": read_config(folder)["vocab_size"]}
    made = build(catalog.config_class(FAMILIES[part], kind), values).build(**sizes)
    keymaps.load_into(made, folder, part)
    return made.eval()


def features(model: Any, pixels: Tensor, **settings: Any) -> Tensor:
    found = getattr(model, "vision_model", model)(pixels, **settings).last_hidden_state
    if found.ndim == 4:  # I Dv h w
        return found.flatten(2).transpose(1, 2)  # type: ignore[no-any-return]
    return found[:, 1:] if has_class_token(model) else found  # type: ignore[no-any-return]


def has_class_token(model: Any) -> bool:
    return model.config.model_type in ("clip_vision_model", "vit", "dinov2")


def logits(model: Any, ids: Tensor, source: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
    memory = None
    if source is not None:
        memory = model.encode(model.embed(source), sequence(source, ar=0, valid=valid))
    hidden = model.run(model.embed(ids), sequence(ids), memory=memory)
    return model.head(hidden.flatten(0, 1)).unflatten(0, ids.shape)  # type: ignore[no-any-return]


def sequence(ids: Tensor, *, ar: int = 1, start: int = 0, valid: Tensor | None = None) -> TokenSequence:
    """Rows of text, causal or read both ways."""
    zeros = torch.zeros_like(ids)
    positions = torch.arange(start, start + ids.shape[1]).expand_as(ids)
    seen = zeros == 0 if valid is None else valid
    return TokenSequence(
        ids, zeros - 100, positions, zeros - 1, zeros + ar, zeros, zeros, seen, plain=ar == 1
    )


@torch.no_grad()
@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoder_gives_the_same_features(tmp_path: Path, family: str) -> None:
    theirs = ENCODERS[family](tmp_path)
    ours = loaded(tmp_path, "encoder")
    pixels = torch.randn(3, 3, ours.image_size, ours.image_size)
    found, expected = ours(pixels).values, features(theirs, pixels)
    # Rounding grows with the numbers: those of a network without a last norm are large.
    scale = max(1.0, float(expected.abs().max()) / 4)
    torch.testing.assert_close(found, expected, atol=1e-5 * scale, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", ["siglip", "clip", "vit", "dinov2"])
@pytest.mark.parametrize("side", [16, 48, 64])
def test_places_are_interpolated_as_theirs(tmp_path: Path, side: int, family: str) -> None:
    theirs = ENCODERS[family](tmp_path)
    pixels = torch.randn(2, 3, side, side)
    always = {} if family == "dinov2" else {"interpolate_pos_encoding": True}
    expected = features(theirs, pixels, **always)
    found = loaded(tmp_path, "encoder", image_size=side)(pixels).values
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", LANGUAGE_MODELS)
def test_a_language_model_gives_the_same_logits(tmp_path: Path, family: str) -> None:
    theirs = LANGUAGE_MODELS[family](tmp_path)
    ids = torch.randint(0, 50, (2, 11))
    torch.testing.assert_close(
        logits(loaded(tmp_path, "language_model"), ids), theirs(ids).logits, atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
@pytest.mark.parametrize("family", LANGUAGE_MODELS)
def test_32_greedy_tokens_are_the_same(tmp_path: Path, family: str) -> None:
    theirs = LANGUAGE_MODELS[family](tmp_path)
    ours = loaded(tmp_path, "language_model")
    start = torch.randint(0, 50, (1, 5))
    settings = {
        "do_sample": False,
        "max_new_tokens": 32,
        "min_new_tokens": 32,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    expected = theirs.generate(start, attention_mask=torch.ones_like(start), **settings)
    ids = start
    for _ in range(32):
        ids = torch.cat([ids, logits(ours, ids)[:, -1:].argmax(-1)], 1)
    assert ids.tolist() == expected.tolist()


@torch.no_grad()
@pytest.mark.parametrize("family", SEQUENCE_TO_SEQUENCE)
@pytest.mark.parametrize("length", [9, 150])
def test_an_encoder_decoder_gives_the_same_logits(tmp_path: Path, family: str, length: int) -> None:
    """Longer than the farthest distance that has a number of its own, too; the second row of the source is shorter."""
    theirs = SEQUENCE_TO_SEQUENCE[family](tmp_path)
    source, ids = torch.randint(0, 50, (2, length)), torch.randint(0, 50, (2, length + 3))
    valid = torch.ones_like(source, dtype=torch.bool)
    valid[1, length // 2 :] = False
    expected = theirs(input_ids=source, attention_mask=valid.long(), decoder_input_ids=ids).logits
    found = logits(loaded(tmp_path, "language_model"), ids, source, valid)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", SEQUENCE_TO_SEQUENCE)
def test_32_greedy_tokens_of_an_encoder_decoder_are_the_same_with_a_cache(
    tmp_path: Path, family: str
) -> None:
    theirs = SEQUENCE_TO_SEQUENCE[family](tmp_path)
    ours = loaded(tmp_path, "language_model")
    source = torch.randint(2, 50, (2, 12))
    expected = theirs.generate(
        source,
        attention_mask=torch.ones_like(source),
        do_sample=False,
        max_new_tokens=32,
        min_new_tokens=32,
        use_cache=False,  # theirs has room for as many blocks as the encoder has
    )
    cache = Cache(len(source))
    memory = ours.encode(ours.embed(source), sequence(source, ar=0))
    ids = torch.zeros(len(source), 1, dtype=torch.long)
    for step in range(32):
        new = ids[:, -1:]
        hidden = ours.run(
            ours.embed(new), sequence(new, start=step), cache=cache, memory=None if step else memory
        )
        scores = ours.head(hidden[:, 0])
        scores[:, 1] = -torch.inf  # theirs may not end before 32 tokens
        ids = torch.cat([ids, scores.argmax(-1, keepdim=True)], 1)
    assert ids.tolist() == expected.tolist()


@torch.no_grad()
@pytest.mark.parametrize(
    ("family", "sizes"), [("t5", _checkpoints.T5_SMALL), ("mt5", _checkpoints.MT5_SMALL)]
)
def test_an_encoder_decoder_of_published_width(tmp_path: Path, family: str, sizes: dict[str, Any]) -> None:
    theirs = SEQUENCE_TO_SEQUENCE[family](tmp_path, **sizes)
    source, ids = torch.randint(0, sizes["vocab_size"], (2, 1, 17))
    found = logits(loaded(tmp_path, "language_model"), ids, source)
    expected = theirs(input_ids=source, decoder_input_ids=ids).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("siglip", _checkpoints.SIGLIP_BASE | _checkpoints.PATCHES),
        ("clip", _checkpoints.CLIP_BASE | _checkpoints.PATCHES),
        ("vit", _checkpoints.CLIP_BASE | _checkpoints.PATCHES),
        ("dinov2", _checkpoints.DINOV2_BASE | _checkpoints.PATCHES),
        ("resnet", _checkpoints.RESNET_50),
    ],
)
def test_an_encoder_of_published_width(tmp_path: Path, family: str, sizes: dict[str, Any]) -> None:
    theirs = ENCODERS[family](tmp_path, **sizes)
    pixels = torch.randn(1, 3, 224, 224)
    found = loaded(tmp_path, "encoder")(pixels).values
    torch.testing.assert_close(found, features(theirs, pixels), atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("llama", _checkpoints.SMOLLM2_135M),
        ("qwen2", _checkpoints.QWEN25_05B),
        ("qwen3", _checkpoints.QWEN3_06B),
    ],
)
def test_a_language_model_of_published_width(tmp_path: Path, family: str, sizes: dict[str, Any]) -> None:
    theirs = LANGUAGE_MODELS[family](tmp_path, **sizes)
    ids = torch.randint(0, sizes["vocab_size"], (1, 17))
    found = logits(loaded(tmp_path, "language_model"), ids)
    torch.testing.assert_close(found, theirs(ids).logits, atol=1e-4, rtol=1e-4)


WRITERS: list[tuple[str, str, Callable[..., Any]]] = [
    *(("encoder", name, write) for name, write in ENCODERS.items()),
    *(("language_model", name, write) for name, write in LANGUAGE_MODELS.items()),
    *(("language_model", name, SEQUENCE_TO_SEQUENCE[name]) for name in ("t5", "t5 1.1", "mt5")),
]


@pytest.mark.parametrize(
    ("part", "write"), [(part, write) for part, _, write in WRITERS], ids=[n for _, n, _ in WRITERS]
)
def test_weights_go_back_bit_equal(tmp_path: Path, part: str, write: Callable[..., Any]) -> None:
    write(tmp_path)
    ours: nn.Module = loaded(tmp_path, part)
    keymap = keymaps.find(read_config(tmp_path), part, where="here").keymap
    theirs = read_tensors(tmp_path)
    back = keymap.theirs(ours.state_dict())
    written = {
        name.removeprefix("vision_model.").removeprefix("vit.").removeprefix("resnet."): value
        for name, value in theirs.items()
    }
    assert back
    for name, value in back.items():
        assert written[name.removeprefix("vision_model.")].equal(value), name
    kept, unknown = keymap.ours(theirs)
    dropped = {name for name in keymap.optional if name not in ours.state_dict()}
    assert (kept.keys() - dropped, unknown) == (ours.state_dict().keys() & kept.keys(), [])
    assert len(kept) == len(back) + len(dropped & kept.keys())


SETTINGS = [
    *(("encoder", name, ENCODERS[name]) for name in ("siglip", "clip", "vit", "dinov2")),
    *(("language_model", name, write) for name, write in LANGUAGE_MODELS.items() if name != "mistral"),
]


@pytest.mark.parametrize(("part", "name", "write"), SETTINGS, ids=[name for _, name, _ in SETTINGS])
def test_settings_go_back(tmp_path: Path, part: str, name: str, write: Callable[..., Any]) -> None:
    """Our Config as their config.json: it reads back equal, and all that it says is what theirs said."""
    write(tmp_path)
    values = keymaps.read(tmp_path, part)
    made = build(catalog.config_class(FAMILIES[part], values.pop("kind")), values)
    keymap, described = keymaps.describe(part, made)
    assert described["model_type"] in keymap.model_types
    assert build(type(made), keymap.fields(described)) == made
    config = read_config(tmp_path)
    default = transformers.AutoConfig.for_model(described["model_type"]).to_dict()
    for key, value in described.items():
        if key not in ("rope_theta", "head_dim"):
            assert config.get(key, default.get(key)) == value, key


WHOLE = {
    "idefics3": (_checkpoints.idefics3, 4),
    "llava, clip": (_checkpoints.llava, 16),
    "llava, clip, last layer": (lambda folder: _checkpoints.llava(folder, layer=-1), 16),
    "llava, siglip": (lambda folder: _checkpoints.llava(folder, "siglip_vision_model", -1), 16),
}


@torch.no_grad()
@pytest.mark.parametrize("family", WHOLE)
def test_a_whole_model_gives_the_same_logits(tmp_path: Path, family: str) -> None:
    write, count = WHOLE[family]
    theirs = write(tmp_path)
    pixels = torch.randn(1, 3, 32, 32)
    ids = torch.tensor([[3, 7, *[49] * count, 8, 5, 2]])
    images = pixels[None] if family == "idefics3" else pixels
    expected = theirs(input_ids=ids, pixel_values=images, attention_mask=torch.ones_like(ids)).logits
    model = built(tmp_path)
    zeros = torch.zeros_like(ids)
    item = torch.where(ids == 49, 0, -1)
    positions = torch.arange(ids.shape[1])[None]
    tokens = TokenSequence(ids, zeros - 100, positions, item, zeros + 1, zeros, zeros, zeros == 0)
    row = torch.zeros(1, dtype=torch.long)
    batch = Batch(target=tokens, media={"image": Media(pixels, row, row, row, row)})
    found = model(batch, at=torch.arange(ids.shape[1])).logits
    torch.testing.assert_close(found, expected[0], atol=1e-5, rtol=1e-5)


def built(folder: Path) -> Any:
    """The parts of a whole model joined, as a recipe with ``model: FOLDER`` does it."""
    model = build(
        recipes.Model, {"encoder": str(folder), "connector": str(folder), "language_model": str(folder)}
    )
    made = model.build(vocab_size=50)
    model.load_pretrained(made)
    return made.eval()
