"""Fills in the settings of a pretrained part: read from its folder once, and stored in the recipe from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationInfo
from pydantic_core import ArgsKwargs

from sightweave.core import transformers_folder
from sightweave.core.config import downloaded


def filled(given: Any, info: ValidationInfo, read: Callable[[str], Any]) -> Any:
    """The input of a part's ``Config`` with its ``config`` field filled in, for use in a "before" validator.

    A name on the Hub is not filled in here; its folder is downloaded when the model is built.

    Args:
        given: Input of the ``Config``: a mapping, or the arguments of a call.
        info: Pydantic's validation info, whose context tells whether the fields were downloaded.
        read: Reads the settings from a folder.

    Raises:
        ValueError: The recipe was downloaded and lacks the settings; it must not name a folder to read them from.
    """
    values = given.kwargs if isinstance(given, ArgsKwargs) else given
    if not isinstance(values, Mapping) or values.get("config"):
        return given
    if downloaded(info):
        raise ValueError("config: the part's config.json is missing from the saved recipe")

    folder = values.get("folder")
    if not isinstance(folder, str) or transformers_folder.is_on_hub(folder):
        return given
    return {**values, "config": read(folder)}
