"""Compares two evaluations: which one is better on the common samples, and where they differ.

There are two tests. The difference of the scores is tested by resampling whole images (`paired_test`), since several
questions share one image. McNemar's exact test (1947) considers only right and wrong answers and assumes that questions
are independent: if they share images, its p-value is too small, and only the first test is valid.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Annotated, Any, NamedTuple

import numpy as np

from sightweave.core import catalog
from sightweave.core import config as configs
from sightweave.core.errors import DataError
from sightweave.data.phrasing.lettered_options import without_listing
from sightweave.programs.evaluation import statistics
from sightweave.programs.evaluation.program import rescored
from sightweave.programs.evaluation.scores import Answer, Evaluation, Item
from sightweave.programs.evaluation.statistics import Estimate
from sightweave.programs.evaluation.verdict import FEW_PICTURES

SURE = 0.05
"""Significance level: one evaluation counts as better if the Holm-corrected p-value is below this number."""
_NAMES = ("the first", "the second")


class Key(NamedTuple):
    """The split, task and id that identify one sample."""

    split: str
    task: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeBeside:
    """Both scores of one question type on the common samples; rates are fractions from 0 to 1."""

    type: str
    count: int
    pictures: int
    first: Estimate | None
    """Score of the first evaluation; None if no answer counts for the metric."""
    second: Estimate | None
    difference: Estimate | None
    """Difference first minus second, with an interval over whole images."""
    p: float
    """Two-sided p-value of the difference, by resampling images."""
    detectable: float | None
    """Smallest true difference that such a comparison detects with 80 % power; None if it is unknown."""
    both_right: int
    first_only: int
    """Number of questions that only the first answered correctly."""
    second_only: int
    both_wrong: int
    mcnemar_p: float
    """Exact two-sided p-value for `first_only` against `second_only`; assumes that questions are independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskBeside:
    """Both scores of one task in one split: unweighted means over its question types, and the types; see `TypeBeside`."""

    split: str
    task: str
    metric: str
    count: int
    pictures: int
    first: Estimate | None
    second: Estimate | None
    difference: Estimate | None
    p: float
    p_holm: float
    """The p-value `p`, Holm-corrected over all tasks of all splits."""
    detectable: float | None
    both_right: int
    first_only: int
    second_only: int
    both_wrong: int
    mcnemar_p: float
    mcnemar_holm: float
    """The p-value `mcnemar_p`, Holm-corrected over all tasks of all splits."""
    verdict: str
    """The better evaluation: ``first``, ``second``, ``none`` if the difference is not significant, or ``unknown``."""
    sentence: str
    """The verdict in words, with the numbers."""
    types: tuple[TypeBeside, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One sample with different answers in the two evaluations, of which at least one is wrong."""

    split: str
    kind: str
    """Which answer is right: ``first_only``, ``second_only`` or ``both_wrong``."""
    gap: float
    """Score of the first answer minus that of the second."""
    first: Item
    second: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The comparison of two evaluations on their common samples."""

    names: tuple[str, str]
    count: int
    """Number of samples that both evaluations contain."""
    pictures: int
    tasks: tuple[TaskBeside, ...]
    pairs: tuple[Pair, ...]
    """Samples with different answers, in the order of the first evaluation."""
    first_alone: tuple[Key, ...]
    """Samples that only the first evaluation contains; they are ignored."""
    second_alone: tuple[Key, ...]
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The result as text for the terminal: a line for each task, then counts and notes."""
        lines = [task.sentence for task in self.tasks]
        lines.append(f"{self.count} samples on {self.pictures} images were asked in both.")
        for name, alone in zip(self.names, (self.first_alone, self.second_alone), strict=True):
            if alone:
                lines.append(
                    f"{len(alone)} more were asked in {name} only, such as {alone[0].id!r}; they are ignored."
                )
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The comparison as dicts, lists and scalars, without the pairs (see `rows`)."""
        return {
            "names": list(self.names),
            "count": self.count,
            "pictures": self.pictures,
            "tasks": list(map(dataclasses.asdict, self.tasks)),
            "first_alone": list(map(Key._asdict, self.first_alone)),
            "second_alone": list(map(Key._asdict, self.second_alone)),
            "notes": list(self.notes),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields one flat row per pair, for the cards of a page."""
        for pair in self.pairs:
            item = pair.first
            yield {
                "split": pair.split,
                "id": item.id,
                "group": item.group,
                "task": item.task,
                "type": item.type,
                "prompt": item.prompt,
                "references": list(item.references),
                "image": item.answer.image or pair.second.answer.image,
                "kind": pair.kind,
                "gap": pair.gap,
                "first": _row(item.answer),
                "second": _row(pair.second.answer),
            }


def beside(
    first: Sequence[Evaluation],
    second: Sequence[Evaluation],
    *,
    names: tuple[str, str] = _NAMES,
    metrics: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Beside:
    """Compares two evaluations on the samples that both contain, matched by split, task and id.

    Args:
        first: The first evaluation of each split, with its items.
        second: The second evaluation of each split, with its items.
        names: Names of the two, for the reader.
        metrics: The metric to compare for each task: its name, a mapping with its ``kind`` and fields, or its Config.
            By default, the one with which both were scored, with its default fields.
        seed: Random seed for resampling.

    Raises:
        DataError: the evaluations have no common samples, an id belongs to different questions, or the metrics differ.
        RecipeError: the metric is unknown.
    """
    # Match the samples.
    here, there = _items(first), _items(second)
    common = [key for key in here if key in there]
    _check(here, there, common)
    notes = []
    moved = sum(here[key].group != there[key].group for key in common)
    if moved:
        notes.append(
            f"{moved} of {len(common)} samples have a different image in {names[1]}; those of {names[0]} are used."
        )

    # Compare task by task.
    kinds = _metrics(first, second)
    tasks: list[TaskBeside] = []
    pairs: list[Pair] = []
    for (split, task), keys in _by_task(common).items():
        config = _config(split, task, (metrics or {}).get(task), kinds)
        ours = [here[key] for key in keys]
        theirs = [there[key] for key in keys]
        both = _Both(config, ours, theirs, seed)
        tasks.append(_of_task(split, task, both))
        pairs += both.pairs(split)

    return Beside(
        names=names,
        count=len(common),
        pictures=len({here[key].group for key in common}),
        tasks=_with_holm(tasks, names),
        pairs=tuple(pairs),
        first_alone=_alone(here, there),
        second_alone=_alone(there, here),
        notes=tuple(notes),
    )


_Place = tuple[Key, int]
"""A key, and the number of earlier samples with the same key, since several sources may use the same ids."""
_Items = dict[_Place, Item]


def _by_task(places: Sequence[_Place]) -> dict[tuple[str, str], list[_Place]]:
    """Groups samples by split and task."""
    found: dict[tuple[str, str], list[_Place]] = {}
    for place in places:
        key, _ = place
        found.setdefault((key.split, key.task), []).append(place)
    return found


def _alone(items: _Items, others: _Items) -> tuple[Key, ...]:
    """The keys of those samples in `items` that are not in `others`."""
    return tuple(place[0] for place in items if place not in others)


def _items(evaluations: Sequence[Evaluation]) -> _Items:
    counts: dict[Key, int] = {}
    found: _Items = {}
    for evaluation in evaluations:
        for item in evaluation.items:
            key = Key(evaluation.split, item.task, item.id)
            found[key, counts.get(key, 0)] = item
            counts[key] = counts.get(key, 0) + 1
    return found


def _check(here: _Items, there: _Items, common: Sequence[_Place]) -> None:
    """Checks that there are common samples, and that each is the same question in both evaluations.

    Raises:
        DataError: there is no common sample, or the questions of one differ.
    """
    if not common:
        raise DataError(
            f"beside: the evaluations have no sample in common: the first has {_example(here)}, the second "
            f"{_example(there)}. Evaluate both on the same data, with the same split names."
        )

    # Find the first differing field of each sample whose questions differ.
    wrong = []
    for place in common:
        one, other = _question(here[place]), _question(there[place])
        for name in one:
            if one[name] != other[name]:
                wrong.append((place[0], name, one[name], other[name]))
                break

    if wrong:
        (split, task, sample), name, one, other = wrong[0]
        raise DataError(
            f"beside: {len(wrong)} of {len(common)} samples have the same id but different questions, the first being "
            f"{sample!r} ({task} in {split or 'evaluation'}): its {name} is {one!r} in the first and {other!r} in the "
            "second. Evaluate both on the same data with the same instruction."
        )


def _question(item: Item) -> dict[str, Any]:
    """The fields that identify a question, without the listing of options in the prompt.

    The letters of the options are removed from the references too, because they depend on the listing.
    """
    letters = set(ascii_uppercase[: len(item.options)]).difference(item.options)
    return {
        "prompt": without_listing(item.prompt, item.options),
        "references": tuple(one for one in item.references if one not in letters),
        "options": item.options,
    }


def _example(items: _Items) -> str:
    if not items:
        return "none"
    key, _ = next(iter(items))
    return f"{len(items)}, such as {key.id!r} ({key.task} in {key.split or 'evaluation'})"


def _metrics(*sides: Sequence[Evaluation]) -> dict[tuple[str, str], list[str]]:
    """Names of the metrics that scored each task of each split."""
    found: dict[tuple[str, str], list[str]] = {}
    for evaluations in sides:
        for evaluation in evaluations:
            for task in evaluation.tasks:
                found.setdefault((evaluation.split, task.task), []).append(task.metric)
    return found


def _config(split: str, task: str, given: Any, known: Mapping[tuple[str, str], list[str]]) -> Any:
    """The Config of the metric to compare.

    Raises:
        DataError: no metric was chosen, and the two evaluations used different ones.
    """
    if given is None:
        names = list(dict.fromkeys(known.get((split, task), ())))
        if len(names) > 1:
            raise DataError(
                f"beside: {task} in {split or 'evaluation'} was scored by {names[0]} in the first and by {names[1]} in "
                "the second; choose the metric to compare, or evaluate both with the same primary metric."
            )
        # Modules named in an evaluation.json are not imported; a user's own metric must be `given`.
        return catalog.config_class("answers.metrics", names[0], allowed=())() if names else _default(task)
    return configs.build(_Given, {"metric": given}, where=f"beside: metrics.{task}").metric


@configs.config
class _Given:
    """A metric as written by users."""

    metric: Annotated[Any, configs.one_of("answers.metrics")]


def _default(task: str) -> Any:
    """The Config of a task's first default metric."""
    return catalog.config_class("data.tasks", task, allowed=())().metrics[0]


class _Both:
    """The answers of both evaluations to the same samples of one task, scored by one metric."""

    def __init__(self, config: Any, first: Sequence[Item], second: Sequence[Item], seed: int) -> None:
        self.name = configs.kind_of(config)
        self.first, self.second, self.seed = first, second, seed
        # Score each side as a whole, because a metric may compare rows across types (as consistency does).
        self.metric, rows = rescored(config, first)
        self.rows = (rows, rescored(config, second)[1])
        self.right = (_right(first), _right(second))
        self.groups = np.array([item.group for item in first])
        self.types = np.array([item.type for item in first])

    def score(self, side: int, chosen: np.ndarray) -> Estimate | None:
        """The score of one side on the chosen samples: the mean over question types."""
        return statistics.score(self.metric, self.rows[side][chosen], self.groups[chosen], self.types[chosen])

    def facts(self, chosen: np.ndarray) -> dict[str, Any]:
        """The values of all fields that types and tasks share, except the scores."""
        test = statistics.paired_test(
            self.rows[0][chosen],
            self.rows[1][chosen],
            list(self.groups[chosen]),
            self.metric.total,
            strata=list(self.types[chosen]),
            best=float(getattr(self.metric, "best", 1.0)),
            is_share=self.metric.is_proportion,
            seed=self.seed,
        )
        first, second = self.right[0][chosen], self.right[1][chosen]

        return {
            "count": int(chosen.sum()),
            "pictures": len(set(self.groups[chosen])),
            "difference": None if math.isnan(test.difference.value) else test.difference,
            "p": test.p_two_sided,
            "detectable": None if math.isnan(test.detectable) else test.detectable,
            "both_right": int((first & second).sum()),
            "first_only": int((first & ~second).sum()),
            "second_only": int((second & ~first).sum()),
            "both_wrong": int((~first & ~second).sum()),
            "mcnemar_p": statistics.mcnemar(first, second),
        }

    def pairs(self, split: str) -> Iterator[Pair]:
        """Yields the samples with different answers."""
        gaps = self.metric.total(self.rows[0]) - self.metric.total(self.rows[1])
        for one, other, gap in zip(self.first, self.second, gaps, strict=True):
            kind = _kind(one.answer, other.answer)
            if kind:
                yield Pair(
                    split=split,
                    kind=kind,
                    gap=0.0 if math.isnan(gap) else float(gap),
                    first=one,
                    second=other,
                )


def _right(items: Sequence[Item]) -> np.ndarray:
    """Whether each of the R answers is right, bool R."""
    return np.array([item.answer.right for item in items], dtype=bool)


def _kind(first: Answer, second: Answer) -> str:
    """The kind of difference between two answers to one question; empty if they do not differ or are both right."""
    if first.right != second.right:
        return "first_only" if first.right else "second_only"
    return "" if first.right or _folded(first) == _folded(second) else "both_wrong"


def _folded(answer: Answer) -> str:
    text = answer.text if answer.parsed is None else answer.parsed
    return " ".join(text.split()).casefold()


def _of_task(split: str, task: str, both: _Both) -> TaskBeside:
    """The comparison of one task, without its verdict."""
    everything = np.ones(len(both.first), dtype=bool)
    types = []
    for name in sorted(set(both.types)):
        chosen = both.types == name
        types.append(
            TypeBeside(
                type=str(name),
                first=both.score(0, chosen),
                second=both.score(1, chosen),
                **both.facts(chosen),
            )
        )

    return TaskBeside(
        split=split,
        task=task,
        metric=both.name,
        first=both.score(0, everything),
        second=both.score(1, everything),
        **both.facts(everything),
        p_holm=1.0,
        mcnemar_holm=1.0,
        verdict="unknown",
        sentence="",
        types=tuple(types),
    )


def _with_holm(tasks: Sequence[TaskBeside], names: tuple[str, str]) -> tuple[TaskBeside, ...]:
    """The tasks with Holm-corrected p-values and their verdicts."""
    adjusted = statistics.holm([task.p for task in tasks])
    exact = statistics.holm([task.mcnemar_p for task in tasks])

    found = []
    for task, p, mcnemar in zip(tasks, adjusted, exact, strict=True):
        verdict, sentence = _verdict(task, p, names)
        found.append(
            dataclasses.replace(task, p_holm=p, mcnemar_holm=mcnemar, verdict=verdict, sentence=sentence)
        )
    return tuple(found)


def _verdict(task: TaskBeside, p: float, names: tuple[str, str]) -> tuple[str, str]:
    """The verdict on one task, as a word and a sentence."""
    where = f"{task.task} in {task.split}" if task.split else task.task
    if task.difference is None or task.first is None or task.second is None:
        return "unknown", f"{where}: no answer can be scored by {task.metric}."
    if task.pictures < FEW_PICTURES:
        why = f"{task.pictures} image(s) are too few to tell; {FEW_PICTURES} are needed."
        return "unknown", f"{where}: {why}"

    found = task.difference
    numbers = (
        f"{100 * task.first.value:.1f} against {100 * task.second.value:.1f} %; difference {100 * found.value:+.1f} points "
        f"(95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f}), Holm's p {p:.2g}"
    )
    if p < SURE and found.value:
        better = "first" if found.value > 0 else "second"
        return better, f"{where}: {names[better == 'second']} is better: {numbers}."

    least = ""
    if task.detectable is not None:
        least = f"; this comparison can detect differences of {100 * task.detectable:.1f} points or more"
    return "none", f"{where}: no significant difference: {numbers}{least}."


def _row(answer: Answer) -> dict[str, Any]:
    return {
        "answer": answer.text,
        "parsed": answer.parsed,
        "right": answer.right,
        "logprob": answer.logprob,
    }
