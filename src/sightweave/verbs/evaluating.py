"""Scores of whoever answers, the pages that show them, and two of them side by side."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import torch
from rich.console import Console

from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.answers.metrics import multiple_choice
from sightweave.core import answer_files, bounded, catalog, files, json_lines, old_names, outputs, places
from sightweave.core import config as configs
from sightweave.core.bounded import UnreadableError
from sightweave.core.config import config, one_of
from sightweave.core.device import keep_freed_memory, limit_threads
from sightweave.core.errors import CheckpointError, DataError, MediaError, RecipeError
from sightweave.core.progress import wanted
from sightweave.core.types import Medium, Sample
from sightweave.data.inputs import image_files, order, thumbnails
from sightweave.data.phrasing.lettered_options import hides_options
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.data.reading.splits import is_for_choosing
from sightweave.data.reading.subset import draw
from sightweave.pages import gallery
from sightweave.pages import page as pages
from sightweave.pages.beside import write_beside
from sightweave.pages.notebook import Shown
from sightweave.programs.evaluation import beside as beside_program
from sightweave.programs.evaluation import circular, scores, stored
from sightweave.programs.evaluation import program as evaluation_program
from sightweave.programs.evaluation.bar import PassesBar
from sightweave.programs.evaluation.beside import Beside
from sightweave.programs.evaluation.kept import Kept
from sightweave.programs.evaluation.scores import Evaluation
from sightweave.programs.evaluation.stored import EVALUATION, PREDICTIONS
from sightweave.programs.predictors import run as run_predictor
from sightweave.programs.predictors._base import Predictor
from sightweave.programs.training.logs import METRICS, EventsFile, read_metrics
from sightweave.recipe import Recipe
from sightweave.run import Run
from sightweave.verbs import text_only
from sightweave.verbs.building import load
from sightweave.verbs.sources import (
    build_sources,
    check_places,
    check_splits,
    has_near_places,
    held_out_of,
    read_data,
    say,
)

logger = logging.getLogger(__name__)

KEPT = "answers.jsonl"
"""Answers as they come, so that a stopped evaluation goes on."""
GALLERY, INDEX, REPORT = "gallery", "index.json", "report.html"
EVALUATIONS = Path("evaluations")
PREDICTORS = "programs.predictors"


@old_names.accepts(pictures="max_images")
def evaluate(
    who: str | Path | Mapping[str, Any] | Run,
    *settings: str,
    data: Any = None,
    splits: Sequence[str] = (),
    max_images: int | None = None,
    controls: Sequence[str] | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    trust_run: bool = False,
    progress: bool | None = None,
    console: Console | None = None,
) -> list[Evaluation]:
    """Scores whoever answers on held-out data, with intervals, chance levels and controls.

    Answers are kept as they come: the same call goes on where it was stopped, and asks nothing twice.

    Args:
        who: A run or its folder, a Transformers folder, an endpoint's address, a file of answers, or a mapping with a
            kind of ``programs/predictors`` and its fields (also as text, ``{kind: endpoint, url: ..., model: ...}``).
        settings: ``path=value`` settings of ``evaluate``, ``tasks`` and ``seed``, such as
            ``"tasks.vqa.metrics=[vqa_official, exact_match]"``.
        data: A path, a source as in a recipe (also as text, ``{kind: scenes, seed: 1}``), a list of these, or rows; by
            default the test splits of a run's own data.
        splits: Only these splits; ``validation`` is the one to choose recipes by.
        max_images: Maximum images per split, drawn over the whole split; by default what the recipe says.
        controls: Names of ``programs/evaluation/controls.py``; by default what the recipe says.
        out: Folder for evaluation.json, predictions.jsonl, report.html and the kept answers; by default the run's own,
            one inside it for other data, or one under ``evaluations/``. A name that ends in ``.csv`` leaves the folder as
            it is without, and also gets the answers as a table.
        fresh: Whether answers that were kept are asked for again.
        trust_run: As for `load`.
        progress: True shows progress in a log too, False not at all; None shows it where there is a terminal or a notebook.
        console: Where progress is shown; by default standard error, or the output of the cell in a notebook.

    Raises:
        DataError: nothing to score.
        RecipeError: a mistake in a setting, or an address that nothing here can ask.
        BackendError: who was asked cannot answer.
        FolderError: the folder holds files that Sightweave did not write and would overwrite, or another process writes
            into it.
    """
    keep_freed_memory()
    limit_threads()
    other = _other_data(settings, data)
    answering = _answering(who, trust_run=trust_run)
    if other is None and answering.run is not None:
        check_places(answering.run)
    values, records = answering.measured.to_plain(), None
    if data is not None:
        sources, records = read_data(data)
        values["data"] = [configs.to_plain(one) for one in sources] or values["data"]
    chosen = {"splits": splits or None, "max_images": max_images, "controls": controls}
    given = [
        f"evaluate.{name}={json.dumps(list(value) if isinstance(value, Sequence) else value)}"
        for name, value in chosen.items()
        if value is not None
    ]
    names = [field.name for field in dataclasses.fields(recipes.Measured)]
    measured = recipes.measured({name: values[name] for name in names}, [*settings, *given])
    check_splits(measured)
    if other is None and answering.run is not None and not measured.data:
        raise RecipeError(
            f"{answering.predictor.name}: was trained on records passed in Python, which a run does not store; pass them "
            "again, as evaluate(run, data=records), or evaluate it on a folder: sightweave evaluate RUN --data FOLDER."
        )
    held_out = held_out_of(measured, records)
    if not held_out and other is not None:  # all of a folder without a held-out part is what to score
        everything = build_sources(measured, records, "train")
        held_out = {"all": everything} if any(len(source) for source in everything) else {}
    if not held_out:
        raise DataError("evaluate: the data has no held-out records; choose a split, or use other data.")
    table = Path(out) if out is not None and answer_files.is_table(out) else None
    if table is not None:
        answer_files.check(table)
        out = None
    folder = Path(out) if out is not None else answering.folder
    if out is None and other is not None and folder is not None and answering.recipe is not None:
        name = "records" if records is not None else _word_of(other)
        folder = folder / EVALUATIONS / name  # the scores on its own data stay the run's
    if answering.recipe is None:
        measured = _scored_by_choice(measured, held_out)
    train = answering.train if answering.recipe is not None else lambda: _training_data(measured)
    with _claimed(folder):
        if fresh and folder is not None:
            (folder / KEPT).unlink(missing_ok=True)
        found = evaluate_into(answering, measured, folder, held_out, wanted(console, progress), train)
    if table is not None:
        rows = (row for one in found for row in one.predictions())
        collections.deque(answer_files.write(table, rows, more=("right", "expected")), maxlen=0)
    return found


def _other_data(settings: Sequence[str], data: Any) -> Any:
    """What is scored in place of a run's own data: the argument, or what a setting says; None where neither is given."""
    if data is not None:
        return data
    named = [one.partition("=") for one in settings]
    return next((value for name, _, value in named if name.strip().partition(".")[0] == "data"), None)


