"""Compatibility of fusions and language models: fusions declare where they act, models where a fusion may act."""

from __future__ import annotations

from typing import Any

from sightweave.core import catalog
from sightweave.core.errors import RecipeError

_FUSIONS, _MODELS = "models.fusions", "models.language_models"


def legal_pairs() -> dict[tuple[str, str], bool]:
    """For each pair of a fusion kind and a language model kind, whether the two work together.

    A language model kind with several forms works if at least one of them does.
    """
    return {
        (fusion, model): declared(_FUSIONS, fusion).places <= declared(_MODELS, model).offers
        for fusion in catalog.kinds(_FUSIONS)
        for model in catalog.kinds(_MODELS)
    }


def declared(family: str, kind: str) -> Any:
    """The class of a kind, which declares where it acts (a fusion) or where a fusion may act (a language model).

    Args:
        family: ``models.fusions`` or ``models.language_models``.
        kind: Name of a kind in the family, or the dotted path of a user's own module.

    Raises:
        RecipeError: there is no such kind, or its Config does not name the class.
    """
    config = catalog.config_class(family, kind)
    if not hasattr(config, "part"):
        raise RecipeError(
            f"kind {kind!r}: its Config has no method part(), which returns the class that build() makes; add "
            "`@staticmethod def part() -> type: return ...`."
        )
    return config.part()


def refusal(fusion: Any, language_model: Any) -> str:
    """An error message that explains why a fusion and a language model do not work together, and lists partners for each."""
    name, partner = type(fusion).__name__, type(language_model).__name__
    fusions = [k for k in catalog.kinds(_FUSIONS) if declared(_FUSIONS, k).places <= language_model.offers]
    models = [k for k in catalog.kinds(_MODELS) if fusion.places <= declared(_MODELS, k).offers]
    return (
        f"fusion {name} needs {sorted(fusion.places)}, but {partner} offers {sorted(language_model.offers)}. "
        f"Fusions for {partner}: {', '.join(fusions)}. Language models for {name}: {', '.join(models)}."
    )
