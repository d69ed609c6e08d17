"""Asks a run a prompt, or all prompts of a dataset."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
from rich.console import Console

from sightweave.core import outputs
from sightweave.core.errors import DataError
from sightweave.core.explanation import Explanation
from sightweave.core.progress import LiveLine, wanted
from sightweave.core.types import Prediction, Sample
from sightweave.data.datasets import own
from sightweave.data.reading.source import FilesConfig
from sightweave.programs import generation
from sightweave.programs.evaluation import submission as submissions
from sightweave.rendering.render import MIN_SIZE
from sightweave.run import Run
from sightweave.verbs.building import as_run
from sightweave.verbs.rendering import write_png
from sightweave.verbs.sources import read_data, samples_of, told_apart

if TYPE_CHECKING:
    import PIL.Image

logger = logging.getLogger(__name__)


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


def explain(
    run: str | Path | Run, image: Any, prompt: str, *, trust_run: bool = False, **options: Any
) -> Explanation:
    """Explains the answer to a prompt; `trust_run` as for `load`, options and errors as for `Run.explain`."""
    return as_run(run, trust_run=trust_run).explain(image, prompt, **options)


def caption(run: str | Path | Run, image: Any, *, trust_run: bool = False, **options: Any) -> Prediction:
    """Describes an image."""
    return as_run(run, trust_run=trust_run).caption(image, **options)


def translate(
    run: str | Path | Run,
    image: Any,
    text: str | None = None,
    *,
    to: str,
    out: str | Path | None = None,
    writer: str | Mapping[str, Any] = "rendered",
    font: str | Sequence[str] = (),
    min_size: int = MIN_SIZE,
    trust_run: bool = False,
    **options: Any,
) -> Prediction:
    """Translates a text with the help of an image, or without a text the words in the image.

    Args:
        run: A run or its folder.
        image: As for `Run.generate`.
        text: The text; None translates the words in the image, and the answer's ``picture`` is the image with the new words.
        to: Code of the target language, such as ``de``.
        out: PNG file for the image with the new words; for a translation without a text only.
        writer: Writer that makes this image: ``rendered`` with the two following settings, ``image_tokens`` if the model
            draws signs itself, or a mapping.
        font: Fonts for the new words, as for `render`.
        min_size: Minimum font size of the new words in pixels.
        trust_run: As for `load`.
        options: As for `Run.generate`.

    Raises:
        DataError: As for `Run.translate`; or `out` is given, and a text too, or no new word can be drawn.
        FolderError: `out` is a file that Sightweave did not write.
    """
    if text is not None and out is not None:
        raise DataError("translate: out is for the words in an image; leave out the text to translate them.")
    if out is not None:
        outputs.check_picture(Path(out))
    loaded = as_run(run, trust_run=trust_run)
    if text is not None:
        return loaded.translate(image, text, to=to, **options)

    if writer == "rendered":
        writer = {"kind": "rendered", "font": font, "min_size": min_size}
    answer = loaded.translate(image, to=to, writer=writer, **options)
    if out is not None:
        write_png(_drawn(answer), Path(out))
    return answer


def draw(
    run: str | Path | Run,
    description: str,
    *,
    out: str | Path | None = None,
    trust_run: bool = False,
    **options: Any,
) -> Prediction:
    """Draws what a text describes, with a run that writes image tokens; the image is ``Prediction.images[0]``.

    Args:
        run: A run or its folder.
        description: What the drawing should show.
        out: PNG file for the image.
        trust_run: As for `load`.
        options: As for `Run.draw`.

    Raises:
        DataError: The description is empty, or `out` is given and the answer has no image.
        RecipeError: The model has no image tokenizer.
        FolderError: `out` is a file that Sightweave did not write.
    """
    if out is not None:
        outputs.check_picture(Path(out))
    answer: Prediction = as_run(run, trust_run=trust_run).draw(description, **options)
    if out is not None:
        if not answer.images:
            raise DataError(
                f"draw: no image was written, because the answer has none: {answer.text[:80]!r}; try another seed, or train "
                "the run longer."
            )
        write_png(answer.images[0], Path(out))
    return answer


def _drawn(answer: Prediction) -> PIL.Image.Image:
    """The image of an answer; regions that cannot be drawn are logged.

    Raises:
        DataError: No region can be drawn.
    """
    done = answer.rendered()
    if len(done.faults) >= max(1, len(answer.regions) + len(answer.extra.get("faults", ()))):
        raise DataError(f"translate: no image was written, because {done.faults[0]}")
    if not answer.regions:
        raise DataError(
            f"translate: no image was written, because the answer names no words in the image: {answer.text[:80]!r}."
        )
    for fault in done.faults:
        logger.warning("left out: %s", fault)
    return done.picture


def answer_all(
    run: str | Path | Run,
    data: Any,
    *,
    max_tokens: int | None = None,
    stop: str | Sequence[str] = (),
    decoding: str | dict[str, Any] = "greedy",
    writer: str | dict[str, Any] = "text",
    pictures: str | Path | None = None,
    picture_decoding: str | dict[str, Any] = "greedy",
    guidance: float = 1.0,
    seed: int = 0,
    batch_size: int = 256,
    trust_run: bool = False,
    progress: bool | None = None,
) -> Iterator[dict[str, Any]]:
    """Answers every prompt of a dataset: one row each with ``image``, ``prompt``, ``answer`` and ``logprob``.

    A row also has an ``id`` if the data gives one. With `pictures` and a writer that draws, it has ``picture``, the path of
    the answer's image or None, and ``faults``, a list of the regions that were left out.

    Args:
        run: A run or its folder.
        data: A path to any format, a source as in a recipe, a list of these, or rows; rows need no answers.
        max_tokens: As for `Run.generate`.
        stop: As for `Run.generate`.
        decoding: A kind in ``answers/decoding``, or a mapping with its fields.
        writer: A kind in ``answers/writers``, or a mapping with its settings.
        pictures: Folder for the PNG files of answers with images, if the writer draws; each file is named after the number
            of its row.
        picture_decoding: Method that chooses the codes of images, if the writer makes any.
        guidance: As for `Run.draw`.
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
        {
            "max_tokens": max_tokens,
            "stop": stop,
            "decoding": decoding,
            "writer": writer,
            "picture_decoding": picture_decoding,
            "guidance": guidance,
            "seed": seed,
        },
        None if pictures is None else Path(pictures),
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
    pictures: Path | None,
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
            for number, (sample, answer) in enumerate(zip(samples[chunk], answers, strict=True), start=start):
                name = {"id": sample.id} if sample.id in given_ids else {}
                row = name | {
                    "image": sample.media[0].key if sample.media else None,
                    "prompt": sample.prompt,
                    "answer": answer.text,
                    "logprob": answer.logprob,
                }
                if pictures is not None and (answer.drawing is not None or answer.parts):
                    row |= _picture_row(answer, pictures / f"{number:06d}.png")
                yield row


def _picture_row(answer: Prediction, path: Path) -> dict[str, Any]:
    """Writes the image of an answer; returns its path, or None if there is none, and the regions that were left out."""
    picture: PIL.Image.Image | None = None
    faults: tuple[str, ...] = ()
    if answer.drawing is not None:
        done = answer.rendered()
        picture, faults = done.picture if answer.regions else None, done.faults
    elif answer.images:
        picture = answer.images[0]

    if picture is None:
        return {"picture": None, "faults": list(faults)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(picture, path)
    return {"picture": str(path), "faults": list(faults)}
