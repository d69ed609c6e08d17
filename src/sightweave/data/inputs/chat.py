"""Conversations in the words of a checkpoint's own chat template, rendered as Transformers renders it.

A chat template is a Jinja program that comes with the checkpoint. It never sees what anybody said: each text goes in as a
short mark, and the text takes the mark's place afterwards. So the template's own words, in which special tokens are
special, can be told from what was said, in which nothing is. The white space around a text is not hidden, so that a
template that trims texts does so here too.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import jinja2.ext
import jinja2.nodes

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part
from sightweave.data.inputs.sandbox import Sandbox, TooMuchError

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
_OPEN, _CLOSE = "\ue000", "\ue001"
"""Private-use letters around the number of a part; no template writes them."""
PROBE = f"{_OPEN}0{_CLOSE}"
"""A text that shows whether a template takes lists: one that prints them as Python does writes its letters as numbers."""
_MARK = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_KNOWN_SHAPES = 4096
"""Shapes of conversations whose rendering is remembered."""
_FAILURES = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template can end in: it is a program, and it may be wrong about the conversation that it is given."""

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """Where the text of one part stands in a rendered conversation, without the white space around it."""

    start: int
    end: int
    part: int
    """Number of the part that was rendered."""


@dataclass(frozen=True, slots=True)
class Written:
    """A rendered conversation: equal to what Transformers renders, with the places of what was said."""

    text: str
    said: tuple[Said, ...]
    """In the order of the text."""


class Chat:
    """One chat template, and how it takes texts and pictures.

    Args:
        source: The template, in Jinja.
        tokens: Special tokens by the names that a template may use, such as ``bos_token``.
        lists: Whether it takes a turn's content as a list of parts; else as one text.
        shows: Whether it writes pictures itself; else the image token is put into the content as a text.
        image: The token that it writes for a picture, or that is written for it.

    Raises:
        DataError: the template is not valid Jinja.
    """

    def __init__(
        self, source: str, tokens: Mapping[str, str], *, lists: bool, shows: bool, image: str
    ) -> None:
        self.source, self.tokens = source, dict(tokens)
        self.lists, self.shows, self.image = lists, shows, image
        self._known: dict[Any, str] = {}
        try:
            self._template = _environment().from_string(source)
        except _FAILURES as error:
            raise DataError(f"the chat template is not valid Jinja: {_line(error)}") from None

    def __reduce__(self) -> Any:
        # A compiled template cannot be copied or sent to another process; its source can.
        return _made, (self.source, self.tokens, self.lists, self.shows, self.image)

    def render(self, messages: Sequence[Message], *, asks: bool) -> str:
        """What the template writes for messages, in a sandbox where it can reach nothing but them.

        Args:
            messages: With ``role`` and ``content``.
            asks: Whether the model speaks next (``add_generation_prompt``).

        Raises:
            DataError: the template refuses the messages, or fails on them.
        """
        try:
            return self._template.render(
                messages=messages, tools=None, documents=None, add_generation_prompt=asks, **self.tokens
            )
        except TooMuchError as error:
            raise DataError(f"the chat template cannot be rendered: {error}") from None
        except _FAILURES as error:
            raise DataError(f"the chat template rejects the conversation: {_line(error)}") from None

    def messages(self, parts: Sequence[Part], texts: Sequence[str] | None = None) -> list[Message]:
        """Parts as Transformers' messages; neighbours of one role are one turn.

        Args:
            parts: Texts and pictures; none at all means one turn of the user without content.
            texts: What to write for each part that is a text; None takes the texts themselves.
        """
        if texts is None:
            texts = [part.content if isinstance(part.content, str) else self.image for part in parts]
        found: list[Message] = []
        for role, turn in groupby(range(len(parts)), key=lambda number: parts[number].role):
            content = [self._content(parts[number], texts[number]) for number in turn]
            plain = "".join(one.get("text", "") for one in content)
            found.append({"role": role, "content": content if self.lists else plain})
        return found or [{"role": USER, "content": [] if self.lists else ""}]

    def _content(self, part: Part, text: str) -> dict[str, str]:
        if isinstance(part.content, Medium) and self.shows:
            return {"type": "image"}
        return {"type": "text", "text": text}

    def write(self, parts: Sequence[Part], *, asks: bool) -> Written:
        """A rendered conversation. A system turn that the template refuses is read before the user's first words.

        Args:
            parts: Texts and pictures; neighbours of one role are one turn.
            asks: Whether the model speaks next.

        Raises:
            DataError: the template refuses the conversation, leaves out or repeats what was said in it, or writes another
                number of pictures.
        """
        pieces, place = [], 0
        said: list[Said] = []
        for number, piece in enumerate(_MARK.split(self._rendered(parts, asks))):
            if number % 2 == 0:
                pieces.append(piece)
            elif isinstance(content := parts[int(piece)].content, str):
                pieces.append(content.strip())
                said.append(Said(place, place + len(pieces[-1]), int(piece)))
            else:
                pieces.append(self.image)
            place += len(pieces[-1])
        return Written("".join(pieces), tuple(said))

    def _rendered(self, parts: Sequence[Part], asks: bool) -> str:
        """The conversation with marks for what was said; those of the same shape are rendered once."""
        shape = (asks, *((part.role, *_blanks(part.content)) for part in parts))
        if shape not in self._known:
            if len(self._known) >= _KNOWN_SHAPES:
                self._known.clear()
            self._known[shape] = self._render_marks(parts, asks)
        return self._known[shape]

    def _render_marks(self, parts: Sequence[Part], asks: bool) -> str:
        marks = [_marked(part.content, number) for number, part in enumerate(parts)]
        try:
            found = self.render(self.messages(parts, marks), asks=asks)
        except DataError:
            if all(part.role != SYSTEM for part in parts):
                raise
            found = self.render(self._without_system(parts, marks), asks=asks)

        written = Counter(int(number) for number in _MARK.findall(found))
        for number, part in enumerate(parts):
            wanted = int(_OPEN in marks[number] and not (self.shows and isinstance(part.content, Medium)))
            is_ignored = part.role == SYSTEM and not written[number]
            if written[number] != wanted and not is_ignored:
                raise DataError(
                    f"the chat template writes the {part.role} text {written[number]} times instead of {wanted}"
                )
        self._check_pictures(found, parts)
        return found

    def _without_system(self, parts: Sequence[Part], marks: Sequence[str]) -> list[Message]:
        """Messages in which the user says first what the system said, a line before the user's own words."""
        system = [number for number, part in enumerate(parts) if part.role == SYSTEM]
        rest = [number for number in range(len(parts)) if number not in system]
        order = [*system, *rest]
        moved = [Part(USER, parts[n].content) if n in system else parts[n] for n in order]
        lines = [f"{marks[n]}\n" if n in system else marks[n] for n in order]
        return self.messages(moved, lines)

    def _check_pictures(self, found: str, parts: Sequence[Part]) -> None:
        if not self.shows:
            return
        wanted = sum(isinstance(part.content, Medium) for part in parts)
        count = found.count(self.image)
        if count != wanted:
            raise DataError(
                f"the chat template writes {self.image!r} {count} times for {wanted} image(s) in the conversation"
            )


