"""Frozen, validated configs: YAML in, ``path=value`` overrides, YAML out, and all mistakes in one report.

A kind's file holds ``@config class Config`` next to its class; ``recipe.py`` composes them. A field of type
``Annotated[Any, one_of("models.fusions")]`` takes ``{kind: concat, ...}`` or just ``concat`` and becomes that kind's Config.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

import pydantic
import pydantic.dataclasses
import yaml
from pydantic_core import InitErrorDetails, PydanticCustomError

from sightweave.core import bounded, catalog, foreign_words, old_names
from sightweave.core.errors import RecipeError, did_you_mean

T = TypeVar("T")
MAX_BYTES = 1 << 20
_MAX_DEPTH, _MAX_VALUES = 32, 100_000
"""Limits for YAML: depth of nested mappings and lists, and total number of values."""
_SETTINGS = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """A frozen, keyword-only dataclass that checks its fields and rejects unknown ones."""
    made: Any = pydantic.dataclasses.dataclass(cls, frozen=True, kw_only=True, config=_SETTINGS)
    return made  # type: ignore[no-any-return]  # pydantic's decorator returns a subclass of its argument


@dataclasses.dataclass(frozen=True, slots=True)
class Downloaded:
    """Marks values that come from a folder, which somebody else may have written, and not from the user of the program.

    A validator finds it with `downloaded`. Such values must not name Python modules, places outside the folder, or anything
    on the network.
    """

    modules: frozenset[str] = frozenset()
    """Dotted kinds that may be imported anyway, since the user named them too."""


def downloaded(info: pydantic.ValidationInfo) -> Downloaded | None:
    """The mark of the values that are being validated; None if they are the user's own."""
    return info.context if isinstance(info.context, Downloaded) else None


def place(*defaults: str) -> pydantic.AfterValidator:
    """For a text field that names a file, a folder, a program or a model to fetch: only the user may set it.

    Args:
        defaults: Values that a downloaded recipe may also have; the empty text is always allowed.
    """

    def check(value: str, info: pydantic.ValidationInfo) -> str:
        if downloaded(info) is not None and value not in ("", *defaults):
            raise ValueError(
                "names a path, which a downloaded run may not do; set it yourself, or trust the run with --trust-run on the "
                "command line or trust_run=True in Python"
            )
        return value

    return pydantic.AfterValidator(check)


def one_of(family: str) -> pydantic.BeforeValidator:
    """For a field that contains the Config of one kind of a family."""

    def check(value: Any, info: pydantic.ValidationInfo) -> Any:
        return resolve(family, value, downloaded(info))

    return pydantic.BeforeValidator(check)