def _claimed(folder: Path | None) -> AbstractContextManager[None]:
    """The folder of an evaluation, kept free of other commands."""
    if folder is None:
        return contextlib.nullcontext()
    return files.claimed(
        folder, writes=outputs.EVALUATION_FILES, markers=outputs.MARKERS, purpose="evaluation"
    )


@dataclasses.dataclass(frozen=True)
class Answering:
    """Whoever answers, and what is known of it."""

    predictor: Predictor
    measured: recipes.Measured
    recipe: Recipe | None
    """Of a run."""
    folder: Path | None
    """Where results go, unless another folder is named."""
    train: Callable[[], Sequence[Dataset]]
    """What it was trained on."""
    unfinished: str = ""
    """A sentence on a run whose training ended early."""
    run: Run | None = None
    """Where it is one."""


def _answering(who: str | Path | Mapping[str, Any] | Run, *, trust_run: bool) -> Answering:
    who = who if isinstance(who, Run) else _read_who(who)
    if isinstance(who, str | Path) and run_predictor.recognise(str(who)):
        who = load(who, trust_run=trust_run)
    if isinstance(who, Run):
        run, recipe = who, who.recipe

        def train() -> Sequence[Dataset]:
            if has_near_places(run):
                return _training_data(recipe)
            logger.warning(
                "the majority answer is unknown: the training data of %s is elsewhere and is read only if you trust the "
                "run (--trust-run, or trust_run=True)",
                run.folder,
            )
            return []

        run.warn_untrained()
        return Answering(who.predictor(), recipe, recipe, who.folder, train, who.unfinished, run)
    found = predictor(who)
    # A run was trained with its options listed or without; all others know only what a prompt says.
    listing = {name: {"list_options": True} for name in _tasks_with_options()}
    measured = recipes.Measured(tasks=listing)
    return Answering(found, measured, None, EVALUATIONS / _word_of(found.name), lambda: ())


