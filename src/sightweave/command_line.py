"""Code shared by all commands: ``--json``, early checks of paths, and hints for option names from other libraries.

Nothing heavy is imported here: a wrong path is rejected before torch is loaded.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import typer
from typer.core import TyperCommand
from typer.main import get_command

from sightweave.core import bounded, json_lines, old_names, places, terminal
from sightweave.core.errors import DataError

Function = TypeVar("Function", bound="Callable[..., Result]")
STANDARD_INPUT = "-"
"""Value of --data that reads JSON lines from standard input."""


@dataclass(frozen=True)
class Result:
    """The result of a command, for programs and for people."""

    plain: Callable[[], Any]
    """Value for programs (``--json``), or an iterator of values, printed one per line."""
    show: Callable[[], None]
    """Prints the result for people."""
    status: int = 0
    """Exit status."""


@contextlib.contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """Reserves standard output for the result; anything else printed meanwhile goes to standard error."""
    stream = sys.stdout
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream in memory
        with contextlib.redirect_stdout(sys.stderr):
            yield stream
        return

    # C libraries write to the file descriptor itself, so the descriptor is redirected too.
    stream.flush()
    kept = os.dup(number)
    try:
        with os.fdopen(os.dup(number), "w", encoding="utf-8") as own, contextlib.redirect_stdout(sys.stderr):
            os.dup2(sys.__stderr__.fileno() if sys.__stderr__ else 2, number)
            yield own
    finally:
        os.dup2(kept, number)
        os.close(kept)


def _write(value: Any, stream: TextIO) -> None:
    for one in value if isinstance(value, Iterator) else [value]:
        stream.write(json_line(one) + "\n")
        stream.flush()


def json_line(value: Any) -> str:
    """JSON on one line, safe to print in a terminal; NaN and infinity become null."""
    return terminal.visible(json_lines.dumps(_finite(value), allow_nan=False))


def _finite(value: Any) -> Any:
    """A value for JSON: NaN and infinity become None, paths and keys become strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def command(app: typer.Typer, name: str | None = None) -> Callable[[Function], Function]:
    """Decorator that adds a function to an app as a `Command`.

    Args:
        app: The app, or a group of commands.
        name: Name of the command; None means the function's own.
    """

    def add(function: Function) -> Function:
        # Typer reads the parameters of every command at each start. It sees none here, since `Command` reads them later.
        def described() -> None:
            pass

        app.command(
            name or function.__name__,
            help=inspect.getdoc(function),
            cls=partial(Command, function=function),  # type: ignore[arg-type]  # Typer only calls it
        )(described)
        return function

    return add


