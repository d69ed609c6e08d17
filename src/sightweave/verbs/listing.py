"""Which kinds there are, and which go together."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from sightweave.core import catalog, recipe_files
from sightweave.core.errors import RecipeError, did_you_mean
from sightweave.models.pairs import declared, legal_pairs
from sightweave.programs.evaluation.controls import CONTROLS
from sightweave.verbs.evaluating import PREDICTORS

FAMILIES: Mapping[str, str] = {
    "encoders": "models.encoders",
    "connectors": "models.connectors",
    "fusions": "models.fusions",
    "language_models": "models.language_models",
    "datasets": "data.datasets",
    "tasks": "data.tasks",
    "metrics": "answers.metrics",
    "decoding": "answers.decoding",
    "writers": "answers.writers",
    "predictors": PREDICTORS,
    "exports": "programs.exports",
}
"""Families by the name that users say."""


def recipes() -> dict[str, str]:
    """The recipes that ship, each with what it is for; ``train`` and ``read_recipe`` take their names."""
    return {name: recipe_files.summary(path) for name, path in recipe_files.shipped().items()}


def kinds(family: str) -> dict[str, str]:
    """Kinds of a family, each with the first line of its description.

    Raises:
        RecipeError: no such family.
    """
    if family == "controls":  # no folder: each is a function
        first = (inspect.getdoc(control) or "" for control in CONTROLS.values())
        return {
            name: " ".join(text.partition("\n\n")[0].split())
            for name, text in zip(CONTROLS, first, strict=True)
        }
    if family not in FAMILIES:
        raise RecipeError(f"no family {family!r}. {did_you_mean(family, [*FAMILIES, 'controls'])}")
    return {kind: catalog.summary(FAMILIES[family], kind) for kind in catalog.kinds(FAMILIES[family])}


def pairs() -> dict[tuple[str, str], str]:
    """What each pair of fusion and language model can do: ``generates``, ``classifies`` or nothing.

    A language model from Transformers' folder can what its family can; a pair with it may need one of a certain form.
    """
    pooling = [fusion for fusion in kinds("fusions") if "pool" in declared("models.fusions", fusion).places]

    def can(fusion: str, model: str) -> str:
        return "classifies" if model == "encoder_only" or fusion in pooling else "generates"

    return {pair: can(*pair) if legal else "" for pair, legal in legal_pairs().items()}