def _tasks_with_options() -> list[str]:
    kinds = catalog.kinds("data.tasks")
    configs_of = {name: catalog.config_class("data.tasks", name) for name in kinds}
    return [
        name
        for name, made in configs_of.items()
        if any(field.name == "list_options" for field in dataclasses.fields(made))
    ]


def _scored_by_choice(
    measured: recipes.Measured, held_out: Mapping[str, Sequence[Dataset]]
) -> recipes.Measured:
    """The same with multiple_choice as the score of tasks whose questions all list their options.

    Chat models answer "B. red", which no reference equals. Tasks whose metrics were named keep them.
    """
    tasks, asked = measured.build_tasks(), measured.evaluate
    samples: list[Sample] = []
    for sources in held_out.values():
        samples += _drawn_samples(sources, tasks, asked)[0]
    chosen = {name: dict(values) for name, values in measured.tasks.items()}
    for name in _tasks_with_options():
        here = [sample for sample in samples if sample.task == name]
        lists = chosen.get(name, {}).get("list_options", False) and not any(map(hides_options, here))
        if here and lists and "metrics" not in chosen[name] and _are_choices(here):
            own = [configs.to_plain(one) for one in measured.task(name).metrics]
            chosen[name]["metrics"] = ["multiple_choice", *own]
    return dataclasses.replace(measured, tasks=chosen)


def _are_choices(samples: Sequence[Sample]) -> bool:
    """Whether multiple_choice can score all of them: each has options, and its references are among them."""
    try:
        multiple_choice.Config().build().rows([None] * len(samples), samples)
    except DataError:
        return False
    return True


def _hidden_options(samples: Sequence[Sample]) -> list[str]:
    """Plain sentences on tasks whose questions have options of their own that their prompts do not show."""
    found = []
    for name in sorted({sample.task for sample in samples}):
        here = [sample for sample in samples if sample.task == name]
        hidden = [sample for sample in here if hides_options(sample)]
        # Where all questions of a type have the same options, a model may have learnt them.
        if len({(sample.tags.get("type"), sample.options) for sample in hidden}) > len(
            {sample.tags.get("type") for sample in hidden}
        ):
            found.append(
                f"{name}: {len(hidden)} of {len(here)} prompts do not list their options; "
                f"set tasks.{name}.list_options=true to list them."
            )
    return found


def predictor(who: str | Path | Mapping[str, Any]) -> Predictor:
    """Whoever answers at a path or an address: a kind of ``programs/predictors``.

    Raises:
        RecipeError: nothing here knows it, or a mistake in its fields.
        CheckpointError: a folder that is damaged.
    """
    who = _read_who(who)
    if isinstance(who, Mapping):
        return configs.build(_PredictorOnly, {"who": dict(who)}, where="who").who.build()  # type: ignore[no-any-return]  # any kind
    if run_predictor.recognise(str(who)):
        return load(who).predictor()
    for kind in catalog.kinds(PREDICTORS):
        if catalog.module(PREDICTORS, kind).recognise(str(who)):
            return catalog.config_class(PREDICTORS, kind).at(str(who)).build()  # type: ignore[no-any-return]  # any kind
    places.refuse_who(str(who))


def _read_who(who: str | Path | Mapping[str, Any]) -> str | Path | Mapping[str, Any]:
    """A mapping that was given as text, as a mapping; one that names a run as a folder of Transformers, as its path.

    The one line of code of a ``custom_code`` export imports Sightweave, so the run in it is asked as what it is.
    """
    if isinstance(who, str) and who.lstrip().startswith("{"):
        who = configs.override({}, [f"who={who}"])["who"]
    if isinstance(who, Mapping) and who.get("kind") == "from_transformers":
        path = who.get("path")
        return path if isinstance(path, str) and run_predictor.recognise(path) else who
    return who


