"""The settings of a pretrained part: read from its folder once, and from then on stored in the recipe itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationInfo
from pydantic_core import ArgsKwargs

from sightweave.core import transformers_folder
from sightweave.core.config import downloaded


def filled(given: Any, info: ValidationInfo, read: Callable[[str], Any]) -> Any:
    """The fields of a part's ``Config`` with ``config`` filled in, for a validator that runs before all others.

    A name on the Hub is left as it is: its folder is downloaded when the model is built.

    Args:
        given: Input of the ``Config``: a mapping, or the arguments of a call.
        info: Pydantic's validation info, which says where the fields come from.
        read: Reads the settings in a folder.

    Raises:
        ValueError: the recipe came with a run and lacks the settings. Only the user may name a folder to read them from.
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
