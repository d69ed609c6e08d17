"""Checks that input paths exist, before anything slow is imported.

Only the existence and the kind of a file or folder is checked. The code that reads it reports errors in its content.
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
"""Files and folders of which a model's folder contains at least one: a run, a checkpoint or a Transformers folder."""
_ANSWERS = (".json", ".jsonl", ".csv")
_TABLES = (*_ANSWERS, ".tsv", ".txt", ".parquet", ".arrow", ".tar", ".zip", ".gz", ".yaml")
"""Suffixes of data files; any other word that contains a dot is taken for a Python module."""
SHARDS = re.compile(r"\{\d+\.\.\d+\}.*\.tar|\.tar::")
"""Matches a WebDataset shard pattern, such as ``{000..099}.tar``, which is not the path of a single file."""
ADDRESS = re.compile(r"(?i)https?:/")
"""Matches the start of a URL; only one slash is required because `Path` merges the two."""


def check_run(folder: Path) -> None:
    """Checks that a path is a folder with a model: a run, a checkpoint or a Transformers folder.

    Raises:
        CheckpointError: The folder does not exist or holds no model.
    """
    if not _is_folder(folder):
        raise CheckpointError(no_folder(folder))
    if not _has_model(folder):
        raise CheckpointError(no_checkpoint(folder))


def no_folder(folder: Path) -> str:
    """The error message for a missing run folder."""
    return f"{folder}: folder not found; create a run with sightweave train RECIPE --out {folder}."


def no_checkpoint(folder: Path) -> str:
    """The error message for a folder without a model."""
    return f"{folder}: has no manifest.json; not a checkpoint, or an incomplete one."


def check_who(who: str) -> None:
    """Checks that an argument names a predictor: a model's folder, a file of answers, a URL, or an inline ``{kind: ...}``.

    Raises:
        RecipeError: The path does not exist, or is neither a model's folder nor a file of answers.
    """
    if who.lstrip().startswith("{") or "://" in who:
        return

    path = Path(who)
    is_file_of_answers = path.is_file() and path.suffix.lower() in _ANSWERS
    if not (is_file_of_answers or (_is_folder(path) and _has_model(path))):
        refuse_who(who)


def refuse_who(who: str) -> NoReturn:
    """Raises the `RecipeError` for an argument that does not name a predictor."""
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
    """Checks that a folder holds an evaluation.

    Raises:
        DataError: The folder or its evaluation.json does not exist.
    """
    if not _is_folder(folder):
        raise DataError(f"{folder}: folder not found; give the folder of a run or an evaluation.")
    if not (folder / "evaluation.json").is_file():
        raise DataError(f"{folder}: has no evaluation.json; run sightweave evaluate {folder} first.")


def check_results(folder: Path) -> None:
    """Raises `CheckpointError` if a folder, which may hold a run or an evaluation, does not exist."""
    if not _is_folder(folder):
        raise CheckpointError(no_folder(folder))


def check_run_or_recipe(path: Path) -> None:
    """Checks that an argument is a run folder, a recipe file, or the name of a built-in recipe.

    Raises:
        CheckpointError: It is a folder without a model.
        RecipeError: There is neither a file at this path nor a built-in recipe with this name.
    """
    if path.is_dir():
        check_run(path)
    else:
        recipe_files.find(path)


def check_place(path: Path) -> None:
    """Raises `DataError` if nothing exists at a path."""
    if not path.expanduser().exists():
        raise DataError(f"{path}: file or folder not found.")


def value_of(data: str) -> Any:
    """Parses a data argument as YAML if it starts with a bracket or brace; any other text is returned unchanged."""
    if data.lstrip()[:1] not in ("{", "["):
        return data
    from sightweave.core import config

    return config.override({}, [f"data={data}"])["data"]


def check_data(data: Any) -> None:
    """Checks that the files or folders of a data argument exist.

    Args:
        data: A path, the name of a dataset kind, a mapping, or a list of these. Mappings and lists may also be YAML text.

    Raises:
        DataError: A file or folder does not exist.
        RecipeError: A text that starts with a bracket or brace is not valid YAML.
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
    """The error message for a missing data file or folder."""
    return f"{path}: file or folder not found; give a folder with images and a data.jsonl, or the path of that file."


def is_module(name: str) -> bool:
    """Whether a word looks like the dotted path of a Python module rather than a file name."""
    is_dotted = "." in name and all(part.isidentifier() for part in name.split("."))
    return is_dotted and Path(name).suffix.lower() not in _TABLES


def check_picture(path: Path) -> None:
    """Checks that an image file exists.

    Raises:
        MediaError: The file does not exist, or the path is a URL.
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