def resolve(family: str, value: Any, source: Downloaded | None = None) -> Any:
    """The Config of the kind that a name or a mapping specifies.

    Args:
        family: The family's folder, such as ``models.fusions``.
        value: ``{kind: concat, ...}``, ``concat``, or a Config, which is returned as it is.
        source: Where the value comes from; None means from the user.

    Raises:
        ValueError: no kind, an unknown one, or mistakes in its fields.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return value
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, Mapping) or "kind" not in value:
        raise ValueError(f"needs a kind, such as {{kind: {catalog.kinds(family)[0]}}} (got {value!r})")
    fields = {str(key): item for key, item in value.items() if key != "kind"}
    allowed = None if source is None else source.modules
    return _of_kind(catalog.config_class(family, str(value["kind"]), allowed=allowed), fields, source)


def _of_kind(cls: type, fields: Mapping[str, Any], source: Downloaded | None) -> Any:
    """The Config of a named kind. Its fields are known only here, so the nearest valid name is looked up here."""
    known = [f.name for f in dataclasses.fields(cls)]
    mistakes = [
        _mistake("unknown_key", _unknown(key, item, known, path=_own_path(key)), (key,), item)
        for key, item in fields.items()
        if key not in known
    ]
    try:
        given = {k: v for k, v in fields.items() if k in known}
        made: Any = pydantic.TypeAdapter(cls).validate_python(given, context=source)
    except pydantic.ValidationError as error:
        mistakes += [_mistake(e["type"], e["msg"], e["loc"], e["input"]) for e in error.errors()]
    if mistakes:
        raise pydantic.ValidationError.from_exception_data(cls.__name__, mistakes)
    return made


def _mistake(kind: str, message: str, place: tuple[int | str, ...], value: Any) -> InitErrorDetails:
    # Braces mark placeholders there, and values may contain braces.
    error = PydanticCustomError(kind, "{text}", {"text": message})
    return InitErrorDetails(type=error, loc=place, input=value)


def without_kind(value: Any) -> Any:
    """For a field whose type is one ``Config``: its plain data names a kind, as all do, which the type says already."""
    is_mapping = isinstance(value, Mapping)
    return {key: item for key, item in value.items() if key != "kind"} if is_mapping else value


def kind_of(value: Any) -> str:
    """The kind that a Config belongs to: its file's name, or the dotted path of a user's module."""
    name = type(value).__module__
    return name.rpartition(".")[2] if name.startswith("sightweave.") else name


def build(
    cls: type[T], values: Mapping[str, Any], *, where: str = "recipe", source: Downloaded | None = None
) -> T:
    """Validates a mapping into a Config. Old names of settings are read as their new ones.

    Args:
        cls: The Config.
        values: Its fields.
        where: Prefix of error messages.
        source: Where the values come from; None means from the user.

    Raises:
        RecipeError: every mistake, each with its path, the value, and the nearest right word.
    """
    try:
        current = old_names.update(values, where=where, tell=source is None)
        return pydantic.TypeAdapter(cls).validate_python(current, context=source)
    except pydantic.ValidationError as error:
        lines = [_explain(cls, fault) for fault in error.errors(include_url=False)]
        raise RecipeError(
            f"{where}: {len(lines)} mistake(s)\n" + "\n".join(f"  {line}" for line in lines)
        ) from None


def _explain(cls: type, fault: Any) -> str:
    path = ".".join(str(step) for step in fault["loc"])
    message, value = fault["msg"].removeprefix("Value error, "), fault.get("input")
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        word = str(fault["loc"][-1])
        return f"{path}: {_unknown(word, value, _keys(cls, fault['loc'][:-1]), path=path)}"
    if fault["type"] in ("missing", "missing_argument"):
        return f"{path}: missing; set it in the recipe"
    return f"{path}: {message}" if "(got" in message else f"{path}: {message} (got {value!r})"


def _unknown(word: str, value: Any, known: Sequence[str], *, path: str) -> str:
    """What is wrong with an unknown key: our name for another library's word, or the nearest known word."""
    hint = foreign_words.hint(word, path=path)
    return f"unknown key (got {value!r}). {hint or did_you_mean(word, known)}"


def _own_path(word: str) -> str:
    """The setting under which a field of a kind would be suggested, if it has the field's own name.

    A kind does not know where in a recipe it is, and a field that it lacks must not be recommended to it.
    """
    settings = foreign_words.SETTINGS.get(word, ())
    return next((setting for setting in settings if setting.rpartition(".")[2] == word), "")


def _keys(cls: Any, path: Sequence[Any]) -> list[str]:
    """Field names of the config at a path, as far as the types show them."""
    for step in path:
        if isinstance(step, int):
            continue
        hint = typing.get_type_hints(cls).get(str(step))
        inner = next((one for one in _types_in(hint) if dataclasses.is_dataclass(one)), None)
        if inner is None:
            return []
        cls = inner
    return [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def _types_in(hint: Any) -> Iterator[Any]:
    """A type and those inside it, such as the items of a list."""
    yield hint
    for inner in typing.get_args(hint):
        yield from _types_in(inner)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file, by the safe loader.

    Raises:
        RecipeError: no such file, over 1 MiB, not YAML, or not a mapping.
    """
    if path.is_dir():
        raise RecipeError(f"{path}: recipe file not found.")
    try:
        return parse_yaml(bounded.read(path, most=MAX_BYTES).decode("utf-8"), where=str(path))
    except FileNotFoundError:
        raise RecipeError(f"{path}: recipe file not found.") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the recipe ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 at byte {error.start}.") from None
    except bounded.UnreadableError as error:
        raise RecipeError(f"{path}: not a recipe file: {error}") from None


class _TwiceError(RecipeError):
    """A key is given twice in one mapping."""


class _Loader(yaml.SafeLoader):
    """The safe loader with limits: no aliases, limited depth and number of values, no duplicate keys in a mapping.

    A few aliases can demand any amount of memory, and of duplicate keys only the last would be kept.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node, with the nodes inside it."""
        if self.check_event(yaml.AliasEvent):
            raise RecipeError("YAML aliases (*name) are not allowed; write the value out.")
        self._depth, self._count = self._depth + 1, self._count + 1
        if self._depth > _MAX_DEPTH:
            raise RecipeError(f"YAML nested deeper than {_MAX_DEPTH} levels.")
        if self._count > _MAX_VALUES:
            raise RecipeError(f"more than {_MAX_VALUES} values in YAML.")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are all different."""
        first: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):  # not a key of a recipe, which is reported elsewhere
                continue
            name, line = self.construct_object(key), key.start_mark.line + 1
            if name in first:
                where = (
                    f"in line {first[name]} and in line {line}" if first[name] != line else f"in line {line}"
                )
                raise _TwiceError(f"{key.value!r} appears twice, {where}; remove one of them.")
            first[name] = line
        return super().construct_mapping(node, deep=deep)