@config
class _PredictorOnly:
    who: Annotated[Any, one_of(PREDICTORS)]


_MOST_WORD, _MOST_NAME = 60, 255
"""Letters of such a word, and of a text that may be a path."""


def _word_of(value: Any) -> str:
    """A short word for a folder's name."""
    if isinstance(value, list | tuple):
        return "-".join(map(_word_of, value))[:_MOST_WORD] or "data"
    text = str(value).rstrip("/")
    is_path = len(text) < _MOST_NAME and Path(text).exists()
    name = Path(text).name if is_path else text
    word = "".join(letter if letter.isalnum() else "-" for letter in name).strip("-")
    while "--" in word:
        word = word.replace("--", "-")
    return word[:_MOST_WORD] or "data"


def evaluate_into(
    answering: Answering,
    measured: recipes.Measured,
    folder: Path | None,
    held_out: Mapping[str, Sequence[Dataset]],
    console: Console | None,
    train: Callable[[], Sequence[Dataset]],
) -> list[Evaluation]:
    """Scores each split; with a folder, writes evaluation.json, predictions.jsonl and the report."""
    began = time.perf_counter()
    asked = measured.evaluate
    tasks = measured.build_tasks()
    found: list[Evaluation] = []
    images: dict[str, Medium] = {}
    who = answering.predictor
    if asked.max_batch_tokens is not None and hasattr(who, "max_batch_tokens"):  # it runs in this process
        who.max_batch_tokens = asked.max_batch_tokens
    known = text_only.baselines(train(), measured, answering.recipe, answering.folder)
    if folder is not None:
        _check_outputs(folder, KEPT, EVALUATION, PREDICTIONS, GALLERY, REPORT)
        folder.mkdir(parents=True, exist_ok=True)
    path = None if folder is None else folder / KEPT
    controls = asked.controls if who.can_control else ()
    bar = PassesBar(console)
    kept = Kept(who, path, max_tokens=asked.max_tokens, progress=bar.advance)
    for split, sources in held_out.items():
        samples, total, pictures = _drawn_samples(sources, tasks, asked)
        media = [medium for sample in samples for medium in sample.media]
        images |= {medium.key: medium for medium in media if medium.modality == "image"}
        say(console, f"evaluating {split}: {pictures}, {len(samples):,} prompts, {len(controls)} controls")
        for subset, some in _by_subset(samples).items():
            with bar:
                one = evaluation_program.evaluate(
                    some,
                    kept,
                    split=f"{split}, {subset}" if subset else split,
                    pictures_total=total,
                    train=known,
                    controls=controls,
                    tasks={name: measured.task(name) for name in tasks},
                    seed=measured.seed,
                    can_score=who.can_score,
                    progress=bar.start,
                )
            notes = [
                *filter(None, [answering.unfinished]),
                *one.notes,
                *_hidden_options(some),
                *getattr(who, "notes", ()),
                *kept.notes,
                *kept.take_notes(),
            ]
            notes += _notes(split, who, measured, count=len(some), of=len(samples))
            shown = {row["image"] for row in scores.few_rows(one)} & images.keys()
            media_of = {key: thumbnails.kept(images[key]) for key in shown}
            found.append(dataclasses.replace(one, notes=tuple(notes), media=media_of))
    if kept.reused:
        say(console, f"{kept.reused} answers reused, {kept.asked} new")
    if folder is not None:
        done = {
            "answers": {"new": kept.asked, "reused": kept.reused},
            "seconds": round(time.perf_counter() - began, 1),
        }
        document = _document(answering, measured, held_out, found) | done
        rows_shown = _write_evaluation(folder, found, images, document)
        say(console, f"report: {_write_report(folder, found, rows_shown)}")
    return Shown(found)


def _check_outputs(folder: Path, *names: str) -> None:
    """Raises `DataError` where one of the files to be written is a link."""
    try:
        bounded.check_no_links(folder, *names)
    except UnreadableError as error:
        raise DataError(str(error)) from None


