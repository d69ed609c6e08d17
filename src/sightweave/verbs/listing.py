"""Lists the kinds of each family, and which fusions and language models fit together."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from sightweave.core import catalog, recipe_files
from sightweave.core.errors import RecipeError, did_you_mean
from sightweave.models.pairs import declared, legal_pairs
from sightweave.programs.evaluation.controls import ALL as CONTROLS
from sightweave.verbs.evaluating import PREDICTORS

FAMILIES: Mapping[str, str] = {
    "encoders": "models.encoders",
    "connectors": "models.connectors",
    "fusions": "models.fusions",
    "language_models": "models.language_models",
    "image_tokenizers": "models.image_tokenizers",
    "datasets": "data.datasets",
    "tasks": "data.tasks",
    "metrics": "answers.metrics",
    "decoding": "answers.decoding",
    "explainers": "answers.explainers",
    "writers": "answers.writers",
    "predictors": PREDICTORS,
    "exports": "programs.exports",
    "trackers": "programs.training.trackers",
}
"""Catalog paths of the families, by their public names."""


def recipes() -> dict[str, str]:
    """The built-in recipes, each with its summary; ``train`` and ``read_recipe`` accept these names."""
    return {name: recipe_files.summary(path) for name, path in recipe_files.shipped().items()}


def kinds(family: str) -> dict[str, str]:
    """The kinds of a family, each with the first line of its description.

    Raises:
        RecipeError: no such family.
    """
    if family == "controls":  # functions in one module, not files in a folder
        return {name: _first_paragraph(control) for name, control in CONTROLS.items()}
    if family not in FAMILIES:
        raise RecipeError(f"no family {family!r}. {did_you_mean(family, [*FAMILIES, 'controls'])}")
    return {kind: catalog.summary(FAMILIES[family], kind) for kind in catalog.kinds(FAMILIES[family])}


def _first_paragraph(control: object) -> str:
    text = inspect.getdoc(control) or ""
    return " ".join(text.partition("\n\n")[0].split())


def pairs() -> dict[tuple[str, str], str]:
    """What each pair of fusion and language model can do: ``generates``, ``classifies`` or "" if they do not fit.

    For a language model from a Transformers folder, this is what its family can do; the pair may need a certain form of
    it.
    """
    found = {}
    for (fusion, model), is_legal in legal_pairs().items():
        is_pooled = "pool" in declared("models.fusions", fusion).places
        use = "classifies" if model == "encoder_only" or is_pooled else "generates"
        found[fusion, model] = use if is_legal else ""
    return found
