"""A response as a prediction, its types checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightweave.core.types import Prediction
from sightweave.programs.predictors import _thinking
from sightweave.programs.predictors._base import log_probability
from sightweave.programs.predictors._endpoint.words import Failed, short

_LEAST_LIKELY = 1e6
"""No token's log-probability is further from 0; servers write -9999 for what they do not tell exactly."""
_MOST_TOKENS = 1 << 40
"""No answer has more tokens, whatever a server counts."""


def prediction(found: Mapping[str, Any], where: str) -> Prediction:
    """The first choice of a response, its types checked.

    Thoughts that the server took apart stand before the answer again, so that all are read by the same rules.

    Raises:
        Failed: there is no choice, or one of other types.
    """
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

    extra: dict[str, Any] = {}
    if logprobs and log_probability(max(logprobs)) is None:
        extra["impossible"], logprobs = max(logprobs), []
    if isinstance(finish, str) and finish not in ("stop", "length"):
        extra["finish_reason"] = finish
    if not text.strip() and isinstance(message.get("refusal"), str):
        extra["declined"] = short(message["refusal"])
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
    """What a server that takes thoughts apart gives beside the answer."""
    given = (message.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
    return next((text for text in given if isinstance(text, str) and text.strip()), "")


def _thinks(usage: Any) -> bool:
    """Whether the server counts tokens of thoughts that it does not show."""
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    count = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return isinstance(count, int) and count > 0


def _text(content: Any, where: str) -> str:
    """What was said: a text, parts of one, or null where there is none, as after a refusal."""
    if content is None or isinstance(content, str):
        pieces: list[Any] = [{"text": content or ""}]
    else:
        pieces = content if isinstance(content, list) else [None]
    texts = [_piece(one) for one in pieces]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts):
        raise Failed(where, f"choices[0].message.content must be text (got {short(repr(content))})")
    return "".join(known).encode("utf-8", "replace").decode()  # half a surrogate pair is no text


def _piece(part: Any) -> str | None:
    """Text of one part of a content; thoughts among the parts are marked as such."""
    if not isinstance(part, dict):
        return None
    if isinstance(part.get("text"), str):
        return str(part["text"])
    thought = part.get("thinking")
    inner = thought if isinstance(thought, list) else [{"text": thought}]
    texts = [one.get("text") if isinstance(one, dict) else None for one in inner]
    known = [text for text in texts if isinstance(text, str)]
    if part.get("type") != "thinking" or len(known) < len(texts):
        return None
    return f"{_thinking.OPENING}{''.join(known)}{_thinking.CLOSING}"


def _logprobs(value: Any) -> list[float]:
    """Natural-log probability of each token; empty where not all of them are told."""
    tokens = value.get("content") if isinstance(value, dict) else None
    given = tokens if isinstance(tokens, list) else []
    found = [one.get("logprob") if isinstance(one, dict) else None for one in given]
    numbers = [one for one in found if isinstance(one, int | float) and not isinstance(one, bool)]
    known = [float(one) for one in numbers if abs(one) <= _LEAST_LIKELY]
    return known if len(known) == len(found) else []
