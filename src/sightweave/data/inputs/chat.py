"""Renders conversations with a checkpoint's own chat template, as Transformers does.

A chat template is a Jinja program that comes with the checkpoint. It never sees the texts of a conversation: each text is
represented by a short mark, which is replaced by the text after rendering. This separates the template's own output, which
may contain special tokens, from user texts, which must not. The white space around a text is visible to the template, so
that it is trimmed if the template trims texts.
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
"""Private-use characters around the number of a part in a mark; templates do not use them."""
PROBE = f"{_OPEN}0{_CLOSE}"
"""A text for testing whether a template accepts lists; if it prints the list itself, these characters are escaped."""
_MARK = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_KNOWN_SHAPES = 4096
"""Maximum number of conversation structures whose rendering is cached."""
_FAILURES = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Exceptions that a template may raise for a conversation that it does not support."""

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """The span of a part's text in a rendered conversation, without the white space around it."""

    start: int
    end: int
    part: int
    """Index of the part."""


@dataclass(frozen=True, slots=True)
class Written:
    """A rendered conversation, identical to the rendering by Transformers, with the spans of its texts."""

    text: str
    said: tuple[Said, ...]
    """Spans of the parts' texts, in order."""


class Chat:
    """A chat template, and the form in which it accepts texts and images.

    Args:
        source: Jinja source of the template.
        tokens: Special tokens by their names in the template, such as ``bos_token``.
        lists: Whether the template expects a turn's content as a list of parts rather than as one text.
        shows: Whether the template writes the image token itself; if not, the token is inserted into the content's text.
        image: The image token.

    Raises:
        DataError: The template is not valid Jinja.
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
        # A compiled template cannot be pickled, so a copy is compiled again from the source.
        return _made, (self.source, self.tokens, self.lists, self.shows, self.image)

    def render(self, messages: Sequence[Message], *, asks: bool) -> str:
        """Renders messages in a sandbox that isolates the template.

        Args:
            messages: Dicts with ``role`` and ``content``.
            asks: Whether to add the start of the model's answer (``add_generation_prompt``).

        Raises:
            DataError: The template rejects the messages or raises an error.
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
        """Converts parts to messages for Transformers; adjacent parts with the same role form one turn.

        Args:
            parts: Texts and images; if there are none, a user turn without content is returned.
            texts: Replacement for the text of each part; None keeps the texts.
        """
        if texts is None:
            texts = [part.content if isinstance(part.content, str) else self.image for part in parts]

        found: list[Message] = []
        for role, turn in groupby(range(len(parts)), key=lambda number: parts[number].role):
            content = [self._content(parts[number], texts[number]) for number in turn]
            plain = "".join(item.get("text", "") for item in content)
            found.append({"role": role, "content": content if self.lists else plain})

        return found or [{"role": USER, "content": [] if self.lists else ""}]

    def _content(self, part: Part, text: str) -> dict[str, str]:
        if isinstance(part.content, Medium) and self.shows:
            return {"type": "image"}
        return {"type": "text", "text": text}

    def write(self, parts: Sequence[Part], *, asks: bool) -> Written:
        """Renders a conversation; a system turn that the template rejects is moved to the start of the first user turn.

        Args:
            parts: Texts and images; adjacent parts with the same role form one turn.
            asks: Whether to add the start of the model's answer.

        Raises:
            DataError: The template rejects the conversation, omits or repeats a text, or writes the wrong number of
                images.
        """
        pieces: list[str] = []
        said: list[Said] = []
        position = 0

        # The pieces alternate between the template's own output and the numbers of parts.
        for number, piece in enumerate(_MARK.split(self._rendered(parts, asks))):
            if number % 2 == 0:
                text = piece
            else:
                content = parts[int(piece)].content
                text = content.strip() if isinstance(content, str) else self.image
                if isinstance(content, str):
                    said.append(Said(position, position + len(text), int(piece)))
            pieces.append(text)
            position += len(text)

        return Written("".join(pieces), tuple(said))

    def _rendered(self, parts: Sequence[Part], asks: bool) -> str:
        """Renders the conversation with marks in place of texts; conversations of the same structure are rendered once."""
        shape = (asks, *[(part.role, *_blanks(part.content)) for part in parts])
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
            is_shown = self.shows and isinstance(part.content, Medium)
            wanted = int(_OPEN in marks[number] and not is_shown)
            is_ignored = part.role == SYSTEM and not written[number]
            if written[number] != wanted and not is_ignored:
                raise DataError(
                    f"the chat template writes the {part.role} text {written[number]} times instead of {wanted}"
                )
        self._check_images(found, parts)

        return found

    def _without_system(self, parts: Sequence[Part], marks: Sequence[str]) -> list[Message]:
        """Messages without a system turn, whose text becomes the first line of the first user turn."""
        system = [number for number, part in enumerate(parts) if part.role == SYSTEM]
        rest = [number for number in range(len(parts)) if number not in system]
        order = [*system, *rest]

        moved = [Part(USER, parts[n].content) if n in system else parts[n] for n in order]
        lines = [f"{marks[n]}\n" if n in system else marks[n] for n in order]
        return self.messages(moved, lines)

    def _check_images(self, found: str, parts: Sequence[Part]) -> None:
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
    """The properties of a part on which its rendering may depend: a medium's modality, or a text's outer white space."""
    if isinstance(content, Medium):
        return (content.modality,)
    core = content.strip()
    if not core:
        return "", content
    before, _, after = content.partition(core)
    return "text", before, after


