"""What all commands of the command line share: ``--json``, paths that are looked at first, words of other libraries.

Nothing heavy is imported here: a wrong path is refused before torch is loaded.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperCommand
from typer.main import get_command

from sightweave.core import bounded, foreign_words, json_lines, places, terminal
from sightweave.core.errors import DataError

STANDARD_INPUT = "-"
"""As data: rows in JSON lines from standard input."""


@dataclass(frozen=True)
class Result:
    """What a command found, for whoever asked."""

    plain: Callable[[], Any]
    """For programs (``--json``): one value, or an iterator of values that become a line each."""
    show: Callable[[], None]
    """For people: prints it."""
    status: int = 0
    """Exit status."""


@contextlib.contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """Standard output for the result alone; whatever else is printed meanwhile goes to standard error."""
    stream = sys.stdout
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream in memory
        with contextlib.redirect_stdout(sys.stderr):
            yield stream
        return

    # Libraries in C write to the file itself.
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
    """JSON on one line, as a terminal may show it; what is no number is null."""
    return terminal.visible(json_lines.dumps(_finite(value), allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, Path) else value


class Command(TyperCommand):
    """A command whose function returns a `Result`: shown, or with ``--json`` alone on standard output.

    It looks at its places before it runs, and knows what other libraries call its options and the settings of a recipe.
    """

    def __init__(self, *args: Any, params: list[Any] | None = None, **options: Any) -> None:
        super().__init__(*args, params=[*(params or []), _json_option()], **options)

    def invoke(self, ctx: Any) -> None:
        """Runs it and prints what it found.

        Raises:
            SightweaveError: a wrong place.
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
        """The words as parameters; an option that there is not is an error with the word for it here."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter.__base__ as error:  # type: ignore[misc]  # of all mistakes in words
            word = getattr(error, "option_name", None)
            if word is not None and error.__class__.__name__ == "NoSuchOption":
                own = [name for one in self.params for name in one.opts]
                hint = foreign_words.option_hint(str(word), _value_after(str(word), given), own)
                if hint:
                    error.message, error.possibilities = f"{error.message}. {hint}", None
            raise


def _value_after(option: str, words: Sequence[str]) -> str:
    """The value that an option was given; empty where it has none."""
    for number, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == option:
            following = words[number + 1] if number + 1 < len(words) else ""
            return value or ("" if following.startswith("-") else following)
    return ""


def refuse(check: Callable[[Any], object]) -> Callable[[typer.Context, Any], Any]:
    """A callback for a parameter that is a place, or several: before the command runs, `check` refuses wrong ones."""

    def callback(ctx: typer.Context, value: Any) -> Any:
        places_given = value if isinstance(value, list | tuple) else [value]
        wanted = [one for one in places_given if one is not None and str(one) != STANDARD_INPUT]
        ctx.meta.setdefault(_CHECKS, []).extend((check, one) for one in wanted)
        return value

    return callback


def _json_option() -> Any:
    """The option ``--json``, as Typer makes it, which no command's function needs to know."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def any_command(as_json: Annotated[bool, typer.Option("--json", help=_JSON_HELP)] = False) -> None:
        pass

    option: Any = next(one for one in get_command(app).params if one.name == "as_json")
    option.expose_value, option.callback = False, _note_json
    return option


def _note_json(ctx: Any, _parameter: Any, is_asked: bool) -> None:
    ctx.meta[_JSON] = is_asked


_JSON_HELP = "Print the result as JSON and nothing else; the reference says what is in it."


_JSON = "sightweave.json"
"""Key of whether a result is asked for as JSON."""
_CHECKS = "sightweave.checks"
"""Key of what is to be looked at before a command runs: when its words are read only, as for completion, nothing is."""


def check_setting(setting: str) -> None:
    """Refuses a ``path=value`` setting that names data, or a run to begin from, which are not there.

    Raises:
        DataError, CheckpointError: they are not.
    """
    name, _, value = (part.strip() for part in setting.partition("="))
    if name == "data":
        places.check_data(value)
    elif name == "init_from" and value:
        places.check_run(Path(value))


def data_of(given: Sequence[str] | None) -> Any:
    """What the api takes as `data`, of what was given on the command line: a source, several, or rows; None for nothing.

    Raises:
        DataError: standard input beside something else, or a line of it that is no JSON object.
    """
    if not given:
        return None
    if STANDARD_INPUT in given:
        if len(given) > 1:
            raise DataError(f"data: {STANDARD_INPUT} (standard input) stands alone (got {', '.join(given)}).")
        return _rows()
    values = [places.value_of(one) for one in given]
    return values[0] if len(values) == 1 else values


def _rows() -> list[Any]:
    rows = []
    for number, line in json_lines.split(sys.stdin.buffer.read()):
        try:
            row = bounded.parse(line)
        except bounded.UnreadableError as error:
            raise DataError(f"standard input: line {number} is {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"standard input: line {number} is {type(row).__name__}; a row is a JSON object.")
        rows.append(row)
    return rows