def _made(source: str, tokens: Mapping[str, str], lists: bool, shows: bool, image: str) -> Chat:
    return Chat(source, tokens, lists=lists, shows=shows, image=image)


def _blanks(content: str | Medium) -> tuple[str, ...]:
    """What a rendering can depend on: the white space around a text, and whether there is any text."""
    if isinstance(content, Medium):
        return (content.modality,)
    if not (core := content.strip()):
        return "", content
    before, _, after = content.partition(core)
    return "text", before, after


def _marked(content: str | Medium, number: int) -> str:
    """The mark of a part, with the white space around its text; white space alone is what it is."""
    mark = f"{_OPEN}{number}{_CLOSE}"
    if isinstance(content, Medium):
        return mark
    kind, *blanks = _blanks(content)
    return mark.join(blanks) if kind else content


def _environment() -> Sandbox:
    """Jinja as Transformers sets it up for chat templates, with a budget for each rendering."""
    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = environment.guarded(_to_json)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    environment.globals["dict"] = _Dict()
    return environment


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks what an assistant said, for masks of the loss; it writes nothing."""

    tags = {"generation"}  # noqa: RUF012  # Jinja wants a set here

    def parse(self, parser: Any) -> Any:
        """The statements of the block."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)  # what is set inside stays inside, as in Transformers


class _Dict:
    """Makes dicts, without the rest of the class, through which a template might reach further."""

    def __call__(self, *values: Any, **named: Any) -> dict[Any, Any]:
        return dict(*values, **named)

    def fromkeys(self, *values: Any) -> dict[Any, Any]:
        """As `dict.fromkeys`."""
        return dict.fromkeys(*values)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


# What stands around pictures where a template takes texts alone.

