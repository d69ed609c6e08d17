"""The results of an evaluation as frozen dataclasses, with conversion to and from JSON."""

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
    """The scores of one question type in one task; rates are fractions from 0 to 1."""

    type: str
    count: int
    """Number of samples."""
    pictures: int
    """Number of images (groups of samples)."""
    correct: int
    """Number of right answers."""
    unparsed: int
    """Number of answers that could not be parsed; they count as wrong."""
    score: Estimate
    """Score according to the task's first metric."""
    chance: float | None
    """Score of guessing among the options; None unless every sample has options."""
    majority: float | None
    """Score of always giving the most frequent training answer; None if there are no training answers of this type."""
    majority_answer: str
    """The most frequent training answer; empty if there is none."""
    neighbour: float | None = None
    """Score of the answers to the most similar training prompts, without images; None without training data."""
    controls: Mapping[str, Estimate] = field(default_factory=dict)
    """Scores of the controls on the samples that have an image, by name."""
    gain: Estimate | None = None
    """Score minus that of the best usable control (`gain_over`), on the samples that have an image."""
    gain_over: str = ""
    """Name of the control that is subtracted in `gain`."""
    metrics: Mapping[str, Estimate | None] = field(default_factory=dict)
    """Score of every metric of the task, by name; None if no answer counts for it, or if its interval has no bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFacts:
    """Facts that a reader needs to interpret the numbers of one metric."""

    less_is_better: bool = False
    unit: str = "%"
    """``%`` for a share, which is shown multiplied by 100; otherwise the unit of the plain number."""
    signature: str = ""
    """Exact variant of the metric that was computed, if the metric states it."""
    totals: Mapping[str, float] = field(default_factory=dict)
    """Further numbers of the metric over the whole task, such as precision and recall, in the same unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScores:
    """The scores of one task: unweighted means over its question types, and the types."""

    task: str
    metric: str
    """Name of the metric that gives the score."""
    count: int
    pictures: int
    correct: int
    unparsed: int
    score: Estimate
    chance: float | None
    """Mean of the types' chance scores; None unless all types have one."""
    majority: float | None
    """Mean of the types' majority scores; None unless all types have one."""
    neighbour: float | None = None
    """Mean of the types' neighbour scores; None unless all types have one."""
    detectable: float | None = None
    """Smallest true difference from another model's score on these samples that a test of two independent scores
    detects with 80 % power; paired tests detect smaller ones. None if the interval is unknown."""
    controls: Mapping[str, Estimate] = field(default_factory=dict)
    gain: Estimate | None = None
    """Multimodal gain: score minus that of the best usable control (`gain_over`), on the samples that have an image."""
    gain_over: str = ""
    """Name of the highest-scoring control among ``no_image``, ``shuffled_image`` and ``blank_image``."""
    gain_p: float | None = None
    """Two-sided p-value of the gain, Holm-corrected over the tasks of the evaluation."""
    gains: Mapping[str, Estimate] = field(default_factory=dict)
    """Score minus that of each usable control and of the baselines ``majority`` and ``neighbour``, paired by sample."""
    broken: Mapping[str, str] = field(default_factory=dict)
    """Controls whose answers are mostly unreadable or truncated, with the reason. They are inconclusive, so no gain is
    computed over them."""
    leakage: Estimate | None = None
    """Score of the best usable control minus that of the most frequent answer: how much the text alone reveals."""
    metrics: Mapping[str, Estimate | None] = field(default_factory=dict)
    """Means over the question types, by metric."""
    floors: Mapping[str, float] = field(default_factory=dict)
    """What the control ``copied_source`` scores by each metric, if it was run: an answer that translates nothing."""
    ceilings: Mapping[str, float] = field(default_factory=dict)
    """What the reference images score by each metric of images: the limit that its reader sets."""
    facts: Mapping[str, MetricFacts] = field(default_factory=dict)
    """Facts about each metric, by name."""
    calibration: Calibration | None = None
    """How well the model's confidence predicts right answers; None if it does not report probabilities."""
    uses_image: str = "unknown"
    """Verdict ``yes``, ``hardly``, ``no`` or ``unknown``; see ``verdict.py``."""
    needs_image: bool = True
    """Whether this task can show that the image is used. It cannot if its texts alone suffice for an answer; the task
    then does not count for the model."""
    sentence: str = ""
    """The verdict as a sentence, with the numbers."""
    types: tuple[TypeScores, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one prompt."""

    text: str
    parsed: str | None
    """Answer that the task parsed from the text; None if it could not be parsed."""
    right: bool
    """Whether this answer has the full score."""
    logprob: float | None
    """Mean natural-log probability per token; None if unknown."""
    finish: str
    image: str
    """Key of the image that was shown; empty if there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One sample with its answers, with and without its image."""

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
    target_image: str = ""
    """Key of the reference image; empty if there is none."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Key of each image of the answer, by the writer that made it."""

    @property
    def sample(self) -> Sample:
        """The sample without its images, which is enough for any metric to score the answer again."""
        return Sample(
            id=self.id,
            task=self.task,
            parts=(Part("user", self.prompt), Part("assistant", "", learn=True)),
            references=self.references,
            options=self.options,
            tags=self.tags,
            group=self.group,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """An image that the model made, which is shown but not scored."""

    id: str
    prompt: str
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Key of each image of the answer, by the writer that made it."""
    target_image: str = ""
    """Key of the reference image."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation:
    """The evaluation of one split."""

    split: str
    seed: int
    count: int
    pictures: int
    """Number of images to which the samples refer."""
    pictures_total: int | None = None
    """Number of images in the whole split if only a random part of it was evaluated; otherwise None."""
    tasks: tuple[TaskScores, ...]
    uses_image: str = "unknown"
    """Verdict over the tasks that need the image: ``yes``, ``hardly``, ``partly``, ``no`` or ``unknown``; see
    ``verdict.py``."""
    sentence: str = ""
    """The verdict as a sentence."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out and why."""
    intervals: str = METHOD
    """Description of how the intervals were computed."""
    drawings: tuple[Drawing, ...] = ()
    """Some images that the model made for prompts whose answers are not scored."""
    items: tuple[Item, ...] = ()
    format_version: int = FORMAT_VERSION
    media: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Some of the images, as `Medium` by key, for a notebook; not saved."""
    drawn: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Images of the answers, as `Medium` by key, which are drawn when they are loaded; not saved."""

    def __repr__(self) -> str:
        what = f"{self.split!r}: {self.count} prompts on {self.pictures} images"
        return terminal.in_short(f"Evaluation({what}; {in_short(self)})")

    def _repr_html_(self) -> str:
        rows, pictures = few(self, self.media)
        return notebook.evaluation(self.to_json(), rows, pictures)

    def to_json(self) -> dict[str, Any]:
        """The scores as dicts, lists and scalars, without the items (see `predictions`)."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in ("items", "media", "drawn")]
        return {name: _plain(getattr(self, name)) for name in names}

    def predictions(self) -> Iterator[dict[str, Any]]:
        """Yields one flat row per sample, for ``predictions.jsonl`` and the gallery of a report."""
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
                **_images(item),
            }

    @classmethod
    def from_json(
        cls, values: Mapping[str, Any], predictions: Iterable[Mapping[str, Any]] = ()
    ) -> Evaluation:
        """Restores an evaluation from the result of `to_json` and, optionally, the rows of `predictions`.

        Raises:
            DataError: the format version is another one, or values are invalid.
        """
        version = values.get("format_version") if isinstance(values, Mapping) else values
        if version != FORMAT_VERSION:
            raise DataError(
                f"evaluation: format_version {version!r}, but this version reads {FORMAT_VERSION}; evaluate again."
            )

        try:
            items = tuple(item_of(row) for row in predictions)
            return pydantic.TypeAdapter(cls).validate_python(
                {**values, "items": items, "media": {}, "drawn": {}}
            )
        except pydantic.ValidationError as error:
            raise DataError(f"evaluation: not a valid evaluation file: {_first(error)}.") from None


def in_short(found: Evaluation) -> str:
    """The scores of all tasks in one line: ``vqa 88.0 % (83.1..92.0), captioning ...``."""
    scores = ", ".join(f"{task.task} {_shown(task)}" for task in found.tasks)
    return terminal.in_short(scores or "no task was scored")


def _shown(task: TaskScores) -> str:
    """A task's score as text, with its unit and interval."""
    facts, score = task.facts.get(task.metric, MetricFacts()), task.score
    times, digits = (100, ".1f") if facts.unit == "%" else (1, ".4g")
    interval = f"{times * score.low:{digits}}..{times * score.high:{digits}}"
    return f"{times * score.value:{digits}} {facts.unit} ({interval})"


def few_rows(found: Evaluation) -> list[Mapping[str, Any]]:
    """A few answers of every kind, for a notebook."""
    return gallery.choose(gallery.spread(list(found.predictions())), limit=notebook.ANSWERS)


def few(found: Evaluation, media: Mapping[str, Medium]) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    """The rows of `few_rows`, and the addresses of thumbnails of their images, by key.

    Images that are not in `media` have no thumbnail.
    """
    rows = few_rows(found)
    pictures = {}
    for row in rows:
        key = row["image"]
        if key in media and key not in pictures:
            for address in thumbnails.addresses([media[key]]):  # none if the file no longer exists
                pictures[key] = address
    return rows, pictures


def _images(item: Item) -> dict[str, Any]:
    """The keys of an item's reference image and of the answer's images; empty if there are none."""
    found: dict[str, Any] = {}
    if item.target_image:
        found["target_image"] = item.target_image
    if item.pictures:
        found["pictures"] = dict(item.pictures)
    return found


def _row(answer: Answer) -> dict[str, Any]:
    """The fields of an answer in a row of ``predictions.jsonl``."""
    return {
        "image": answer.image,
        "answer": answer.text,
        "parsed": answer.parsed,
        "right": answer.right,
        "logprob": answer.logprob,
        "finish": answer.finish,
    }


def _first(error: pydantic.ValidationError) -> str:
    """The first error with its path, since a damaged file may have thousands of errors."""
    fault = error.errors(include_url=False)[0]
    path = ".".join(map(str, fault["loc"])) or "the whole"
    return f"{path}: {fault['msg']} (got {str(fault['input'])[:80]!r})"


_ANSWER = ("parsed", "right", "logprob", "finish", "image")
"""Names of `Answer`'s fields that are the same in a row of ``predictions.jsonl``."""
_ITEM = (
    *("id", "group", "task", "type", "prompt", "references", "options", "tags"),
    *("target_image", "pictures"),
)
"""Names of `Item`'s fields that are the same in a row of ``predictions.jsonl``."""


def _answer(row: Any) -> Any:
    """The fields of an `Answer` from a row; a value that is not a mapping is returned as it is, to be rejected later."""
    if not isinstance(row, Mapping):
        return row
    return {"text": row.get("answer"), **{name: row[name] for name in _ANSWER if name in row}}


def item_of(row: Mapping[str, Any]) -> Item:
    """The item of one row of ``predictions.jsonl``.

    Raises:
        DataError: a value is missing or has another type.
    """
    controls = row.get("controls")
    if isinstance(controls, Mapping):
        controls = {name: _answer(control) for name, control in controls.items()}
    values = {name: row[name] for name in _ITEM if name in row}
    values |= {"answer": _answer(row), "controls": controls}
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
