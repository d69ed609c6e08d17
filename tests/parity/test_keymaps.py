"""Families that load natively, from folders that Transformers wrote: its numbers, and its weights back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sightweave.core import catalog
from sightweave.core.batch import TokenSequence
from sightweave.core.config import build
from sightweave.core.transformers_folder import read_config, read_tensors
from sightweave.models.keymaps import _base as keymaps

pytest.importorskip("transformers")
from parity import _checkpoints

FAMILIES = {"encoder": "models.encoders", "language_model": "models.language_models"}
ENCODERS = {"siglip": _checkpoints.siglip, "siglip pair": _checkpoints.siglip_pair}
LANGUAGE_MODELS = {
    "llama": _checkpoints.llama,
    "llama, tied": lambda folder: _checkpoints.llama(folder, tie_word_embeddings=True),
    "mistral": _checkpoints.mistral,
}


def loaded(folder: Path, part: str, **fields: Any) -> Any:
    """Our part, with the folder's sizes and weights."""
    values = keymaps.read(folder, part) | fields
    kind = values.pop("kind")
    sizes = {} if part == "encoder" else {"vocab_size": read_config(folder)["vocab_size"]}
    made = build(catalog.config_class(FAMILIES[part], kind), values).build(**sizes)
    keymaps.load_into(made, folder, part)
    return made.eval()


def features(model: Any, pixels: Tensor) -> Tensor:
    return getattr(model, "vision_model", model)(pixels).last_hidden_state  # type: ignore[no-any-return]


def logits(model: Any, ids: Tensor) -> Tensor:
    zeros = torch.zeros_like(ids)
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    tokens = TokenSequence(
        ids, zeros - 100, positions, zeros - 1, zeros + 1, zeros, zeros, zeros == 0, plain=True
    )
    hidden = model.run(model.embed(ids), tokens)
    return model.head(hidden.flatten(0, 1)).unflatten(0, ids.shape)  # type: ignore[no-any-return]


@torch.no_grad()
@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoder_gives_the_same_features(tmp_path: Path, family: str) -> None:
    theirs = ENCODERS[family](tmp_path)
    pixels = torch.randn(3, 3, 32, 32)
    found = loaded(tmp_path, "encoder")(pixels).values
    torch.testing.assert_close(found, features(theirs, pixels), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("side", [16, 48, 64])
def test_places_are_interpolated_as_theirs(tmp_path: Path, side: int) -> None:
    theirs = _checkpoints.siglip(tmp_path)
    pixels = torch.randn(2, 3, side, side)
    expected = theirs(pixels, interpolate_pos_encoding=True).last_hidden_state
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
def test_an_encoder_of_published_width(tmp_path: Path) -> None:
    theirs = _checkpoints.siglip(tmp_path, **_checkpoints.SIGLIP_BASE, image_size=224, patch_size=16)
    pixels = torch.randn(1, 3, 224, 224)
    found = loaded(tmp_path, "encoder")(pixels).values
    torch.testing.assert_close(found, features(theirs, pixels), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_language_model_of_published_width(tmp_path: Path) -> None:
    theirs = _checkpoints.llama(tmp_path, **_checkpoints.SMOLLM2_135M)
    ids = torch.randint(0, 49152, (1, 17))
    found = logits(loaded(tmp_path, "language_model"), ids)
    torch.testing.assert_close(found, theirs(ids).logits, atol=1e-4, rtol=1e-4)


WRITERS: list[tuple[str, str, Callable[..., Any]]] = [
    *(("encoder", name, write) for name, write in ENCODERS.items()),
    *(("language_model", name, write) for name, write in LANGUAGE_MODELS.items()),
]


@pytest.mark.parametrize(
    ("part", "write"), [(part, write) for part, _, write in WRITERS], ids=[n for _, n, _ in WRITERS]
)
def test_weights_go_back_bit_equal(tmp_path: Path, part: str, write: Callable[..., Any]) -> None:
    write(tmp_path)
    ours: nn.Module = loaded(tmp_path, part)
    keymap, _ = keymaps.find(read_config(tmp_path), part, where="here")
    theirs = read_tensors(tmp_path)
    back = keymap.theirs(ours.state_dict())
    written = {name.removeprefix("vision_model."): value for name, value in theirs.items()}
    assert back
    for name, value in back.items():
        assert written[name.removeprefix("vision_model.")].equal(value), name
    kept, unknown = keymap.ours(theirs)
    assert (len(kept), unknown) == (len(back), [])
