"""AdamW as torch's, Muon as a plain reference, and a state that saves as tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sightweave.core.checkpoint import read_weights, write_folder
from sightweave.core.config import build
from sightweave.core.errors import CheckpointError
from sightweave.models.nn.block import BlockShape
from sightweave.programs.training.optimizers import (
    Muon,
    Optimizer,
    OptimizerConfig,
    hidden_matrices,
    orthogonalise,
)


class Model(nn.Module):
    """A stem, a table and two blocks: every sort of parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 2)
        self.table = nn.Embedding(11, 8)
        self.blocks = BlockShape(dim=8, num_heads=2, hidden_dim=16, bias=True).blocks(2)
        self.head = nn.Linear(8, 11)


def model(seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return Model()


def set_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def reference_newton_schulz(matrix: Tensor) -> Tensor:
    """One matrix at a time, as the formula is written."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (4, 12), (12, 4), (1, 5)])
def test_orthogonalise_equals_the_formula_matrix_by_matrix(rows: int, columns: int) -> None:
    matrices = torch.randn(3, rows, columns, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([reference_newton_schulz(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonalise(matrices), expected, rtol=1e-4, atol=1e-5)


def test_orthogonalise_brings_singular_values_near_one_and_keeps_directions() -> None:
    matrices = torch.randn(4, 16, 32, generator=torch.Generator().manual_seed(2)) * 100
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.6
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    assert (
        torch.nn.functional.cosine_similarity(
            orthogonalise(matrices).flatten(1), (left @ right).flatten(1)
        ).min()
        > 0.97
    )


def test_orthogonalise_leaves_zero_alone() -> None:
    assert torch.equal(orthogonalise(torch.zeros(2, 4, 4)), torch.zeros(2, 4, 4))


def reference_muon(
    weights: list[Tensor], gradients: list[list[Tensor]], lr: float, momentum: float, decay: float
) -> None:
    buffers = [torch.zeros_like(weight) for weight in weights]
    for step in gradients:
        for weight, gradient, buffer in zip(weights, step, buffers, strict=True):
            buffer.mul_(momentum).add_(gradient, alpha=1 - momentum)
            ahead = gradient * (1 - momentum) + momentum * buffer
            weight.mul_(1 - lr * decay)
            scale = max(1, weight.shape[0] / weight.shape[1]) ** 0.5
            weight.sub_(lr * scale * reference_newton_schulz(ahead))


def test_muon_equals_an_unbatched_reference_over_several_steps() -> None:
    generator = torch.Generator().manual_seed(3)
    shapes = [(6, 6), (4, 8), (6, 6), (8, 4), (4, 8)]
    start = [torch.randn(shape, generator=generator) for shape in shapes]
    gradients = [[torch.randn(shape, generator=generator) for shape in shapes] for _ in range(4)]
    expected = [weight.clone() for weight in start]
    reference_muon(expected, gradients, lr=0.02, momentum=0.95, decay=0.1)
    ours = [nn.Parameter(weight.clone()) for weight in start]
    muon = Muon(ours, lr=0.02, momentum=0.95, weight_decay=0.1)
    for step in gradients:
        for weight, gradient in zip(ours, step, strict=True):
            weight.grad = gradient
        muon.step()
    for weight, right in zip(ours, expected, strict=True):
        torch.testing.assert_close(weight.detach(), right, rtol=1e-4, atol=1e-5)


def test_muon_treats_the_parts_of_a_joined_matrix_as_separate_ones() -> None:
    generator = torch.Generator().manual_seed(4)
    start, gradient = torch.randn(12, 4, generator=generator), torch.randn(12, 4, generator=generator)
    joined, squares = nn.Parameter(start.clone()), [nn.Parameter(part.clone()) for part in start.chunk(3)]
    joined.grad = gradient
    for square, part in zip(squares, gradient.chunk(3), strict=True):
        square.grad = part
    Muon([joined], parts=3).step()
    Muon(squares).step()
    torch.testing.assert_close(
        joined.detach(), torch.cat([s.detach() for s in squares]), rtol=1e-5, atol=1e-6
    )
    whole = nn.Parameter(start.clone())
    whole.grad = gradient
    Muon([whole]).step()
    assert not torch.allclose(whole, joined, atol=1e-3)


def test_muon_passes_over_parameters_without_a_gradient_and_returns_the_closures_loss() -> None:
    a, b = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    muon = Muon([a, b])

    def closure() -> float:
        assert torch.is_grad_enabled()
        a.grad = torch.eye(2)
        return 7.0

    assert muon.step(closure) == 7.0
    assert torch.equal(b, torch.ones(2, 2))
    assert not torch.equal(a, torch.ones(2, 2))


def test_muon_refuses_what_is_no_matrix() -> None:
    with pytest.raises(ValueError, match=r"Muon updates matrices \(got a parameter of shape \(3,\)\)"):
        Muon([nn.Parameter(torch.ones(3))])
    with pytest.raises(ValueError, match="3 parts do not divide the 4 rows"):
        Muon([nn.Parameter(torch.ones(4, 4))], parts=3)


def test_muon_is_for_the_matrices_of_blocks_and_for_kernels() -> None:
    names = set(hidden_matrices(model()))
    assert names == {"stem.weight"} | {
        f"blocks.{index}.{name}.weight"
        for index in range(2)
        for name in (
            *(f"attention.{part}" for part in "qkv"),
            "attention.out",
            *(f"feed_forward.{part}" for part in ("gate", "up", "down")),
        )
    }
    made = Optimizer(model(), name="muon")
    adamw, muon = made.optimizers
    assert sum(len(group["params"]) for group in muon.param_groups) == 15
    assert isinstance(adamw, torch.optim.AdamW)
    assert sum(len(o_group["params"]) for o in made.optimizers for o_group in o.param_groups) == len(
        made.parameters
    )


def test_adamw_equals_torchs_own() -> None:
    ours, theirs = model(), model()
    optimizer = build(OptimizerConfig, {"lr": 0.01, "weight_decay": 0.1, "betas": [0.9, 0.95]}).build(ours)
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    plain = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), foreach=False, fused=False)
    for step in range(5):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        optimizer.set_factor(0.5)
        for group in plain.param_groups:
            group["lr"] = 0.005
        optimizer.step()
        plain.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_vectors_are_not_decayed() -> None:
    module = model()
    vector, matrix = module.blocks[0].attention_norm.weight, module.table.weight
    before = matrix.detach().clone()
    optimizer = Optimizer(module, lr=0.1, weight_decay=0.5)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(vector, torch.ones_like(vector))
    torch.testing.assert_close(matrix.detach(), before * 0.95)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_resumed_optimizer_goes_on_as_if_nothing_had_happened(tmp_path: Path, name: str) -> None:
    straight, resumed = model(), model()
    one, two = Optimizer(straight, name=name), Optimizer(resumed, name=name)  # type: ignore[arg-type]
    for step in range(3):
        for module, optimizer in ((straight, one), (resumed, two)):
            set_gradients(module, step)
            optimizer.step()
    write_folder(tmp_path / "c", {"optimizer": two.state_tensors(), "model": resumed.state_dict()})
    fresh = model(seed=1)
    fresh.load_state_dict(read_weights(tmp_path / "c"))
    three = Optimizer(fresh, name=name)  # type: ignore[arg-type]
    three.load_state_tensors(read_weights(tmp_path / "c", name="optimizer"))
    for step in range(3, 6):
        for module, optimizer in ((straight, one), (fresh, three)):
            set_gradients(module, step)
            optimizer.step()
    for left, right in zip(straight.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(left, right)


def test_state_of_another_model_is_refused() -> None:
    optimizer = Optimizer(model())
    with pytest.raises(CheckpointError, match="'other/exp_avg' belongs to no trained parameter"):
        optimizer.load_state_tensors({"other/exp_avg": torch.ones(2)})
    with pytest.raises(
        CheckpointError, match=r"'head.bias/exp_avg' has shape \(2,\), but its parameter has \(11,\)"
    ):
        optimizer.load_state_tensors({"head.bias/exp_avg": torch.ones(2)})
    assert optimizer.state_tensors() == {}


def test_frozen_parts_are_left_alone() -> None:
    module = model()
    module.blocks.requires_grad_(False)
    optimizer = Optimizer(module, name="muon")
    assert not any(key.startswith("blocks") for key in optimizer.parameters)
    set_gradients(module, 0)
    before = module.blocks[0].attention.q.weight.clone()
    optimizer.step()
    assert torch.equal(module.blocks[0].attention.q.weight, before)
    optimizer.zero_grad()
    assert module.head.weight.grad is None


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"optimizer is adamw or muon \(got 'sgd'\)"):
        Optimizer(model(), name="sgd")  # type: ignore[arg-type]
    module = model()
    module.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        Optimizer(module)