def _load_yaml(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def parse_yaml(text: str, *, where: str) -> dict[str, Any]:
    """A YAML mapping from text.

    Raises:
        RecipeError: not YAML, not a mapping, with aliases, a key twice, or nested too deep.
    """
    try:
        values = _load_yaml(text)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # the loader's own dates and numbers raise bare ValueErrors
        raise RecipeError(f"{where}: not valid YAML: {error}") from None
    except RecursionError:
        raise RecipeError(f"{where}: YAML is nested too deeply.") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{where}: a recipe is a mapping of keys to values (got {type(values).__name__}).")
    if odd := [key for key in values if not isinstance(key, str)]:
        raise RecipeError(f"{where}: {odd[0]!r}: unknown key; keys must be strings.")
    return values


def override(values: Mapping[str, Any], settings: Sequence[str], *, where: str = "") -> dict[str, Any]:
    """Applies ``path=value`` settings. A new ``kind`` drops the fields of the old one; old names become new ones.

    Args:
        values: The values to change; a changed copy is returned.
        settings: ``path=value`` settings.
        where: The file that the values come from, for messages.

    Raises:
        RecipeError: a setting without ``=``, a path through something that is not a mapping, or one setting under its old
            and its new name.
    """
    result: dict[str, Any] = _copy(old_names.update(values, where=where))
    old_paths = old_names.Paths()
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise RecipeError(f"{setting!r}: a setting is written path=value, such as model.fusion=concat.")
        path = old_paths.update(path, result)
        *steps, last = path.split(".")
        place: Any = result
        for step, following in pairwise((*steps, last)):
            place = _step(place, step, path, is_list=following.isdecimal())

        try:
            value = _load_yaml(text)
        except _TwiceError as error:
            raise RecipeError(f"{path}: {error}") from None
        except (yaml.YAMLError, ValueError, RecursionError):
            value = text

        if isinstance(place, list):
            place[_index(place, last, path)] = value
            continue
        if last == "kind" and place.get("kind") != value:
            place.clear()
        place[last] = value

    old_paths.warn()
    return old_names.update(result)  # a value may be a mapping with old names


def _step(place: Any, step: str, path: str, *, is_list: bool) -> Any:
    key: Any = _index(place, step, path) if isinstance(place, list) else step
    inner = place[key] if isinstance(place, list) else place.get(key)
    if inner is None:
        inner = place[key] = {}
    elif is_list and not isinstance(inner, list):  # ``data: scenes`` is short for ``data: [scenes]``
        inner = place[key] = [inner]
    elif isinstance(inner, str):  # ``encoder: cnn`` is short for ``encoder: {kind: cnn}``
        inner = place[key] = {"kind": inner}
    if not isinstance(inner, dict | list):
        raise RecipeError(f"{path}: {step!r} is {inner!r}, which has no fields.")
    return inner


def _index(place: list[Any], step: str, path: str) -> int:
    if not step.isdecimal() or int(step) >= len(place):
        raise RecipeError(f"{path}: {step!r} is not an index of a list of length {len(place)}.")
    return int(step)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def to_plain(value: Any) -> Any:
    """A Config as plain dicts, lists and scalars, with kinds named; loading them gives an equal Config."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        is_kind = type(value).__name__ == "Config"
        return {"kind": kind_of(value), **fields} if is_kind else fields
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
