"""How often the intervals that are printed hold the true value: python -m benchmarks.coverage [--quick] [--trials N].

Answers are drawn for groups (pictures) of one size or of uneven sizes. With the correlation r, the groups' chances of a
right answer are beta-distributed with variance r p (1 - p) about the score p: 0 are independent answers, 1 groups that
are all right or all wrong. Each cell says in how many per cent of the draws the 95 % interval holds the true value.
Seeded: the same command prints the same table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product

import numpy as np

from sightweave.answers.metrics.exact_match import ExactMatch
from sightweave.programs.evaluation import statistics
from sightweave.programs.evaluation.statistics import Estimate

SCORES = (0.5, 0.8, 0.9, 0.95, 0.98)
CORRELATIONS = (0.0, 0.2, 0.6, 1.0)
GROUPS = (10, 30, 100, 500)
SIZES: tuple[int | str, ...] = (1, 5, 30, "1 to 30")
TYPES = 5
TRIALS = 1000
QUICK = 100
Cell = tuple[int, int | str, float]
"""Groups, questions in each, correlation."""
Trial = Callable[[np.random.Generator, Cell, float], bool]
TOTAL = ExactMatch().total


def sizes(groups: int, size: int | str) -> np.ndarray:
    """How many questions each group has."""
    if isinstance(size, int):
        return np.full(groups, size)
    drawn = np.random.default_rng(groups).lognormal(1.5, 1.0, groups)
    return np.clip(np.rint(drawn), 1, 30).astype(int)


def chances(rng: np.random.Generator, groups: int, correlation: float, score: float) -> np.ndarray:
    """Each group's chance of a right answer."""
    if correlation == 0:
        return np.full(groups, score)
    if correlation == 1:
        return (rng.random(groups) < score).astype(float)
    spread = (1 - correlation) / correlation
    return rng.beta(score * spread, (1 - score) * spread, groups)


def answers(rng: np.random.Generator, cell: Cell, score: float) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong, and the number of the group: R each."""
    groups, size, correlation = cell
    group = np.repeat(np.arange(groups), sizes(groups, size))
    return rng.random(len(group)) < chances(rng, groups, correlation, score)[group], group


def share(rng: np.random.Generator, cell: Cell, score: float) -> bool:
    right, group = answers(rng, cell, score)
    return _holds(statistics.share(right, group), score)


def types(rng: np.random.Generator, cell: Cell, score: float) -> bool:
    """A mean over types whose scores differ, all asked of the same pictures."""
    groups, size, correlation = cell
    group = np.repeat(np.arange(groups), TYPES * sizes(groups, size))
    stratum = np.arange(len(group)) % TYPES
    harder = np.linspace(-1, 1, TYPES) * (1 - score) / 2
    ease = chances(rng, groups, correlation, score)[group]
    # What is above or below the score in a group is so in all types; each type has a score of its own.
    chance = ease + np.where(ease > score, (1 - ease) / (1 - score), ease / score) * harder[stratum]
    return _holds(statistics.share(rng.random(len(group)) < chance, group, stratum), score)


def graded(rng: np.random.Generator, cell: Cell, score: float) -> bool:
    """Answers with scores between 0 and 1, of which some are full."""
    groups, size, correlation = cell
    group = np.repeat(np.arange(groups), sizes(groups, size))
    ease = chances(rng, groups, correlation, score)[group]
    values = rng.binomial(4, ease) / 4
    return _holds(_score(_Mean(), np.stack([values, np.ones(len(group))], axis=1), group), score)


def corpus(rng: np.random.Generator, cell: Cell, score: float) -> bool:
    """A metric of sums, the geometric mean of two precisions as in BLEU, of texts of 3 to 20 words."""
    groups, size, correlation = cell
    group = np.repeat(np.arange(groups), sizes(groups, size))
    words = rng.integers(3, 21, len(group))
    ease = chances(rng, groups, correlation, score)[group]
    hits = rng.binomial(words, ease), rng.binomial(words - 1, ease)
    return _holds(_score(_Precisions(), np.stack([hits[0], words, hits[1], words - 1], axis=1), group), score)


def difference(rng: np.random.Generator, cell: Cell, score: float) -> bool:
    """The same questions to two models, the second of which gets a tenth of the first one's right answers wrong."""
    right, group = answers(rng, cell, score)
    groups, _, correlation = cell
    lost = rng.random(len(group)) < chances(rng, groups, correlation, 0.1)[group]
    return _holds(_paired(right, right & ~lost, group), score / 10)


def no_difference(rng: np.random.Generator, cell: Cell, score: float) -> bool:
    """Two models that are equally good, and agree where pictures make them."""
    right, group = answers(rng, cell, score)
    other = rng.random(len(group)) < 0.5
    again = answers(rng, cell, score)[0]
    return _holds(_paired(right, np.where(other, again, right), group), 0.0)


