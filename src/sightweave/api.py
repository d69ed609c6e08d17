"""The functions behind the commands, one for each, with the same names.

``forecast`` what a recipe costs, ``train`` it or ``compare`` many, ``load`` a run, ``generate``, ``caption`` and
``translate`` with it, ``explain`` its answers, ``evaluate`` it, and write its ``report``.
"""

from __future__ import annotations

from sightweave.recipe import Recipe
from sightweave.run import Run
from sightweave.verbs.answering import answer_all, caption, draw, explain, generate, submission, translate
from sightweave.verbs.building import build, compose, load
from sightweave.verbs.checking import check
from sightweave.verbs.comparing import compare
from sightweave.verbs.data import cache_data, check_data, sample_data
from sightweave.verbs.evaluating import beside, evaluate, predictor, report
from sightweave.verbs.explaining import faithfulness
from sightweave.verbs.exporting import export
from sightweave.verbs.forecasting import forecast
from sightweave.verbs.listing import FAMILIES, kinds, pairs, recipes
from sightweave.verbs.rate_finding import find_lr
from sightweave.verbs.rendering import render
from sightweave.verbs.runs import runs
from sightweave.verbs.sources import detect_data, read_recipe, source
from sightweave.verbs.training import train

__all__ = [
    "FAMILIES",
    "Recipe",
    "Run",
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
    "predictor",
    "read_recipe",
    "recipes",
    "render",
    "report",
    "runs",
    "sample_data",
    "source",
    "submission",
    "train",
    "translate",
]