def _notes(split: str, who: Predictor, measured: recipes.Measured, *, count: int, of: int) -> Iterator[str]:
    """What a reader of the scores of a split must know of how they came about."""
    if is_for_choosing(split) and not measured.evaluate.splits:
        yield (
            f"There is no test split with answers, so {split} is used; scores are optimistic for anything chosen on it."
        )
    if not who.can_control:
        yield "A file of answers cannot be asked again with other images, so there are no controls."
    if count < of:
        yield f"{count} of the {of} prompts of {split!r}; the others are in a separate table."


def _by_subset(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """What a split is about, then what its tags set apart from that."""
    found: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: bool(sample.tags.get("subset"))):
        found.setdefault(sample.tags.get("subset", ""), []).append(sample)
    return found


def _document(
    answering: Answering,
    measured: recipes.Measured,
    held_out: Mapping[str, Sequence[Dataset]],
    found: Sequence[Evaluation],
) -> dict[str, Any]:
    """``evaluation.json``: the scores, and all that they depend on."""
    # Where an endpoint or a file answered, the device is not known; where a model in this process did, it says.
    device = getattr(answering.predictor, "device", None)
    facts = runs.facts(device or torch.device("cpu"))
    where = {} if device is None else {"device": str(device), "processor": facts["processor"]}
    tasks = {task.task for one in found for task in one.tasks}
    names = [name for sources in held_out.values() for name in map(_fingerprint_of, sources)]
    return {
        "format_version": scores.FORMAT_VERSION,
        "who": answering.predictor.name,
        "fingerprint": answering.predictor.fingerprint,
        "recipe": (answering.recipe or measured).to_plain(),
        "measured": measured.to_plain(),
        "seed": measured.seed,
        "data": order.fingerprint(names),
        "versions": facts["versions"] | {"python": facts["python"]},
        "commit": facts["commit"],
        **where,
        "template": "\n".join(f"{name}: {measured.task(name).instruction}" for name in sorted(tasks)),
        "splits": [one.to_json() for one in found],
    }


def _fingerprint_of(dataset: Dataset) -> str:
    return str(getattr(dataset, "fingerprint", len(dataset)))


def _drawn_samples(
    sources: Sequence[Dataset], tasks: Mapping[str, Any], asked: recipes.Evaluation
) -> tuple[list[Sample], int | None, str]:
    """What is asked of a split, the number of its images where not all were drawn, and both for the reader."""
    total = sum(len(one) for one in sources)
    chosen = draw(sources, asked.max_images, seed=asked.draw_seed)
    samples = []
    for number, index in chosen:
        samples += [tasks[task_of(record)].sample(record) for record in sources[number][index]]
    samples = [sample for sample in samples if sample.references]
    if asked.circular:
        samples = circular.expand(samples)

    if len(chosen) == total:
        return samples, None, f"{total:,} images"
    return samples, total, f"{len(chosen):,} of {total:,} images"


def _training_data(recipe: recipes.Measured) -> list[Dataset]:
    """What a run was trained on, for the answers that were commonest there; nothing where it is gone by now."""
    try:
        return build_sources(recipe, None, "train") if recipe.data else []
    except DataError as error:
        logger.warning("the majority answer is unknown, because the training data cannot be read: %s", error)
        return []


