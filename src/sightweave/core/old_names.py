"""Earlier names of settings, command-line options and keyword arguments, which are still accepted.

`NAMES` lists the settings. `update` replaces them in the values of a config before these are validated: in recipe files,
``path=value`` settings, mappings in Python and the recipes of older run folders alike.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ParamSpec, TypeVar

from sightweave.core.errors import RecipeError

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)

NAMES: Mapping[str, Mapping[str, str]] = {
    "train": {"workers": "num_workers", "threads": "num_threads"},
    "train.stages": {
        "pictures": "batch_size",
        "microsteps": "gradient_accumulation_steps",
        "clip": "max_grad_norm",
        "checkpointing": "gradient_checkpointing",
        "samples_per_picture": "samples_per_image",
    },
    "train.stages.optimizer": {"part_lr": "lr_multipliers"},
    "train.stages.schedule": {"form": "name", "floor": "min_lr_ratio"},
    "train.stages.lora.*": {"targets": "target_modules", "dora": "use_dora"},
    "evaluate": {"pictures": "max_images"},
    "data.scenes": {"per_picture": "items_per_image", "pictures": "style"},
    "decoding.beam": {"beams": "num_beams"},
    "who.endpoint": {"at_once": "num_concurrent"},
}
"""New names of settings by place and old name. A place is the path of a mapping without list indices, followed by its kind
if it has one: ``data.scenes`` is every source with ``kind: scenes``. ``*`` matches one step."""

KINDS: Mapping[str, Mapping[str, str]] = {"data": {"pictures": "images"}}
"""New names of kinds by place and old name."""

OPTIONS: Mapping[str, str] = {
    "--pictures": "--max-images",
    "--at-once": "--jobs",
    "--beams": "--num-beams",
    "--licence": "--license",
}
"""New names of command-line options by old name."""

_PLACES = tuple(tuple(place.split(".")) for place in (*NAMES, *KINDS))


def update(values: Mapping[str, Any], *, where: str = "", tell: bool = True) -> dict[str, Any]:
    """A copy of a config's values with old names replaced by new ones.

    Args:
        values: Plain data, such as a recipe; not modified.
        where: The file that the values come from, for messages.
        tell: Whether to warn about the old names; not done for the recipe of an older run.

    Raises:
        RecipeError: A setting is given under both names.
    """
    renamed: list[str] = []
    found: dict[str, Any] = _updated(values, (), "", where, renamed)
    if renamed and tell:
        warn(renamed, where=where)
    return found


def _updated(value: Any, place: tuple[str, ...], path: str, where: str, renamed: list[str]) -> Any:
    """A copy of a value with new names; appends a sentence about each old name to `renamed`."""
    if not _is_on_the_way(place):
        return value
    if isinstance(value, list | tuple):
        items = enumerate(value)
        return [_updated(one, place, _join(path, number), where, renamed) for number, one in items]
    if not isinstance(value, Mapping):
        return value

    values = _with_new_kind(value, place, path, renamed)
    place = _place_of(place, values)
    if not _is_on_the_way(place):
        return values

    found: dict[str, Any] = {}
    for key, inner in values.items():
        name = _new_name(place, key)
        if name != key:
            if name in values:
                raise RecipeError(twice(_join(path, key), name, where=where))
            renamed.append(sentence(_join(path, key), name))
        found[name] = _updated(inner, (*place, str(name)), _join(path, name), where, renamed)
    return found


def _with_new_kind(
    values: Mapping[str, Any], place: tuple[str, ...], path: str, renamed: list[str]
) -> dict[str, Any]:
    """A copy of a mapping in which an old kind is renamed if there is also a path; otherwise, the word names a folder."""
    known = KINDS.get(".".join(place), {})
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in known or "path" not in values:
        return dict(values)
    renamed.append(sentence(f"{path}: kind {kind}", known[kind]))
    return {**values, "kind": known[kind]}


class Paths:
    """Replaces old names in the paths of ``path=value`` settings, and collects a warning about them."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        """For each setting, by its new path: the path that the user gave."""
        self._renamed: list[str] = []

    def update(self, path: str, values: Mapping[str, Any]) -> str:
        """The same path with new names.

        Args:
            path: A path, such as ``train.stages.0.pictures``.
            values: The values that the setting will be applied to, which give the kinds along the path.

        Raises:
            RecipeError: An earlier setting gave the same path under other names.
        """
        found = ".".join(_new_steps(path.split("."), values))
        earlier = self._given.setdefault(found, path)
        if earlier != path:
            old, new = (earlier, path) if path == found else (path, earlier)
            raise RecipeError(twice(old, new))
        if found != path:
            above, _, last = found.rpartition(".")
            self._renamed.append(sentence(path, last if above == path.rpartition(".")[0] else found))
        return found

    def warn(self) -> None:
        """Logs one warning about all old names so far."""
        if self._renamed:
            warn(self._renamed)


def _new_steps(steps: Sequence[str], values: Mapping[str, Any]) -> Iterator[str]:
    place: tuple[str, ...] = ()
    inner: Any = values
    for step in steps:
        if step.isdecimal():  # ``data: scenes`` is short for a list with one item
            has_item = isinstance(inner, list) and int(step) < len(inner)
            inner = inner[int(step)] if has_item else inner
            yield step
            continue
        place = _place_of(place, inner)
        name = _new_name(place, step)
        place = (*place, name)
        inner = inner.get(name) if isinstance(inner, Mapping) else None
        yield name


def _place_of(place: tuple[str, ...], values: Any) -> tuple[str, ...]:
    """Extends a place by the kind of the mapping there, if it has one; a string stands for a mapping with that kind."""
    kind = values.get("kind") if isinstance(values, Mapping) else values
    return (*place, kind) if isinstance(kind, str) else place


def _new_name(place: Sequence[str], key: Any) -> Any:
    """The new name of a setting at a place; the key itself if it is not an old name there."""
    here = ".".join(place)
    for pattern, names in NAMES.items():
        if key in names and here.count(".") == pattern.count(".") and fnmatchcase(here, pattern):
            return names[key]
    return key


def _is_on_the_way(place: tuple[str, ...]) -> bool:
    """Whether an old name may be at or below a place."""
    deep_enough = [known for known in _PLACES if len(known) >= len(place)]
    return any(all(map(fnmatchcase, place, known)) for known in deep_enough)


def _join(path: str, step: object) -> str:
    return f"{path}.{step}" if path else str(step)


def sentence(old: str, new: str) -> str:
    """The text of a warning about one old name."""
    return f"{old} is now called {new}"


def twice(old: str, new: str, *, where: str = "") -> str:
    """The text of an error about a setting that is given under both names."""
    text = f"{old} is the old name of {new}, and both are given; remove {old}."
    return f"{where}: {text}" if where else text


def warn(renamed: Sequence[str], *, where: str = "") -> None:
    """Logs one warning about all old names in a file or a command, at most once per process."""
    text = "; ".join(renamed)
    _warn_once(f"{where}: {text}" if where else text)


@functools.cache
def _warn_once(text: str) -> None:
    # A comparison reads the same recipe once per run, which would repeat the warning.
    logger.warning("%s. The old name still works, but please use the new one.", text)


def accepts(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator that lets a function accept keyword arguments under their old names, with a warning.

    Args:
        names: New names by old name.

    Raises:
        TypeError: The decorated function is called with both names of an argument.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            if not names.keys() & kwargs:
                return function(*args, **kwargs)
            given: Any = _renamed_keywords(function.__name__, kwargs, names)
            return function(*args, **given)

        return called

    return decorate


def _renamed_keywords(function: str, given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = names.get(key, key)
        if name != key and name in given:
            raise TypeError(twice(f"{function}({key}=)", f"{name}="))
        if name != key:
            warn([sentence(f"{function}({key}=)", f"{name}=")])
        found[name] = value
    return found


def new_options(args: Sequence[str], known: Sequence[str]) -> list[str]:
    """Command-line arguments with old options replaced by new ones; arguments after ``--`` are not changed.

    Args:
        args: The arguments after the command's name.
        known: Options of the command.

    Raises:
        RecipeError: An option is given under both names.
    """
    end = args.index("--") if "--" in args else len(args)
    names = [word.partition("=")[0] for word in args[:end]]
    found: list[str] = []
    for word, name in zip(args[:end], names, strict=True):
        new = OPTIONS.get(name, name)
        if new == name or name in known or new not in known:
            found.append(word)
            continue
        if new in names:
            raise RecipeError(twice(name, new))
        warn([sentence(name, new)])
        found.append(new + word.removeprefix(name))
    return [*found, *args[end:]]


def settings_of(word: str) -> list[str]:
    """The current path of the ``train`` or stage setting that once had this name, for hints about a misplaced key.

    Returns an empty list if no such setting, or more than one, once had the name.
    """
    places = [place for place, names in NAMES.items() if word in names]
    if places not in (["train"], ["train.stages"]):
        return []
    path = places[0].replace("train.stages", "train.stages.0")
    return [f"{path}.{NAMES[places[0]][word]}"]