def _marked(content: str | Medium, number: int) -> str:
    """The mark of a part, with the white space that surrounds its text; a blank text is returned unchanged."""
    mark = f"{_OPEN}{number}{_CLOSE}"
    if isinstance(content, Medium):
        return mark
    kind, *blanks = _blanks(content)
    return mark.join(blanks) if kind else content


def _environment() -> Sandbox:
    """A Jinja environment configured like that of Transformers for chat templates, with a budget for each rendering."""
    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = environment.guarded(_to_json)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    environment.globals["dict"] = _Dict()
    return environment


class _Generation(jinja2.ext.Extension):
    """Jinja extension for ``{% generation %}``, which marks the assistant's text for loss masks and writes nothing."""

    tags = {"generation"}  # noqa: RUF012  # Jinja requires a set here

    def parse(self, parser: Any) -> Any:
        """Parses a generation block; its content is rendered unchanged."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)  # variables set inside are local, as in Transformers


class _Dict:
    """A replacement for ``dict`` in templates, which could use the class itself to escape the sandbox."""

    def __call__(self, *values: Any, **named: Any) -> dict[Any, Any]:
        return dict(*values, **named)

    def fromkeys(self, *values: Any) -> dict[Any, Any]:
        """Equivalent to `dict.fromkeys`."""
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


# Adding images to a template that accepts only texts.

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
    """Extends a template that accepts only texts to lists of texts and images; each image is written as `image`."""
    return _SHOWING.format(image=quoted(image)) + source


def parted(source: str) -> tuple[str, str]:
    """Reverses `showing`: returns the original template and the text for an image, which is empty for other templates."""
    before, after = _SHOWING.split("{image}")
    before, after = before.format(), after.format()
    image, found, rest = source.removeprefix(before).partition(after)
    if not source.startswith(before) or not found:
        return source, ""
    return rest, _unquoted(image)


def in_words(*, start: str, speak: str, end: str, again: str, image: str, space: bool) -> str:
    """Makes a chat template that puts fixed strings around turns, in which texts and images may be in any order.

    Args:
        start: Text before everything.
        speak: Text before an assistant turn.
        end: Text after an assistant turn.
        again: Text before a turn that follows an assistant turn.
        image: Text to write for an image.
        space: Whether to put a space before each text.
    """
    words = {"start": start, "speak": speak, "end": end, "again": again, "image": image, "space": " " * space}
    q = {name: quoted(text) for name, text in words.items()}

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
    """Converts a text to a Jinja string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _unquoted(text: str) -> str:
    letters = {"n": "\n"}
    return re.sub(r"\\(.)", lambda found: letters.get(found[1], found[1]), text[1:-1])


def conversations(image: Medium) -> Iterator[tuple[str, list[Part]]]:
    """Yields names and parts of conversations for testing a template."""
    asked, said = Part(USER, "What is it?"), Part(ASSISTANT, "A ball.")
    more, again = Part(USER, "Which colour?"), Part(ASSISTANT, "It is red.")
    shown, told = Part(USER, image), Part(SYSTEM, "Be brief.")
    bodies = {
        "one question": [asked],
        "one question about an image": [shown, asked],
        "an image after the question": [asked, shown],
        "an image between two texts": [asked, shown, more],
        "an image alone": [shown],
        "two images": [shown, shown, asked],
        "several turns": [asked, said, more],
        "several turns about an image": [shown, asked, said, more],
        "an image in a later turn": [asked, said, shown, more],
        "blanks around a text": [Part(USER, "  What is it? \n"), said, more],
    }
    for name, parts in bodies.items():
        yield name, parts
        yield f"{name}, with a system turn", [told, *parts]
    yield "an answer", [asked, said]
    yield "several answers", [told, shown, asked, said, more, again]
