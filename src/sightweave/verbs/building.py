"""Untrained runs of recipes and of parts, and runs out of folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.core import transformers_folder
from sightweave.core.device import choose_device, keep_freed_memory, limit_threads
from sightweave.core.errors import CheckpointError
from sightweave.core.types import Sample
from sightweave.data.inputs import length_plan, order
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.data.reading.subset import all_or_drawn
from sightweave.programs.predictors import run as run_predictor
from sightweave.recipe import Recipe
from sightweave.run import Run
from sightweave.verbs.sources import build_sources, read_recipe, with_data

_FEW_DRAWN = 100
"""Drawn pictures that a length plan looks at."""


@torch.inference_mode(False)  # as in `runs.load`
def composed(recipe: Recipe, sources: Sequence[Dataset], device: torch.device) -> Run:
    """Tokenizer, model and processor; from an earlier run where the recipe says so."""
    recipe = recipe.resolved()
    if not recipe.init_from:
        tokenizer = recipe.build_tokenizer(sources)
        answers = recipe.build_answers(sources)
        model = recipe.model.build(vocab_size=tokenizer.vocab_size, num_answers=len(answers))
        recipe.model.load_pretrained(model)
        run = Run(model.to(device), recipe.build_processor(tokenizer, model, answers), recipe)
        is_drawn = not {"encoder", "connector", "language_model"} <= recipe.model.pretrained.keys()
        run.initial = runs.sums(run.model) if is_drawn else ()
        return run
    modules = recipes.modules_of(recipe)
    earlier = runs.load(recipe.init_from, device="cpu", modules=modules, only_model=True)
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


def build(recipe: str | Path | Mapping[str, Any] | Recipe, *settings: str, data: Any = None) -> Run:
    """The untrained run of a recipe: its parts joined, its tokenizer learnt from the data's texts or read from a folder.

    Args:
        recipe: A YAML file, a mapping or a `Recipe`.
        settings: ``path=value`` settings.
        data: Instead of the recipe's sources: a path, a source as in a recipe, a list of these, or rows.

    Raises:
        RecipeError: a mistake in the recipe, or parts that do not fit.
        CheckpointError: the folder of a pretrained part is damaged or lacks something.
    """
    recipe, settings, records = with_data(recipe, settings, data)
    resolved = read_recipe(recipe, settings).resolved()
    torch.manual_seed(resolved.seed)
    learns_nothing = bool(resolved.init_from) or "language_model" in resolved.model.pretrained
    is_without = records is None and not resolved.data and learns_nothing
    sources = [] if is_without else build_sources(resolved, records, "train")
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


def load(run: str | Path, *, device: str = "auto", trust_run: bool = False) -> Run:
    """A trained run, ready to answer; or a whole model out of a folder of Transformers, of a family that loads natively.

    Args:
        run: The folder.
        device: ``auto``, ``cpu``, ``cuda`` ...
        trust_run: Whether the run's recipe may import Python modules and name places, as a recipe of your own may. Without
            it, whatever the folder holds, nothing in it is run and nothing outside of it is opened.

    Raises:
        CheckpointError: no run there, or a damaged or foreign one.
        RecipeError: a run whose recipe names a Python module, without `trust_run`; or a folder of Transformers whose model
            does not load natively.
    """
    keep_freed_memory()
    limit_threads()
    if (Path(run) / transformers_folder.CONFIG).is_file() and not run_predictor.recognise(str(run)):
        return build({"data": [], "model": str(run), "train": {"device": device, "stages": [{"steps": 1}]}})
    return runs.load(run, device=device, trust_run=trust_run)


def as_run(run: str | Path | Run, *, trust_run: bool = False) -> Run:
    """A run as it is, or out of its folder; `trust_run` as for `load`."""
    return run if isinstance(run, Run) else load(run, trust_run=trust_run)


def plan_lengths(run: Run, sources: Sequence[Dataset]) -> length_plan.Plan:
    """Lengths under the stage that learns answers, from headers alone, of images drawn over all of the training data.

    Images that a data set makes when asked resemble one another, so a few of them will do.
    """
    settings = run.recipe.train
    stage = next((one for one in settings.stages[::-1] if one.learn == "answers"), settings.stages[-1])
    tasks = run.recipe.build_tasks()
    seed = run.recipe.seed
    chosen = [all_or_drawn(one, _FEW_DRAWN, seed=seed) for one in sources]

    def groups() -> Iterator[list[Sample]]:
        # In an order like that of training, so that where counting stops early, what was counted is spread over all.
        mix = order.Mix([len(one) for one in chosen], seed=seed)
        for position in range(mix.total):
            number, place = mix.at(position)
            records = sources[number][chosen[number][place]]
            wanted = [r for r in records if not stage.tasks or task_of(r) in stage.tasks]
            few = order.drawn(position, len(wanted), stage.samples_per_image or len(wanted))
            yield [tasks[task_of(wanted[n])].sample(wanted[n]) for n in few]

    return length_plan.plan(
        groups(),
        run.processor,
        policy=settings.too_long,
        max_length=run.processor.max_length,
        pack_to=stage.pack_to,
        pictures=stage.batch_size,
        total=sum(len(one) for one in sources),
    )
