"""Places that a user names: a wrong one is refused before anything heavy is imported.

Only whether something is there is looked at. What is wrong inside is said by whoever reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from sightweave.core import catalog, files, recipe_files
from sightweave.core.errors import CheckpointError, DataError, MediaError, RecipeError
from sightweave.core.run_folder import CHECKPOINT

_DATASETS, _PREDICTORS = "data.datasets", "programs.predictors"
_RUN = (CHECKPOINT, "manifest.json", "config.json")
"""What a folder with a model has: of a run, of its checkpoint, or of Transformers."""
_ANSWERS = (".json", ".jsonl", ".csv")
_TABLES = (*_ANSWERS, ".tsv", ".txt", ".parquet", ".arrow", ".tar", ".zip", ".gz", ".yaml")
"""Endings of files with data; another word with a dot in it is a Python module."""
SHARDS = re.compile(r"\{\d+\.\.\d+\}.*\.tar|\.tar::")
"""Patterns of shards are no paths."""
ADDRESS = re.compile(r"(?i)https?:/")
"""How an address begins; a `Path` joins its two slashes."""


def check_run(folder: Path) -> None:
    """Refuses what is no folder of a run and no folder of Transformers.

    Raises:
        CheckpointError: it is neither.
    """
    if not _is_folder(folder):
        raise CheckpointError(no_folder(folder))
    if not _has_model(folder):
        raise CheckpointError(no_checkpoint(folder))


def no_folder(folder: Path) -> str:
    """What is said of a run's folder that is not there."""
    return f"{folder}: folder not found; create a run with sightweave train RECIPE --out {folder}."


def no_checkpoint(folder: Path) -> str:
    """What is said of a folder without a model in it."""
    return f"{folder}: has no manifest.json; not a checkpoint, or an incomplete one."


def check_who(who: str) -> None:
    """Refuses a text that names nobody who could answer.

    Raises:
        RecipeError: no such place, or one with nothing that answers.
    """
    path = Path(who)
    if who.lstrip().startswith("{") or "://" in who:
        return
    is_file_of_answers = path.is_file() and path.suffix.lower() in _ANSWERS
    if not (is_file_of_answers or (_is_folder(path) and _has_model(path))):
        refuse_who(who)


def refuse_who(who: str) -> NoReturn:
    """Raises `RecipeError`: nobody answers there."""
    if not Path(who).exists() and "://" not in who:
        raise RecipeError(
            f"{who}: file or folder not found; create a run with sightweave train RECIPE --out {who}."
        )
    raise RecipeError(
        f"{who}: not a run (a folder with checkpoint/), a Transformers folder (config.json and safetensors), a file of "
        "answers (.json, .jsonl, .csv) or an http address; state what it is with '{kind: ..., ...}', where kind is one of "
        f"{', '.join(catalog.kinds(_PREDICTORS))}."
    )


def check_evaluated(folder: Path) -> None:
    """Refuses a folder that holds no evaluation.

    Raises:
        DataError: there is none.
    """
    if not _is_folder(folder):
        raise DataError(f"{folder}: folder not found; give the folder of a run or an evaluation.")
    if not (folder / "evaluation.json").is_file():
        raise DataError(f"{folder}: has no evaluation.json; run sightweave evaluate {folder} first.")


def check_results(folder: Path) -> None:
    """Raises `CheckpointError` where there is no folder of a run or of an evaluation."""
    if not _is_folder(folder):
        raise CheckpointError(no_folder(folder))


def check_run_or_recipe(path: Path) -> None:
    """Refuses what is neither a run's folder nor a recipe.

    Raises:
        CheckpointError: a folder that is no run's.
        RecipeError: no such file, and no recipe of that name ships.
    """
    if path.is_dir():
        check_run(path)
    else:
        recipe_files.find(path)


def check_place(path: Path) -> None:
    """Raises `DataError` where nothing is."""
    if not path.expanduser().exists():
        raise DataError(f"{path}: file or folder not found.")


def value_of(data: str) -> Any:
    """A source as Python has it: the mapping or the list that a text spells in YAML, or else the text."""
    if data.lstrip()[:1] not in ("{", "["):
        return data
    from sightweave.core import config

    return config.override({}, [f"data={data}"])["data"]


def check_data(data: Any) -> None:
    """Refuses a source whose file or folder is not there.

    Args:
        data: A path, a kind or a mapping, also as text, or a list of these.

    Raises:
        DataError: no such place.
        RecipeError: a text in brackets that is no YAML.
    """
    value = value_of(data) if isinstance(data, str) else data
    if isinstance(value, list | tuple):
        for one in value:
            check_data(one)
    elif isinstance(value, Mapping) and isinstance(value.get("path"), str):
        _check_path(value["path"])
    elif isinstance(value, str) and value not in catalog.kinds(_DATASETS) and not is_module(value):
        _check_path(value)


def _check_path(path: str) -> None:
    if not SHARDS.search(path) and not Path(path).expanduser().exists():
        raise DataError(no_data(path))


def no_data(path: Path | str) -> str:
    """What is said of data that is not there."""
    return (
        f"{path}: file or folder not found; give a folder with images and a data.jsonl, or that file itself."
    )


def is_module(name: str) -> bool:
    """Whether a word is the dotted path of a Python module, rather than the name of a file."""
    is_dotted = "." in name and all(part.isidentifier() for part in name.split("."))
    return is_dotted and Path(name).suffix.lower() not in _TABLES


def check_picture(path: Path) -> None:
    """Refuses a picture that is not there.

    Raises:
        MediaError: no such file, or an address.
    """
    if ADDRESS.match(str(path)):
        raise MediaError("image_url", f"{path}: URLs are not fetched; save the image and give its path.")
    if not path.exists():
        raise MediaError("image_missing", f"{path}: file not found.")


def _is_folder(path: Path) -> bool:
    return path.is_dir() or files.whole(path).is_dir()


def _has_model(folder: Path) -> bool:
    inside = (files.whole(folder) / name for name in _RUN)
    return any(files.whole(one).exists() for one in inside)
