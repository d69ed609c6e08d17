"""Frozen layers in few bits: what they hold, that they compute what it says, and that a run ends with ordinary weights."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from unit.models.adapters.test_lora import PICTURE, recipe

import sightweave
from sightweave import run as runs
from sightweave.core.errors import BackendError, RecipeError
from sightweave.models.adapters import quantization
from sightweave.models.adapters.quantization import QuantizedLinear
from sightweave.programs.checks._base import nudge

bitsandbytes = pytest.importorskip("bitsandbytes")
FORMS: tuple[quantization.Form, ...] = ("int8", "nf4")


def layer(bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(100, 37, bias=bias)


def test_int8_keeps_each_row_to_a_step_of_its_own() -> None:
    plain = layer()
    found = QuantizedLinear(plain, "int8").weight
    step = plain.weight.abs().amax(1, keepdim=True) / 127
    assert ((found - plain.weight).abs() <= step * 0.6).all()  # half a step, and half precision
    assert ((found / step).round() - found / step).abs().max() < 0.1


def test_nf4_is_the_nearest_of_sixteen_quantiles_in_each_block() -> None:
    plain = nn.Linear(128, 8, bias=False)
    found = QuantizedLinear(plain, "nf4").weight.flatten().view(-1, 64)
    blocks = plain.weight.detach().flatten().view(-1, 64)
    # Section 3 of the paper: 8 steps up and 7 down between the quantiles of a normal distribution, scaled to -1 .. 1.
    from scipy.stats import norm

    edge = (1 - 1 / 32 + 1 - 1 / 30) / 2
    ups = norm.ppf(np.linspace(edge, 0.5, 9)[:-1])
    downs = -norm.ppf(np.linspace(edge, 0.5, 8)[:-1])
    levels = torch.tensor(np.sort(np.concatenate([ups, [0.0], downs])) / ups.max(), dtype=torch.float32)
    most = blocks.abs().amax(1, keepdim=True)
    nearest = levels[(blocks[..., None] / most[..., None] - levels).abs().argmin(-1)] * most
    assert torch.allclose(found, nearest, atol=1e-3)
    assert (found == 0).sum() > 0


@pytest.mark.parametrize("form", FORMS)
def test_zeros_stay_zeros(form: quantization.Form) -> None:
    plain = layer()
    nn.init.zeros_(plain.weight[5])
    plain.weight.data[6, :64] = 0
    found = QuantizedLinear(plain, form).weight
    assert not found[5].any()
    assert not found[6, :36].any()
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_products_and_gradients_are_those_of_the_ordinary_layer(
    form: quantization.Form, bias: bool, autocast: bool
) -> None:
    few = nn.Sequential(layer(bias))
    quantization.quantize(few, form, where="encoder")
    plain = copy.deepcopy(few)
    quantization.restore(plain)
    assert type(plain[0]) is nn.Linear
    x = torch.randn(3, 5, 100, requires_grad=True)
    found = []
    for model in (few, plain):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = model(x)
        found.append((y, *torch.autograd.grad(y.float().pow(2).sum(), x)))
    assert found[0][0].equal(found[1][0])
    assert found[0][0].dtype == (torch.bfloat16 if autocast else torch.float32)
    assert torch.allclose(
        found[0][1], found[1][1], rtol=2e-2 if autocast else 0, atol=1e-3 if autocast else 0
    )


@pytest.mark.parametrize(("form", "share"), [("int8", 0.27), ("nf4", 0.15)])
def test_it_takes_the_memory_that_is_told(form: quantization.Form, share: float) -> None:
    few = QuantizedLinear(nn.Linear(256, 256, bias=False), form)
    assert not list(few.parameters())
    assert sum(one.nbytes for one in few.buffers()) < share * 256 * 256 * 4


def test_no_weight_is_kept_for_the_backward_pass() -> None:
    few = nn.Sequential(*(QuantizedLinear(nn.Linear(64, 64), "nf4") for _ in range(3)))
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        few(torch.randn(2, 64, requires_grad=True))
    assert not [one for one in kept if one.numel() >= 64 * 64]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_adapters_train_beside_few_bits_and_the_run_is_an_ordinary_one(
    form: str, dora: bool, keep: bool, tmp_path: Path
) -> None:
    start = sightweave.build(recipe())
    nudge(start.model)  # DoRA has no use for rows of zeros
    start.save(tmp_path / "start")
    values = recipe(lora={"language_model": {"rank": 2, "use_dora": dora, "keep": keep}})
    values |= {"init_from": str(tmp_path / "start")}
    values["train"]["quantize"] = {"encoder": form, "language_model": form}
    run = sightweave.train(values, out=tmp_path / "run", evaluate=False)
    assert not quantization.is_quantized(run.model)
    quantization.quantize(start.model.encoder, form, where="encoder")
    quantization.restore(start.model)
    attention = run.model.encoder.blocks[0].attention
    assert attention.q.weight.equal(start.model.encoder.blocks[0].attention.q.weight)
    if not keep:
        assert run.model.state_dict().keys() == start.model.state_dict().keys()
    loaded = sightweave.load(tmp_path / "run", device="cpu")
    before = run.generate(PICTURE, "what is it ?", max_tokens=6)
    after = loaded.generate(PICTURE, "what is it ?", max_tokens=6)
    assert (after.text, after.logprob) == (before.text, before.logprob)


def test_checkpoints_along_the_way_are_ordinary_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[list[str]] = []
    write = runs.write

    def written(folder: Path, weights: dict[str, torch.Tensor], *values: Any) -> None:
        saved.append(sorted(weights))
        write(folder, weights, *values)

    monkeypatch.setattr(runs, "write", written)
    values = recipe(lora={"language_model": {"rank": 2}})
    values["train"]["quantize"] = {"language_model": "nf4"}
    sightweave.train(values, out=tmp_path / "run", evaluate=False)
    plain = sorted(sightweave.build(recipe()).model.state_dict())
    assert saved == [plain] * 3  # after two steps, before the device holds the whole again, and after


def test_the_head_stays_as_it_is(tmp_path: Path) -> None:
    values = recipe()
    values["model"]["language_model"]["tie_embeddings"] = False
    model = sightweave.build(values).model
    quantization.quantize(model.language_model, "nf4", where="language_model")
    assert type(model.language_model.output) is nn.Linear
    assert isinstance(model.language_model.blocks[0].feed_forward.up, QuantizedLinear)


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ({"quantize": {"language_model": "nf4"}}, "it is trained in stage 'main'"),
        ({"quantize": {"token_embedding": "nf4"}}, "which is a table"),
        ({"quantize": {"encoder": "int3"}}, "int8"),
        (
            {
                "quantize": {"language_model": "nf4"},
                "stages": [
                    {"steps": 1, "parts": ["language_model"], "lora": {"language_model": {}}},
                    {"steps": 1, "parts": ["connector"]},
                ],
            },
            "quantized weights .nf4. cannot merge adapters",
        ),
    ],
)
def test_settings_that_make_no_sense(train: dict[str, Any], reason: str) -> None:
    values = recipe()
    values["train"] |= train
    with pytest.raises(RecipeError, match=reason):
        sightweave.build(values)


def test_a_part_without_linear_layers_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"train\.quantize\.fusion: has no linear layer"):
        quantization.quantize(nn.Identity(), "nf4", where="fusion")


def test_without_bitsandbytes_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(BackendError, match=r"pip install 'sightweave\[quantize\]'"):
        quantization.quantize(nn.Sequential(layer()), "nf4", where="encoder")


def test_the_forecast_counts_few_bits() -> None:
    values = recipe(lora={"language_model": {"rank": 2}})
    values["model"]["language_model"] |= {"dim": 256, "num_heads": 4}
    told = {}
    for form in (None, "int8", "nf4"):
        values["train"]["quantize"] = {} if form is None else {"language_model": form}
        (cost,) = [one for one in sightweave.check(values) if one.name == "cost"]
        told[form] = int(cost.finding.measured.split(" s per step, ")[1].split()[0])
    assert told[None] > told["int8"] > told["nf4"]
