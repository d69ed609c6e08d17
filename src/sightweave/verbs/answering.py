"""Asks a run a prompt, or all prompts of a dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from sightweave.core.progress import LiveLine, wanted
from sightweave.core.types import Prediction, Sample
from sightweave.data.datasets import own
from sightweave.data.reading.source import FilesConfig
from sightweave.programs import generation
from sightweave.programs.evaluation import submission as submissions
from sightweave.run import Run
from sightweave.verbs.building import as_run
from sightweave.verbs.sources import read_data, samples_of, told_apart


def generate(
    run: str | Path | Run,
    image: Any,
    prompt: str | Sequence[str],
    *,
    trust_run: bool = False,
    **options: Any,
) -> Any:
    """Answers one or several prompts about an image; `trust_run` as for `load`, options as for `Run.generate`."""
    return as_run(run, trust_run=trust_run).generate(image, prompt, **options)


def caption(run: str | Path | Run, image: Any, *, trust_run: bool = False, **options: Any) -> Prediction:
    """Describes an image."""
    return as_run(run, trust_run=trust_run).caption(image, **options)


def translate(
    run: str | Path | Run, image: Any, text: str, *, to: str, trust_run: bool = False, **options: Any
) -> Prediction:
    """Translates a text with the help of an image; `to` is a language code such as ``de``."""
    return as_run(run, trust_run=trust_run).translate(image, text, to=to, **options)


def answer_all(
    run: str | Path | Run,
    data: Any,
    *,
    max_tokens: int = 96,
    stop: str | Sequence[str] = (),
    decoding: str | dict[str, Any] = "greedy",
    seed: int = 0,
    batch_size: int = 256,
    trust_run: bool = False,
    progress: bool | None = None,
) -> Iterator[dict[str, Any]]:
    """Answers every prompt of a dataset: one row each with ``image``, ``prompt``, ``answer`` and ``logprob``.

    A row also has an ``id`` if the data gives one.

    Args:
        run: A run or its folder.
        data: A path to any format, a source as in a recipe, a list of these, or rows; rows need no answers.
        max_tokens: Maximum tokens per answer.
        stop: As for `Run.generate`.
        decoding: A kind in ``answers/decoding``, or a mapping with its fields.
        seed: Random seed for sampling.
        batch_size: Maximum prompts per batch.
        trust_run: As for `load`.
        progress: True shows progress in a log too, False never; None shows it in a terminal or a notebook.
    """
    loaded = as_run(run, trust_run=trust_run)
    sources, rows = read_data(data)
    datasets: list[Any]
    if rows is not None:
        datasets = [own.from_records(rows, labelled=False, held_out=0.0)]
    else:
        datasets = [_unlabelled(one).build(split="train") for one in sources]

    samples = list(samples_of(told_apart(datasets), loaded.recipe.build_tasks()))
    given_ids: set[str] = set()
    for dataset in datasets:
        given_ids.update(getattr(dataset, "given_ids", ()))

    # A separate generator, so that errors in the run or the data are raised by this call and not by the first next().
    return _answers(
        loaded,
        samples,
        given_ids,
        batch_size,
        {"max_tokens": max_tokens, "stop": stop, "decoding": decoding, "seed": seed},
        wanted(None, progress),
    )


def _unlabelled(source: Any) -> Any:
    """The source, set to read rows without answers."""
    if not isinstance(source, FilesConfig):
        return source
    return dataclasses.replace(source, labelled=False, held_out=0.0)


def submission(layout: str, answers: Iterable[Mapping[str, Any]]) -> str:
    """The file to upload to an evaluation server: ``coco``, ``vqa_v2``, ``vizwiz``, ``gqa``, ``textvqa`` or ``nlvr2``.

    Args:
        layout: Name of the dataset.
        answers: Rows of `answer_all`; each needs the dataset's own id.

    Raises:
        DataError: no such layout, no answers, or an id that is missing, duplicate or from another dataset.
    """
    return submissions.write(layout, answers)


def _answers(
    run: Run,
    samples: Sequence[Sample],
    given_ids: set[str],
    batch_size: int,
    options: Mapping[str, Any],
    console: Console | None,
) -> Iterator[dict[str, Any]]:
    asked = list(generation.distinct(samples))
    with LiveLine(console, transient=True) as line:
        line.start("answering", len(samples))

        def tell(count: int) -> None:
            line.advance(count, "prompts")

        for start in range(0, len(samples), batch_size):
            chunk = slice(start, start + batch_size)
            answers = run.predict(asked[chunk], progress=tell, **options)
            for sample, answer in zip(samples[chunk], answers, strict=True):
                name = {"id": sample.id} if sample.id in given_ids else {}
                yield name | {
                    "image": sample.media[0].key if sample.media else None,
                    "prompt": sample.prompt,
                    "answer": answer.text,
                    "logprob": answer.logprob,
                }