class Command(TyperCommand):
    """A command whose function returns a `Result`, printed for people or, with ``--json``, as JSON.

    It checks its paths before it runs, takes options by their old names too, and suggests the right name for options that
    other libraries name differently. Its parameters are read from the function when they are first needed, so that a start
    of the program reads those of one command at most.

    Args:
        function: The function that `command` was applied to.
    """

    def __init__(self, *args: Any, function: Callable[..., Result], **options: Any) -> None:
        super().__init__(*args, **options)
        self.function = function
        # Without these attributes, the properties below are used.
        del self.params, self.callback

    @cached_property
    def _as_read(self) -> Any:
        """The command that Typer builds from the function."""
        app = typer.Typer(add_completion=False)
        app.command()(self.function)
        return get_command(app)

    @cached_property
    def params(self) -> list[Any]:  # type: ignore[override]  # the base class assigns it
        """The parameters of the function, and ``--json``."""
        return [*self._as_read.params, _json_option()]

    @cached_property
    def callback(self) -> Callable[..., Any]:  # type: ignore[override]  # the base class assigns it
        """Calls the function with the values of the parameters."""
        return self._as_read.callback  # type: ignore[no-any-return]  # Typer's own

    def invoke(self, ctx: Any) -> None:
        """Runs the command and prints its result.

        Raises:
            SightweaveError: a path is missing or of the wrong type.
        """
        for check, place in ctx.meta.get(_CHECKS, []):
            check(place)

        if ctx.meta.get(_JSON):
            with _own_stdout() as stream:
                result: Result = super().invoke(ctx)
                _write(result.plain(), stream)
        else:
            result = super().invoke(ctx)
            result.show()

        if result.status:
            raise typer.Exit(result.status)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments; the error for an unknown option suggests the name used here."""
        own: list[str] = []
        for parameter in self.params:
            own += parameter.opts
        given = old_names.new_options(args, own)

        try:
            return super().parse_args(ctx, list(given))
        except typer.BadParameter.__base__ as error:  # type: ignore[misc]  # the base of all usage errors
            word = getattr(error, "option_name", None)
            if word is not None and error.__class__.__name__ == "NoSuchOption":
                from sightweave.core import foreign_words  # tables that only this error reads

                hint = foreign_words.option_hint(str(word), _value_after(str(word), given), own)
                if hint:
                    error.message, error.possibilities = f"{error.message}. {hint}", None
            raise


def _value_after(option: str, words: Sequence[str]) -> str:
    """The value given to an option; empty if there is none."""
    for number, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == option:
            following = words[number + 1] if number + 1 < len(words) else ""
            return value or ("" if following.startswith("-") else following)
    return ""


def refuse(check: Callable[[Any], object]) -> Callable[[typer.Context, Any], Any]:
    """A callback for parameters that are paths: `check` rejects wrong paths before the command runs."""

    def callback(ctx: typer.Context, value: Any) -> Any:
        places_given = value if isinstance(value, list | tuple) else [value]
        wanted = [one for one in places_given if one is not None and str(one) != STANDARD_INPUT]
        ctx.meta.setdefault(_CHECKS, []).extend((check, one) for one in wanted)
        return value

    return callback


@cache
def _json_option() -> Any:
    """The ``--json`` option, added to every command without appearing in its function."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def any_command(as_json: Annotated[bool, typer.Option("--json", help=_JSON_HELP)] = False) -> None:
        pass

    option: Any = next(one for one in get_command(app).params if one.name == "as_json")
    option.expose_value, option.callback = False, _note_json
    return option


def _note_json(ctx: Any, _parameter: Any, is_asked: bool) -> None:
    ctx.meta[_JSON] = is_asked


_JSON_HELP = "Print only the result, as JSON. Its fields are described in the reference documentation."


_JSON = "sightweave.json"
"""Context key: whether JSON output was requested."""
_CHECKS = "sightweave.checks"
"""Context key: the checks to run before the command. Parsing alone, as for shell completion, runs none."""


def check_setting(setting: str) -> None:
    """Rejects a ``path=value`` setting that names missing data or a missing run to start from.

    Raises:
        DataError, CheckpointError: the data or the run does not exist.
    """
    name, _, value = (part.strip() for part in setting.partition("="))
    if name == "data":
        places.check_data(value)
    elif name == "init_from" and value:
        places.check_run(Path(value))


def data_of(given: Sequence[str] | None) -> Any:
    """Converts --data values for the API: one source, a list of sources, rows from standard input, or None.

    Raises:
        DataError: standard input is combined with other sources, or a line of it is not a JSON object.
    """
    if not given:
        return None
    if STANDARD_INPUT in given:
        if len(given) > 1:
            raise DataError(
                f"data: {STANDARD_INPUT} (standard input) cannot be combined with other sources (got {', '.join(given)})."
            )
        return _rows()

    values = list(map(places.value_of, given))
    return values[0] if len(values) == 1 else values


def _rows() -> list[Any]:
    """The rows on standard input, one JSON object per line."""
    rows = []
    for number, line in json_lines.split(sys.stdin.buffer.read()):
        try:
            row = bounded.parse(line)
        except bounded.UnreadableError as error:
            raise DataError(f"standard input: line {number} is {error}") from None

        if not isinstance(row, dict):
            raise DataError(
                f"standard input: line {number} is a {type(row).__name__}; expected a JSON object."
            )
        rows.append(row)
    return rows
