"""What an evaluation finds, as plain frozen values that go to JSON and back."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pydantic

from sightweave.core import terminal
from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs import thumbnails
from sightweave.pages import gallery, notebook
from sightweave.programs.evaluation.calibration import Calibration
from sightweave.programs.evaluation.statistics import METHOD, Estimate

FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeScores:
    """The scores of one type of question in one task. Rates are fractions from 0 to 1."""

    type: str
    count: int
    """Samples."""
    pictures: int
    """Groups of samples, one per picture."""
    correct: int
    """Right answers."""
    unparsed: int
    """Answers in which nothing could be read; they count as wrong."""
    score: Estimate
    """Of the task's first metric."""
    chance: float | None
    """What guessing among the options gives; None unless every sample names its options."""
    majority: float | None
    """What always giving the most frequent training answer scores; None where training has no answers of this type."""
    majority_answer: str
    """That answer; empty where there is none."""
    neighbour: float | None = None
    """What the answer of the most similar training prompt gives, without any picture; None without training data."""
    controls: Mapping[str, Estimate] = field(default_factory=dict)
    """Scores of the controls, on the samples that have a picture."""
    gain: Estimate | None = None
    """Score minus that of the best usable control (`gain_over`), on the samples that have a picture."""
    gain_over: str = ""
    """Name of that control."""
    metrics: Mapping[str, Estimate | None] = field(default_factory=dict)
    """Every metric of the task by its name; None where no answer counts for it, or nothing bounds its interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFacts:
    """What a reader must know of one metric to read its numbers."""

    less_is_better: bool = False
    unit: str = "%"
    """``%``: a share, to be shown times 100; else the unit of the plain number."""
    signature: str = ""
    """Which variant exactly was computed, where the metric says so."""
    totals: Mapping[str, float] = field(default_factory=dict)
    """Further numbers of the metric over the whole task, such as precision and recall; in the same unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScores:
    """The scores of one task: unweighted means over its types, and the types."""

    task: str
    metric: str
    """Name of the metric that is the score."""
    count: int
    pictures: int
    correct: int
    unparsed: int
    score: Estimate
    chance: float | None
    """Mean of the types' chances; None unless all have one."""
    majority: float | None
    """Mean of the types' majorities; None unless all have one."""
    neighbour: float | None = None
    """Mean of the types' neighbours; None unless all have one."""
    detectable: float | None = None
    """The smallest true difference to another model's score on these samples that a test of two independent scores
    finds four times in five; paired tests find smaller ones. None where the interval is not known."""
    controls: Mapping[str, Estimate] = field(default_factory=dict)
    gain: Estimate | None = None
    """Multimodal gain: score minus that of the best usable control (`gain_over`), on the samples that have a picture."""
    gain_over: str = ""
    """Name of that control: of ``no_image``, ``shuffled_image`` and ``blank_image`` the one that scores highest."""
    gain_p: float | None = None
    """Two-sided p-value of the gain, Holm's over the tasks of the evaluation."""
    gains: Mapping[str, Estimate] = field(default_factory=dict)
    """Score minus that of each usable control, and of the baselines ``majority`` and ``neighbour``, paired by sample."""
    broken: Mapping[str, str] = field(default_factory=dict)
    """Controls whose answers are mostly unreadable or cut, with the reason: they prove nothing, and no gain is taken
    over them."""
    leakage: Estimate | None = None
    """What the best usable control scores above always saying the most frequent answer: what is given away without
    looking."""
    metrics: Mapping[str, Estimate | None] = field(default_factory=dict)
    """Means over the types."""
    facts: Mapping[str, MetricFacts] = field(default_factory=dict)
    """Of each metric."""
    calibration: Calibration | None = None
    """Whether the model knows when it is right; None where it does not tell its probabilities."""
    uses_image: str = "unknown"
    """``yes``, ``hardly``, ``no`` or ``unknown``: see ``verdict.py``."""
    needs_image: bool = True
    """Whether this task can show a use of the image; where its texts say everything, it does not decide over the model."""
    sentence: str = ""
    """The same for a reader, with the numbers."""
    types: tuple[TypeScores, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was said to one prompt."""

    text: str
    parsed: str | None
    """What the task read in it; None where it found no answer."""
    right: bool
    """Whether the score of this answer alone is full."""
    logprob: float | None
    """Mean natural-log probability per token; None where it is not known."""
    finish: str
    image: str
    """Key of the picture that was shown; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One sample with what was said to it, with and without its picture."""

    id: str
    group: str
    task: str
    type: str
    prompt: str
    references: tuple[str, ...]
    options: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    answer: Answer
    controls: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def sample(self) -> Sample:
        """The sample without its pictures: enough for any metric to score the answer again."""
        return Sample(
            id=self.id,
            task=self.task,
            parts=(Part("user", self.prompt), Part("assistant", "", learn=True)),
            references=self.references,
            options=self.options,
            tags=self.tags,
            group=self.group,
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation:
    """All that one pass over one split finds."""

    split: str
    seed: int
    count: int
    pictures: int
    """Images that the samples are about."""
    pictures_total: int | None = None
    """Images of the whole split, where those of the samples were drawn from it; None where all of it was asked."""
    tasks: tuple[TaskScores, ...]
    uses_image: str = "unknown"
    """Over the tasks that need the image: ``yes``, ``hardly``, ``partly``, ``no`` or ``unknown``; see ``verdict.py``."""
    sentence: str = ""
    """The same for a reader."""
    notes: tuple[str, ...] = ()
    """Plain sentences on what was left out and why."""
    intervals: str = METHOD
    """How the intervals were made."""
    items: tuple[Item, ...] = ()
    format_version: int = FORMAT_VERSION
    media: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """A few of the images, as `Medium` by their keys, for a notebook; not saved."""

    def __repr__(self) -> str:
        what = f"{self.split!r}: {self.count} prompts on {self.pictures} images"
        return terminal.in_short(f"Evaluation({what}; {in_short(self)})")

    def _repr_html_(self) -> str:
        rows, pictures = few(self, self.media)
        return notebook.evaluation(self.to_json(), rows, pictures)

    def to_json(self) -> dict[str, Any]:
        """The scores as dicts, lists and scalars; the items are apart, in ``predictions``."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in ("items", "media")]
        return {name: _plain(getattr(self, name)) for name in names}

    def predictions(self) -> Iterator[dict[str, Any]]:
        """One flat row per sample, for ``predictions.jsonl`` and the gallery of a report."""
        for item in self.items:
            yield {
                "split": self.split,
                "id": item.id,
                "group": item.group,
                "task": item.task,
                "type": item.type,
                "prompt": item.prompt,
                "references": list(item.references),
                "options": list(item.options),
                "tags": dict(item.tags),
                **_row(item.answer),
                "controls": {name: _row(answer) for name, answer in item.controls.items()},
            }

    @classmethod
    def from_json(
        cls, values: Mapping[str, Any], predictions: Iterable[Mapping[str, Any]] = ()
    ) -> Evaluation:
        """The evaluation back from ``to_json`` and, if wanted, from ``predictions``.

        Raises:
            DataError: another format version, or values that are not an evaluation's.
        """
        version = values.get("format_version") if isinstance(values, Mapping) else values
        if version != FORMAT_VERSION:
            raise DataError(
                f"evaluation: format_version {version!r}, but this version reads {FORMAT_VERSION}; evaluate again."
            )
        try:
            items = tuple(item_of(row) for row in predictions)
            return pydantic.TypeAdapter(cls).validate_python({**values, "items": items, "media": {}})
        except pydantic.ValidationError as error:
            raise DataError(f"evaluation: not a valid evaluation file: {_first(error)}.") from None


def in_short(found: Evaluation) -> str:
    """The score of each task in one line: ``vqa 88.0 % (83.1..92.0), captioning ...``."""
    told = ", ".join(f"{task.task} {_shown(task)}" for task in found.tasks)
    return terminal.in_short(told or "no task was scored")


def _shown(task: TaskScores) -> str:
    facts = task.facts.get(task.metric, MetricFacts())
    times, digits = (100, ".1f") if facts.unit == "%" else (1, ".4g")
    value, low, high = (
        f"{times * end:{digits}}" for end in (task.score.value, task.score.low, task.score.high)
    )
    return f"{value} {facts.unit} ({low}..{high})"


def few_rows(found: Evaluation) -> list[Mapping[str, Any]]:
    """A few answers of every kind, for a notebook."""
    return gallery.choose(gallery.spread(list(found.predictions())), limit=notebook.ANSWERS)


def few(found: Evaluation, media: Mapping[str, Medium]) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    """The same with the addresses of their pictures, as far as they are among the media."""
    rows = few_rows(found)
    known = {row["image"]: media[row["image"]] for row in rows if row["image"] in media}
    # One whose file is gone by now has no address.
    pictures = {key: address for key, medium in known.items() for address in thumbnails.addresses([medium])}
    return rows, pictures


def _row(answer: Answer) -> dict[str, Any]:
    return {
        "image": answer.image,
        "answer": answer.text,
        "parsed": answer.parsed,
        "right": answer.right,
        "logprob": answer.logprob,
        "finish": answer.finish,
    }


def _first(error: pydantic.ValidationError) -> str:
    """The first mistake, with its path; a damaged file may have thousands."""
    fault = error.errors(include_url=False)[0]
    path = ".".join(map(str, fault["loc"])) or "the whole"
    return f"{path}: {fault['msg']} (got {str(fault['input'])[:80]!r})"


_ANSWER = ("parsed", "right", "logprob", "finish", "image")
_ITEM = ("id", "group", "task", "type", "prompt", "references", "options", "tags")
"""Fields of a row of ``predictions.jsonl`` that are called as in the types."""


def _answer(row: Any) -> Any:
    if not isinstance(row, Mapping):
        return row
    return {"text": row.get("answer"), **{name: row[name] for name in _ANSWER if name in row}}


def item_of(row: Mapping[str, Any]) -> Item:
    """The item of one row of ``predictions.jsonl``.

    Raises:
        DataError: a value that is missing or of another type.
    """
    controls = row.get("controls")
    named = controls.items() if isinstance(controls, Mapping) else ()
    values = {name: row[name] for name in _ITEM if name in row} | {
        "answer": _answer(row),
        "controls": {name: _answer(control) for name, control in named}
        if isinstance(controls, Mapping)
        else controls,
    }
    try:
        return _items().validate_python(values)
    except pydantic.ValidationError as error:
        raise DataError(f"evaluation: not a valid evaluation file: {_first(error)}.") from None


@functools.cache
def _items() -> pydantic.TypeAdapter[Item]:
    return pydantic.TypeAdapter(Item)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
