"""The verbs. Whatever a command does, one function here does, with the same names.

``train`` a recipe or ``compare`` many, ``load`` a run, ``generate``, ``caption`` and ``translate`` with it, ``evaluate``
it, draw a ``report``.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from rich.console import Console

from sightweave import comparison
from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.core import catalog, transformers_folder
from sightweave.core import config as configs
from sightweave.core.config import config, one_of
from sightweave.core.device import choose_device, choose_precision, keep_freed_memory, set_threads
from sightweave.core.errors import CheckpointError, DataError, RecipeError, WiringError, did_you_mean
from sightweave.core.report import gallery
from sightweave.core.report import page as pages
from sightweave.core.report.beside import write_beside
from sightweave.core.types import Medium, Prediction, Sample
from sightweave.data.datasets import own
from sightweave.data.datasets._base import Dataset, task_of
from sightweave.data.datasets._detect import detect
from sightweave.data.datasets._source import FilesConfig
from sightweave.data.datasets._table import Table
from sightweave.data.inputs import length_plan, media, order
from sightweave.data.inputs.cache import Written
from sightweave.data.scenes.sheet import contact_sheet
from sightweave.models.pairs import declared, legal_pairs
from sightweave.programs.checks import _program as checks
from sightweave.programs.checks._base import Subject
from sightweave.programs.doctor import check as doctor_check
from sightweave.programs.doctor import program as doctor_program
from sightweave.programs.doctor.report import Report
from sightweave.programs.evaluation import beside as beside_program
from sightweave.programs.evaluation import circular, scores, stored
from sightweave.programs.evaluation import program as evaluation_program
from sightweave.programs.evaluation import submission as submissions
from sightweave.programs.evaluation.bar import PassesBar
from sightweave.programs.evaluation.controls import CONTROLS
from sightweave.programs.evaluation.grid_results import Comparison
from sightweave.programs.evaluation.kept import Kept
from sightweave.programs.evaluation.scores import Evaluation
from sightweave.programs.evaluation.stored import EVALUATION, PREDICTIONS
from sightweave.programs.exports._base import Exported
from sightweave.programs.exports._card import card
from sightweave.programs.exports._layout import Source
from sightweave.programs.predictors import run as run_predictor
from sightweave.programs.predictors._base import Predictor
from sightweave.programs.training import lora
from sightweave.programs.training import program as training_program
from sightweave.programs.training.logs import METRICS, read_metrics
from sightweave.run import Run

logger = logging.getLogger(__name__)
Recipe = recipes.Recipe
Records = Iterable[Any]
RUNS = Path("runs")
_MOST_CHECKED = 1_000_000_000
"""Weights of a model that is checked before its training at most: a check works on copies."""
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
    # What is kept in few bits has them before it comes to the device, where the whole might have no room.
    run = _compose(resolved, sources, torch.device("cpu") if resolved.train.quantize else device)
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
    if resolved.train.check:
        _say(console, _check_wiring(run))
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
        save=lambda _steps, model: run.save(folder, model),
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
        answering = _Answering(run.predictor(), resolved, resolved, folder, lambda: sources)
        _evaluate_into(answering, resolved, folder, _held_out(resolved, records), console, lambda: sources)
    report(folder)
    return run


def _check_wiring(run: Run) -> str:
    """One line where all is well, or where the model is too large for the copies that checks are made on.

    Raises:
        WiringError: a check failed; each is told.
    """
    count = sum(parameter.numel() for parameter in run.model.parameters())
    if count > _MOST_CHECKED:
        return f"wiring: not checked, since {count / 1e9:.1f} billion weights would be copied; sightweave check does it"
    began = time.perf_counter()
    found = checks.run(_subject(run, is_trained=False), checks.QUICK)
    if failed := [one for one in found if one.finding.state == "fail"]:
        told = "".join(f"\n  {one.title} Measured: {one.finding.measured}" for one in failed)
        raise WiringError(
            f"the parts are not wired right, so nothing was trained (train.check=false trains all the same):{told}"
        )
    return f"wiring: {len(found)} checks passed in {time.perf_counter() - began:.1f} s"


def _subject(run: Run, *, is_trained: bool) -> Subject:
    return Subject.of(
        run.model,
        run.processor,
        parts=run.recipe.model,
        stages=run.recipe.train.stages,
        quantized=run.recipe.train.quantize,
        pretrained=run.recipe.model.pretrained,
        is_trained=is_trained,
    )


def check(
    what: str | Path | Mapping[str, Any] | Recipe | Run, *settings: str, data: Records | None = None
) -> list[checks.Checked]:
    """Checks whether the parts of a recipe's model, or of a run, are wired right; one row for each check.

    Args:
        what: A recipe (a file, a mapping or a `Recipe`), or a run or its folder.
        settings: ``path=value`` settings of a recipe.
        data: Records instead of the recipe's sources, for the tokenizer.

    Raises:
        RecipeError: a mistake in the recipe, or parts that do not fit.
        CheckpointError: no such run, or a damaged one.
    """
    is_run = isinstance(what, Run) or (isinstance(what, str | Path) and Path(what).is_dir())
    run = _loaded(what) if is_run else build(what, *settings, data=data)  # type: ignore[arg-type]  # as is_run says
    found = _subject(run, is_trained=is_run and bool(run.folder))
    return checks.run(found)


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
    recipe: recipes.Measured, records: list[Any] | None, split: str, folder: Path | None = None
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


def _check_splits(recipe: recipes.Measured) -> None:
    known = {name for source in recipe.data for name in source.splits}
    for name in recipe.evaluate.splits:
        if known and name not in known:
            raise RecipeError(f"evaluate.splits: no split {name!r}. {did_you_mean(name, known)}")


def _held_out(recipe: recipes.Measured, records: list[Any] | None) -> dict[str, list[Dataset]]:
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
        recipe.model.load_pretrained(model)
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


def build(
    recipe: str | Path | Mapping[str, Any] | Recipe, *settings: str, data: Records | None = None
) -> Run:
    """The untrained run of a recipe: its parts joined, its tokenizer learnt from the data's texts or read from a folder.

    Raises:
        RecipeError: a mistake in the recipe, or parts that do not fit.
        CheckpointError: the folder of a pretrained part is damaged or lacks something.
    """
    resolved = read_recipe(recipe, settings)
    torch.manual_seed(resolved.seed)
    records = None if data is None else list(data)
    learns_nothing = bool(resolved.init_from) or "language_model" in resolved.model.pretrained
    is_without = records is None and not resolved.data and learns_nothing
    sources = [] if is_without else _sources(resolved, records, "train")
    return _compose(resolved, sources, choose_device(resolved.train.device))


def compose(
    encoder: str | Mapping[str, Any],
    language_model: str | Mapping[str, Any],
    *,
    fusion: str | Mapping[str, Any] | None = None,
    connector: str | Mapping[str, Any] | None = None,
    data: Any = (),
    seed: int = 0,
    device: str = "auto",
) -> Run:
    """Joins two parts into a run that can be trained (``init_from`` in a recipe, once saved), asked or exported.

    Args:
        encoder: A folder of Transformers or its name on the hub, a kind, or a mapping with fields.
        language_model: The same.
        fusion: A kind or a mapping; None means causal concatenation beside a pretrained language model.
        connector: A kind or a mapping; None means ``pixel_shuffle`` beside a pretrained encoder whose grid can be halved,
            else ``mlp``.
        data: Sources, whose texts a tokenizer is learnt from where the language model is not pretrained.
        seed: Of the weights that are new.
        device: ``auto``, ``cpu``, ``cuda`` ...

    Raises:
        RecipeError: parts that do not fit, or a tokenizer to be learnt and no data.
        CheckpointError: as `build`.
    """
    parts = {"encoder": encoder, "language_model": language_model, "fusion": fusion, "connector": connector}
    model = {name: value for name, value in parts.items() if value is not None}
    train = {"device": device, "stages": [{"steps": 1}]}
    return build({"data": data, "model": model, "train": train, "seed": seed})


def compare(
    recipe: str | Path,
    *settings: str,
    out: str | Path,
    minutes: float | None = None,
    tokens: float | None = None,
    against: str | None = None,
    at_once: int = 1,
    threads: int | None = None,
    console: Console | None = None,
) -> Comparison:
    """Trains and scores every combination of settings, and writes ``comparison.json``, ``.md``, ``.svg`` and ``.html``.

    The same call goes on where it was stopped.

    Args:
        recipe: A YAML file.
        settings: ``path=value`` for all runs, ``path=value,value`` for an axis of the grid.
        out: A folder; each run gets one inside it.
        minutes: Training of each run takes about so long, by a trial of each composition; None leaves the recipe's steps.
        tokens: The same by the tokens that a run trains on.
        against: The composition that the others are compared with, such as ``concat-cnn``; by default the first.
        at_once: Runs that go at the same time, each in a process of its own.
        threads: Of each run; None leaves what the recipe says.
        console: Told what starts and what ends.

    Raises:
        RecipeError: a mistake in the recipe or in a setting, found before anything is trained.
        ComparisonError: a run failed.
        DataError: what a run left cannot be read, or two runs answered other samples.
    """
    return comparison.compare(
        recipe,
        settings,
        out=Path(out),
        minutes=minutes,
        tokens=tokens,
        against=against,
        at_once=at_once,
        threads=threads,
        say=lambda text: _say(console, text),
    )


def load(run: str | Path, *, device: str = "auto") -> Run:
    """A trained run, ready to answer; or a whole model out of a folder of Transformers, of a family that loads natively.

    Raises:
        CheckpointError: no run there, or a damaged or foreign one.
        RecipeError: a folder of Transformers whose model does not load natively.
    """
    keep_freed_memory()
    if (Path(run) / transformers_folder.CONFIG).is_file() and not run_predictor.recognise(str(run)):
        return build({"data": [], "model": str(run), "train": {"device": device, "stages": [{"steps": 1}]}})
    return runs.load(run, device=device)


def evaluate(
    who: str | Path | Mapping[str, Any] | Run,
    *settings: str,
    data: Any = None,
    splits: Sequence[str] = (),
    pictures: int | None = None,
    controls: Sequence[str] | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    console: Console | None = None,
) -> list[Evaluation]:
    """Scores whoever answers on held-out data, with intervals, chance levels and controls.

    Answers are kept as they come: the same call goes on where it was stopped, and asks nothing twice.

    Args:
        who: A run or its folder, a Transformers folder, an endpoint's address, a file of answers, or a mapping with a
            kind of ``programs/predictors`` and its fields (also as text, ``{kind: endpoint, url: ..., model: ...}``).
        settings: ``path=value`` settings of ``evaluate``, ``tasks`` and ``seed``, such as
            ``"tasks.vqa.metrics=[vqa_official, exact_match]"``.
        data: A path, a source as in a recipe (also as text, ``{kind: scenes, seed: 1}``), or records; by default the
            held-out splits of a run's own data.
        splits: Only these splits.
        pictures: At most so many of each split; by default what the recipe says.
        controls: Names of ``programs/evaluation/controls.py``; by default what the recipe says.
        out: Folder for evaluation.json, predictions.jsonl, report.html and the kept answers; by default the run's own,
            one inside it for other data, or one under ``evaluations/``.
        fresh: Whether answers that were kept are asked for again.
        console: Where progress is shown.

    Raises:
        DataError: nothing to score.
        RecipeError: a mistake in a setting, or an address that nothing here can ask.
        BackendError: who was asked cannot answer.
    """
    keep_freed_memory()
    answering = _answering(who)
    values, records = answering.measured.to_plain(), None
    if data is not None and not isinstance(data, str | Path | Mapping):
        records = list(data)
    elif data is not None:
        values["data"] = configs.to_plain(source(data))
    chosen = {"splits": splits or None, "pictures": pictures, "controls": controls}
    given = [
        f"evaluate.{name}={json.dumps(list(value) if isinstance(value, Sequence) else value)}"
        for name, value in chosen.items()
        if value is not None
    ]
    names = [field.name for field in dataclasses.fields(recipes.Measured)]
    measured = recipes.measured({name: values[name] for name in names}, [*settings, *given])
    _check_splits(measured)
    held_out = _held_out(measured, records)
    if not held_out and data is not None:  # all of a folder without a held-out part is what to score
        everything = _sources(measured, records, "train")
        held_out = {"all": everything} if any(len(source) for source in everything) else {}
    if not held_out:
        raise DataError("evaluate: the data has no held-out records; name a split, or give other data.")
    folder = Path(out) if out is not None else answering.folder
    if out is None and data is not None and folder is not None and answering.recipe is not None:
        name = "records" if records is not None else _word_of(data)
        folder = folder / EVALUATIONS / name  # the scores on its own data stay the run's
    if fresh and folder is not None:
        (folder / KEPT).unlink(missing_ok=True)
    train = answering.train if answering.recipe is not None else lambda: _training_data(measured)
    return _evaluate_into(answering, measured, folder, held_out, console, train)


KEPT = "answers.jsonl"
"""Answers as they come, so that a stopped evaluation goes on."""
EVALUATIONS = Path("evaluations")


@dataclasses.dataclass(frozen=True)
class _Answering:
    """Whoever answers, and what is known of it."""

    predictor: Predictor
    measured: recipes.Measured
    recipe: Recipe | None
    """Of a run."""
    folder: Path | None
    """Where results go, unless another folder is named."""
    train: Callable[[], Sequence[Dataset]]
    """What it was trained on."""


def _answering(who: str | Path | Mapping[str, Any] | Run) -> _Answering:
    if isinstance(who, str | Path) and run_predictor.recognise(str(who)):
        who = load(who)
    if isinstance(who, Run):
        recipe = who.recipe
        return _Answering(who.predictor(), recipe, recipe, who.folder, lambda: _training_data(recipe))
    found = predictor(who)
    return _Answering(found, recipes.Measured(), None, EVALUATIONS / _word_of(found.name), lambda: ())


def predictor(who: str | Path | Mapping[str, Any]) -> Predictor:
    """Whoever answers at a path or an address: a kind of ``programs/predictors``.

    Raises:
        RecipeError: nothing here knows it, or a mistake in its fields.
        CheckpointError: a folder that is damaged.
    """
    if isinstance(who, str) and who.lstrip().startswith("{"):
        who = configs.override({}, [f"who={who}"])["who"]
    if isinstance(who, Mapping):
        return configs.build(_PredictorOnly, {"who": dict(who)}, where="who").who.build()  # type: ignore[no-any-return]  # any kind
    if run_predictor.recognise(str(who)):
        return load(who).predictor()
    for kind in catalog.kinds(PREDICTORS):
        if catalog.module(PREDICTORS, kind).recognise(str(who)):
            made = catalog.config_class(PREDICTORS, kind)
            place = dataclasses.fields(made)[0].name  # where it is: the first field of each kind
            return made(**{place: str(who)}).build()  # type: ignore[no-any-return]  # any kind
    if not Path(who).exists() and "://" not in str(who):
        raise RecipeError(
            f"{who}: no such folder or file; sightweave train RECIPE --out {who} would make a run there."
        )
    raise RecipeError(
        f"{who}: no run (a folder with checkpoint/), no Transformers folder (config.json and safetensors), no file of "
        "answers (.json, .jsonl, .csv) and no http address; say what it is: '{kind: ..., ...}', with a kind of "
        f"{', '.join(catalog.kinds(PREDICTORS))}."
    )


PREDICTORS = "programs.predictors"


@config
class _PredictorOnly:
    who: Annotated[Any, one_of(PREDICTORS)]


def _word_of(value: Any) -> str:
    """A short word for a folder's name."""
    text = str(value).rstrip("/")
    name = Path(text).name if Path(text).exists() else text
    word = "".join(letter if letter.isalnum() else "-" for letter in name).strip("-")
    while "--" in word:
        word = word.replace("--", "-")
    return word[:60] or "data"


