"""The files of recipes: those of the user, and those that ship with Sightweave. Imports nothing slow."""

from __future__ import annotations

from pathlib import Path

from sightweave.core.errors import RecipeError, did_you_mean


def shipped() -> dict[str, Path]:
    """The recipes that ship with Sightweave, by name, from the checkout of this file or the installed package."""
    package = Path(__file__).parents[1]
    folder = package / "recipes"
    if not folder.is_dir():  # an editable install uses the checkout's own folder
        folder = package.parents[1] / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(source: str | Path) -> Path:
    """The file of a recipe: a path, or the name of a built-in one, such as ``own``, ``own.yaml`` or ``recipes/own.yaml``.

    A file at the path has precedence over a built-in recipe of that name.

    Raises:
        RecipeError: no such file, and no built-in recipe of that name.
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
    """The purpose of a recipe: the first line of the comment at its top; empty without one."""
    first, *_ = [*path.read_text(encoding="utf-8").splitlines(), ""]
    return first.lstrip("# ") if first.startswith("#") else ""
