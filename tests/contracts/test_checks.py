"""Every legal composition passes every check, and a check changes nothing."""

from __future__ import annotations

import pytest
import torch
from contracts._compose import PLAIN_CASES, Case, compose, small
from contracts._folders import installed

from sightweave.programs.checks import _program as checks
from sightweave.programs.checks._base import Subject
from sightweave.programs.training.settings import Stage


class Parts:
    """The Configs as a recipe holds them."""

    def __init__(self, case: Case) -> None:
        self.language_model = small("models.language_models", case.language_model)


def subject(case: Case, **settings: object) -> Subject:
    model, processor = compose(case, **settings)  # type: ignore[arg-type]  # as compose takes them
    stages = [Stage(steps=1)]
    if not any(True for _ in model.fusion.parameters()):
        stages.append(Stage(steps=1, name="align", parts=("connector",)))
    return Subject.of(model, processor, parts=Parts(case), stages=stages)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_every_composition_passes(case: Case) -> None:
    made = subject(case)
    found = checks.run(made)
    assert [(one.name, one.finding.measured) for one in found if one.finding.state == "fail"] == []
    passed = {one.name for one in found if one.finding.state == "pass"}
    assert passed >= {"counts", "gradients", "images", "neighbours", "saving"}
    if not made.is_classifier:
        assert passed >= {"labels", "leaks", "cached"}


@pytest.mark.parametrize("encoder", installed("models.encoders"))
def test_every_encoder_passes(encoder: str) -> None:
    found = checks.run(subject(Case("concat", (), "decoder_only"), encoder=encoder))
    assert [(one.name, one.finding.measured) for one in found if one.finding.state == "fail"] == []


def test_a_check_changes_neither_the_model_nor_the_draws() -> None:
    model, processor = compose(Case("cross_attention", (), "decoder_only"), nudged=False)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    parts = Parts(Case("cross_attention", (), "decoder_only"))
    checks.run(Subject.of(model, processor, parts=parts, stages=[Stage(steps=1)]))
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
