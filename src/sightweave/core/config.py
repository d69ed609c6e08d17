"""Frozen, validated configs, read from YAML and changed by ``path=value`` overrides.

All mistakes in a config are reported together. A kind's file holds ``@config class Config`` next to its class; ``recipe.py``
composes them. A field of type ``Annotated[Any, one_of("models.fusions")]`` accepts ``{kind: concat, ...}`` or just
``concat``, and becomes that kind's Config.
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
    """Turns a class into a frozen, keyword-only dataclass that validates its fields and rejects unknown ones."""
    made: Any = pydantic.dataclasses.dataclass(cls, frozen=True, kw_only=True, config=_SETTINGS)
    return made  # type: ignore[no-any-return]  # pydantic's decorator returns a subclass of its argument


@dataclasses.dataclass(frozen=True, slots=True)
class Downloaded:
    """Validation context for values read from a downloaded folder, which may be hostile, rather than set by the user.

    A validator gets it by calling `downloaded`. Such values must not name Python modules, paths outside the folder, or
    anything on the network.
    """

    modules: frozenset[str] = frozenset()
    """Dotted module names that may still be imported as kinds, because the user named them too."""


def downloaded(info: pydantic.ValidationInfo) -> Downloaded | None:
    """The `Downloaded` context of the values being validated, or None if they come from the user."""
    return info.context if isinstance(info.context, Downloaded) else None


def place(*defaults: str) -> pydantic.AfterValidator:
    """A validator for a string field that names a file, folder, program or model to download, which only the user may set.

    Args:
        defaults: Values that a downloaded recipe may also contain; the empty string is always allowed.
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
    """A validator for a field that holds the Config of any kind in a family, such as ``models.fusions``."""

    def check(value: Any, info: pydantic.ValidationInfo) -> Any:
        return resolve(family, value, downloaded(info))

    return pydantic.BeforeValidator(check)


def resolve(family: str, value: Any, source: Downloaded | None = None) -> Any:
    """Builds the Config that a kind's name or a mapping describes.

    Args:
        family: The family's folder, such as ``models.fusions``.
        value: ``{kind: concat, ...}``, ``concat``, or a Config, which is returned unchanged.
        source: The context of a downloaded value; None if the value comes from the user.

    Raises:
        ValueError: The kind is missing or unknown, or some of its fields are invalid.
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
    """Builds a kind's Config; unknown fields are reported here, where the kind's valid names are known.

    Raises:
        pydantic.ValidationError: Fields are unknown or invalid; the error lists all of them.
    """
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
    # The message is passed as a value, because pydantic would treat braces in a template as placeholders.
    error = PydanticCustomError(kind, "{text}", {"text": message})
    return InitErrorDetails(type=error, loc=place, input=value)


def without_kind(value: Any) -> Any:
    """A copy of a mapping without its ``kind``, for a field whose type allows only one Config; other values unchanged."""
    is_mapping = isinstance(value, Mapping)
    return {key: item for key, item in value.items() if key != "kind"} if is_mapping else value


def kind_of(value: Any) -> str:
    """The kind of a Config: the name of the file that defines it, or the dotted path of a user's module."""
    name = type(value).__module__
    return name.rpartition(".")[2] if name.startswith("sightweave.") else name


def build(
    cls: type[T], values: Mapping[str, Any], *, where: str = "recipe", source: Downloaded | None = None
) -> T:
    """Validates a mapping and builds a Config from it; old names of settings are accepted.

    Args:
        cls: The Config class.
        values: Its fields.
        where: Prefix of error messages, such as the file's name.
        source: The context of downloaded values; None if they come from the user.

    Raises:
        RecipeError: Any field is wrong. The message lists every mistake with its path, the value and the nearest valid word.
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
    """The message about an unknown key, which suggests our name for another library's word, or else the nearest key."""
    hint = foreign_words.hint(word, path=path)
    return f"unknown key (got {value!r}). {hint or did_you_mean(word, known)}"


def _own_path(word: str) -> str:
    """The full path of a recipe setting that ends in this word; empty if there is none.

    A kind does not know its own path in the recipe. Passing this one to `_unknown` stops the hint from suggesting the very
    key that was just rejected.
    """
    settings = foreign_words.SETTINGS.get(word, ())
    return next((setting for setting in settings if setting.rpartition(".")[2] == word), "")


def _keys(cls: Any, path: Sequence[Any]) -> list[str]:
    """Field names of the config at a path; empty if the type annotations do not show it."""
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
    """Yields a type annotation and all types nested in it, such as the item type of a list."""
    yield hint
    for inner in typing.get_args(hint):
        yield from _types_in(inner)


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping from a file with the safe loader.

    Raises:
        RecipeError: The file does not exist, is larger than 1 MiB, or does not hold a YAML mapping.
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
    """A safe YAML loader that also limits depth and size, and rejects aliases and duplicate keys.

    A few nested aliases can expand to any amount of memory, and PyYAML would silently keep only the last duplicate key.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Composes one node and everything nested in it, within the limits."""
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
        """Constructs a mapping after checking that no key appears twice."""
        first: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):  # parse_yaml reports keys that are not strings
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
    """Parses a YAML mapping.

    Args:
        text: YAML.
        where: The text's origin, such as a file name, for error messages.

    Raises:
        RecipeError: The text is not a YAML mapping, has aliases, duplicate keys or keys that are not strings, or exceeds the
            limits of depth and size.
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
        raise RecipeError(
            f"{where}: a recipe must be a mapping of keys to values (got {type(values).__name__})."
        )
    if odd := [key for key in values if not isinstance(key, str)]:
        raise RecipeError(f"{where}: {odd[0]!r}: unknown key; keys must be strings.")
    return values


def override(values: Mapping[str, Any], settings: Sequence[str], *, where: str = "") -> dict[str, Any]:
    """Applies ``path=value`` settings to a config's values and returns a changed copy.

    Changing a ``kind`` drops the fields of the old kind. Old names of settings are replaced by the new ones.

    Args:
        values: The values, which are not modified.
        settings: ``path=value`` settings.
        where: The file that the values come from, for messages.

    Raises:
        RecipeError: A setting has no ``=``, its path leads through a value that is not a mapping, or the same setting is
            given under both its old and its new name.
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
    """Converts a Config to dicts, lists and scalars that include each kind's name, so that `build` can restore it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        is_kind = type(value).__name__ == "Config"
        return {"kind": kind_of(value), **fields} if is_kind else fields
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
