"""Two evaluations side by side: which one is better on the samples that both were asked, and where they differ.

Two measures of one question. The difference of the scores is tested by draws of whole pictures (`paired_test`), since
several questions share one. McNemar's exact test (1947) looks at right and wrong only, and takes each question as
independent: where pictures are shared its p-value is too small, and the other one holds.
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
"""An adjusted p-value under this says that one of the two is better."""
_NAMES = ("the first", "the second")


class Key(NamedTuple):
    """What names one sample."""

    split: str
    task: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeBeside:
    """Both scores of one type of question, on the samples that both were asked. Rates are fractions from 0 to 1."""

    type: str
    count: int
    pictures: int
    first: Estimate | None
    """The score of the first; None where no answer counts for the metric."""
    second: Estimate | None
    difference: Estimate | None
    """First minus second, with an interval over whole pictures."""
    p: float
    """Two-sided, of the difference, by the same draws."""
    detectable: float | None
    """The smallest true difference that such a comparison finds four times in five; None where it is not known."""
    both_right: int
    first_only: int
    """Right answers of the first to questions that the second gets wrong."""
    second_only: int
    both_wrong: int
    mcnemar_p: float
    """Exact and two-sided, of these two counts; each question is taken as independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskBeside:
    """Both scores of one task in one split: unweighted means over its types, and the types. Else as `TypeBeside`."""

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
    """`p`, Holm's over all tasks of all splits."""
    detectable: float | None
    both_right: int
    first_only: int
    second_only: int
    both_wrong: int
    mcnemar_p: float
    mcnemar_holm: float
    """`mcnemar_p`, Holm's over all tasks of all splits."""
    verdict: str
    """``first`` or ``second`` is better, ``none`` is shown to be, or ``unknown``."""
    sentence: str
    """The same for a reader, with the numbers."""
    types: tuple[TypeBeside, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One sample to which the two gave different answers, of which one at least is wrong."""

    split: str
    kind: str
    """``first_only`` or ``second_only`` is right, or ``both_wrong``."""
    gap: float
    """Score of the first answer minus that of the second."""
    first: Item
    second: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """All that two evaluations show beside one another."""

    names: tuple[str, str]
    count: int
    """Samples that both were asked."""
    pictures: int
    tasks: tuple[TaskBeside, ...]
    pairs: tuple[Pair, ...]
    """Where they differ, in the order in which the first was asked."""
    first_alone: tuple[Key, ...]
    """Samples that only the first was asked; they count nowhere."""
    second_alone: tuple[Key, ...]
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What was found, a line for each task, for the terminal."""
        lines = [task.sentence for task in self.tasks]
        lines.append(f"{self.count} samples on {self.pictures} images were asked in both.")
        for name, alone in zip(self.names, (self.first_alone, self.second_alone), strict=True):
            if alone:
                lines.append(
                    f"{len(alone)} more were asked in {name} only, such as {alone[0].id!r}; they are ignored."
                )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """The comparison as dicts, lists and scalars; the pairs are apart, in ``rows``."""
        return {
            "names": list(self.names),
            "count": self.count,
            "pictures": self.pictures,
            "tasks": [dataclasses.asdict(task) for task in self.tasks],
            "first_alone": [key._asdict() for key in self.first_alone],
            "second_alone": [key._asdict() for key in self.second_alone],
            "notes": list(self.notes),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat row for each pair, for the cards of a page."""
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
    """Compares two evaluations on the samples that both were asked: those of one split, task and id.

    Args:
        first: One evaluation per split, with its items.
        second: The same of the other.
        names: What to call the two, for the reader.
        metrics: By task, the metric that is compared: its name, a mapping with its ``kind`` and fields, or its Config.
            Without it, the one that both were scored by, with its defaults.
        seed: Of the draws.

    Raises:
        DataError: no sample is in both, one id names different questions, or the two were scored by different metrics.
        RecipeError: no such metric.
    """
    here, there = _items(first), _items(second)
    common = [key for key in here if key in there]
    _check(here, there, common)
    notes = []
    moved = sum(here[key].group != there[key].group for key in common)
    if moved:
        notes.append(
            f"{moved} of {len(common)} samples have a different image in {names[1]}; those of {names[0]} are used."
        )
    kinds = _metrics(first, second)
    tasks: list[TaskBeside] = []
    pairs: list[Pair] = []
    for split, task in dict.fromkeys((key.split, key.task) for key, _ in common):
        chosen = [key for key in common if key[0][:2] == (split, task)]
        config = _config(split, task, (metrics or {}).get(task), kinds)
        both = _Both(config, [here[key] for key in chosen], [there[key] for key in chosen], seed)
        tasks.append(_of_task(split, task, both, names))
        pairs += both.pairs(split)
    return Beside(
        names=names,
        count=len(common),
        pictures=len({here[key].group for key in common}),
        tasks=_with_holm(tasks, names),
        pairs=tuple(pairs),
        first_alone=tuple(key for key, count in here if (key, count) not in there),
        second_alone=tuple(key for key, count in there if (key, count) not in here),
        notes=tuple(notes),
    )


_Items = dict[tuple[Key, int], Item]
"""By key, and by how many samples of that key stand before: ids of several sources may be the same."""


def _items(evaluations: Sequence[Evaluation]) -> _Items:
    counts: dict[Key, int] = {}
    found: _Items = {}
    for evaluation in evaluations:
        for item in evaluation.items:
            key = Key(evaluation.split, item.task, item.id)
            found[key, counts.get(key, 0)] = item
            counts[key] = counts.get(key, 0) + 1
    return found


def _check(here: _Items, there: _Items, common: Sequence[tuple[Key, int]]) -> None:
    if not common:
        raise DataError(
            f"beside: the evaluations have no sample in common: the first has {_example(here)}, the second "
            f"{_example(there)}. "
            "Evaluate both on the same data, with the same split names."
        )
    wrong = []
    for key in common:
        one, other = _question(here[key]), _question(there[key])
        name = next((name for name in one if one[name] != other[name]), "")
        if name:
            wrong.append((key[0], name, one[name], other[name]))
    if wrong:
        (split, task, sample), name, one, other = wrong[0]
        raise DataError(
            f"beside: {len(wrong)} of {len(common)} samples have the same id but different questions, the first being "
            f"{sample!r} ({task} in {split or 'evaluation'}): its {name} is {one!r} in the first and {other!r} in the "
            "second. Evaluate both on the same data with the same instruction."
        )


def _question(item: Item) -> dict[str, Any]:
    """What was asked, whether or not the prompt listed the options: a list makes their letters right as well."""
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
    """Names of the metrics that each task of each split was scored by."""
    found: dict[tuple[str, str], list[str]] = {}
    for evaluations in sides:
        for evaluation in evaluations:
            for task in evaluation.tasks:
                found.setdefault((evaluation.split, task.task), []).append(task.metric)
    return found


def _config(split: str, task: str, given: Any, known: Mapping[tuple[str, str], list[str]]) -> Any:
    """The Config of the metric that is compared."""
    if given is None:
        names = list(dict.fromkeys(known.get((split, task), ())))
        if len(names) > 1:
            raise DataError(
                f"beside: {task} in {split or 'evaluation'} was scored by {names[0]} in the first and by {names[1]} in "
                "the second; choose the metric to compare, or evaluate both with the same primary metric."
            )
        # What a folder's evaluation.json names is not imported; a metric of the user's own is `given`.
        return catalog.config_class("answers.metrics", names[0], allowed=())() if names else _default(task)
    return configs.build(_Given, {"metric": given}, where=f"beside: metrics.{task}").metric


@configs.config
class _Given:
    """A metric as users write it."""

    metric: Annotated[Any, configs.one_of("answers.metrics")]


def _default(task: str) -> Any:
    return catalog.config_class("data.tasks", task, allowed=())().metrics[0]


class _Both:
    """The answers of both to the same samples of one task, scored by one metric."""

    def __init__(self, config: Any, first: Sequence[Item], second: Sequence[Item], seed: int) -> None:
        self.name = configs.kind_of(config)
        self.first, self.second, self.seed = first, second, seed
        # A metric may compare rows across types (consistency does), so each side is asked once.
        (self.metric, rows), (_, others) = rescored(config, first), rescored(config, second)
        self.rows = (rows, others)
        self.right = tuple(
            np.array([item.answer.right for item in items], dtype=bool) for items in (first, second)
        )
        self.groups = np.array([item.group for item in first])
        self.types = np.array([item.type for item in first])

    def score(self, side: int, chosen: np.ndarray) -> Estimate | None:
        """The mean over types."""
        return statistics.score(self.metric, self.rows[side][chosen], self.groups[chosen], self.types[chosen])

    def facts(self, chosen: np.ndarray) -> dict[str, Any]:
        """What a type and a task have in common, but for the scores."""
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
        first, second = (right[chosen] for right in self.right)
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


def _kind(first: Answer, second: Answer) -> str:
    """How two answers to one question differ; empty where they do not, or where both are right."""
    if first.right != second.right:
        return "first_only" if first.right else "second_only"
    return "" if first.right or _folded(first) == _folded(second) else "both_wrong"


def _folded(answer: Answer) -> str:
    text = answer.text if answer.parsed is None else answer.parsed
    return " ".join(text.split()).casefold()


def _of_task(split: str, task: str, both: _Both, names: tuple[str, str]) -> TaskBeside:
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
    """A word and a sentence on which of the two is better."""
    where = f"{task.task} in {task.split}" if task.split else task.task
    if task.difference is None or task.first is None or task.second is None:
        return "unknown", f"{where}: no answer can be scored by {task.metric}."
    if task.pictures < FEW_PICTURES:
        return (
            "unknown",
            f"{where}: {task.pictures} image(s) are too few to tell; {FEW_PICTURES} are needed.",
        )
    found = task.difference
    numbers = (
        f"{100 * task.first.value:.1f} against {100 * task.second.value:.1f} %; difference {100 * found.value:+.1f} points "
        f"(95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f}), Holm's p {p:.2g}"
    )
    if p < SURE and found.value:
        better = "first" if found.value > 0 else "second"
        return better, f"{where}: {names[better == 'second']} is better: {numbers}."
    least = (
        ""
        if task.detectable is None
        else f"; this comparison can detect differences of {100 * task.detectable:.1f} points or more"
    )
    return "none", f"{where}: no significant difference: {numbers}{least}."


def _row(answer: Answer) -> dict[str, Any]:
    return {
        "answer": answer.text,
        "parsed": answer.parsed,
        "right": answer.right,
        "logprob": answer.logprob,
    }
