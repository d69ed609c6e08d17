"""One process agrees with itself; several need a connection; and their number must be the one that the recipe names."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import sightweave
from sightweave.core.device import Precision
from sightweave.core.errors import BackendError, RecipeError
from sightweave.programs.training.world import Mesh, World, opened


def test_one_process_is_the_first_and_its_values_are_all() -> None:
    alone = World()
    assert (alone.rank, alone.size, alone.is_first) == (0, 1, True)
    assert alone.mean(0.1) == 0.1
    assert alone.sum([0.1, 3]) == [0.1, 3]
    assert alone.agree(True)
    assert not alone.agree(False)
    values = {"any": {"thing"}}
    assert alone.gather(values)[0] is values
    assert alone.from_first(values) is values


def test_one_process_changes_no_tensor_and_waits_for_nobody() -> None:
    alone, one = World(), torch.tensor([1.0, 2.0])
    alone.add_up([one])
    alone.copy_from_first([one])
    assert one.tolist() == [1.0, 2.0]
    alone.barrier()
    alone.wait_for_first()
    turns = []
    with alone.in_turns():
        turns.append(1)
    assert turns == [1]
    alone.close()


def test_only_the_first_of_several_is_the_first() -> None:
    assert [World(rank, 3).is_first for rank in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    "ask",
    [
        lambda one: one.mean(1.0),
        lambda one: one.agree(True),
        lambda one: one.gather("a"),
        lambda one: one.add_up([torch.ones(1)]),
        lambda one: one.copy_from_first([torch.ones(1)]),
        lambda one: one.barrier(),
        lambda one: one.wait_for_first(),
    ],
)
def test_several_cannot_talk_without_a_connection(ask: Callable[[World], Any]) -> None:
    with pytest.raises(BackendError, match="process 1 of 2 is not connected to the others"):
        ask(World(1, 2))


@pytest.mark.parametrize(("rank", "size"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_that_no_process_has_is_refused(rank: int, size: int) -> None:
    with pytest.raises(ValueError, match=rf"rank of {size} processes is 0 to {size - 1} \(got {rank}\)"):
        World(rank, size)


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1", "RANK": "0"}])
def test_a_single_process_needs_no_torchrun(environment: dict[str, str]) -> None:
    with opened(Mesh(), environment) as world:
        assert world == World()


@pytest.mark.parametrize(
    ("dp", "environment", "message"),
    [
        (8, {}, r"mesh.dp is 8, but 1 process\(es\) were started.*set mesh.dp=1, or start 8: torchrun"),
        (1, {"WORLD_SIZE": "2", "RANK": "0"}, r"mesh.dp is 1, but 2 process\(es\) were started"),
    ],
)
def test_another_number_of_processes_is_refused(dp: int, environment: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message), opened(Mesh(dp=dp), environment):
        pass


def test_the_processes_of_groups_count_too() -> None:
    message = (
        r"mesh.dp is 2 and mesh.tp is 4, which needs 8 processes, but 2 process\(es\) were started \(WORLD_SIZE\); .*"
        "product is 2, or start 8: torchrun --nproc-per-node 8"
    )
    environment = {"WORLD_SIZE": "2", "RANK": "0"}
    with pytest.raises(RecipeError, match=message), opened(Mesh(dp=2, tp=4), environment):
        pass


@pytest.mark.parametrize(
    ("fields", "remedy"), [({"shard": True}, "set mesh.shard=false"), ({"tp": 2}, "set mesh.tp=1")]
)
def test_context_parallelism_is_not_combined(fields: dict[str, Any], remedy: str) -> None:
    message = f"mesh.cp is 2, which cannot be combined with mesh.shard or mesh.tp; {remedy}"
    with pytest.raises(ValueError, match=message):
        Mesh(cp=2, **fields)


def test_a_group_splits_the_tokens_or_the_model() -> None:
    group = World(1, 2)
    assert World().group is None
    assert World(1, 4, context=group).group is group
    assert World(1, 4, tensor=group).group is group


def test_sharding_and_splitting_cannot_be_combined() -> None:
    with pytest.raises(
        ValueError, match=r"mesh.shard is true and mesh.tp is 2, .* set mesh.tp=1 .* mesh.shard=false"
    ):
        Mesh(shard=True, tp=2)


def test_processes_that_torchrun_did_not_start_are_told_so() -> None:
    environment = {"WORLD_SIZE": "2", "RANK": "1"}
    with (
        pytest.raises(BackendError, match="MASTER_ADDR, MASTER_PORT is not set in the environment"),
        opened(Mesh(dp=2), environment),
    ):
        pass


def test_the_device_of_one_process_and_of_a_cpu_stays() -> None:
    assert World().device(torch.device("cuda", 1)) == torch.device("cuda", 1)
    assert World(1, 2).device(torch.device("cpu")) == torch.device("cpu")


def test_a_gpu_that_all_processes_would_share_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"train.device is cuda:0, which all 2 processes would share"):
        World(1, 2).device(torch.device("cuda", 0))


def test_a_process_without_a_gpu_of_its_own_is_refused() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(BackendError, match=rf"process {count} of this machine needs .* there are {count}"):
        World(count, count + 2, local_rank=count).device(torch.device("cuda"))


def test_the_precision_of_one_process_stays() -> None:
    chosen = Precision("bf16", torch.device("cpu"), "measured")
    assert World().precision(chosen) is chosen


def test_only_modules_of_the_mesh_use_torch_distributed() -> None:
    source = Path(sightweave.__file__).parent
    users = set()
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{one.name}" for one in node.names]
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.distributed":
                names = ["torch.distributed"]
            if any(name.startswith("torch.distributed") for name in names):
                users.add(path.relative_to(source).as_posix())
    modules = ("sharding", "tensor_parallel", "world")
    assert users == {f"programs/training/{name}.py" for name in modules}