def _evaluate_into(
    answering: _Answering,
    measured: recipes.Measured,
    folder: Path | None,
    held_out: Mapping[str, Sequence[Dataset]],
    console: Console | None,
    train: Callable[[], Sequence[Dataset]],
) -> list[Evaluation]:
    """Scores each split; with a folder, writes evaluation.json, predictions.jsonl and the report."""
    asked = measured.evaluate
    tasks = measured.build_tasks()
    found: list[Evaluation] = []
    images: dict[str, Medium] = {}
    who = answering.predictor
    seen = _samples(train(), tasks, 500)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    path = None if folder is None else folder / KEPT
    controls = asked.controls if who.can_control else ()
    bar = PassesBar(console)
    kept = Kept(who, path, max_tokens=asked.max_tokens, progress=bar.advance)
    for split, sources in held_out.items():
        samples = _samples(sources, tasks, asked.pictures)
        if asked.circular:
            samples = circular.expand(samples)
        images |= {medium.key: medium for sample in samples for medium in sample.media}
        _say(console, f"scoring {split}: {len(samples)} prompts, {1 + len(controls)} ways")
        with bar:
            one = evaluation_program.evaluate(
                samples,
                kept,
                split=split,
                train=seen,
                controls=controls,
                tasks={name: measured.task(name) for name in tasks},
                seed=measured.seed,
                can_score=who.can_score,
                progress=bar.start,
            )
        notes = [*getattr(who, "notes", ()), *kept.notes]
        if not who.can_control:
            notes.append(
                "Answers from a file cannot be asked again with other pictures: there are no controls."
            )
        found.append(dataclasses.replace(one, notes=(*one.notes, *notes)))
    if kept.reused:
        _say(console, f"{kept.reused} answers were kept from before, {kept.asked} are new")
    if folder is not None:
        _write_evaluation(folder, found, images, _document(answering, measured, held_out, found))
        _say(console, f"report: {report(folder)}")
    return found


