"""Builds untrained runs from recipes and parts, and loads runs from folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.core import files, transformers_folder
from sightweave.core.device import choose_device, keep_freed_memory, limit_threads
from sightweave.core.errors import CheckpointError
from sightweave.core.types import Sample
from sightweave.data.inputs import length_plan, order
from sightweave.data.inputs.processor import Processor
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.data.reading.subset import all_or_drawn
from sightweave.models.vlm import VLM
from sightweave.programs.predictors import run as run_predictor
from sightweave.programs.training.settings import Stage
from sightweave.recipe import Recipe
from sightweave.run import Run
from sightweave.verbs.sources import build_sources, read_recipe, with_data

_FEW_GENERATED = 100
"""Number of generated images that a length plan samples."""


@torch.inference_mode(False)  # as in `runs.load`
def composed(recipe: Recipe, sources: Sequence[Dataset], device: torch.device) -> Run:
    """Builds a recipe's tokenizer, model and processor, or takes them from the run in ``init_from``.

    On the meta device, the model has no weights, neither initial nor pretrained ones.
    """
    recipe = recipe.resolved()
    if recipe.init_from:
        return _continued(recipe, device)

    tokenizer = recipe.build_tokenizer(sources)
    answers = recipe.build_answers(sources)
    if device.type == "meta":
        model = _empty(recipe, tokenizer.vocab_size, len(answers))
        return Run(model, recipe.build_processor(tokenizer, model, answers), recipe)

    model = recipe.model.build(vocab_size=tokenizer.vocab_size, num_answers=len(answers))
    recipe.model.load_pretrained(model)

    run = Run(model.to(device), recipe.build_processor(tokenizer, model, answers), recipe)
    has_new_weights = not {"encoder", "connector", "language_model"} <= recipe.model.pretrained.keys()
    run.initial = runs.sums(run.model) if has_new_weights else ()
    return run


def _continued(recipe: Recipe, device: torch.device) -> Run:
    """The recipe's model with the weights and the tokenizer of the run in ``init_from``."""
    modules = recipes.modules_of(recipe)
    if device.type == "meta":
        folder = files.whole(Path(recipe.init_from) / runs.CHECKPOINT)
        folder = folder if folder.is_dir() else files.whole(Path(recipe.init_from))
        processor = Processor.load(folder, allowed=modules)
        tokenizer, answers = processor.tokenizer, processor.answers
        model = _empty(recipe, tokenizer.vocab_size, len(answers))
        return Run(model, recipe.build_processor(tokenizer, model, answers), recipe)

    earlier = runs.load(recipe.init_from, device="cpu", modules=modules, only_model=True)
    tokenizer, answers = earlier.processor.tokenizer, earlier.processor.answers
    model = recipe.model.build(vocab_size=tokenizer.vocab_size, num_answers=len(answers))
    weights = earlier.model.state_dict()

    differing = _differing_shapes(weights, model.state_dict())
    if differing:
        raise CheckpointError(
            f"init_from {recipe.init_from}: {len(differing)} weights differ in shape: {', '.join(differing[:10])}"
        )
    model.load_state_dict(weights)
    return Run(model.to(device), recipe.build_processor(tokenizer, model, answers), recipe)


def _empty(recipe: Recipe, vocab_size: int, num_answers: int) -> VLM:
    """The recipe's model on the meta device."""
    with torch.device("meta"):
        return recipe.model.build(vocab_size=vocab_size, num_answers=num_answers)


def emptied(run: Run) -> VLM:
    """The run's model on the meta device, without its weights."""
    model = _empty(run.recipe, run.processor.tokenizer.vocab_size, len(run.processor.answers))
    return model.eval()