def _write_evaluation(
    folder: Path, found: Sequence[Evaluation], images: Mapping[str, Medium], document: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Writes all but the report; the rows that its gallery shows."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / GALLERY
    kept.mkdir(exist_ok=True)
    # The scores of an earlier evaluation do not belong to these answers.
    for stale in (folder / EVALUATION, kept / INDEX):
        stale.unlink(missing_ok=True)
    rows = [row for one in found for row in one.predictions()]
    with files.replacing(folder / PREDICTIONS) as stream:
        for row in rows:
            stream.write(json_lines.dumps(row).encode() + b"\n")

    # The pictures of the gallery are kept beside it, so that the report can be drawn again without the data.
    names: dict[str, str] = {}
    shown = gallery.choose(gallery.spread(rows))
    for key in pages.image_keys(shown):
        if key in images:
            names[key] = f"{len(names):04d}.png"
            image_files.save_png(image_files.load(images[key]), kept / names[key])
    files.write_text(kept / INDEX, json_lines.dumps(names, indent=1))
    # Last, since it says that the evaluation is whole.
    files.write_text(folder / EVALUATION, json_lines.dumps(document, indent=1))
    return shown


def report(run: str | Path) -> Path:
    """Draws ``report.html`` of a run from what its folder holds, and returns its path."""
    folder = Path(run)
    if not folder.is_dir():
        raise CheckpointError(places.no_folder(folder))
    scored = stored.read_evaluations(folder) if (folder / EVALUATION).exists() else []
    rows = [row for one in scored for row in one.predictions()]
    return _write_report(folder, scored, gallery.choose(gallery.spread(rows)))


def _write_report(folder: Path, scored: Sequence[Evaluation], shown: Sequence[Mapping[str, Any]]) -> Path:
    """Draws the report of a folder whose evaluation is known, with the rows that its gallery shows."""
    facts = runs.facts_of(folder)
    known, told = runs.shown_facts(facts), runs.unfinished(facts)
    recipe = _shown_recipe(folder / runs.RECIPE)
    pictures = {}
    if (folder / EVALUATION).exists():
        document = stored.read_document(folder)
        names = (
            "who",
            "seed",
            "data",
            "answers",
            "seconds",
            "device",
            "processor",
            "template",
            "commit",
            "versions",
        )
        known = known | {
            f"evaluated {name}": document[name] for name in names if document.get(name) not in (None, "")
        }
        # The recipe below is the run's own; what was measured may have been asked for later, in other words.
        measured = document.get("measured")
        if isinstance(measured, Mapping) and measured.get("evaluate"):
            current = old_names.update({"evaluate": measured["evaluate"]}, tell=False)
            known["evaluated settings"] = current["evaluate"]
        pictures = _gallery(folder)
    history = read_metrics(folder / METRICS) if (folder / METRICS).exists() else []
    title = _title_of(recipe, folder / "recipe.yaml") or folder.name
    path = folder / REPORT
    _check_outputs(folder, REPORT)
    pages.write_report(
        path,
        pages.Page(
            title=title,
            facts=known,
            recipe=recipe,
            history=history,
            evaluations=[one.to_json() for one in scored],
            gallery=shown,
            pictures=pictures,
            notes=[told] if told else [],
        ),
    )
    return path


def add_to_tensorboard(folder: Path, found: Sequence[Evaluation], *, step: int) -> None:
    """Adds an evaluation that was just written to the events of its run: all scores, and some pictures with their answers.

    Args:
        folder: The run's, with the pictures of its gallery.
        found: The evaluation of each split.
        step: Steps that the run had trained for.
    """
    scores_of = {
        f"scores, {one.split}/{name}": value.value
        for one in found
        for task in one.tasks
        for name, value in ((task.task, task.score), *_named_controls(task))
    }
    rows = gallery.choose(
        gallery.spread([row for one in found for row in one.predictions()]), limit=_IN_EVENTS
    )
    pictures = _gallery(folder)
    files_of = stored.read_gallery(folder)
    with EventsFile(folder) as events:
        events.write(step, {tag: value for tag, value in scores_of.items() if math.isfinite(value)})
        for row in (row for row in rows if row["image"] in pictures):
            height, width, _ = pictures[row["image"]].shape
            png = files_of[row["image"]].read_bytes()
            tag = f"answers, {row['split']}/{row['id']}"
            events.picture(step, tag, png, size=(width, height), about=_told(row))


_IN_EVENTS = 16
"""Pictures of each split that TensorBoard is given."""
_MOST_LETTERS = 500


def _named_controls(task: scores.TaskScores) -> Iterator[tuple[str, Any]]:
    for name, value in task.controls.items():
        yield f"{task.task}, {name}", value


def _told(row: Mapping[str, Any]) -> str:
    """A question with its answer for TensorBoard; indented, so that no letter of it is Markdown."""
    texts = {"asked": row["prompt"], "answered": row["answer"], "right": " | ".join(row["references"])}
    lines = (f"    {name}: {' '.join(text.split())[:_MOST_LETTERS]}" for name, text in texts.items())
    return "\n".join(lines)


def _shown_recipe(path: Path) -> str:
    """The text of a run's recipe; empty where there is none.

    Raises:
        CheckpointError: no ordinary file, or too large.
    """
    if not path.exists():
        return ""
    try:
        return bounded.read(path, most=configs.MAX_BYTES).decode("utf-8", errors="replace")
    except UnreadableError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _title_of(recipe: str, path: Path) -> str:
    """What a run calls itself; its recipe is only read for it, and nothing that it names is looked up."""
    title = configs.parse_yaml(recipe, where=str(path)).get("title") if recipe else ""
    return title if isinstance(title, str) else ""


def beside(
    first: str | Path,
    second: str | Path,
    *,
    data: Any = None,
    out: str | Path | None = None,
    trust_run: bool = False,
    console: Console | None = None,
) -> tuple[Path, str]:
    """Two evaluations of the same data side by side: tests of their difference, and the answers in which they differ.

    Args:
        first: Folder of a run or of an evaluation; with `data`, whoever `evaluate` can ask by a path or an address.
        second: The other one.
        data: Both are scored on these data first, in any of the forms that `evaluate` takes; by default what their folders
            hold is compared.
        out: The page; by default ``beside-NAME.html`` in the first folder, NAME being the second's.
        trust_run: Whether the first folder may name Python modules with metrics of the user's own; with `data`, as for
            `load`, of both.
        console: Where progress is shown.

    Returns:
        The page's path, and what it says in plain lines.

    Raises:
        DataError: no evaluation in a folder, or nothing that both were asked.
        RecipeError: the first folder names a Python module, and `trust_run` is not given.
        FolderError: `out` is a file that Sightweave did not write.
    """
    path, found = put_beside(first, second, data=data, out=out, trust_run=trust_run, console=console)
    return path, found.text


def put_beside(
    first: str | Path,
    second: str | Path,
    *,
    data: Any = None,
    out: str | Path | None = None,
    trust_run: bool = False,
    console: Console | None = None,
) -> tuple[Path, Beside]:
    """As `beside`, with all that was found instead of lines."""
    folders = (Path(first), Path(second))
    name = _word_of(folders[1].name)
    if data is not None:
        sources, records = read_data(data)
        word = "records" if records is not None else _word_of(data)
        folders = (_place_of(first, word), _place_of(second, word))
        for who, folder in zip((first, second), folders, strict=True):
            evaluate(who, data=records or sources, out=folder, trust_run=trust_run, console=console)
    path = Path(out) if out is not None else folders[0] / f"beside-{name}.html"
    outputs.check_page(path)
    found = beside_program.beside(
        stored.read_evaluations(folders[0]),
        stored.read_evaluations(folders[1]),
        names=(str(folders[0]), str(folders[1])),
        metrics=_metrics_of(folders[0], trust_run=trust_run),
    )
    pictures: dict[str, Any] = {}
    for folder in folders:
        pictures = _gallery(folder) | pictures
    # Those with a picture first.
    rows = sorted(gallery.spread(list(found.rows())), key=lambda row: row["image"] not in pictures)
    title = f"{folders[0]} vs {folders[1]}"
    write_beside(path, title, found.to_json(), gallery.choose(rows, by="kind"), pictures)
    return path, found


def _place_of(who: str | Path, word: str) -> Path:
    """Where the scores of somebody on data of that word are kept."""
    is_run = bool(run_predictor.recognise(str(who)))
    return (Path(who) if is_run else EVALUATIONS / _word_of(who)) / (EVALUATIONS if is_run else "") / word


def _metrics_of(folder: Path, *, trust_run: bool) -> dict[str, Any]:
    """The first metric of each task as it was set when the folder was evaluated."""
    measured = stored.read_document(folder).get("measured")
    if not isinstance(measured, Mapping):
        return {}
    source = None if trust_run else configs.Downloaded()
    config = recipes.measured({"tasks": measured.get("tasks", {})}, source=source)
    return {name: config.task(name).metrics[0] for name in config.task_names()}


def _gallery(folder: Path) -> dict[str, Any]:
    """Pixels of the pictures that an evaluation kept, by their keys; those that cannot be read are left out."""
    found = {}
    for key, path in stored.read_gallery(folder).items():
        try:
            found[key] = image_files.load(Medium(path, key))
        except MediaError as error:
            logger.warning("%s: not shown on the page: %s", path, error)
    return found
