"""The settings of a pretrained part: read from its folder once, and from then on held by the recipe itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationInfo
from pydantic_core import ArgsKwargs

from sightweave.core import transformers_folder
from sightweave.core.config import downloaded


def filled(given: Any, info: ValidationInfo, read: Callable[[str], Any]) -> Any:
    """The fields of a part's ``Config`` with ``config`` filled in, for a validator that runs before all others.

    A name on the hub stays as it is: its folder is fetched when the model is built.

    Args:
        given: What the ``Config`` is made from: a mapping, or the arguments of a call.
        info: Pydantic's, which says where the fields come from.
        read: The settings in a folder.

    Raises:
        ValueError: the recipe came with a run and lacks the settings. Only whoever runs the program may name a folder to
            read them from.
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