def _differing_shapes(there: Mapping[str, torch.Tensor], here: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of weights whose shapes differ, each with both shapes; None stands for a missing weight."""
    found = []
    for name in sorted(there.keys() | here.keys()):
        theirs = tuple(there[name].shape) if name in there else None
        ours = tuple(here[name].shape) if name in here else None
        if theirs != ours:
            found.append(f"{name}: {theirs} there, {ours} here")
    return found


def build(recipe: str | Path | Mapping[str, Any] | Recipe, *settings: str, data: Any = None) -> Run:
    """Builds an untrained run from a recipe: its parts, and a tokenizer trained on the data's texts or loaded.

    Args:
        recipe: A YAML file, a mapping or a `Recipe`.
        settings: ``path=value`` settings.
        data: Instead of the recipe's sources: a path, a source as in a recipe, a list of these, or rows.

    Raises:
        RecipeError: a mistake in the recipe, or parts that do not fit.
        CheckpointError: the folder of a pretrained part is damaged or incomplete.
    """
    recipe, settings, records = with_data(recipe, settings, data)
    resolved = read_recipe(recipe, settings).resolved()
    torch.manual_seed(resolved.seed)

    has_tokenizer = bool(resolved.init_from) or "language_model" in resolved.model.pretrained
    needs_data = records is not None or resolved.data or not has_tokenizer
    sources = build_sources(resolved, records, "train") if needs_data else []
    return composed(resolved, sources, choose_device(resolved.train.device))


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
    """Joins an encoder and a language model into a run that can be trained, used for answers, or exported.

    To train it, save it and set ``init_from`` in a recipe.

    Args:
        encoder: A Transformers folder or its name on the hub, a kind, or a mapping with fields.
        language_model: The same.
        fusion: A kind or a mapping; None means causal concatenation if the language model is pretrained.
        connector: A kind or a mapping; None means ``pixel_shuffle`` after a pretrained encoder whose grid can be halved,
            else ``mlp``.
        data: Sources with texts to train a tokenizer on, if the language model is not pretrained.
        seed: Random seed for new weights.
        device: ``auto``, ``cpu``, ``cuda`` ...

    Raises:
        RecipeError: parts that do not fit, or no data to train a tokenizer on.
        CheckpointError: as `build`.
    """
    parts = {"encoder": encoder, "language_model": language_model, "fusion": fusion, "connector": connector}
    model = {name: value for name, value in parts.items() if value is not None}
    train = {"device": device, "stages": [{"steps": 1}]}
    return build({"data": data, "model": model, "train": train, "seed": seed})


def load(run: str | Path, *, device: str = "auto", trust_run: bool = False) -> Run:
    """Loads a trained run, or a whole model of a natively supported family from a Transformers folder.

    Args:
        run: The folder.
        device: ``auto``, ``cpu``, ``cuda`` ...
        trust_run: Whether the run's recipe may import Python modules and name paths, as your own recipes may. Without
            it, no code from the folder is run and nothing outside the folder is opened.

    Raises:
        CheckpointError: no run in the folder, or a damaged or foreign one.
        RecipeError: the run's recipe names a Python module and `trust_run` is not set; or a Transformers folder whose
            model does not load natively.
    """
    keep_freed_memory()
    limit_threads()

    if (Path(run) / transformers_folder.CONFIG).is_file() and not run_predictor.recognise(str(run)):
        return build({"data": [], "model": str(run), "train": {"device": device, "stages": [{"steps": 1}]}})
    return runs.load(run, device=device, trust_run=trust_run)


def as_run(run: str | Path | Run, *, trust_run: bool = False) -> Run:
    """Loads a run if given its folder; `trust_run` as for `load`."""
    return run if isinstance(run, Run) else load(run, trust_run=trust_run)


def plan_lengths(run: Run, sources: Sequence[Dataset]) -> length_plan.Plan:
    """Plans sequence lengths for the last stage that trains on answers, from image headers alone.

    The images are sampled from all of the training data. Generated images resemble one another, so a few are enough.
    """
    settings = run.recipe.train
    answering = [stage for stage in settings.stages if stage.learn == "answers"]
    stage = answering[-1] if answering else settings.stages[-1]

    return length_plan.plan(
        _groups(run.recipe, stage, sources),
        run.processor,
        policy=settings.too_long,
        max_length=run.processor.max_length,
        pack_to=stage.pack_to,
        pictures=stage.batch_size,
        total=sum(map(len, sources)),
    )


def _groups(recipe: Recipe, stage: Stage, sources: Sequence[Dataset]) -> Iterator[list[Sample]]:
    """The samples of each image that a stage could train on, in a shuffled order.

    The shuffle mixes the sources as training does, so that a count that stops early still covers all of them.
    """
    tasks = recipe.build_tasks()
    chosen = [all_or_drawn(one, _FEW_GENERATED, seed=recipe.seed) for one in sources]
    mix = order.Mix(list(map(len, chosen)), seed=recipe.seed)
    for position in range(mix.total):
        number, place = mix.at(position)
        records = sources[number][chosen[number][place]]
        if stage.tasks:
            records = [record for record in records if task_of(record) in stage.tasks]

        few = order.drawn(position, len(records), stage.samples_per_image or len(records))
        yield [tasks[task_of(records[index])].sample(records[index]) for index in few]
