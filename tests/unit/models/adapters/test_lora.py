"""Adapters by PEFT: they alone train, merging changes no answer, and what is kept loads again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts._compose import Case, compose
from tiny import vit_model
from torch import nn

import sightweave
from sightweave import run as runs
from sightweave.core.errors import BackendError, RecipeError
from sightweave.models.adapters import lora
from sightweave.models.adapters.lora import Lora
from sightweave.models.parts import choose_parts, named_parts

pytest.importorskip("peft")
PICTURE = np.full((20, 20, 3), 90, np.uint8)


def shaken(model: Any) -> None:
    """Adapters that do something: their second factor starts at zero."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("part", ["encoder", "connector", "fusion", "language_model"])
def test_adapters_alone_train_and_merge_to_rounding(part: str, dora: bool) -> None:
    torch.manual_seed(0)
    model, processor = compose(Case("cross_attention", (), "decoder_only"), encoder="vit")
    run = sightweave.Run(model.eval(), processor, None)  # type: ignore[arg-type]  # no recipe is needed
    own = {id(parameter) for parameter in named_parts(model)[part].parameters()}
    before = run.generate(PICTURE, "what is it ?", max_tokens=6).logprob
    choose_parts(model, [part], {part: Lora(rank=2, use_dora=dora)})
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    assert not own & {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    model.eval()
    assert run.generate(PICTURE, "what is it ?", max_tokens=6).logprob == pytest.approx(before, abs=1e-5)
    shaken(model)
    adapted = run.generate(PICTURE, "what is it ?", max_tokens=6)
    assert adapted.logprob != pytest.approx(before, abs=1e-3)
    copied = lora.merged(model)
    assert copied is not model
    assert not any("lora_" in name for name in copied.state_dict())
    assert any("lora_" in name for name in model.state_dict())
    lora.merge(model)
    assert model.state_dict().keys() == copied.state_dict().keys()
    again = run.generate(PICTURE, "what is it ?", max_tokens=6)
    assert again.text == adapted.text
    assert again.logprob == pytest.approx(adapted.logprob, abs=1e-5)


def test_without_adapters_a_model_is_its_own_merged_one() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    assert lora.merged(model) is model


def test_targets_are_named_layers() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    choose_parts(model, ["language_model"], {"language_model": Lora(rank=2, target_modules=("q", "up"))})
    adapted = {name.split(".lora_")[0].rpartition(".")[2] for name in model.state_dict() if ".lora_" in name}
    assert adapted == {"q", "up"}


def test_an_unknown_target_names_the_nearest() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    with pytest.raises(RecipeError, match=r"lora\.target_modules has 'qq'. Did you mean 'q'\?"):
        choose_parts(model, ["language_model"], {"language_model": Lora(target_modules=("qq",))})


def test_a_part_without_linear_layers_is_refused() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    with pytest.raises(RecipeError, match="fusion: has no linear layer"):
        choose_parts(model, ["fusion"], {"fusion": Lora()})


def test_dora_beside_a_row_of_zeros_is_refused() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    nn.init.zeros_(model.language_model.blocks[1].attention.out.weight[2])
    with pytest.raises(RecipeError, match=r"blocks\.1\.attention\.out has a row of zeros, and DoRA divides"):
        choose_parts(model, ["language_model"], {"language_model": Lora(rank=2, use_dora=True)})
    choose_parts(
        model, ["language_model"], {"language_model": Lora(rank=2, use_dora=True, target_modules=("q",))}
    )


def test_without_peft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BackendError, match=r"pip install 'sightweave\[lora\]'"):
        choose_parts(model, ["language_model"], {"language_model": Lora()})


def recipe(**stage: Any) -> dict[str, Any]:
    return {
        "data": [{"kind": "scenes", "size": 12}],
        "model": vit_model(),
        "inputs": {"vocab_size": 400},
        "train": {
            "device": "cpu",
            "precision": "fp32",
            "save_every": 2,
            "stages": [{"steps": 3, "batch_size": 2, "parts": ["connector", "language_model"], **stage}],
        },
    }


