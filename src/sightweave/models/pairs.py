"""Which fusion goes with which language model: each fusion says where it acts, each model where it may be acted on."""

from __future__ import annotations

from typing import Any

from sightweave.core import catalog

_FUSIONS, _MODELS = "models.fusions", "models.language_models"


def legal_pairs() -> dict[tuple[str, str], bool]:
    """Whether a fusion (first) goes with a language model (second), for all kinds; or with one of a kind with many forms."""
    return {
        (fusion, model): declared(_FUSIONS, fusion).places <= declared(_MODELS, model).offers
        for fusion in catalog.kinds(_FUSIONS)
        for model in catalog.kinds(_MODELS)
    }


def declared(family: str, kind: str) -> Any:
    """The class of a kind: what its Config's `build` returns."""
    module = catalog.module(family, kind)
    name = module.Config.build.__annotations__["return"]
    return getattr(module, name) if isinstance(name, str) else name


def refusal(fusion: Any, language_model: Any) -> str:
    """Why these two do not go together, and which partners each of them has."""
    name, partner = type(fusion).__name__, type(language_model).__name__
    fusions = [k for k in catalog.kinds(_FUSIONS) if declared(_FUSIONS, k).places <= language_model.offers]
    models = [k for k in catalog.kinds(_MODELS) if fusion.places <= declared(_MODELS, k).offers]
    return (
        f"fusion {name} needs {sorted(fusion.places)}, but {partner} offers {sorted(language_model.offers)}. "
        f"Fusions for {partner}: {', '.join(fusions)}. Language models for {name}: {', '.join(models)}."
    )