def _document(
    answering: _Answering,
    measured: recipes.Measured,
    held_out: Mapping[str, Sequence[Dataset]],
    found: Sequence[Evaluation],
) -> dict[str, Any]:
    """``evaluation.json``: the scores, and all that they depend on."""
    facts = runs.facts(torch.device("cpu"))
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
        "template": "\n".join(f"{name}: {measured.task(name).instruction}" for name in sorted(tasks)),
        "splits": [one.to_json() for one in found],
    }


def _fingerprint_of(dataset: Dataset) -> str:
    return str(getattr(dataset, "fingerprint", len(dataset)))


def _samples(sources: Sequence[Dataset], tasks: Mapping[str, Any], pictures: int) -> list[Sample]:
    samples = []
    for source in sources:
        for index in range(min(len(source), pictures)):
            samples += [tasks[task_of(record)].sample(record) for record in source[index]]
    return [sample for sample in samples if sample.references]


def _training_data(recipe: recipes.Measured) -> list[Dataset]:
    """What a run was trained on, for the answers that were commonest there; nothing where it is gone by now."""
    try:
        return [source.build(split="train") for source in recipe.data]
    except DataError as error:
        logger.warning("the majority answer is not known, since the training data cannot be read: %s", error)
        return []


def _write_evaluation(
    folder: Path, found: Sequence[Evaluation], images: Mapping[str, Medium], document: Mapping[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EVALUATION).unlink(missing_ok=True)  # an earlier one's scores do not belong to these answers
    rows = [row for one in found for row in one.predictions()]
    with (folder / PREDICTIONS).open("w", encoding="utf-8") as stream:
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
    # Last, since it says that the evaluation is whole.
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (folder / EVALUATION).write_text(text, encoding="utf-8")


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
    if (folder / EVALUATION).exists():
        document = _read_document(folder)
        evaluations = document["splits"]
        told = ("who", "seed", "data", "template", "commit", "versions")
        known = known | {f"evaluated {name}": document[name] for name in told if document.get(name)}
        lines = (folder / PREDICTIONS).read_text(encoding="utf-8").splitlines()
        rows = gallery.choose([json.loads(line) for line in lines])
        pictures = _gallery(folder)
    history = read_metrics(folder / METRICS) if (folder / METRICS).exists() else []
    title = (recipes.read(folder / "recipe.yaml").title if recipe else "") or folder.name
    path = folder / "report.html"
    pages.write_report(
        path,
        pages.Page(
            title=title,
            facts=known,
            recipe=recipe,
            history=history,
            evaluations=evaluations,
            gallery=rows,
            pictures=pictures,
        ),
    )
    return path


def beside(first: str | Path, second: str | Path, *, out: str | Path | None = None) -> tuple[Path, str]:
    """Two evaluations of the same data side by side: tests of their difference, and the answers in which they differ.

    Args:
        first: Folder of a run or of an evaluation.
        second: The other one.
        out: The page; by default ``beside-NAME.html`` in the first folder, NAME being the second's.

    Returns:
        The page's path, and what it says in plain lines.

    Raises:
        DataError: no evaluation in a folder, or nothing that both were asked.
    """
    folders = (Path(first), Path(second))
    found = beside_program.beside(
        stored.read_evaluations(folders[0]),
        stored.read_evaluations(folders[1]),
        names=(str(folders[0]), str(folders[1])),
        metrics=_metrics_of(folders[0]),
    )
    pictures: dict[str, Any] = {}
    for folder in folders:
        pictures = _gallery(folder) | pictures
    rows = sorted(found.rows(), key=lambda row: row["image"] not in pictures)  # those with a picture first
    path = Path(out) if out is not None else folders[0] / f"beside-{_word_of(folders[1].name)}.html"
    title = f"{folders[0]} beside {folders[1]}"
    write_beside(path, title, found.to_json(), gallery.choose(rows, by="kind"), pictures)
    return path, found.text


def _metrics_of(folder: Path) -> dict[str, Any]:
    """The first metric of each task as it was set when the folder was evaluated."""
    measured = _read_document(folder).get("measured")
    if not isinstance(measured, Mapping):
        return {}
    config = recipes.measured({"tasks": measured.get("tasks", {})})
    return {name: config.task(name).metrics[0] for name in catalog.kinds("data.tasks")}


def _read_document(folder: Path) -> dict[str, Any]:
    """``evaluation.json``; an older version's list of splits becomes an object."""
    document = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
    return {"splits": document} if isinstance(document, list) else document


def _gallery(folder: Path) -> dict[str, Any]:
    """Pixels of the pictures that an evaluation kept, by their keys."""
    index = folder / "gallery" / "index.json"
    names = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    return {
        key: media.load(Medium(folder / "gallery" / name, key))
        for key, name in names.items()
        if (folder / "gallery" / name).exists()
    }


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


def export(
    run: str | Path | Run,
    *,
    to: str = "transformers",
    out: str | Path | None = None,
    data: Any = None,
    samples: int = 8,
    licence: str = "",
    **options: Any,
) -> Exported:
    """Writes a run in the files of another program, opens them there, and compares logits and greedy answers.

    Args:
        run: A run or its folder.
        to: A kind in ``programs/exports``: ``transformers`` ...
        out: The new folder; by default ``export-TO`` in the run's.
        data: What to compare by: a path or a source, or records; None means the run's own data, or drawn scenes where it
            names none.
        samples: Prompts to compare by.
        licence: An SPDX name for the model card.
        options: The kind's own, such as ``layout="llava"``.

    Raises:
        RecipeError: no such kind, or an option that it has not.
        ExportError: the composition has no place there, or the other program does not say what we say.
    """
    program = catalog.module("programs.exports", to)
    known = [*inspect.signature(program.export).parameters][3:]
    if unknown := [name for name in options if name not in known]:
        raise RecipeError(f"export to {to} has no option {unknown[0]!r}. {did_you_mean(unknown[0], known)}")
    loaded = _loaded(run)
    folder = Path(out) if out is not None else (loaded.folder or Path("runs")) / f"export-{to}"
    if (folder / runs.CHECKPOINT).exists():
        raise RecipeError(f"{folder}: holds a run, which an export would replace; name another folder.")
    made: Exported = program.export(
        Source(
            model=lora.merged(loaded.model),
            processor=loaded.processor,
            parts=loaded.recipe.model,
            recipe=loaded.recipe.to_plain(),
        ),
        folder,
        _to_compare(loaded.recipe, data, samples),
        card=_card(loaded, licence, program.USE),
        **options,
    )
    return made


def _to_compare(recipe: Recipe, data: Any, count: int) -> list[Sample]:
    """Samples with pictures, from as many pictures as can be."""
    if data is None:
        sources = _sources(recipe if recipe.data else recipes.measured({"data": "scenes"}), None, "train")
    elif isinstance(data, str | Path | Mapping):
        sources = [source(data).build(split="train")]
    else:
        sources = _sources(recipe, list(data), "train")
    tasks = recipe.build_tasks()
    groups = [
        [tasks[task_of(record)].sample(record) for record in one[index]]
        for one in sources
        for index in range(min(len(one), count))
    ]
    with_pictures = [[sample for sample in group if sample.media] for group in groups]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*with_pictures))
    return [sample for sample in turns if sample is not None][:count]


