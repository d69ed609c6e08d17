"""A Jinja sandbox for chat templates that bounds time and memory.

A chat template is a Jinja program that somebody else wrote. Jinja's own sandbox isolates it from the rest of the process,
but would still let it count to a billion or write a gigabyte. Here each iteration of a loop, each call and each new text is
charged to a budget; real templates use about a thousandth of it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import wraps
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_SOURCE = 1 << 18
"""Maximum characters of a template; long ones have about 20,000."""
MAX_TEXT = 1 << 20
"""Maximum characters, or items, of any value that a template creates."""
MAX_SECONDS = 2.0
"""Maximum CPU time of one rendering."""
_MAX_WORK = 1 << 18
_SIZE_OF_WORK = 64
"""Number of characters that cost as much as one step."""
_WIDE = re.compile(r"\d{5,}|%[-+ #0]*\*")
"""A width in a format string, such as ``%99999d`` or ``%*d``, that makes a long text from a short one."""


_HOLDING = (str, bytes, range, dict, list, tuple, set, frozenset)


class TooMuchError(SecurityError):
    """A template uses more time or longer texts than any conversation can need."""


class _Rendering(threading.local):
    """Budget used by the current rendering of this thread."""

    work = 0
    began = 0.0


class _Template(jinja2.Template):
    """A template that starts each rendering with a full budget."""

    def render(self, *values: Any, **named: Any) -> str:
        """Renders the template.

        Raises:
            TooMuchError: Rendering takes too long, or the text is too long.
            TemplateError: As raised by Jinja.
        """
        sandbox = self.environment
        assert isinstance(sandbox, Sandbox)  # only Sandbox makes templates of this class
        sandbox.start()
        try:
            return super().render(*values, **named)
        except (MemoryError, OverflowError, RecursionError) as error:
            raise TooMuchError(f"{type(error).__name__}: {error}") from None


class _Charged(NodeTransformer):
    """Routes loops and concatenations through the sandbox, which Jinja would compile to plain Python."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # name set by Jinja
        """``for x in y`` becomes ``for x in counted(y)``."""
        self.generic_visit(node)
        node.iter = _call("counted", [node.iter], node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        """``a ~ b`` becomes ``joined(a, b)``."""
        self.generic_visit(node)
        return _call("joined", node.nodes, node.lineno)


def _call(name: str, given: Sequence[nodes.Node], line: int) -> nodes.Call:
    made = nodes.Call(nodes.EnvironmentAttribute(name), list(given), [], None, None)
    made.set_lineno(line)
    return made


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a budget for each rendering; takes the arguments of ``jinja2.Environment``."""

    template_class = _Template
    intercepted_binops = frozenset({"+", "*", "%", "**"})

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named, finalize=self._checked)
        self._rendering = _Rendering()
        self.globals.pop("lipsum", None)  # it can write texts of any length
        self.filters = {name: self.guarded(function) for name, function in self.filters.items()}

    def start(self) -> None:
        """Resets the budget of this thread."""
        self._rendering.work, self._rendering.began = 0, time.thread_time()

    def charge(self, size: int = 0) -> None:
        """Charges one step, and this many characters or items, to the budget.

        Raises:
            TooMuchError: The budget is used up, or `size` is too large.
        """
        rendering = self._rendering
        rendering.work += 1 + size // _SIZE_OF_WORK
        if size > MAX_TEXT:
            raise TooMuchError(f"it creates a text or list of more than {MAX_TEXT} characters or items")
        if rendering.work > _MAX_WORK or time.thread_time() - rendering.began > MAX_SECONDS:
            raise TooMuchError("rendering it exceeds the limit of steps or time")

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yields the values of a loop, charging each."""
        for value in values:
            self.charge()
            yield value

    def joined(self, *values: Any) -> str:
        """Concatenates values to one text."""
        texts = [str(value) for value in values]
        self.charge(sum(map(len, texts)))
        return "".join(texts)

    def concat(self, pieces: Iterable[str]) -> str:
        """Concatenates the pieces of a rendering, or of a macro in it."""
        found, size = [], 0
        for piece in pieces:
            size += len(piece)
            if size > MAX_TEXT:
                self.charge(size)
            found.append(piece)
        self.charge(size)
        return "".join(found)

    def call(self, context: Any, called: Any, /, *given: Any, **named: Any) -> Any:
        """Makes a call of the template, with bounded arguments and result."""
        if isinstance(called, LoopContext):  # a recursive loop iterates over its argument
            given = tuple(self.counted(one) if isinstance(one, Iterable) else one for one in given)

        owner = getattr(getattr(called, "__wrapped__", called), "__self__", None)
        self._check_arguments([owner, *given, *named.values()])
        given = self._metered(given)
        return self._checked(super().call(context, called, *given, **named))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Evaluates an operator whose result can grow without bounds."""
        if operator == "+":
            self.charge(_size(left) + _size(right))
        elif operator == "%" and isinstance(left, str):
            self._check_arguments([left, right])
        else:
            is_power = operator == "**" and isinstance(left, int) and isinstance(right, int)
            self.charge(left.bit_length() * abs(right) if is_power else _product(left, right))
        return self._checked(super().call_binop(context, operator, left, right))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MAX_SOURCE:
            raise TooMuchError(f"it has {len(source)} characters; the maximum is {MAX_SOURCE}")
        try:
            tree = _Charged().visit(super()._parse(source, name, filename))
        except RecursionError:
            raise TooMuchError("it is nested too deeply") from None
        return tree.set_environment(self)  # type: ignore[no-any-return]  # the visitor is untyped

    def _compile(self, source: str, filename: str) -> Any:
        try:
            return super()._compile(source, filename)
        except (MemoryError, RecursionError, SyntaxError) as error:
            raise TooMuchError(f"it is nested too deeply ({type(error).__name__})") from None

    def guarded(self, function: Any) -> Any:
        """Wraps a filter so that its arguments and result are charged."""

        @wraps(function)
        def guarded(*given: Any, **named: Any) -> Any:
            self._check_arguments([*given, *named.values()])
            return self._checked(function(*self._metered(given), **named))

        return guarded

    def _check_arguments(self, given: list[Any]) -> None:
        """Rejects arguments from which a Python function could create a huge result, estimated as a product of two sizes."""
        for value in given:
            if isinstance(value, str) and _is_format(value) and _WIDE.search(value):
                raise TooMuchError("a format string requests a very wide field")

        sizes = sorted(map(_size, given), reverse=True)
        self.charge(max(sizes[0], 1) * max(sizes[1], 1) if len(sizes) > 1 else sum(sizes))

    def _metered(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Wraps lazy arguments, such as the result of ``map``, to charge each value plus the largest argument."""
        largest = max(map(_size, given), default=0)

        def values(source: Iterator[Any]) -> Iterator[Any]:
            total = 0
            for value in source:
                total += _size(value) + largest
                self.charge(total if total > MAX_TEXT else _size(value) + largest)
                yield value

        return tuple(values(value) if isinstance(value, Iterator) else value for value in given)

    def _checked(self, value: Any) -> Any:
        self.charge(_size(value))
        return value


def _is_format(text: str) -> bool:
    return "%" in text or "{" in text


def _size(value: Any) -> int:
    """Number of characters and items of a value, nested ones included; for an int its absolute value (a width or count)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return min(abs(value), MAX_TEXT + 1)

    total, waiting = 0, [value]
    while waiting and total <= MAX_TEXT:  # beyond the maximum the exact size does not matter
        one = waiting.pop()
        if isinstance(one, str | bytes | range):
            total += len(one)
        elif isinstance(one, dict):
            total += len(one)
            waiting += [inner for inner in (*one.keys(), *one.values()) if isinstance(inner, _HOLDING)]
        elif isinstance(one, list | tuple | set | frozenset):
            total += len(one)
            waiting += [inner for inner in one if isinstance(inner, _HOLDING)]
    return total


def _product(left: Any, right: Any) -> int:
    """Size of a product: of a text or list and a number, or of two numbers in bits."""
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() + right.bit_length()
    is_repeated = isinstance(left, Sized) or isinstance(right, Sized)
    return max(_size(left), 1) * max(_size(right), 1) if is_repeated else 0


_GENERATION = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")
"""Tags that only Transformers has; they write nothing."""


def check(source: str, **named: Any) -> None:
    """Test-renders a chat template that another library will use, to check that time and memory are bounded.

    Args:
        source: Jinja source of the template.
        named: Further variables of the template, such as ``bos_token``.

    Raises:
        TooMuchError: Rendering takes too long, or writes too much. Other errors of the template are ignored.
    """
    sandbox = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    sandbox.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: ""}

    content_forms: tuple[Any, ...] = ("a", [{"type": "image"}, {"type": "text", "text": "a"}])
    for content in content_forms:
        message = {"role": "user", "content": content}
        try:
            template = sandbox.from_string(_GENERATION.sub("", source))
            template.render(messages=[message], add_generation_prompt=True, **named)
        except TooMuchError:
            raise
        except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
