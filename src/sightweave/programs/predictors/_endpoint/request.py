"""Requests to a server: their fields, the fields that a rejection names, and the conversion of samples to messages."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection
from typing import Any

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Sample


class NothingToAsk(DataError):
    """Raised if a sample has no prompt, for instance because its image was its only content."""


SYSTEM = "system"
_WORDS = {
    "temperature": "temperature",
    "seed": "seed",
    "logprobs": "logprobs|log[ _-]?prob(?:abilitie)?s",
    "top_logprobs": "top_logprobs",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_completion_tokens",
    SYSTEM: (
        "system[ _](?:role|message|prompt|instruction)s?|role.{0,60}system|developer instruction"
        "|only user and assistant roles|roles must alternate"
    ),
}
"""Patterns for the words with which rejections name the optional parts of a request."""
_UNNAMED = re.compile(
    r"(?:unsupported|invalid|unknown|unrecogni[sz]ed|unexpected|extra|additional)\W+(?:\w+\W+)?"
    r"(?:parameter|field|argument|input|propert|key|option|value|setting)|sampling parameter",
    re.IGNORECASE,
)
"""Matches a rejection of some field that does not name the field."""
_TOO_LONG = re.compile(
    r"too (?:long|large|many|big)|context.{0,9}(?:length|window|size)|exceed|reduce the length", re.IGNORECASE
)
"""Matches a rejection because of length, which names the limits although leaving them out would not help."""
_LENGTHS = ("max_tokens", "max_completion_tokens")


def settings(max_tokens: int, refused: Collection[str]) -> dict[str, Any]:
    """The fields that make an answer greedy, limit it and request its log-probabilities, except the rejected ones.

    llama-cpp-python returns no log-probabilities unless ``top_logprobs`` is set as well as ``logprobs``.
    """
    length = "max_completion_tokens" if "max_tokens" in refused else "max_tokens"
    wanted = {"temperature": 0, "seed": 0, length: max_tokens, "logprobs": True, "top_logprobs": 1}
    if "logprobs" in refused:
        wanted.pop("top_logprobs")
    return {key: value for key, value in wanted.items() if key not in refused}


def named(said: str, sent: Collection[str]) -> frozenset[str]:
    """The parts of a request that a rejection names; if it names none at all, every field that is not essential."""
    candidates = set(sent)
    if _TOO_LONG.search(said):
        candidates -= set(_LENGTHS)

    found = set()
    for key in candidates & set(_WORDS):
        if re.search(rf"(?<![a-z_])(?:{_WORDS[key]})(?![a-z_])", said, re.IGNORECASE):
            found.add(key)
    if not found and _UNNAMED.search(said):
        found = candidates - {*_LENGTHS, SYSTEM}
    return frozenset(found)


def without_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same turns, with the system's text moved to the beginning of the first user turn."""
    system = [turn["content"] for turn in messages if turn["role"] == "system"]
    found = [dict(turn) for turn in messages if turn["role"] != "system"]
    first = next((turn for turn in found if turn["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": "\n".join(map(str, system))}, *found]

    content = first["content"]
    if isinstance(content, str) and all(isinstance(text, str) for text in system):
        first["content"] = "\n".join([*system, content])
    else:
        before = [{"type": "text", "text": f"{text}\n"} for text in system]
        pieces = [{"type": "text", "text": content}] if isinstance(content, str) else content
        first["content"] = [*before, *pieces]
    return found


def messages(sample: Sample, address: Callable[[Medium], str]) -> list[dict[str, Any]]:
    """The prompt of a sample as turns, in order and without the answer at its end.

    Raises:
        NothingToAsk: the prompt is empty.
    """
    parts = list(sample.parts)
    while parts and parts[-1].role == "assistant":
        parts.pop()
    parts = [part for part in parts if part.content != ""]  # some servers reject an empty text
    if not parts:
        raise NothingToAsk(f"sample {sample.id!r}: the prompt is empty.")

    found = []
    for role, turn in itertools.groupby(parts, key=lambda part: part.role):
        content = [_content(part, address) for part in turn]
        # Many servers require a plain string if there is only text, at least for the system turn.
        plain = content[0]["text"] if len(content) == 1 and content[0]["type"] == "text" else content
        found.append({"role": role, "content": plain})
    return found


def _content(part: Part, address: Callable[[Medium], str]) -> dict[str, Any]:
    if isinstance(part.content, Medium):
        return {"type": "image_url", "image_url": {"url": address(part.content)}}
    return {"type": "text", "text": part.content}
