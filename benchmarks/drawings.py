"""What drawings show: python -m benchmarks.drawings RUN --judge RUN [--guidance 1 1.5 2 3] [--max-images 100].

Scores the drawings of a run with several factors of guidance, on new scenes and on pairs of colour and shape that its
training did not contain. Another run judges them, with its score on the real images as the ceiling and that of drawings of
other descriptions as the floor.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import sightweave
from sightweave.core.types import CHECKED
from sightweave.programs.evaluation.scores import TaskScores

UNMET = "combinations"
"""Split whose first table is about pairs that do not occur in training."""


def scored(run: str, judge: str, guidance: float, most: int, out: Path) -> dict[str, TaskScores]:
    """The scores of the drawings of both test splits, by split and subset."""
    metrics = f"[{{kind: drawn_attributes, judge: {judge}}}, {{kind: kid, features: {judge}}}]"
    found = sightweave.evaluate(
        run,
        f"tasks.drawing.metrics={metrics}",
        f"evaluate.guidance={guidance}",
        data={"kind": "scenes", "tasks": ["drawing"]},
        splits=["scenes", UNMET],
        max_images=most,
        out=out / f"guidance-{guidance:g}",
        progress=False,
    )
    return {one.split: one.tasks[0] for one in found}


def table(rows: Sequence[tuple[float, str, TaskScores]]) -> str:
    """All scores in per cent, as a Markdown table."""
    heads = ("guidance", "split", "drawings", "score", "95 %", "ceiling", "floor", *CHECKED, "KID")
    lines = [" | ".join(heads), " | ".join(["-"] * len(heads))]
    for guidance, split, one in rows:
        totals, kid = one.facts["drawn_attributes"].totals, one.metrics["kid"]
        shares = [totals[name] for name in ("ceiling", "floor")]
        aspects = [f"{100 * totals[name]:.1f}" if name in totals else "" for name in CHECKED]
        cells = [
            *(f"{guidance:g}", split, str(one.count), f"{100 * one.score.value:.1f}"),
            f"{100 * one.score.low:.1f} to {100 * one.score.high:.1f}",
            *(f"{100 * share:.1f}" for share in shares),
            *aspects,
            "" if kid is None else f"{kid.value:.4g}",
        ]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a run that draws")
    parser.add_argument("--judge", required=True, help="folder of a run that answers questions about scenes")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0])
    parser.add_argument("--max-images", type=int, default=100, help="per split")
    parser.add_argument("--out", type=Path, default=Path("runs/drawings-scored"))
    options = parser.parse_args()

    by_guidance = {}
    for guidance in options.guidance:
        by_guidance[guidance] = scored(options.run, options.judge, guidance, options.max_images, options.out)
    rows = [(guidance, split, one) for guidance, found in by_guidance.items() for split, one in found.items()]
    print(table(rows))

    first = by_guidance[options.guidance[0]]
    for split, without in first.items():
        best = max(options.guidance, key=lambda guidance: by_guidance[guidance][split].score.value)
        gain = by_guidance[best][split].score.value - without.score.value
        print(f"{split}: best at guidance {best:g}, {100 * gain:+.1f} points from {options.guidance[0]:g}")
    unmet = first[UNMET]
    floor = unmet.facts["drawn_attributes"].totals["floor"]
    verdict = "above" if unmet.score.low > floor else "not clearly above"
    print(f"unmet pairs: {100 * unmet.score.value:.1f} %, {verdict} the floor of {100 * floor:.1f} %")


if __name__ == "__main__":
    main()
