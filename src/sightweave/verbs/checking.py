"""Checks of the wiring of a model: those before training, and all of them on request."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightweave.core.device import (
    one_thread,
)
from sightweave.core.errors import RecipeError, WiringError
from sightweave.programs.checks import _program as checks
from sightweave.programs.checks._base import Subject
from sightweave.recipe import Recipe
from sightweave.run import Run
from sightweave.verbs.building import as_run, build

_MAX_CHECKED = 1_000_000_000
"""Maximum parameters of a model that is checked before training, since a check works on copies."""
_SMALL = 20_000_000
"""Parameters below which a model's checks gain nothing from several threads."""


def check_wiring(run: Run) -> str:
    """Checks the model's wiring and returns a line about it; a model that is too large to copy is not checked.

    Raises:
        WiringError: a check failed; the message lists all that failed.
    """
    count = parameter_count(run)
    if count > _MAX_CHECKED:
        return f"wiring: not checked, since {count / 1e9:.1f} billion weights would be copied; run sightweave check for it"

    began = time.perf_counter()
    # Training measures later how many threads are best; until then, a busy machine could slow a small model's checks.
    with one_thread() if count < _SMALL else contextlib.nullcontext():
        found = checks.run(_subject(run, is_trained=False), checks.QUICK)

    failures = ""
    for one in found:
        if one.finding.state == "fail":
            failures += f"\n  {one.title} Measured: {one.finding.measured}"
    if failures:
        raise WiringError(
            f"wiring check failed; training was not started (train.check=false skips the check):{failures}"
        )
    return f"wiring: {len(found)} checks passed in {time.perf_counter() - began:.1f} s"


def _subject(run: Run, *, is_trained: bool) -> Subject:
    return Subject.of(
        run.model,
        run.processor,
        parts=run.recipe.model,
        stages=run.recipe.train.stages,
        quantized=run.recipe.train.quantize,
        # An untrusted run must not make us open folders or download models that it names.
        pretrained=run.recipe.model.pretrained if run.is_trusted else {},
        is_trained=is_trained,
    )


def check(
    what: str | Path | Mapping[str, Any] | Recipe | Run,
    *settings: str,
    data: Any = None,
    trust_run: bool = False,
) -> list[checks.Checked]:
    """Checks whether the parts of a recipe's model, or of a run, are wired correctly; one row per check.

    Args:
        what: A recipe (a file, a mapping or a `Recipe`), or a run or its folder.
        settings: ``path=value`` settings of a recipe.
        data: Used instead of the recipe's sources for the tokenizer, in any of the forms that `train` takes.
        trust_run: As for `load`; only a trusted run is compared with the pretrained weights it started from.

    Raises:
        RecipeError: a mistake in the recipe, or parts that do not fit.
        CheckpointError: no such run, or a damaged one.
    """
    is_run = isinstance(what, Run) or (isinstance(what, str | Path) and Path(what).is_dir())
    if is_run and data is not None:
        raise RecipeError(
            "data: a run has its tokenizer already; other data can only be given with a recipe."
        )

    run = as_run(what, trust_run=trust_run) if is_run else build(what, *settings, data=data)  # type: ignore[arg-type]  # as is_run says
    found = _subject(run, is_trained=is_run and bool(run.folder))
    return checks.run(found)


def parameter_count(run: Run) -> int:
    """Number of parameters of a run's model."""
    return sum(parameter.numel() for parameter in run.model.parameters())