_SHOWING = (
    "{{%- set picture = {image} -%}}\n"
    "{{%- set shown = namespace(messages=[]) -%}}\n"
    "{{%- for message in messages -%}}\n"
    "{{%- set said = namespace(text='') -%}}\n"
    "{{%- if message['content'] is string -%}}\n"
    "{{%- set said.text = message['content'] -%}}\n"
    "{{%- else -%}}\n"
    "{{%- for part in message['content'] -%}}\n"
    "{{%- set said.text = said.text + (picture if part['type'] == 'image' else part['text']) -%}}\n"
    "{{%- endfor -%}}\n"
    "{{%- endif -%}}\n"
    "{{%- set shown.messages = shown.messages + [{{'role': message['role'], 'content': said.text}}] -%}}\n"
    "{{%- endfor -%}}\n"
    "{{%- set messages = shown.messages -%}}\n"
)


def showing(source: str, image: str) -> str:
    """A template that takes texts alone, made to take lists of texts and pictures; `image` is written for a picture."""
    return _SHOWING.format(image=quoted(image)) + source


def parted(source: str) -> tuple[str, str]:
    """The template and the image that `showing` put together; the image is empty where it did not."""
    before, after = _SHOWING.split("{image}")
    before, after = before.format(), after.format()
    image, found, rest = source.removeprefix(before).partition(after)
    if not source.startswith(before) or not found:
        return source, ""
    return rest, _unquoted(image)


def in_words(*, start: str, speak: str, end: str, again: str, image: str, space: bool) -> str:
    """A chat template that writes turns with fixed words, text parts and pictures in any order.

    Args:
        start: Before everything.
        speak: Before what an assistant says.
        end: After it.
        again: Where somebody speaks after the assistant.
        image: What is written for a picture.
        space: Whether each text gets one space in front.
    """
    words = {"start": start, "speak": speak, "end": end, "again": again, "image": image}
    q = {name: quoted(text) for name, text in (words | {"space": " " * space}).items()}
    return (
        f"{{{{- {q['start']} -}}}}\n"
        "{%- set turn = namespace(last='') -%}\n"
        "{%- for message in messages -%}\n"
        "{%- if message['role'] == 'assistant' -%}\n"
        f"{{{{- {q['speak']} -}}}}\n"
        "{%- elif turn.last == 'assistant' -%}\n"
        f"{{{{- {q['again']} -}}}}\n"
        "{%- elif turn.last and turn.last != message['role'] -%}\n"
        "{{- '\\n' -}}\n"
        "{%- endif -%}\n"
        "{%- if message['content'] is string -%}\n"
        f"{{{{- {q['space']} + message['content'] -}}}}\n"
        "{%- else -%}\n"
        "{%- for part in message['content'] -%}\n"
        "{%- if part['type'] == 'image' -%}\n"
        f"{{{{- {q['image']} -}}}}\n"
        "{%- elif part['type'] == 'text' -%}\n"
        f"{{{{- {q['space']} + part['text'] -}}}}\n"
        "{%- endif -%}\n"
        "{%- endfor -%}\n"
        "{%- endif -%}\n"
        "{%- if message['role'] == 'assistant' -%}\n"
        f"{{{{- {q['end']} -}}}}\n"
        "{%- endif -%}\n"
        "{%- set turn.last = message['role'] -%}\n"
        "{%- endfor -%}\n"
        "{%- if add_generation_prompt -%}\n"
        f"{{{{- {q['speak']} -}}}}\n"
        "{%- endif -%}"
    )


def quoted(text: str) -> str:
    """A text as a string of Jinja."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _unquoted(text: str) -> str:
    letters = {"n": "\n"}
    return re.sub(r"\\(.)", lambda found: letters.get(found[1], found[1]), text[1:-1])


def conversations(image: Medium) -> Iterator[tuple[str, list[Part]]]:
    """Conversations over which a template is tried, each with a name."""
    asked, said = Part(USER, "What is it?"), Part(ASSISTANT, "A ball.")
    more, again = Part(USER, "Which colour?"), Part(ASSISTANT, "It is red.")
    shown, told = Part(USER, image), Part(SYSTEM, "Be brief.")
    bodies = {
        "one question": [asked],
        "one question about a picture": [shown, asked],
        "a picture after the question": [asked, shown],
        "a picture between two texts": [asked, shown, more],
        "a picture alone": [shown],
        "two pictures": [shown, shown, asked],
        "several turns": [asked, said, more],
        "several turns about a picture": [shown, asked, said, more],
        "a picture in a later turn": [asked, said, shown, more],
        "blanks around a text": [Part(USER, "  What is it? \n"), said, more],
    }
    for name, parts in bodies.items():
        yield name, parts
        yield f"{name}, with a system turn", [told, *parts]
    yield "an answer", [asked, said]
    yield "several answers", [told, shown, asked, said, more, again]
