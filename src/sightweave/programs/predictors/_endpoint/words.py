"""The messages of a server: errors in all known formats, each shortened to one line without the API key."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from sightweave.core.errors import BackendError

_SHOWN = 300
"""Maximum number of characters shown of a server's message."""
_SECRET = 12
"""Length of the pieces of a key that are hidden."""
_PLACEHOLDER = 8
"""Number of characters below which a key is not hidden: it is a word such as EMPTY for servers that need any key, and
answers may contain it."""


class Refused(BackendError):
    """Raised if the server will never accept a request as it is."""

    def __init__(self, where: str, reason: str, said: str, what_to_do: str) -> None:
        super().__init__(f"{where}: {reason}; {what_to_do}.")
        self.reason, self.said = reason, said


class Failed(BackendError):
    """Raised if a request has no usable answer; another request, or the same one later, may have one."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}.")
        self.reason = reason


class Secret:
    """An API key, and its removal from texts: some servers repeat it complete, cut, or with invisible characters inserted.

    Args:
        key: The key; empty for none.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._width = min(len(key), _SECRET)
        folded = key.casefold() if len(key) >= _SECRET else key
        starts = range(len(key) - self._width + 1)
        self._pieces = {folded[start : start + self._width] for start in starts} - {""}

    def __repr__(self) -> str:
        return "Secret(***)"

    def removed(self, text: str) -> str:
        """The text, with stars in place of the key or of long pieces of it."""
        if not self._pieces:
            return text

        # Skip characters that a key cannot contain: spaces, line ends, and invisible ones.
        places = [n for n, letter in enumerate(text) if "!" <= letter <= "~"]
        line = "".join(text[n] for n in places)
        if self._width == _SECRET:
            line = line.casefold()
        starts = range(len(line) - self._width + 1)
        hits = [n for n in starts if line[n : n + self._width] in self._pieces]

        pieces, shown, covered = [], 0, 0
        for hit in hits:
            start, end = places[hit], places[hit + self._width - 1] + 1
            if start >= covered:
                pieces += [text[shown:start], "***"]
            shown = covered = end
        return "".join([*pieces, text[shown:]])

    def removed_inside(self, value: Any) -> Any:
        """A JSON value with the key removed from all its strings; a key that is only a placeholder is not removed."""
        if len(self.key) < _PLACEHOLDER:
            return value
        if isinstance(value, str):
            return self.removed(value)
        if isinstance(value, list):
            return [self.removed_inside(one) for one in value]
        if isinstance(value, dict):
            return {self.removed(name): self.removed_inside(one) for name, one in value.items()}
        return value


def outcome(
    status: int, headers: Mapping[str, str], data: bytes, at: str, secret: Secret
) -> tuple[Mapping[str, Any] | None, int, str]:
    """The server's object if it is an answer; else None with the status and the server's message, without the key.

    Raises:
        Failed: the status is 200 and the body is not a JSON object.
    """
    if status != 200:
        return None, status, secret.removed(_message(data))

    found = secret.removed_inside(_object(data, headers, at, secret))
    error = _error_in(found)
    if error is not None:
        return None, error[0], secret.removed(error[1])
    return found, status, ""


def _object(data: bytes, headers: Mapping[str, str], at: str, secret: Secret) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        kind = headers.get("content-type", "no type")
        shown = f"{short(secret.removed(kind))}: {short(secret.removed(_words(data)), 80)}"
        raise Failed(at, f"the response is not JSON ({shown}); is this the address of the API?") from None

    # Some servers wrap an error in a list.
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict) and "error" in found[0]:
        found = found[0]
    if not isinstance(found, dict):
        raise Failed(at, f"the response must be an object (got {short(secret.removed(repr(found)), 80)})")
    return found


