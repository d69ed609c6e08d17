"""Finds the kinds of a family by file name: kind ``concat`` of ``models.fusions`` is in ``models/fusions/concat.py``.

There is no registry: adding a file adds a kind. A dotted path (``kind: my_lab.fusion``) names a user's own module.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Container
from pathlib import Path
from typing import Any

from sightweave.core.errors import RecipeError, did_you_mean

_ROOT = Path(__file__).parent.parent


def kinds(family: str) -> list[str]:
    """Sorted names of the kinds in a family such as ``models.fusions``, without importing them."""
    folder = _ROOT.joinpath(*family.split("."))
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def module(family: str, kind: str, *, allowed: Container[str] | None = None) -> Any:
    """Imports and returns the module of one kind.

    Args:
        family: The family's folder, such as ``models.fusions``.
        kind: The name of a file in that folder, or the dotted path of a user's own module.
        allowed: Dotted paths that may be imported, if the kind comes from a downloaded file; None allows any.

    Raises:
        RecipeError: The kind does not exist, or its module is not allowed, cannot be imported, or has no ``Config``.
    """
    if kind in kinds(family):
        return importlib.import_module(f"sightweave.{family}.{kind}")
    if "." not in kind:
        raise RecipeError(
            f"no {family.rpartition('.')[2]} kind {kind!r}. {did_you_mean(kind, kinds(family))}"
        )

    # A user's own module.
    if allowed is not None and kind not in allowed:
        raise RecipeError(
            f"kind {kind!r} is a Python module named in this folder, and importing it would run its code. If you trust "
            "the folder, use --trust-run on the command line or trust_run=True in Python."
        )
    try:
        found = importlib.import_module(kind)
    # A path that starts with a dot or has two dots in a row raises TypeError or ValueError.
    except (ImportError, TypeError, ValueError) as error:
        raise RecipeError(
            f"kind {kind!r} cannot be imported: {error}. It must be on the Python path."
        ) from error
    if not hasattr(found, "Config"):
        raise RecipeError(f"kind {kind!r}: the module {found.__file__} has no class Config.")
    return found


def config_class(family: str, kind: str, *, allowed: Container[str] | None = None) -> Any:
    """Imports the module of one kind and returns its ``Config`` class; arguments and errors are those of `module`."""
    return module(family, kind, allowed=allowed).Config


def summary(family: str, kind: str) -> str:
    """The first line of a kind's module docstring, read without importing the module."""
    path = _ROOT.joinpath(*family.split("."), f"{kind}.py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
