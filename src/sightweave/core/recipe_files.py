"""Finds recipe files: those of the user, and the built-in ones that ship with Sightweave. Imports nothing slow."""

from __future__ import annotations

from pathlib import Path

from sightweave.core.errors import RecipeError, did_you_mean


def shipped() -> dict[str, Path]:
    """Paths of the built-in recipes by name, in the installed package or the source checkout."""
    package = Path(__file__).parents[1]
    folder = package / "recipes"
    if not folder.is_dir():  # in an editable install, they are at the top of the checkout
        folder = package.parents[1] / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(source: str | Path) -> Path:
    """Finds a recipe file by its path, or by the name of a built-in recipe.

    A file at the path takes precedence over a built-in recipe with the same name.

    Args:
        source: A path, or a built-in recipe's name such as ``own``, ``own.yaml`` or ``recipes/own.yaml``.

    Raises:
        RecipeError: There is neither such a file nor such a built-in recipe.
    """
    path = Path(source)
    if path.is_file():
        return path

    known = shipped()
    is_name = path.suffix in ("", ".yaml") and path.parent in (Path(), Path("recipes"))
    if is_name and path.stem in known:
        return known[path.stem]

    raise RecipeError(
        f"{source}: recipe file not found, and no built-in recipe has this name. {did_you_mean(path.stem, known)} "
        "`sightweave recipes` describes the built-in recipes."
    )


def summary(path: Path) -> str:
    """A recipe's one-line summary: the first line of the comment at its top; empty if it has none."""
    first, *_ = [*path.read_text(encoding="utf-8").splitlines(), ""]
    return first.lstrip("# ") if first.startswith("#") else ""