def _error_in(found: Mapping[str, Any]) -> tuple[int, str] | None:
    """Status and message of an error that came with status 200, as routers send it; None if there is no error."""
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    first = choice if isinstance(choice, dict) else {}

    if found.get("error"):
        holder: Mapping[str, Any] = found
    elif first.get("error"):
        holder = first
    elif found.get("object") == "error" or first.get("finish_reason") == "error":
        holder = {"error": {**found, "message": found.get("message") or "the answer ended with an error"}}
    else:
        return None

    words = next(_messages_in(holder), "") or short(repr(holder["error"]))
    return _status_of(holder["error"]), words


def _status_of(error: Any) -> int:
    """The HTTP status that an error names, by number or by word; 400 if it names none."""
    values = [error]
    if isinstance(error, dict):
        values = [error.get(key) for key in ("code", "status", "status_code", "type")]

    for value in values:
        if isinstance(value, int | str) and re.fullmatch("[345][0-9][0-9]", str(value)):
            return int(value)

    words = " ".join(value for value in values if isinstance(value, str))
    for pattern, status in _STATUS_WORDS:
        if re.search(pattern, words, re.IGNORECASE):
            return status
    return 400


_STATUS_WORDS = (
    ("rate.?limit|too.?many.?requests|resource.?exhausted|quota", 429),
    ("authentication|invalid.?api.?key|unauthorized|unauthenticated", 401),
    ("permission", 403),
    ("model.?not.?found", 404),
    ("overloaded|unavailable|server.?error|internal|timeout|timed.?out|bad.?gateway", 503),
)


def _message(data: bytes) -> str:
    """The server's message about an error."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return _words(data) or "no message"
    return next(_messages_in(found), "") or _words(data) or "no message"


def _messages_in(found: Any) -> Iterator[str]:
    """Yields the messages of an error: ``{"error": {"message": ...}}`` and other known formats."""
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict):
        return

    inner = found.get("error", found)
    if isinstance(inner, str):
        yield inner
    if not isinstance(inner, dict):
        return

    # Routers put the message of the server behind them into the metadata.
    behind = inner.get("metadata")
    raw = behind.get("raw") if isinstance(behind, dict) else None
    if isinstance(raw, str) and isinstance(inner.get("message"), str):
        yield f"{inner['message']}: {raw}"

    field = inner.get("param")
    for key in ("message", "detail", "msg"):
        said = inner.get(key)
        if isinstance(said, str):
            yield f"{said} ({field})" if isinstance(field, str) and field else said
        elif isinstance(said, list):
            yield "; ".join(_field_errors(said))
        elif isinstance(said, dict):
            yield from _messages_in(said)


def _field_errors(found: list[Any]) -> Iterator[str]:
    """Yields errors in pydantic's format ``{"loc": ["body", "seed"], "msg": ...}``, without the input (perhaps an image)."""
    for one in found:
        if isinstance(one, dict) and isinstance(one.get("msg"), str):
            loc = one.get("loc")
            places = [str(part) for part in loc] if isinstance(loc, list) else []
            yield f"{'.'.join(places)}: {one['msg']}" if places else one["msg"]


def _words(data: bytes) -> str:
    return data[:2000].decode("utf-8", "replace")


def redirect(status: int, location: str, secret: Secret) -> str:
    """The message about a redirect, which is never followed, because the key would be sent along."""
    try:
        to = httpx2.URL(location)
        place = f"{to.scheme}://{to.host}{to.path}" if to.host else to.path
    except httpx2.InvalidURL:
        place = "an unusable address"

    place = short(secret.removed(place))
    return (
        f"status {status}: the server redirects to {place}, which is not followed; set `url` to that address."
    )


def retry_after(value: str) -> float | None:
    """Seconds to wait according to a server's header, which has seconds or a date; None if it cannot be parsed."""
    if re.fullmatch(r"\d{1,9}(\.\d{0,9})?", value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def short(text: str, length: int = _SHOWN) -> str:
    """A text as one line of limited length."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(line.split()).rstrip(".")
    return line if len(line) <= length else line[:length] + "..."
