"""Sightweave: build, train, evaluate and use vision-language models assembled from interchangeable parts.

Public names are imported on first use, so that ``import sightweave`` does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightweave.api import (
        answer_all,
        beside,
        build,
        cache_data,
        caption,
        check,
        check_data,
        compare,
        compose,
        detect_data,
        draw,
        evaluate,
        explain,
        export,
        faithfulness,
        find_lr,
        forecast,
        generate,
        kinds,
        load,
        pairs,
        read_recipe,
        recipes,
        render,
        report,
        runs,
        sample_data,
        train,
        translate,
    )
    from sightweave.core.errors import SightweaveError
    from sightweave.core.explanation import Explanation
    from sightweave.core.text_regions import TextRegion
    from sightweave.models.vlm import VLM
    from sightweave.recipe import Recipe
    from sightweave.run import Run

__version__ = "0.1.0"
_PLACES = {
    "VLM": "models.vlm",
    "Recipe": "recipe",
    "Run": "run",
    "runs": "verbs.runs",
    "Explanation": "core.explanation",
    "SightweaveError": "core.errors",
    "TextRegion": "core.text_regions",
}
__all__ = [
    "VLM",
    "Explanation",
    "Recipe",
    "Run",
    "SightweaveError",
    "TextRegion",
    "answer_all",
    "beside",
    "build",
    "cache_data",
    "caption",
    "check",
    "check_data",
    "compare",
    "compose",
    "detect_data",
    "draw",
    "evaluate",
    "explain",
    "export",
    "faithfulness",
    "find_lr",
    "forecast",
    "generate",
    "kinds",
    "load",
    "pairs",
    "read_recipe",
    "recipes",
    "render",
    "report",
    "runs",
    "sample_data",
    "train",
    "translate",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sightweave' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sightweave.{_PLACES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