def _card(run: Run, licence: str, use: str) -> str:
    folder = run.folder or Path()
    facts = (
        json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if (folder / "run.json").exists()
        else {}
    )
    splits = _read_document(folder)["splits"] if (folder / EVALUATION).exists() else []
    return card(
        run.recipe.title or folder.name or "A run", run.recipe.to_plain(), facts, splits, licence, use
    )


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
    "predictors": PREDICTORS,
}
"""Families by the name that users say."""


def kinds(family: str) -> dict[str, str]:
    """Kinds of a family, each with the first line of its description.

    Raises:
        RecipeError: no such family.
    """
    if family == "controls":  # no folder: each is a function
        first = (inspect.getdoc(control) or "" for control in CONTROLS.values())
        return {
            name: " ".join(text.partition("\n\n")[0].split())
            for name, text in zip(CONTROLS, first, strict=True)
        }
    if family not in FAMILIES:
        raise RecipeError(f"no family {family!r}. {did_you_mean(family, [*FAMILIES, 'controls'])}")
    return {kind: catalog.summary(FAMILIES[family], kind) for kind in catalog.kinds(FAMILIES[family])}


def pairs() -> dict[tuple[str, str], str]:
    """What each pair of fusion and language model can do: ``generates``, ``classifies`` or nothing.

    A language model from Transformers' folder can what its family can; a pair with it may need one of a certain form.
    """
    pooling = [fusion for fusion in kinds("fusions") if "pool" in declared("models.fusions", fusion).places]

    def can(fusion: str, model: str) -> str:
        return "classifies" if model == "encoder_only" or fusion in pooling else "generates"

    return {pair: can(*pair) if legal else "" for pair, legal in legal_pairs().items()}
