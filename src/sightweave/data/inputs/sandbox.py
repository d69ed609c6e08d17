"""A Jinja sandbox for chat templates that limits their time and memory.

A chat template is an untrusted Jinja program. Jinja's own sandbox isolates it from the rest of the process, but does not
stop it from looping a billion times or writing a gigabyte. Here, each loop iteration, each call and each new text is
charged to a budget, of which real templates use about a thousandth.
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
"""Maximum length of a template in characters; long real templates have about 20,000."""
MAX_TEXT = 1 << 20
"""Maximum number of characters or items in any value that a template creates."""
MAX_SECONDS = 2.0
"""Maximum CPU time of a rendering in seconds."""
_MAX_WORK = 1 << 18
_SIZE_OF_WORK = 64
"""Number of characters whose cost equals that of one step."""
_WIDE = re.compile(r"\d{5,}|%[-+ #0]*\*")
"""Matches a large field width in a format string, such as ``%99999d`` or ``%*d``, which would create a long text."""


_HOLDING = (str, bytes, range, dict, list, tuple, set, frozenset)


class TooMuchError(SecurityError):
    """A template exceeds the limits of time, steps or text length."""


class _Rendering(threading.local):
    """The work done and the start time of this thread's current rendering."""

    work = 0
    began = 0.0


class _Template(jinja2.Template):
    """A template whose renderings each start with a full budget."""

    def render(self, *values: Any, **named: Any) -> str:
        """Renders the template.

        Raises:
            TooMuchError: Rendering exceeds a limit.
            TemplateError: Jinja reports an error in the template.
        """
        sandbox = self.environment
        assert isinstance(sandbox, Sandbox)  # only Sandbox makes templates of this class
        sandbox.start()
        try:
            return super().render(*values, **named)
        except (MemoryError, OverflowError, RecursionError) as error:
            raise TooMuchError(f"{type(error).__name__}: {error}") from None


class _Charged(NodeTransformer):
    """Rewrites loops and concatenations, which Jinja would compile to plain Python, as calls of the sandbox."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # Jinja requires this name
        """Rewrites ``for x in y`` as ``for x in counted(y)``."""
        self.generic_visit(node)
        node.iter = _call("counted", [node.iter], node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        """Rewrites ``a ~ b`` as ``joined(a, b)``."""
        self.generic_visit(node)
        return _call("joined", node.nodes, node.lineno)


def _call(name: str, given: Sequence[nodes.Node], line: int) -> nodes.Call:
    made = nodes.Call(nodes.EnvironmentAttribute(name), list(given), [], None, None)
    made.set_lineno(line)
    return made


class Sandbox(ImmutableSandboxedEnvironment):
    """A Jinja sandbox with a budget for each rendering; accepts the arguments of ``jinja2.Environment``."""

    template_class = _Template
    intercepted_binops = frozenset({"+", "*", "%", "**"})

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named, finalize=self._checked)
        self._rendering = _Rendering()
        self.globals.pop("lipsum", None)  # this function can write texts of any length
        self.filters = {name: self.guarded(function) for name, function in self.filters.items()}

    def start(self) -> None:
        """Resets the budget of this thread."""
        self._rendering.work, self._rendering.began = 0, time.thread_time()

    def charge(self, size: int = 0) -> None:
        """Charges one step to the budget, plus the cost of a value with `size` characters or items.

        Raises:
            TooMuchError: The budget is used up, or `size` is larger than `MAX_TEXT`.
        """
        rendering = self._rendering
        rendering.work += 1 + size // _SIZE_OF_WORK
        if size > MAX_TEXT:
            raise TooMuchError(f"it creates a text or list of more than {MAX_TEXT} characters or items")
        if rendering.work > _MAX_WORK or time.thread_time() - rendering.began > MAX_SECONDS:
            raise TooMuchError("rendering it exceeds the limit of steps or time")

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yields the values of a loop and charges one step for each."""
        for value in values:
            self.charge()
            yield value

    def joined(self, *values: Any) -> str:
        """Concatenates values to a text and charges its length."""
        texts = [str(value) for value in values]
        self.charge(sum(map(len, texts)))
        return "".join(texts)

    def concat(self, pieces: Iterable[str]) -> str:
        """Concatenates the pieces of a rendering or of a macro, and charges their length."""
        found, size = [], 0
        for piece in pieces:
            size += len(piece)
            if size > MAX_TEXT:
                self.charge(size)
            found.append(piece)
        self.charge(size)
        return "".join(found)

    def call(self, context: Any, called: Any, /, *given: Any, **named: Any) -> Any:
        """Performs a call in a template, with charges for the arguments and the result."""
        if isinstance(called, LoopContext):  # calling a recursive loop iterates over the argument
            given = tuple(self.counted(one) if isinstance(one, Iterable) else one for one in given)

        owner = getattr(getattr(called, "__wrapped__", called), "__self__", None)
        self._check_arguments([owner, *given, *named.values()])
        given = self._metered(given)
        return self._checked(super().call(context, called, *given, **named))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Evaluates an operator whose result may be large, and charges an estimate of the result's size first."""
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
        """Wraps a filter so that its arguments and its result are charged."""

        @wraps(function)
        def guarded(*given: Any, **named: Any) -> Any:
            self._check_arguments([*given, *named.values()])
            return self._checked(function(*self._metered(given), **named))

        return guarded

    def _check_arguments(self, given: list[Any]) -> None:
        """Charges the possible size of a call's result, estimated as the product of the two largest arguments' sizes.

        Raises:
            TooMuchError: A format string requests a very wide field, or a limit is exceeded.
        """
        for value in given:
            if isinstance(value, str) and _is_format(value) and _WIDE.search(value):
                raise TooMuchError("a format string requests a very wide field")

        sizes = sorted(map(_size, given), reverse=True)
        self.charge(max(sizes[0], 1) * max(sizes[1], 1) if len(sizes) > 1 else sum(sizes))

    def _metered(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Wraps lazy arguments, such as the result of ``map``, so that each of their values is charged when it is used."""
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
    """Number of characters and items in a value, including nested ones.

    For an int, this is its absolute value, since it may be used as a width or a count.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return min(abs(value), MAX_TEXT + 1)

    total, waiting = 0, [value]
    while waiting and total <= MAX_TEXT:  # beyond the maximum, the exact size is irrelevant
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
    """Upper bound on the size of a product, in characters or items for a repeated text or list, or in bits for numbers."""
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() + right.bit_length()
    is_repeated = isinstance(left, Sized) or isinstance(right, Sized)
    return max(_size(left), 1) * max(_size(right), 1) if is_repeated else 0


_GENERATION = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")
"""Matches generation tags, which only Transformers supports and which write nothing."""


def check(source: str, **named: Any) -> None:
    """Checks that a chat template stays within the limits, before another library renders it without limits.

    Args:
        source: Jinja source of the template.
        named: Variables of the template, such as ``bos_token``.

    Raises:
        TooMuchError: Rendering exceeds a limit. Other errors of the template are ignored.
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
