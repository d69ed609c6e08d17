"""Where a checkpoint's chat template is rendered: it reaches nothing but what it is given, and its work is bounded.

A chat template is a Jinja program that somebody else wrote. Jinja's own sandbox keeps it from the rest of the process, and
would still let it count to a billion or write a gigabyte. Here each turn of a loop, each call and each text that is made is
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
"""Characters of a template; long ones have about 20,000."""
MAX_TEXT = 1 << 20
"""Characters, or items, of anything that a template makes."""
MAX_SECONDS = 2.0
"""Of processor time for one rendering."""
_MAX_WORK = 1 << 18
_SIZE_OF_WORK = 64
"""Characters that are charged like one step."""
_WIDE = re.compile(r"\d{5,}|%[-+ #0]*\*")
"""A width in a format, such as ``%99999d`` or ``%*d``, that makes a long text out of a short one."""


_HOLDING = (str, bytes, range, dict, list, tuple, set, frozenset)


class TooMuchError(SecurityError):
    """A template wants more time or longer texts than a conversation can need."""


class _Rendering(threading.local):
    """What the rendering of this thread has used up."""

    work = 0
    began = 0.0


class _Template(jinja2.Template):
    """A template that starts each rendering with a whole budget."""

    def render(self, *values: Any, **named: Any) -> str:
        """The text.

        Raises:
            TooMuchError: it takes too long, or is too long.
            TemplateError: as Jinja.
        """
        sandbox = self.environment
        assert isinstance(sandbox, Sandbox)  # no other makes templates of this class
        sandbox.start()
        try:
            return super().render(*values, **named)
        except (MemoryError, OverflowError, RecursionError) as error:
            raise TooMuchError(f"{type(error).__name__}: {error}") from None


class _Charged(NodeTransformer):
    """Sends loops and joined texts through the sandbox, which Jinja would compile to bare Python."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # Jinja's name
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
        self.globals.pop("lipsum", None)  # it writes texts of any length
        self.filters = {name: self.guarded(one) for name, one in self.filters.items()}

    def start(self) -> None:
        """Gives this thread a whole budget."""
        self._rendering.work, self._rendering.began = 0, time.thread_time()

    def charge(self, size: int = 0) -> None:
        """Takes one step, and so many characters or items, from the budget.

        Raises:
            TooMuchError: nothing is left, or that is too long.
        """
        rendering = self._rendering
        rendering.work += 1 + size // _SIZE_OF_WORK
        if size > MAX_TEXT:
            raise TooMuchError(f"it creates a text or list of more than {MAX_TEXT} characters or items")
        if rendering.work > _MAX_WORK or time.thread_time() - rendering.began > MAX_SECONDS:
            raise TooMuchError("rendering it exceeds the limit of steps or time")

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        """The values of a loop, each charged as it comes."""
        for value in values:
            self.charge()
            yield value

    def joined(self, *values: Any) -> str:
        """Values as one text."""
        texts = [str(value) for value in values]
        self.charge(sum(map(len, texts)))
        return "".join(texts)

    def concat(self, pieces: Iterable[str]) -> str:
        """The pieces of a rendering, or of a macro in it, as one text."""
        found, size = [], 0
        for piece in pieces:
            size += len(piece)
            if size > MAX_TEXT:
                self.charge(size)
            found.append(piece)
        self.charge(size)
        return "".join(found)

    def call(self, context: Any, called: Any, /, *given: Any, **named: Any) -> Any:
        """Calls what the template calls."""
        if isinstance(called, LoopContext):  # a loop that calls itself goes over what it is given
            given = tuple(self.counted(one) if isinstance(one, Iterable) else one for one in given)
        owner = getattr(getattr(called, "__wrapped__", called), "__self__", None)
        self._check_arguments([owner, *given, *named.values()])
        given = self._metered(given)
        return self._checked(super().call(context, called, *given, **named))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Computes what can grow without bounds."""
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
        """A filter whose arguments and result are charged."""

        @wraps(function)
        def guarded(*given: Any, **named: Any) -> Any:
            self._check_arguments([*given, *named.values()])
            return self._checked(function(*self._metered(given), **named))

        return guarded

    def _check_arguments(self, given: list[Any]) -> None:
        """Refuses arguments out of which a function of Python could make something huge: its size is a product of two."""
        if any(isinstance(one, str) and _is_format(one) and _WIDE.search(one) for one in given):
            raise TooMuchError("a format string requests a very wide field")
        sizes = sorted((_size(one) for one in given), reverse=True)
        self.charge(max(sizes[0], 1) * max(sizes[1], 1) if len(sizes) > 1 else sum(sizes))

    def _metered(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Arguments whose values are not there yet, as of ``map``: each is charged as it comes, with what it may meet."""
        beside = max((_size(one) for one in given), default=0)

        def values(source: Iterator[Any]) -> Iterator[Any]:
            total = 0
            for value in source:
                total += _size(value) + beside
                self.charge(total if total > MAX_TEXT else _size(value) + beside)
                yield value

        return tuple(values(one) if isinstance(one, Iterator) else one for one in given)

    def _checked(self, value: Any) -> Any:
        self.charge(_size(value))
        return value


def _is_format(text: str) -> bool:
    return "%" in text or "{" in text


def _size(value: Any) -> int:
    """Characters and items of a value with all that is inside it; or a number itself, which may be a width or a count."""
    if isinstance(value, int) and not isinstance(value, bool):
        return min(abs(value), MAX_TEXT + 1)

    total, waiting = 0, [value]
    while waiting and total <= MAX_TEXT:  # what is too large need not be counted to its end
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
    """How large a product gets: of a text or list and a number, or of two numbers in bits."""
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() + right.bit_length()
    is_repeated = isinstance(left, Sized) or isinstance(right, Sized)
    return max(_size(left), 1) * max(_size(right), 1) if is_repeated else 0


_GENERATION = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")
"""Tags of Transformers' own, which write nothing."""


def check(source: str, **named: Any) -> None:
    """Renders a short conversation by a chat template that another library will render, to see that it is bounded.

    Args:
        source: The template.
        named: What it is given beside the conversation, such as ``bos_token``.

    Raises:
        TooMuchError: it takes too long, or writes too much. Other mistakes in it are left to who renders it.
    """
    sandbox = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    sandbox.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: ""}
    asked: dict[str, Any] = {"role": "user", "content": "a"}
    for message in (asked, {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]}):
        try:
            template = sandbox.from_string(_GENERATION.sub("", source))
            template.render(messages=[message], add_generation_prompt=True, **named)
        except TooMuchError:
            raise
        except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
