"""The output of ``--json`` on standard output: the fields of each command's result.

If the result is a list of rows, each row is printed on its own line (JSON lines); otherwise it is one object on one line.
A number that is not finite is ``null``. Errors and progress go to standard error, and exit statuses are the same as without
``--json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class Trained(TypedDict):
    """``train`` and ``demo``: one object."""

    run: str
    """The run's folder."""
    report: str
    """The HTML report."""
    interrupted: bool
    """Whether training ended before its last step."""
    splits: Sequence[Mapping[str, Any]]
    """The scores of each held-out split, as in ``evaluation.json``; empty if none was scored."""


class Evaluated(TypedDict):
    """``evaluate``: one object."""

    splits: Sequence[Mapping[str, Any]]
    """The scores of each split, as in ``evaluation.json``."""


class Compared(TypedDict):
    """``compare``: one object."""

    page: str
    """The HTML page of the comparison."""
    comparison: Mapping[str, Any]
    """The comparison, as in ``comparison.json``."""


class Answer(TypedDict, total=False):
    """``generate``, ``caption``, ``translate`` and ``draw``: one line per answer."""

    id: str
    """The row's id, if the data gives one."""
    image: str | None
    """The image; null for a prompt without one."""
    prompt: str
    """The prompt."""
    answer: str
    """The answer."""
    logprob: float | None
    """Mean natural-log probability per token."""
    picture: str | None
    """The file with the image of the answer; null if the answer has none. Only if a writer draws."""
    faults: Sequence[str]
    """One sentence per region of the answer that was left out. Only if a writer draws."""


class Explained(TypedDict):
    """``explain``: one object."""

    method: str
    """Kind of the explainer."""
    answer: str
    """The explained answer."""
    word: str | None
    """The explained word; null for the whole answer."""
    against: str | None
    """The text with which the word or answer is compared; null if there is none."""
    score: float
    """The explained score: log-odds, or the difference of two logits."""
    unit: str
    """Unit of all values."""
    media: Sequence[Mapping[str, Any]]
    """Each medium of the prompt with its ``name``, ``modality`` and ``values``, nested lists in the shape of its grid."""
    tokens: Sequence[str]
    """Text of each token of the prompt."""
    token_values: Sequence[float] | None
    """One value for each of ``tokens``; null if the method explains media only."""
    baseline: str
    """Input that stands for absence; empty if the method has none."""
    completeness_error: float | None
    """Difference between the sum of the values and the rise of the score from the baseline, as a share of that rise."""


class TestedMethod(TypedDict):
    """``explain`` with ``--test``: one line per method, followed by the maps that know nothing of the model."""

    method: str
    """Kind of the explainer, or name of the map."""
    is_control: bool
    """Whether it is a map that knows nothing of the model."""
    scores: Mapping[str, Sequence[float]]
    """Each measure with its mean and the ends of its 95 % interval; empty if the method cannot explain the model."""
    verdict: str
    """One sentence; empty for a control."""


class Page(TypedDict):
    """``report``: one object."""

    report: str
    """The HTML report."""


class SideBySide(TypedDict):
    """``beside``: one object."""

    page: str
    """The HTML page."""
    beside: Mapping[str, Any]
    """Counts of the samples and images that both contain, and for each task both scores and a test of their
    difference."""


class FoundRate(TypedDict):
    """``find-lr``: one object."""

    suggestion: float | None
    """The suggested peak learning rate of AdamW; null if there is none."""
    muon_lr: float | None
    """That of Muon, in the recipe's proportion; null without Muon."""
    reason: str
    """Why it is suggested, or why nothing is."""
    rates: Sequence[float]
    """Learning rate of each update."""
    losses: Sequence[float]
    """Loss before each update."""
    smoothed: Sequence[float]
    """Moving average of the losses."""


class Checked(TypedDict):
    """``check``: a line for each check."""

    check: str
    """Name of the check."""
    what: str
    """What the check verifies."""
    state: str
    """``pass``, ``fail`` or ``skip``; the exit status is 1 if a check fails."""
    measured: str
    """The measured value."""
    needed: str
    """The required value."""
    seconds: float
    """Duration of the check."""


class ListedRun(TypedDict):
    """``runs``: a line for each run."""

    run: str
    """The run's folder."""
    date: str
    """When training began, in UTC as ISO 8601; for runs of earlier versions, when ``run.json`` was last written."""
    state: str
    """``training`` (a process is training it now), ``finished``, ``interrupted``, ``failed``, ``damaged``, ``untrained`` or
    ``unknown`` (no ``run.json``)."""
    title: str
    """The recipe's title."""
    problem: str
    """Why the run failed or is damaged; empty for other states."""
    steps: int | None
    """Number of training steps done."""
    planned_steps: int | None
    """Number of steps that training should make."""
    scores: Sequence[Mapping[str, Any]]
    """The score of each task on each split: ``split``, ``task``, ``metric``, ``value``, ``low`` and ``high`` (the
    interval), ``unit`` and ``less_is_better``. With the unit ``%``, numbers are shares from 0 to 1."""
    training_seconds: float | None
    """Wall time of training."""
    device: str
    """Device that the run was trained on."""
    parameters: int | None
    """Number of weights."""
    disk_bytes: int
    """Size of all files in the folder."""


class Forecasted(TypedDict):
    """``forecast``: one object."""

    forecast: Mapping[str, Any]
    """Device, precision, hours, energy and cost; and for each stage its parameters by part, operations per sample, memory
    in bytes by kind, seconds of a step, and the largest batch size that fits."""


class Exported(TypedDict):
    """``export``: one object."""

    folder: str
    """The exported folder."""
    layout: str
    """The file layout."""
    program: str
    """The program that loaded the files, with its version; empty if none could."""
    samples: int
    """Number of prompts compared one by one."""
    batched_samples: int
    """Number of prompts compared in batches."""
    largest_difference: float | None
    """Largest difference between two logits."""
    largest_share: float | None
    """The same difference as a share of the largest logit."""
    equal_answers: int
    """Number of samples with the same greedy answer."""
    note: str
    """Why nothing was compared; empty if a comparison was made."""


class Kind(TypedDict):
    """``list FAMILY``: a line for each kind."""

    kind: str
    """The kind's name in a recipe."""
    about: str
    """A short description."""


class Pair(TypedDict):
    """``list``: a line for each pair of fusion and language model."""

    fusion: str
    """Kind of the fusion."""
    language_model: str
    """Kind of the language model."""
    can: str
    """``generates`` or ``classifies``; empty if the two do not fit together."""


class RecipeFile(TypedDict):
    """``recipes``: a line for each recipe; ``recipes NAME`` prints that recipe itself as one object."""

    recipe: str
    """The recipe's name for ``train``."""
    about: str
    """The recipe's purpose."""
    file: str
    """The recipe's file."""


class Sheet(TypedDict):
    """``data sample``: one object."""

    sheet: str
    """The PNG file of the contact sheet."""


class DataChecked(TypedDict):
    """``data check``: one object; the exit status is 1 if training should not start."""

    report: str
    """The HTML report."""
    check: Mapping[str, Any]
    """The findings, as in ``report.json``."""


class Cached(TypedDict):
    """``data cache``: one object."""

    folder: str
    """The cache's folder, for ``inputs.cache``."""
    pictures: int
    """Number of images in the cache."""
    left_out: Mapping[str, str]
    """Images that cannot be read, with the reasons."""


class Detected(TypedDict):
    """``data detect``: a line for each format that recognises the path; the exit status is 1 if none does."""

    kind: str
    """The format's name in a recipe."""
    reason: str
    """Why the format matches."""