def seeds(rng: np.random.Generator, cell: Cell, score: float) -> bool:
    """Three runs of each of two recipes on the same pictures, seeds moving each run's score."""
    groups, size, _ = cell
    group = np.repeat(np.arange(groups), sizes(groups, size))
    spread = min(0.05, (1 - score) / 3)
    ease = (score + rng.uniform(-spread, spread, groups))[group]
    chance = ease + rng.uniform(-spread, spread, (6, 1))
    runs = _rows(rng.random((6, len(group))) < chance)
    test = statistics.crossed_difference(runs[:3], runs[3:], group, TOTAL, is_share=True)
    return _holds(test.difference, 0.0)


def selected(rng: np.random.Generator, cell: Cell, score: float) -> bool:
    """The share of wrong ones among those answers that a threshold lets pass, which is about half of them."""
    right, group = answers(rng, cell, score)
    kept = rng.random(len(group)) < 0.5
    if not kept.any():
        return True
    return _holds(statistics.share(~right[kept], group[kept]), 1 - score)


KINDS: dict[str, Trial] = {
    "share of right answers": share,
    f"mean over {TYPES} types that share pictures": types,
    "graded score": graded,
    "corpus metric": corpus,
    "difference of two models": difference,
    "difference of two equal models": no_difference,
    "difference of two recipes, three seeds each": seeds,
    "share of wrong ones among the surest": selected,
}


class _Mean:
    is_proportion = False

    def total(self, sums: np.ndarray) -> np.ndarray:
        return TOTAL(sums)


class _Precisions:
    is_proportion = False

    def total(self, sums: np.ndarray) -> np.ndarray:
        return np.sqrt(TOTAL(sums[..., :2]) * TOTAL(sums[..., 2:]))


def _score(metric: statistics.Scored, rows: np.ndarray, group: np.ndarray) -> Estimate:
    found = statistics.score(metric, rows, group)
    assert found is not None
    return found


def _rows(right: np.ndarray) -> np.ndarray:
    return np.stack([right, np.ones(right.shape)], axis=-1)


def _paired(first: np.ndarray, second: np.ndarray, group: np.ndarray) -> Estimate:
    return statistics.paired_difference(_rows(first), _rows(second), group, TOTAL, is_share=True)


def _holds(found: Estimate, value: float) -> bool:
    return found.low <= value + 1e-12 and value - 1e-12 <= found.high


def cells(kind: str, quick: bool) -> Iterator[Cell]:
    """Those of the grid that differ."""
    if KINDS[kind] is share and not quick:
        chosen = product(GROUPS, SIZES, CORRELATIONS)
    else:
        chosen = product(
            GROUPS[: 2 if quick else 3], (5, "1 to 30"), CORRELATIONS[::2] if quick else CORRELATIONS
        )
    for number, size, correlation in chosen:
        # A single question has nothing to go together with, and seeds bring their own.
        if correlation == 0 or (size != 1 and KINDS[kind] is not seeds):
            yield number, size, correlation


def held(kind: str, trials: int, cell: Cell) -> list[float]:
    """Per cent of the draws in which the interval holds the true value, for each score."""
    found = []
    for score in SCORES:
        groups, size, correlation = cell
        entropy = [sum(kind.encode()), groups, size if isinstance(size, int) else 0, round(100 * correlation)]
        rng = np.random.default_rng([*entropy, round(100 * score)])
        found.append(100 * sum(KINDS[kind](rng, cell, score) for _ in range(trials)) / trials)
    return found


def table(kind: str, trials: int, quick: bool, workers: ProcessPoolExecutor) -> str:
    """In Markdown."""
    chosen = list(cells(kind, quick))
    found = list(workers.map(partial(held, kind, trials), chosen))
    scores = " | ".join(f"{100 * score:.0f} %" for score in SCORES)
    lines = [f"### {kind[0].upper()}{kind[1:]}", ""]
    lines += [f"| groups | questions in each | correlation | {scores} |", "|" + " ---: |" * (3 + len(SCORES))]
    for (groups, size, correlation), row in zip(chosen, found, strict=True):
        lines.append(f"| {groups} | {size} | {correlation:g} | {' | '.join(f'{one:.1f}' for one in row)} |")
    return "\n".join([*lines, "", summary([one for row in found for one in row]), ""])


def summary(found: Sequence[float]) -> str:
    inside, under = sum(93 <= one <= 97 for one in found), sum(one < 93 for one in found)
    return (
        f"{inside} of {len(found)} cells are from 93 to 97 %, {len(found) - inside - under} above (wider than need be) and "
        f"{under} below; the lowest is {min(found):.1f} %, the mean {sum(found) / len(found):.1f} %."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer cells and draws: under a minute")
    parser.add_argument("--trials", type=int, help=f"draws for each cell ({TRIALS}; {QUICK} with --quick)")
    parser.add_argument(
        "--kind",
        choices=list(KINDS),
        action="append",
        help="is neither a square nor a shortest_edge with do_center_crop or crop_pct; only those are",
    )
    options = parser.parse_args()
    trials = options.trials or (QUICK if options.quick else TRIALS)
    error = 100 * (0.95 * 0.05 / trials) ** 0.5
    print(f"{trials} draws for each cell: the standard deviation of a cell is {error:.1f} points.\n")
    with ProcessPoolExecutor(2) as workers:
        for kind in options.kind or KINDS:
            print(table(kind, trials, options.quick, workers), flush=True)


if __name__ == "__main__":
    main()
