"""The folders are the catalogue: ``kind: cross_attention`` of ``models.fusions`` is ``models/fusions/cross_attention.py``.

There is no registry and no decorator: a new kind is a new file. A dotted path (``kind: my_lab.fusion``) is a user's module.
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
    """Names of the kinds of a family such as ``models.fusions``, without importing them."""
    folder = _ROOT.joinpath(*family.split("."))
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def module(family: str, kind: str, *, allowed: Container[str] | None = None) -> Any:
    """The module of one kind; imports only that file.

    Args:
        family: The family's folder, such as ``models.fusions``.
        kind: The name of a file in it, or the dotted path of a user's own module.
        allowed: Dotted paths that may be imported, for a kind named in a downloaded file; None allows any.

    Raises:
        RecipeError: no such kind, or a module that is not allowed, cannot be imported, or has no ``Config``.
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
    # TypeError and ValueError: a path that starts with a dot, or has two in a row.
    except (ImportError, TypeError, ValueError) as error:
        raise RecipeError(
            f"kind {kind!r} cannot be imported: {error}. It must be on the Python path."
        ) from error
    if not hasattr(found, "Config"):
        raise RecipeError(f"kind {kind!r}: the module {found.__file__} has no class Config.")
    return found


def config_class(family: str, kind: str, *, allowed: Container[str] | None = None) -> Any:
    """The ``Config`` of one kind; for the arguments see `module`."""
    return module(family, kind, allowed=allowed).Config


def summary(family: str, kind: str) -> str:
    """The first line of a kind's docstring, read without importing it."""
    path = _ROOT.joinpath(*family.split("."), f"{kind}.py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
