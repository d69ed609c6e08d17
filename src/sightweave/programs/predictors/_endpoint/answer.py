"""Converts a server's response to a prediction, with all types checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightweave.core.types import Prediction
from sightweave.programs.predictors import _thinking
from sightweave.programs.predictors._base import log_probability
from sightweave.programs.predictors._endpoint.words import Failed, short

_LEAST_LIKELY = 1e6
"""Maximum magnitude of a token's log-probability; servers write -9999 for values that they do not report exactly."""
_MOST_TOKENS = 1 << 40
"""Maximum number of tokens of an answer; a larger count reported by a server is ignored."""


def prediction(found: Mapping[str, Any], where: str) -> Prediction:
    """The first choice of a response as a prediction.

    Thoughts that the server returned separately are put back before the answer, so that the same rules apply to all.

    Raises:
        Failed: there is no choice, or its values have other types.
    """
    # Unpack the response.
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Failed(where, f"the response has no choices (got {short(repr(choices))})")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Failed(where, f"choices[0].message must be an object (got {short(repr(message))})")

    finish = choice.get("finish_reason")
    usage = found.get("usage")
    counted = usage.get("completion_tokens") if isinstance(usage, dict) else None
    logprobs = _logprobs(choice.get("logprobs"))
    text, thought = _text(message.get("content"), where), _thought(message)

    # Record whatever is unusual.
    extra: dict[str, Any] = {}
    if logprobs and log_probability(max(logprobs)) is None:
        extra["impossible"], logprobs = max(logprobs), []
    if isinstance(finish, str) and finish not in ("stop", "length"):
        extra["finish_reason"] = finish
    if not text.strip() and isinstance(message.get("refusal"), str):
        extra["declined"] = short(message["refusal"])

    # Mark the thoughts.
    if not thought and not text.strip() and finish == "length" and _thinks(usage):
        thought = "(not told)"
    if thought:
        is_cut = not text.strip() and finish == "length"
        text = f"{_thinking.OPENING}{thought}" + ("" if is_cut else f"{_thinking.CLOSING}{text}")

    return Prediction(
        text,
        logprob=log_probability(sum(logprobs) / len(logprobs)) if logprobs else None,
        tokens=counted if type(counted) is int and 0 <= counted <= _MOST_TOKENS else len(logprobs),
        finish="length" if finish == "length" else "stop",
        extra=extra,
    )


def _thought(message: Mapping[str, Any]) -> str:
    """The thoughts that a server returns separately from the answer; empty if there are none."""
    for name in ("reasoning_content", "reasoning", "thinking"):
        text = message.get(name)
        if isinstance(text, str) and text.strip():
            return text
    return ""


def _thinks(usage: Any) -> bool:
    """Whether the server counts thinking tokens that it does not return."""
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    count = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return isinstance(count, int) and count > 0


def _text(content: Any, where: str) -> str:
    """The text of an answer, given as a string, as a list of parts, or as null if there is none, as after a refusal.

    Raises:
        Failed: the content has another type.
    """
    if content is None or isinstance(content, str):
        pieces: list[Any] = [{"text": content or ""}]
    else:
        pieces = content if isinstance(content, list) else [None]

    texts = []
    for piece in pieces:
        text = _piece(piece)
        if text is None:
            raise Failed(where, f"choices[0].message.content must be text (got {short(repr(content))})")
        texts.append(text)
    return "".join(texts).encode("utf-8", "replace").decode()  # replaces unpaired surrogates


def _piece(part: Any) -> str | None:
    """The text of one part of the content, with thoughts marked as such; None if it is neither text nor thoughts."""
    if not isinstance(part, dict):
        return None
    if isinstance(part.get("text"), str):
        return str(part["text"])
    if part.get("type") != "thinking":
        return None

    thought = part.get("thinking")
    inner = thought if isinstance(thought, list) else [{"text": thought}]
    texts = []
    for one in inner:
        text = one.get("text") if isinstance(one, dict) else None
        if not isinstance(text, str):
            return None
        texts.append(text)
    return f"{_thinking.OPENING}{''.join(texts)}{_thinking.CLOSING}"


def _logprobs(value: Any) -> list[float]:
    """Natural-log probability of each token; empty unless the server reports all of them."""
    tokens = value.get("content") if isinstance(value, dict) else None
    if not isinstance(tokens, list):
        return []

    found = []
    for token in tokens:
        number = token.get("logprob") if isinstance(token, dict) else None
        if isinstance(number, bool) or not isinstance(number, int | float):
            return []
        if not abs(number) <= _LEAST_LIKELY:  # so that NaN fails too
            return []
        found.append(float(number))
    return found
