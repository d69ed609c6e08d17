"""What ``--json`` prints on standard output: the shape of each command's result.

Where rows are the result, each is a line of its own (JSON lines); elsewhere the result is one object on one line. A number
that is not finite is ``null``. Errors and progress go to standard error, and exit statuses are those without ``--json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class Trained(TypedDict):
    """``train`` and ``demo``: one object."""

    run: str
    """Folder of the run."""
    report: str
    """Its page."""
    interrupted: bool
    """Whether training ended before its last step."""
    splits: Sequence[Mapping[str, Any]]
    """The scores of each held-out split, as in ``evaluation.json``; empty where none was scored."""


class Evaluated(TypedDict):
    """``evaluate``: one object."""

    splits: Sequence[Mapping[str, Any]]
    """The scores of each split, as in ``evaluation.json``."""


class Compared(TypedDict):
    """``compare``: one object."""

    page: str
    """The table as a page."""
    comparison: Mapping[str, Any]
    """The table, as in ``comparison.json``."""


class Answer(TypedDict, total=False):
    """``generate``, ``caption`` and ``translate``: a line for each answer."""

    id: str
    """Of the row, where the data gave it one."""
    image: str | None
    """The picture; null for a prompt without one."""
    prompt: str
    """What was asked."""
    answer: str
    """What was answered."""
    logprob: float | None
    """Mean natural-log probability per token."""


class Page(TypedDict):
    """``report``: one object."""

    report: str
    """The page."""


class SideBySide(TypedDict):
    """``beside``: one object."""

    page: str
    """The page."""
    beside: Mapping[str, Any]
    """Samples and pictures that both were asked, and by task both scores, their difference and its test."""


class Checked(TypedDict):
    """``check``: a line for each check."""

    check: str
    """Its name."""
    what: str
    """What it looks at."""
    state: str
    """``pass``, ``fail`` or ``skip``; the exit status is 1 where one fails."""
    measured: str
    """What was found."""
    needed: str
    """What is needed."""
    seconds: float
    """How long it took."""


class Exported(TypedDict):
    """``export``: one object."""

    folder: str
    """What was written."""
    layout: str
    """In which layout."""
    program: str
    """What opened it, with its version; empty where nothing could."""
    samples: int
    """Prompts that were compared one by one."""
    batched_samples: int
    """Prompts that were compared in batches."""
    largest_difference: float | None
    """Of two logits."""
    largest_share: float | None
    """The same as a share of the largest logit."""
    equal_answers: int
    """Samples with the same greedy answer."""
    note: str
    """Why nothing was compared; else empty."""


class Kind(TypedDict):
    """``list FAMILY``: a line for each kind."""

    kind: str
    """Its name in a recipe."""
    about: str
    """What it is."""


class Pair(TypedDict):
    """``list``: a line for each pair of fusion and language model."""

    fusion: str
    """Kind of the fusion."""
    language_model: str
    """Kind of the language model."""
    can: str
    """``generates`` or ``classifies``; empty where the two do not go together."""


class RecipeFile(TypedDict):
    """``recipes``: a line for each; ``recipes NAME`` prints that recipe itself as one object."""

    recipe: str
    """Its name for ``train``."""
    about: str
    """What it is for."""
    file: str
    """Where it is."""


class Sheet(TypedDict):
    """``data sample``: one object."""

    sheet: str
    """The picture with the sheet."""


class DataChecked(TypedDict):
    """``data check``: one object; the exit status is 1 where training should not start."""

    report: str
    """The page."""
    check: Mapping[str, Any]
    """What was found, as in ``report.json``."""


class Cached(TypedDict):
    """``data cache``: one object."""

    folder: str
    """The cache, for ``inputs.cache``."""
    pictures: int
    """Pictures in it."""
    left_out: Mapping[str, str]
    """Pictures that cannot be read, with the reasons."""


class Detected(TypedDict):
    """``data detect``: a line for each format that knows the path; the exit status is 1 where none does."""

    kind: str
    """The format's name in a recipe."""
    reason: str
    """What was found."""
