"""Settings that do not work with sharded weights are refused; sharding itself is tested with several processes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sightweave.core.errors import RecipeError
from sightweave.models.adapters.lora import Lora
from sightweave.programs.training import rows, sharding
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.world import World

PARTS = ("connector", "language_model")


@pytest.mark.parametrize(
    ("stages", "settings", "message"),
    [
        (
            [Stage(steps=1, name="tune", parts=PARTS, lora={"language_model": Lora()})],
            {},
            r"stage 'tune' trains adapters \(lora of language_model\), .* set mesh.shard to false",
        ),
        (
            [Stage(steps=1, parts=("connector",))],
            {"quantize": {"language_model": "int8"}},
            r"train.quantize has language_model, .* Remove quantize",
        ),
        (
            [Stage(steps=1, name="first", parts=("connector",), cache_features=8), Stage(steps=1)],
            {},
            r"stage 'first' caches features \(cache_features=8\) .* Set cache_features to 0",
        ),
        ([Stage(steps=1)], {"validate_samples": 3}, r"validate_samples is 3; .* Set validate_samples to 0"),
    ],
)
def test_settings_that_need_whole_weights_are_refused(
    stages: list[Stage], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=f"mesh.shard is true, but .*{message}"):
        sharding.check(Settings(stages=tuple(stages), **settings))


def test_features_of_an_encoder_that_no_stage_trains_may_be_cached() -> None:
    sharding.check(Settings(stages=(Stage(steps=1, parts=PARTS, cache_features=8),)))


@pytest.mark.parametrize(("count", "size"), [(7, 3), (2, 4), (8, 4), (0, 2)])
def test_the_rows_of_all_processes_are_the_whole_in_order(count: int, size: int) -> None:
    whole = torch.arange(count)
    shares = [whole[World(rank, size).rows(count)] for rank in range(size)]
    assert torch.equal(torch.cat(shares), whole)
    assert [len(one) for one in shares] == [len(one) for one in torch.chunk(torch.empty(count), size)] + [
        0
    ] * (size - len(torch.chunk(torch.empty(count), size)))


def test_a_tensor_that_is_not_sharded_passes_through() -> None:
    whole = torch.ones(4)
    assert rows.own(whole) is whole
    assert rows.own_rows(whole, whole) is whole
    assert World().gather_rows(whole, 4) is whole