@pytest.mark.parametrize("keep", [False, True])
def test_a_run_with_adapters_loads_and_answers_as_before(keep: bool, tmp_path: Path) -> None:
    trained = sightweave.train(
        recipe(lora={"language_model": {"rank": 2, "keep": keep}}), out=tmp_path / "run", evaluate=False
    )
    before = trained.generate(PICTURE, "what is it ?", max_tokens=6)
    loaded = sightweave.load(tmp_path / "run", device="cpu")
    assert any("lora_" in name for name in loaded.model.state_dict()) == keep
    after = loaded.generate(PICTURE, "what is it ?", max_tokens=6)
    assert (after.text, after.logprob) == (before.text, before.logprob)


def test_a_run_saved_before_the_stage_that_keeps_adapters_loads(tmp_path: Path) -> None:
    run = sightweave.build(recipe(lora={"language_model": {"rank": 2, "keep": True}}))
    run.save(tmp_path / "run")
    loaded = sightweave.load(tmp_path / "run", device="cpu")
    assert loaded.model.state_dict().keys() == run.model.state_dict().keys()


def test_every_checkpoint_before_that_stage_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier stage's adapters are not those that the last stage keeps: other parts, other ranks."""
    stages = [
        {"steps": 3, "parts": ["language_model"], "lora": {"language_model": {"rank": 2}}},
        {"steps": 3, "parts": ["connector"], "lora": {"connector": {"rank": 3, "keep": True}}},
    ]
    values = recipe()
    values["train"]["stages"] = [{"batch_size": 2, **stage} for stage in stages]
    write, seen = runs.write, []

    def written(folder: Path, *values: Any) -> None:
        write(folder, *values)
        loaded = sightweave.load(folder, device="cpu")
        seen.append(sorted({name.split(".")[0] for name in loaded.model.state_dict() if "lora_" in name}))

    monkeypatch.setattr(runs, "write", written)
    sightweave.train(values, out=tmp_path / "run", evaluate=False)
    # After steps 2 (first stage), 4, 6 and at the end.
    assert seen == [[], ["encoders"], ["encoders"], ["encoders"]]


def test_the_weights_beside_adapters_stay(tmp_path: Path) -> None:
    start = sightweave.build(recipe())
    start.save(tmp_path / "start")
    values = recipe(lora={"language_model": {"rank": 2, "keep": True}}) | {
        "init_from": str(tmp_path / "start")
    }
    trained = sightweave.train(values, out=tmp_path / "run", evaluate=False)
    before = start.model.state_dict()
    moved = set()
    for name, value in trained.model.state_dict().items():
        if "lora_" in name:
            moved.add("lora")
        elif not value.equal(before[name.replace(".base_layer", "")]):
            moved.add(name.split(".")[2])
    assert moved == {"lora", "connector"}


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        (
            [{"steps": 1, "parts": ["connector"], "lora": {"encoder": {}}}],
            "lora has encoder, which is not trained",
        ),
        ([{"steps": 1, "parts": ["token_embedding"], "lora": {"token_embedding": {}}}], "which is a table"),
        ([{"steps": 1, "lora": {"encoder": {"keep": True}}}, {"steps": 1}], "is not the last"),
        ([{"steps": 1, "lora": {"encoder": {"rank": 0}}}], "rank"),
    ],
)
def test_settings_that_make_no_sense(stages: list[dict[str, Any]], reason: str) -> None:
    values = recipe()
    values["train"]["stages"] = stages
    with pytest.raises(RecipeError, match=reason):
        sightweave.build(values)


def test_adapters_say_nothing_of_libraries_that_they_do_not_need() -> None:
    """PEFT imports bitsandbytes wherever it is installed, which warns of a kernel that is not."""
    code = (
        "from torch import nn\n"
        "from sightweave.models.adapters import lora\n"
        "lora.add(nn.Sequential(nn.Linear(4, 4)), lora.Lora(rank=2), where='part')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
