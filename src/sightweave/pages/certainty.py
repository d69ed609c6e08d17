"""Shows how well a model's confidence matches its correctness: a calibration diagram, a risk curve and a sentence.

On Calibration of Modern Neural Networks (Guo et al. 2017, arXiv:1706.04599), figure 1, drawn as points, because the bins
have equal mass; Selective Classification for Deep Neural Networks (Geifman and El-Yaniv 2017, arXiv:1705.08500).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightweave.pages.drawing import Chart, linear

TOLERATED = 0.05
"""The error rate for which an evaluation chooses its confidence threshold, as a fraction."""


def reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """Draws accuracy against confidence as SVG, with one point per non-empty bin.

    Args:
        bins: Bins of equal mass, each with ``count``, ``confidence`` and ``accuracy``.
    """
    points = [(100 * bin_["confidence"], 100 * bin_["accuracy"]) for bin_ in bins if bin_["count"]]
    percent = linear(0, 100)
    chart = Chart(x=percent, y=percent, x_label="sure, %", y_label="right, %")

    chart.line([(0, 0), (100, 100)], "faint", width=0.8, is_dashed=True)
    for sure, right in points:  # the calibration error is the mean length of these lines
        chart.line([(sure, sure), (sure, right)], "trail", width=2.5)
    chart.line(points, "series0", width=1.2)
    for point in points:
        chart.dot(point, "series0")
    return chart.svg()


def risk(curve: Mapping[str, Any], selection: Mapping[str, Any]) -> str:
    """Draws the error rate against coverage as SVG, with the chosen threshold as a point.

    Args:
        curve: ``coverage`` and ``risk``, both lists, starting with the most confident answers.
        selection: ``coverage`` and ``error`` as estimates; ``error`` is None if no threshold was found.
    """
    coverage = [100 * share for share in curve["coverage"]]
    wrong = [100 * share for share in curve["risk"]]
    points = list(zip(coverage, wrong, strict=True))
    chart = Chart(
        x=linear(0, 100),
        y=linear(0, max(10.0, 1.08 * max(wrong, default=0.0))),
        x_label="answered, % (most confident first)",
        y_label="wrong, %",
    )

    chart.horizontal(100 * TOLERATED)
    chart.line(points, "series0", width=1.5)
    if len(points) == 1:
        chart.dot(points[0], "series0")
    if selection["error"] is not None:
        chosen = 100 * selection["coverage"]["value"], 100 * selection["error"]["value"]
        chart.dot(chosen, "series1", radius=3)
    return chart.svg()


def sentence(selection: Mapping[str, Any]) -> str:
    """A sentence on the error rate when only answers above the threshold are given."""
    error, limit = selection["error"], f"{100 * TOLERATED:g} %"
    if error is None:
        return (
            f"No threshold keeps errors under {limit}: even the most confident answers are wrong too often."
        )

    share = selection["coverage"]["value"]
    answering = (
        "everything" if math.isclose(share, 1.0) else f"only the {100 * share:.1f} % most confident answers"
    )
    wrong, low, high = 100 * error["value"], 100 * error["low"], 100 * error["high"]
    found = f"{wrong:.1f} % of them are wrong, 95 % interval {low:.1f} to {high:.1f}"
    if error["value"] > TOLERATED:  # the threshold was chosen for another error rate
        return f"Answering {answering}, {found}."
    return f"Answering {answering} keeps errors under {limit} ({found})."
