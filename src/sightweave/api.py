"""The verbs. Whatever a command does, one function here does, with the same names.

``train`` a recipe or ``compare`` many, ``load`` a run, ``generate``, ``caption`` and ``translate`` with it, ``evaluate``
it, draw a ``report``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from sightweave import comparison
from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.core import catalog
from sightweave.core import config as configs
from sightweave.core.config import config
from sightweave.core.device import choose_device, choose_precision, keep_freed_memory, set_threads
from sightweave.core.errors import CheckpointError, DataError, RecipeError, did_you_mean
from sightweave.core.report import gallery
from sightweave.core.report import page as pages
from sightweave.core.types import Medium, Prediction, Sample
from sightweave.data.datasets import own
from sightweave.data.datasets._base import Dataset, task_of
from sightweave.data.datasets._detect import detect
from sightweave.data.datasets._source import FilesConfig
from sightweave.data.datasets._table import Table
from sightweave.data.inputs import length_plan, media, order
from sightweave.data.inputs.cache import Written
from sightweave.data.scenes.sheet import contact_sheet
from sightweave.models.pairs import legal_pairs
from sightweave.programs.doctor import check as doctor_check
from sightweave.programs.doctor import program as doctor_program
from sightweave.programs.doctor.report import Report
from sightweave.programs.evaluation import program as evaluation_program
from sightweave.programs.evaluation import submission as submissions
from sightweave.programs.evaluation.scores import Evaluation
from sightweave.programs.training import program as training_program
from sightweave.programs.training.logs import METRICS, read_metrics
from sightweave.run import Run

logger = logging.getLogger(__name__)
Recipe = recipes.Recipe
Records = Iterable[Any]
RUNS = Path("runs")
_FEW_DRAWN = 100
"""Drawn pictures that a length plan looks at."""


def read_recipe(recipe: str | Path | Mapping[str, Any] | Recipe, settings: Sequence[str] = ()) -> Recipe:
    """A recipe from a YAML file, a mapping or a `Recipe`, with ``path=value`` settings applied.

    Raises:
        RecipeError: every mistake in it at once.
    """
    return recipes.read(recipe.to_plain() if isinstance(recipe, Recipe) else recipe, settings)


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *settings: str,
    data: Records | None = None,
    out: str | Path | None = None,
    evaluate: bool = True,
    console: Console | None = None,
) -> Run:
    """Trains what a recipe says and leaves a run's folder.

    Args:
        recipe: A YAML file, a mapping or a `Recipe`.
        settings: ``path=value`` settings, such as ``"model.fusion=concat"``.
        data: Records (dicts as in a ``data.jsonl``, or the tasks' records) instead of the recipe's sources.
        out: The run's folder; by default a new one under ``runs/``.
        evaluate: Whether to score the held-out splits at the end.
        console: Where progress is shown; None shows none.

    Returns:
        The trained run, ready to answer.

    Raises:
        RecipeError: a mistake in the recipe, or parts that do not fit.
        DataError: nothing to train on, or too much that cannot be read.
    """
    records = None if data is None else list(data)
    if records is not None and isinstance(recipe, Recipe | Mapping):
        values = recipe.to_plain() if isinstance(recipe, Recipe) else dict(recipe)
        recipe = values | {"data": []}
    elif records is not None:
        settings = (*settings, "data=[]")
    resolved = read_recipe(recipe, settings)
    folder = Path(out) if out is not None else _new_folder(resolved)
    if (folder / runs.CHECKPOINT).exists():
        raise RecipeError(
            f"{folder}: holds a trained run already; name another folder, or remove that one first."
        )
    keep_freed_memory()
    device = choose_device(resolved.train.device)
    set_threads(resolved.train.threads)
    precision = choose_precision(resolved.train.precision, device)
    _check_splits(resolved)
    tasks = resolved.build_tasks()
    resolved.check()
    torch.manual_seed(resolved.seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "quarantine.jsonl").unlink(missing_ok=True)  # of a run that failed here before
    sources = _sources(resolved, records, "train", folder)
    for empty in folder.glob("rows-left-out*.jsonl"):
        if not empty.stat().st_size:
            empty.unlink()
    run = _compose(resolved, sources, device)
    _say(console, _opening(run, folder, precision.name, precision.reason))
    runs.record(
        folder,
        {
            "seed": resolved.seed,
            "device": str(device),
            "precision": f"{precision.name} ({precision.reason})",
            "parameters": sum(p.numel() for p in run.model.parameters()),
            "pictures": sum(len(source) for source in sources),
            "data": order.fingerprint([getattr(one, "fingerprint", str(len(one))) for one in sources]),
            **runs.facts(device),
        },
    )
    for source in sources:
        for note in getattr(source, "notes", ()):
            _say(console, note)
    _say(console, _plan(run, sources).to_text())
    trained = training_program.train(
        run.model,
        run.processor,
        sources,
        resolved.train,
        tasks=tasks,
        precision=precision,
        out=folder,
        seed=resolved.seed,
        mix=_mixing(resolved, records),
        save=lambda _steps: run.save(folder),
        console=console,
    )
    runs.record(
        folder,
        {
            "steps": trained.steps,
            "training_seconds": round(trained.seconds, 1),
            "feed_wait_seconds": round(trained.feed_seconds, 1),
            "interrupted": trained.is_interrupted,
            "left_out": trained.left_out,
        },
    )
    run.model.eval()
    run.is_interrupted = trained.is_interrupted
    if trained.left_out:
        _say(console, f"left out: {trained.left_out}; reasons in {folder / 'quarantine.jsonl'}")
    if evaluate and not trained.is_interrupted:
        _evaluate_into(run, folder, _held_out(resolved, records), console, lambda: sources)
    report(folder)
    return run


def _plan(run: Run, sources: Sequence[Dataset]) -> length_plan.Plan:
    """Lengths under the stage that learns answers, from headers alone; drawn pictures stand for many, so few will do."""
    settings = run.recipe.train
    stage = next((one for one in settings.stages[::-1] if one.learn == "answers"), settings.stages[-1])
    tasks = run.recipe.build_tasks()
    few = any(not isinstance(one, Table) for one in sources)

    def groups() -> Iterator[list[Sample]]:
        for one in sources:
            for index in range(min(len(one), _FEW_DRAWN) if few else len(one)):
                wanted = [r for r in one[index] if not stage.tasks or task_of(r) in stage.tasks]
                yield [tasks[task_of(r)].sample(r) for r in wanted[: stage.samples_per_picture]]

    return length_plan.plan(
        groups(),
        run.processor,
        policy=settings.too_long,
        max_length=run.processor.max_length,
        pack_to=stage.pack_to,
        pictures=stage.pictures,
        total=sum(len(one) for one in sources),
    )


def _opening(run: Run, folder: Path, precision: str, reason: str) -> str:
    count = sum(p.numel() for p in run.model.parameters())
    return (
        f"{folder}: {count / 1e6:.2f} M parameters, {run.processor.tokenizer.vocab_size} tokens, "
        f"{next(run.model.parameters()).device.type}, {torch.get_num_threads()} thread(s), {precision} ({reason})"
    )


def _say(console: Console | None, text: str) -> None:
    logger.info(text)
    if console is not None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _new_folder(recipe: Recipe) -> Path:
    name = (
        "".join(c if c.isalnum() else "-" for c in (recipe.title or "run").lower())[:40].strip("-") or "run"
    )
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = RUNS / f"{stamp}-{name}"
    count = 1
    while folder.exists():
        count += 1
        folder = RUNS / f"{stamp}-{name}-{count}"
    return folder


def _sources(
    recipe: Recipe, records: list[Any] | None, split: str, folder: Path | None = None
) -> list[Dataset]:
    if records is not None:
        path = folder / "rows-left-out.jsonl" if folder is not None and split == "train" else None
        return [own.from_records(records, split=split, quarantine_path=path)]
    if not recipe.data:
        raise RecipeError("data: the recipe names no source; set data=scenes, data=FOLDER, or give records.")
    chosen = [source for source in recipe.data if split in source.splits]
    if folder is not None:
        chosen = [_with_quarantine(source, folder, number) for number, source in enumerate(chosen)]
    return [source.build(split=split) for source in chosen]


def _mixing(recipe: Recipe, records: list[Any] | None) -> list[order.Mixing]:
    """How much of the mix each source of `_sources` is, in training."""
    if records is not None:
        return []
    chosen = [source for source in recipe.data if "train" in source.splits]
    return [
        order.Mixing(epochs=getattr(one, "epochs", 1.0), weight=getattr(one, "weight", None))
        for one in chosen
    ]


def _with_quarantine(source: Any, folder: Path, number: int) -> Any:
    """Rows that are left out are written into the run's folder, unless the recipe names a place."""
    if not isinstance(source, FilesConfig) or source.quarantine_path is not None:
        return source
    name = f"rows-left-out-{number + 1}.jsonl" if number else "rows-left-out.jsonl"
    return dataclasses.replace(source, quarantine_path=str(folder / name))


def _check_splits(recipe: Recipe) -> None:
    known = {name for source in recipe.data for name in source.splits}
    for name in recipe.evaluate.splits:
        if known and name not in known:
            raise RecipeError(f"evaluate.splits: no split {name!r}. {did_you_mean(name, known)}")


def _held_out(recipe: Recipe, records: list[Any] | None) -> dict[str, list[Dataset]]:
    """Held-out splits that have anything in them."""
    names = recipe.evaluate.splits or tuple(
        dict.fromkeys(name for source in recipe.data for name in source.splits[1:])
    )
    names = names or ("test",)
    found = {name: _sources(recipe, records, name) for name in names}
    return {name: sources for name, sources in found.items() if any(len(source) for source in sources)}


def _compose(recipe: Recipe, sources: Sequence[Dataset], device: torch.device) -> Run:
    """Tokenizer, model and processor; from an earlier run where the recipe says so."""
    if not recipe.init_from:
        tokenizer = recipe.build_tokenizer(sources)
        answers = recipe.build_answers(sources)
        model = recipe.model.build(vocab_size=tokenizer.vocab_size, num_answers=len(answers))
        return Run(model.to(device), recipe.build_processor(tokenizer, model, answers), recipe)
    earlier = runs.load(recipe.init_from, device="cpu")
    processor = earlier.processor
    model = recipe.model.build(vocab_size=processor.tokenizer.vocab_size, num_answers=len(processor.answers))
    own_shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    there = {name: tuple(value.shape) for name, value in earlier.model.state_dict().items()}
    if own_shapes != there:
        differing = sorted(
            name for name in own_shapes.keys() | there.keys() if own_shapes.get(name) != there.get(name)
        )
        first = ", ".join(f"{n}: {there.get(n)} there, {own_shapes.get(n)} here" for n in differing[:10])
        raise CheckpointError(
            f"init_from {recipe.init_from}: {len(differing)} weights differ in shape: {first}"
        )
    model.load_state_dict(earlier.model.state_dict())
    return Run(
        model.to(device), recipe.build_processor(processor.tokenizer, model, processor.answers), recipe
    )


def compose(
    recipe: str | Path | Mapping[str, Any] | Recipe, *settings: str, data: Records | None = None
) -> Run:
    """The untrained run of a recipe: its parts joined, its tokenizer learnt from the data's texts.

    Raises:
        RecipeError: a mistake in the recipe, or parts that do not fit.
    """
    resolved = read_recipe(recipe, settings)
    torch.manual_seed(resolved.seed)
    records = None if data is None else list(data)
    return _compose(resolved, _sources(resolved, records, "train"), choose_device(resolved.train.device))


def compare(
    recipe: str | Path,
    *settings: str,
    out: str | Path,
    minutes: float | None = None,
    at_once: int = 1,
    threads: int | None = None,
    console: Console | None = None,
) -> list[comparison.Row]:
    """Trains and scores every combination of settings, and writes ``comparison.json`` and ``comparison.md``.

    The same call goes on where it was stopped.

    Args:
        recipe: A YAML file.
        settings: ``path=value`` for all runs, ``path=value,value`` for an axis of the grid.
        out: A folder; each run gets one inside it.
        minutes: Training of each run takes about so long, by a trial of each composition; None leaves the recipe's steps.
        at_once: Runs that go at the same time, each in a process of its own.
        threads: Of each run; None leaves what the recipe says.
        console: Told what starts and what ends.

    Raises:
        RecipeError: a mistake in the recipe or in a setting, found before anything is trained.
        ComparisonError: a run failed.
    """
    return comparison.compare(
        recipe,
        settings,
        out=Path(out),
        minutes=minutes,
        at_once=at_once,
        threads=threads,
        say=lambda text: _say(console, text),
    )


def load(run: str | Path, *, device: str = "auto") -> Run:
    """A trained run, ready to answer.

    Raises:
        CheckpointError: no run there, or a damaged or foreign one.
    """
    keep_freed_memory()
    return runs.load(run, device=device)


def evaluate(
    run: str | Path | Run,
    *,
    data: Any = None,
    splits: Sequence[str] = (),
    pictures: int | None = None,
    controls: Sequence[str] | None = None,
    console: Console | None = None,
) -> list[Evaluation]:
    """Scores a run on held-out data, with intervals, chance levels and controls; the run's report gets them too.

    Args:
        run: A run or its folder.
        data: A path, a source as in a recipe (also as text, ``{kind: scenes, seed: 1}``), or records; by default the
            held-out splits of the run's own data.
        splits: Only these splits.
        pictures: At most so many of each split; by default what the recipe says.
        controls: Names of ``programs/evaluation/controls.py``; by default what the recipe says.
        console: Where progress is shown.

    Raises:
        DataError: nothing to score.
    """
    keep_freed_memory()
    loaded = run if isinstance(run, Run) else load(run)
    recipe, records = loaded.recipe, None
    if data is not None and not isinstance(data, str | Path | Mapping):
        records = list(data)
    elif data is not None:
        recipe = recipes.read(recipe.to_plain() | {"data": configs.to_plain(source(data))})
    if splits:
        recipe = recipes.read(recipe.to_plain(), [f"evaluate.splits={json.dumps(list(splits))}"])
    if pictures is not None:
        recipe = recipes.read(recipe.to_plain(), [f"evaluate.pictures={pictures}"])
    if controls is not None:
        recipe = recipes.read(recipe.to_plain(), [f"evaluate.controls={json.dumps(list(controls))}"])
    _check_splits(recipe)
    held_out = _held_out(recipe, records)
    if not held_out and data is not None:  # all of a folder without a held-out part is what to score
        everything = _sources(recipe, records, "train")
        held_out = {"all": everything} if any(len(source) for source in everything) else {}
    if not held_out:
        raise DataError("evaluate: the data has no held-out records; name a split, or give other data.")
    scored = Run(loaded.model, loaded.processor, recipe, loaded.folder)
    return _evaluate_into(scored, loaded.folder, held_out, console, lambda: _training_data(loaded.recipe))


def _evaluate_into(
    run: Run,
    folder: Path | None,
    held_out: Mapping[str, Sequence[Dataset]],
    console: Console | None,
    train: Callable[[], Sequence[Dataset]],
) -> list[Evaluation]:
    """Scores each split; with a folder, writes evaluation.json, predictions.jsonl and the report."""
    asked = run.recipe.evaluate
    tasks = run.recipe.build_tasks()
    found: list[Evaluation] = []
    images: dict[str, Medium] = {}
    seen = _samples(train(), tasks, 500)
    majority = evaluation_program.majority_answers(seen) if seen else None
    for split, sources in held_out.items():
        samples = _samples(sources, tasks, asked.pictures)
        images |= {medium.key: medium for sample in samples for medium in sample.media}
        _say(console, f"scoring {split}: {len(samples)} prompts, {1 + len(asked.controls)} ways")
        found.append(
            evaluation_program.evaluate(
                samples,
                lambda batch: run.predict(batch, max_tokens=asked.max_tokens),
                split=split,
                majority=majority,
                controls=asked.controls,
                tasks={name: run.recipe.task(name) for name in tasks},
                seed=run.recipe.seed,
            )
        )
    if folder is not None:
        _write_evaluation(folder, found, images)
        report(folder)
    return found


def _samples(sources: Sequence[Dataset], tasks: Mapping[str, Any], pictures: int) -> list[Sample]:
    samples = []
    for source in sources:
        for index in range(min(len(source), pictures)):
            samples += [tasks[task_of(record)].sample(record) for record in source[index]]
    return [sample for sample in samples if sample.references]


def _training_data(recipe: Recipe) -> list[Dataset]:
    """What a run was trained on, for the answers that were commonest there; nothing where it is gone by now."""
    try:
        return [source.build(split="train") for source in recipe.data]
    except DataError as error:
        logger.warning("the majority answer is not known, since the training data cannot be read: %s", error)
        return []


def _write_evaluation(folder: Path, found: Sequence[Evaluation], images: Mapping[str, Medium]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([one.to_json() for one in found], indent=1, ensure_ascii=False)
    (folder / "evaluation.json").write_text(text, encoding="utf-8")
    rows = [row for one in found for row in one.predictions()]
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    # The pictures of the gallery are kept beside it, so that the report can be drawn again without the data.
    kept = folder / "gallery"
    kept.mkdir(exist_ok=True)
    names: dict[str, str] = {}
    for key in pages.image_keys(gallery.choose(rows)):
        if key in images:
            names[key] = f"{len(names):04d}.png"
            media.save_png(media.load(images[key]), kept / names[key])
    (kept / "index.json").write_text(json.dumps(names, indent=1, ensure_ascii=False), encoding="utf-8")


def report(run: str | Path) -> Path:
    """Draws ``report.html`` of a run from what its folder holds, and returns its path."""
    folder = Path(run)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder; sightweave train RECIPE --out {folder} would make it."
        )
    known = (
        json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if (folder / "run.json").exists()
        else {}
    )
    recipe = (folder / "recipe.yaml").read_text(encoding="utf-8") if (folder / "recipe.yaml").exists() else ""
    evaluations, rows, pictures = [], [], {}
    if (folder / "evaluation.json").exists():
        evaluations = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        rows = gallery.choose([json.loads(line) for line in lines])
        names = json.loads((folder / "gallery" / "index.json").read_text(encoding="utf-8"))
        pictures = {
            key: media.load(Medium(folder / "gallery" / name, key))
            for key, name in names.items()
            if (folder / "gallery" / name).exists()
        }
    history = read_metrics(folder / METRICS) if (folder / METRICS).exists() else []
    title = (recipes.read(folder / "recipe.yaml").title if recipe else "") or folder.name
    path = folder / "report.html"
    facts = {key: value for key, value in known.items() if not isinstance(value, dict)}
    facts |= {f"version of {name}": version for name, version in known.get("versions", {}).items()}
    pages.write_report(
        path,
        pages.Page(
            title=title,
            facts=facts,
            recipe=recipe,
            history=history,
            evaluations=evaluations,
            gallery=rows,
            pictures=pictures,
        ),
    )
    return path


def generate(run: str | Path | Run, image: Any, prompt: str | Sequence[str], **options: Any) -> Any:
    """Answers one prompt or several on a picture; options as for `Run.generate`."""
    return _loaded(run).generate(image, prompt, **options)


def caption(run: str | Path | Run, image: Any, **options: Any) -> Prediction:
    """Describes a picture."""
    return _loaded(run).caption(image, **options)


def translate(run: str | Path | Run, image: Any, text: str, *, to: str, **options: Any) -> Prediction:
    """Translates a text with the help of a picture; `to` is a code such as ``de``."""
    return _loaded(run).translate(image, text, to=to, **options)


def _loaded(run: str | Path | Run) -> Run:
    return run if isinstance(run, Run) else load(run)


def answer_all(
    run: str | Path | Run,
    data: Any,
    *,
    max_tokens: int = 96,
    decoding: str | dict[str, Any] = "greedy",
    seed: int = 0,
    batch_size: int = 256,
) -> Iterator[dict[str, Any]]:
    """Answers every prompt of a data set: one row each with ``image``, ``prompt``, ``answer`` and ``logprob``.

    A row also has an ``id`` where the data gave it one.

    Args:
        run: A run or its folder.
        data: A path to any format, a source as in a recipe, or records; rows need no answers.
        max_tokens: Tokens of an answer at most.
        decoding: A kind in ``answers/decoding``, or a mapping with its fields.
        seed: For methods that draw.
        batch_size: Prompts at once.
    """
    loaded = _loaded(run)
    dataset: Table
    if isinstance(data, str | Path | Mapping):
        dataset = _asking(data).build(split="train")
    else:
        dataset = own.from_records(list(data), labelled=False, held_out=0.0)
    tasks = loaded.recipe.build_tasks()
    samples = [tasks[task_of(record)].sample(record) for records in dataset for record in records]
    # What is wrong with the run or the data is said here, before the first answer is asked for.
    return _answers(
        loaded,
        samples,
        dataset.given_ids,
        batch_size,
        {"max_tokens": max_tokens, "decoding": decoding, "seed": seed},
    )


def detect_data(data: str | Path) -> dict[str, str]:
    """What a path holds: the formats that know it, each with what was found; empty where none does.

    Raises:
        DataError: nothing is there.
    """
    return detect(data)


def source(data: str | Path | Mapping[str, Any]) -> Any:
    """The ``Config`` of one source, as a recipe names it: a path, a kind or a mapping.

    Raises:
        RecipeError: a mistake in it.
        DataError: several formats lie at the path.
    """
    given = data if isinstance(data, Mapping) else str(data)
    if isinstance(given, str) and given.lstrip().startswith("{"):  # a mapping, as a setting has it
        given = configs.override({}, [f"data={given}"])["data"]
    (found,) = configs.build(_SourceOnly, {"data": given}, where="data").data
    return found


def _asking(data: str | Path | Mapping[str, Any]) -> Any:
    """A source whose rows need no answers."""
    found = source(data)
    if not isinstance(found, FilesConfig):
        return found
    return dataclasses.replace(found, labelled=False, held_out=0.0)


def submission(layout: str, answers: Iterable[Mapping[str, Any]]) -> str:
    """The file that an evaluation server takes: ``coco``, ``vqa_v2``, ``vizwiz``, ``gqa``, ``textvqa`` or ``nlvr2``.

    Args:
        layout: Of which data set.
        answers: Rows of `answer_all`; each needs the id that the data set gave.

    Raises:
        DataError: no such layout, no answers, or an id that is missing, doubled or of another data set.
    """
    return submissions.write(layout, answers)


def _answers(
    run: Run,
    samples: Sequence[Sample],
    given_ids: frozenset[str],
    batch_size: int,
    options: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    for start in range(0, len(samples), batch_size):
        chunk = samples[start : start + batch_size]
        for sample, answer in zip(chunk, run.predict(chunk, **options), strict=True):
            name = {"id": sample.id} if sample.id in given_ids else {}
            yield name | {
                "image": sample.media[0].key if sample.media else None,
                "prompt": sample.prompt,
                "answer": answer.text,
                "logprob": answer.logprob,
            }


def sample_data(
    data: str,
    out: str | Path,
    *,
    split: str = "train",
    count: int = 24,
    columns: int = 6,
    seed: int = 0,
) -> Path:
    """Draws a sheet of a source's pictures with their texts, and returns its path.

    Args:
        data: ``scenes``, a path to any format, or a source as in a recipe.
        out: A PNG file.
        split: Which split.
        count: Pictures.
        columns: Pictures side by side.
        seed: Of the embedded world.

    Raises:
        DataError: no such split, or nothing in it.
    """
    config = source({"kind": "scenes", "seed": seed} if data == "scenes" else data)
    if split not in config.splits:
        raise DataError(f"{data}: no split {split!r}. {did_you_mean(split, config.splits)}")
    dataset = config.build(split=split)
    if not len(dataset):
        raise DataError(f"{data}: the split {split!r} is empty.")
    tasks = {name: catalog.config_class("data.tasks", name)().build() for name in catalog.kinds("data.tasks")}
    pictures, texts = [], []
    for index in range(min(count, len(dataset))):
        samples = [tasks[task_of(record)].sample(record) for record in dataset[index]]
        shown = [one for one in samples if one.media]
        if shown:
            pictures.append(media.load(shown[0].media[0]))
            texts.append("\n".join(f"{one.prompt} > {one.target}" for one in shown))
    path = Path(out)
    contact_sheet(pictures, texts, columns).save(path)
    return path


def check_data(
    data: str | Path | Mapping[str, Any],
    *settings: str,
    against: str | Path | Mapping[str, Any] | None = None,
    fix: str | Path | None = None,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    out: str | Path = "data-check",
    workers: int | None = None,
    console: Console | None = None,
) -> Report:
    """Looks a data set over before anything trains: every row, every picture.

    The same call goes on where it was stopped: pictures that have not changed are not decoded again.

    Args:
        data: A path to any format, or a source as in a recipe.
        settings: ``path=value`` settings of `recipe`.
        against: A test set whose pictures training must not have seen.
        fix: A new folder for a copy without bad and doubled rows and without places of taking.
        recipe: Counts rows that are over its ``inputs.max_length`` with their pictures.
        out: A folder for ``report.json``, ``report.html`` and what is known of each picture.
        workers: Processes that decode; None means one for each core.
        console: Where progress is shown.

    Returns:
        What was found; ``may_train`` says whether training may start.

    Raises:
        DataError: the data cannot be read as a whole.
    """
    chosen, other = _of_files(data), None if against is None else _of_files(against)
    lengths, plan = (None, "") if recipe is None else _lengths(recipe, settings, data)
    return doctor_program.run(
        chosen,
        against=other,
        fix_to=None if fix is None else Path(fix),
        lengths=lengths,
        plan=plan,
        out=Path(out),
        workers=workers,
        console=console,
    )


def cache_data(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *settings: str,
    out: str | Path,
    console: Console | None = None,
) -> Written:
    """Decodes and resizes all pictures of a recipe once; training with ``inputs.cache=OUT`` then reads those.

    Whatever is trained, its numbers are the same with and without. Pictures that a stage varies are decoded as ever.

    Args:
        recipe: A YAML file, a mapping or a `Recipe`.
        settings: ``path=value`` settings.
        out: The cache's folder; an older cache there is replaced.
        console: Told how far it is.

    Raises:
        DataError: `out` holds something that is no cache.
    """
    resolved = read_recipe(recipe, (*settings, "inputs.cache=''"))
    if any(not isinstance(one, FilesConfig) for one in resolved.data):
        raise RecipeError("data: drawn pictures are not kept; a cache is for pictures in files.")
    tasks = resolved.build_tasks()
    names = list(dict.fromkeys(name for one in resolved.data for name in one.splits))
    sources = [source for name in names for source in _sources(resolved, None, name)]
    run = _compose(resolved, _sources(resolved, None, "train"), torch.device("cpu"))

    def told(count: int) -> None:
        if count % 1000 == 0:
            _say(console, f"{count} pictures")

    def samples() -> Iterator[Sample]:
        for one in sources:
            for index in range(len(one)):
                yield from (tasks[task_of(record)].sample(record) for record in one[index])

    written = run.processor.write_cache(samples(), Path(out), told)
    for key, reason in list(written.left_out.items())[:5]:
        _say(console, f"left out {key}: {reason}")
    return written


def _of_files(data: str | Path | Mapping[str, Any]) -> FilesConfig:
    found = source(data)
    if not isinstance(found, FilesConfig):
        raise DataError(f"{data}: made by Sightweave itself; there are no files to check.")
    return found


def _lengths(recipe: Any, settings: Sequence[str], data: Any) -> tuple[doctor_check.Lengths, str]:
    """Tokens of records under a recipe, which is composed for it; and its plan for the training data."""
    resolved = read_recipe(recipe, [*settings, f"data={json.dumps(configs.to_plain(source(data)))}"])
    sources = _sources(resolved, None, "train")
    run = _compose(resolved, sources, torch.device("cpu"))
    tasks = resolved.build_tasks()
    limit = run.processor.max_length

    def lengths(records: Sequence[Any]) -> list[tuple[int, int]]:
        samples = [tasks[task_of(record)].sample(record) for record in records]
        return [(run.processor.length(one), limit) for one in samples]

    return lengths, _plan(run, sources).to_text()


@config
class _SourceOnly:
    data: recipes.Sources


FAMILIES: Mapping[str, str] = {
    "encoders": "models.encoders",
    "connectors": "models.connectors",
    "fusions": "models.fusions",
    "language_models": "models.language_models",
    "datasets": "data.datasets",
    "tasks": "data.tasks",
    "metrics": "answers.metrics",
    "decoding": "answers.decoding",
    "writers": "answers.writers",
}
"""Families by the name that users say."""


def kinds(family: str) -> dict[str, str]:
    """Kinds of a family, each with the first line of its description.

    Raises:
        RecipeError: no such family.
    """
    if family not in FAMILIES:
        raise RecipeError(f"no family {family!r}. {did_you_mean(family, FAMILIES)}")
    return {kind: catalog.summary(FAMILIES[family], kind) for kind in catalog.kinds(FAMILIES[family])}


def pairs() -> dict[tuple[str, str], str]:
    """What each pair of fusion and language model can do: ``generates``, ``classifies`` or nothing."""
    can = {"encoder_only": "classifies"}
    return {
        (fusion, model): can.get(model, "generates") if legal else ""
        for (fusion, model), legal in legal_pairs().items()
    }
