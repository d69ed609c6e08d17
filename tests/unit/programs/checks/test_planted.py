"""A fault planted in a copy is found, by the check that is for it; without it, all pass."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import sightweave
from sightweave.core.errors import WiringError
from sightweave.data.inputs import pixels as pixel_loading
from sightweave.data.inputs import processor as processors
from sightweave.data.inputs import template
from sightweave.data.inputs.transforms import ImageTransform
from sightweave.models.fusions.concat import Concat
from sightweave.models.keymaps import _base as keymaps
from sightweave.models.language_models import decoder_only
from sightweave.models.nn.attention import Attention
from sightweave.programs.checks import pixels
from sightweave.programs.checks._base import Subject

pytest.importorskip("transformers")
from parity import _checkpoints

Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("folders")
    _checkpoints.siglip(folder / "siglip")
    tokenizer = _checkpoints.byte_level(folder / "llama")
    _checkpoints.llama(folder / "llama", vocab_size=len(tokenizer), tie_word_embeddings=True)
    return str(folder / "siglip"), str(folder / "llama")


def recipe(folders: tuple[str, str]) -> dict[str, Any]:
    return {
        "data": [{"kind": "scenes", "size": 4}],
        "model": {"encoder": {"kind": folders[0], "image_size": 48}, "language_model": folders[1]},
        "train": {
            "device": "cpu",
            "precision": "fp32",
            "stages": [
                {"steps": 1, "name": "align", "parts": ["connector"]},
                {"steps": 1, "name": "tune", "parts": ["connector", "language_model"]},
            ],
        },
    }


def failed(folders: tuple[str, str], what: Any = None) -> dict[str, str]:
    found = sightweave.check(what or recipe(folders))
    return {one.name: one.finding.measured for one in found if one.finding.state == "fail"}


def test_without_a_fault_all_pass(folders: tuple[str, str]) -> None:
    found = sightweave.check(recipe(folders))
    assert {one.finding.state for one in found} == {"pass"}
    assert len(found) == 12


def swapped_channels(patch: Patch) -> None:
    resize = ImageTransform._resize

    def swapped(self: ImageTransform, pixels: Any, view: Any) -> Any:
        return resize(self, pixels[..., ::-1].copy(), view)

    loader = pixel_loading.PixelLoader.__call__

    def load(self: Any, *args: Any, **kwargs: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(ImageTransform, "_resize", swapped)
            return loader(self, *args, **kwargs)

    patch.setattr(pixel_loading.PixelLoader, "__call__", load)


def wrong_normalisation(patch: Patch) -> None:
    make = processors.Processor.__post_init__

    def other(self: Any) -> None:
        object.__setattr__(self, "transform", dataclasses.replace(self.transform, mean=(0.48, 0.46, 0.41)))
        make(self)

    patch.setattr(processors.Processor, "__post_init__", other)


def table_not_interpolated(patch: Patch) -> None:
    def cut(table: torch.Tensor, count: int) -> torch.Tensor:
        return table.repeat(-(-count // len(table)), 1)[:count]

    patch.setattr(keymaps, "resize_grid", cut)


def image_tokens_off_by_one(patch: Patch) -> None:
    add = template._add_medium

    def shifted(stretch: Any, item: int, counts: Any, tokenizer: Any, layout: Any) -> None:
        first = len(stretch)
        add(stretch, item, counts, tokenizer, layout)
        stretch.item[first:] = [-1, *stretch.item[first:-1]]

    patch.setattr(template, "_add_medium", shifted)


def too_few_image_tokens(patch: Patch) -> None:
    patch.setattr(decoder_only.DecoderOnly, "embed", decoder_only.DecoderOnly.embed)
    add = template._add_medium

    def fewer(stretch: Any, item: int, counts: Any, tokenizer: Any, layout: Any) -> None:
        add(stretch, item, [count - 1 for count in counts], tokenizer, layout)

    patch.setattr(template, "_add_medium", fewer)


def labels_shifted_twice(patch: Patch) -> None:
    from sightweave.data.inputs import collate

    make = collate.token_sequence

    def shifted(rows: Any, pad_id: int) -> Any:
        tokens = make(rows, pad_id)
        return dataclasses.replace(tokens, labels=tokens.labels.roll(-1, 1))

    patch.setattr(collate, "token_sequence", shifted)


def a_frozen_part_trains(patch: Patch) -> None:
    from sightweave.models import parts

    choose = parts.choose_parts

    def more(model: Any, *args: Any, **kwargs: Any) -> None:
        choose(model, *args, **kwargs)
        model.encoder.norm.requires_grad_(True)

    from sightweave.programs.checks import gradients

    patch.setattr(gradients, "choose_parts", more)


def an_untied_head(patch: Patch) -> None:
    build = decoder_only.Config.build

    def untied(self: Any, **sizes: Any) -> Any:
        made = build(self, **sizes)
        made.output = nn.Linear(made.dim, made.vocab_size, bias=False)
        return made

    untied.__annotations__ = build.__annotations__  # by which a kind's class is known
    patch.setattr(decoder_only.Config, "build", untied)
    patch.setattr(keymaps, "load_into", lambda *args: None)


def a_mask_leak(patch: Patch) -> None:
    forward = Attention.forward

    def leaking(self: Any, hidden: Any, mask: Any, **more: Any) -> Any:
        if more.get("rotation") is not None and more.get("cache") is None:
            hidden = hidden + 0.05 * hidden.roll(-1, 1)
        return forward(self, hidden, mask, **more)

    patch.setattr(Attention, "forward", leaking)


def no_gradient_behind_the_connector(patch: Patch) -> None:
    put = Concat.input

    def cut(self: Any, hidden: Any, tokens: Any, media: Any, cache: Any) -> Any:
        if media is not None:
            media = dataclasses.replace(media, embeddings=media.embeddings.detach())
        return put(self, hidden, tokens, media, cache)

    patch.setattr(Concat, "input", cut)


def pictures_that_are_not_looked_at(patch: Patch) -> None:
    put = Concat.input

    def blind(self: Any, hidden: Any, tokens: Any, media: Any, cache: Any) -> Any:
        if media is not None:
            media = dataclasses.replace(media, embeddings=media.embeddings * 0 + 0.1)
        return put(self, hidden, tokens, media, cache)

    patch.setattr(Concat, "input", blind)


FAULTS: list[tuple[Callable[[Patch], None], str]] = [
    (swapped_channels, "pixels"),
    (wrong_normalisation, "pixels"),
    (table_not_interpolated, "places"),
    (image_tokens_off_by_one, "counts"),
    (too_few_image_tokens, "counts"),
    (labels_shifted_twice, "labels"),
    (a_frozen_part_trains, "gradients"),
    (an_untied_head, "ties"),
    (a_mask_leak, "leaks"),
    (no_gradient_behind_the_connector, "gradients"),
    (pictures_that_are_not_looked_at, "images"),
]


@pytest.mark.parametrize(("plant", "name"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_the_fault_is_found(
    plant: Callable[[Patch], None], name: str, folders: tuple[str, str], monkeypatch: Patch
) -> None:
    plant(monkeypatch)
    found = failed(folders)
    assert name in found, found


def test_no_training_starts_on_a_fault(folders: tuple[str, str], tmp_path: Path, monkeypatch: Patch) -> None:
    a_mask_leak(monkeypatch)
    with pytest.raises(WiringError, match="No token of an answer can attend to a later one") as caught:
        sightweave.train(recipe(folders), out=tmp_path / "run", evaluate=False)
    assert "train.check=false" in str(caught.value)
    assert not (tmp_path / "run" / "checkpoint").exists()
    off = recipe(folders)
    off["train"]["check"] = False
    sightweave.train(off, out=tmp_path / "other", evaluate=False)


def test_a_training_has_the_same_bits_with_and_without(folders: tuple[str, str], tmp_path: Path) -> None:
    made = []
    for is_on in (True, False):
        values = recipe(folders)
        values["train"]["check"] = is_on
        made.append(sightweave.train(values, out=tmp_path / str(is_on), evaluate=False).model.state_dict())
    assert all(value.equal(made[1][name]) for name, value in made[0].items())


def test_a_run_by_the_command(folders: tuple[str, str], tmp_path: Path) -> None:
    sightweave.train(recipe(folders), out=tmp_path / "run", evaluate=False)
    command = [sys.executable, "-m", "sightweave", "check", str(tmp_path / "run"), "--json", "--trust-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["check"]: row["state"] for row in rows if row["state"] != "pass"} == {"places": "skip"}
    assert next(row for row in rows if row["check"] == "counts")["measured"] == "200 sizes, 9 tokens each"


def test_the_command_fails_where_a_check_does(folders: tuple[str, str], tmp_path: Path) -> None:
    run = sightweave.build(recipe(folders))
    run.model.connector.projection.weight.data.mul_(1e-9)
    run.save(tmp_path / "run")
    command = [sys.executable, "-m", "sightweave", "check", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAIL" in done.stdout
    assert "another image" in done.stdout


def test_an_encoder_may_state_its_pixels_itself(folders: tuple[str, str], tmp_path: Path) -> None:
    """As timm does: beside the weights stands a config.json, and no preprocessor_config.json."""
    run = sightweave.build(recipe(folders))
    (tmp_path / "config.json").write_text('{"architecture": "resnet10t"}', encoding="utf-8")
    stated = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.2), "fit": "squash", "exact": True}
    for given, state in ((stated, "pass"), (stated | {"mean": (0.1, 0.5, 0.6)}, "fail")):
        transform = dataclasses.replace(run.processor.transform, resample="bilinear", **given)
        processor = dataclasses.replace(run.processor, transform=transform)
        subject = Subject.of(
            run.model, processor, parts=run.recipe.model, pretrained={"encoder": str(tmp_path)}
        )
        subject.model.encoder.preprocessing = stated  # type: ignore[assignment]  # a module takes any
        assert pixels.check(subject).state == state
