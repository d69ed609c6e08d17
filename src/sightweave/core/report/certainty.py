"""Whether a model knows when it is right, for the reader: a diagram of its calibration, a curve, and one sentence.

On Calibration of Modern Neural Networks (Guo et al. 2017, arXiv:1706.04599), figure 1, drawn as points, since the bins
are of equal mass; Selective Classification for Deep Neural Networks (Geifman and El-Yaniv 2017, arXiv:1705.08500).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightweave.core.report.drawing import COLOR, drawing

TOLERATED = 0.05
"""The error rate that an evaluation chooses its threshold for."""


def reliability(bins: Sequence[Mapping[str, Any]], prefix: str) -> str:
    """How often answers of each confidence are right: SVG with one point per bin; empty bins are left out.

    Args:
        bins: Of equal mass, each with ``confidence`` and ``accuracy``.
        prefix: Of the ids inside.
    """
    points = [(bin_["confidence"], bin_["accuracy"]) for bin_ in bins if bin_["count"]]
    with drawing(prefix) as drawn_on:
        axes = drawn_on.axes
        axes.plot([0, 100], [0, 100], color=COLOR["faint"], linewidth=0.8, dashes=(3, 3))
        for confidence, accuracy in points:  # how far a bin is from the line is what the error adds up
            axes.plot(
                [100 * confidence] * 2,
                [100 * confidence, 100 * accuracy],
                color=COLOR["trail"],
                linewidth=2.5,
            )
        sure, right = zip(*points, strict=True) if points else ((), ())
        axes.plot(
            [100 * value for value in sure],
            [100 * value for value in right],
            color=COLOR["series0"],
            linewidth=1.2,
            marker="o",
            markersize=4,
            clip_on=False,
        )
        _percent_axes(axes, top=100)
        axes.set_xlabel("sure, %", color=COLOR["ink"])
        axes.set_ylabel("right, %", color=COLOR["ink"])
    return drawn_on.svg


def risk(curve: Mapping[str, Any], selection: Mapping[str, Any], prefix: str) -> str:
    """What share of the surest answers is wrong, for every share: SVG, with the chosen threshold as a point.

    Args:
        curve: ``coverage`` and ``risk``, from the surest answers on.
        selection: With ``coverage`` and ``error`` as estimates; ``error`` is None where no threshold was found.
        prefix: Of the ids inside.
    """
    coverage = [100 * value for value in curve["coverage"]]
    wrong = [100 * value for value in curve["risk"]]
    with drawing(prefix) as drawn_on:
        axes = drawn_on.axes
        axes.axhline(100 * TOLERATED, color=COLOR["faint"], linewidth=0.8, dashes=(3, 3))
        marker = "o" if len(coverage) == 1 else ""
        axes.plot(coverage, wrong, color=COLOR["series0"], linewidth=1.5, marker=marker)
        if selection["error"] is not None:
            axes.plot(
                [100 * selection["coverage"]["value"]],
                [100 * selection["error"]["value"]],
                color=COLOR["series1"],
                marker="o",
                markersize=6,
                linestyle="none",
                clip_on=False,
            )
        _percent_axes(axes, top=max(10.0, 1.08 * max(wrong, default=0.0)))
        axes.set_xlabel("answered, % (surest first)", color=COLOR["ink"])
        axes.set_ylabel("wrong, %", color=COLOR["ink"])
    return drawn_on.svg


def sentence(selection: Mapping[str, Any]) -> str:
    """What answering only when sure enough gives."""
    error, limit = selection["error"], f"{100 * TOLERATED:g} %"
    if error is None:
        return f"No threshold keeps errors under {limit}: the surest answers are wrong too often."
    share = selection["coverage"]["value"]
    answering = "everything" if math.isclose(share, 1.0) else f"only the {100 * share:.1f} % surest answers"
    wrong, low, high = (100 * error[end] for end in ("value", "low", "high"))
    found = f"{wrong:.1f} % of them are wrong, 95 % interval {low:.1f} to {high:.1f}"
    if error["value"] > TOLERATED:  # the threshold was chosen for another rate
        return f"Answering {answering}, {found}."
    return f"Answering {answering} keeps errors under {limit} ({found})."


def _percent_axes(axes: Any, *, top: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlim(0, 100)
    axes.set_ylim(0, top)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
