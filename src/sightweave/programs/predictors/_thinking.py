"""Separates a model's thoughts from its answer; the thoughts are stored as ``Prediction.extra["thought"]``.

Recognises ``<think>...</think>`` and similar tags, and the channels of gpt-oss. A block counts only at the beginning of
the text or of a line, so that an answer may mention a tag. Chat templates often write the opening tag into the prompt;
then the text has only the closing tag. A block that is never closed leaves no answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sightweave.core.types import Prediction

THOUGHT = "thought"
"""Key of `Prediction.extra` under which the thoughts are stored."""
OPENING, CLOSING = "<think>", "</think>"
"""Tags that predictors put around thoughts that were returned separately, or whose block began in the prompt."""
_NAMES = r"(?:seed:)?(?:think|thinking|thoughts?|reasoning|scratchpad)"
_OPENS = (
    rf"<{_NAMES}>|\[THINK\]|\u25c1think\u25b7|<\|begin_of_thought\|>|<\|START_THINKING\|>|<unused94>"
    r"|<\|channel>thought\b"
)
_CLOSES = (
    rf"</{_NAMES}>|\[/THINK\]|\u25c1/think\u25b7|<\|end_of_thought\|>|<\|END_THINKING\|>|<unused95>"
    r"|<channel\|>"
)
_TAG = re.compile(f"(?P<opens>{_OPENS})|(?P<closes>{_CLOSES})", re.IGNORECASE)
_OPEN_AT_END = re.compile(rf"(?:{_OPENS})\s*\Z", re.IGNORECASE)
_CHANNELS = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>")
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(?P<name>\w+)[^\n]{0,200}?<\|message\|>(?P<said>.*?)"
    r"(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_BARE_CHANNELS = re.compile(r"\s*analysis(?P<thought>.*?)assistant\s*final(?P<said>.*)", re.DOTALL)
"""Matches the channels if the tokenizer dropped its special tokens."""
_WRAPPED = re.compile(
    r"<(?P<name>answer|final_answer|response|conclusion)>(?P<said>.*?)(?:</(?P=name)>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
"""Matches a separate tag around the answer, which thinking models often use."""
_FRAMES = re.compile(r"<\|(?:START|END)_RESPONSE\|>|<\|(?:begin|end)_of_(?:solution|box)\|>")


@dataclass(frozen=True, slots=True)
class _Split:
    answer: str
    thought: str
    is_headless: bool = False
    """Whether the text closes a block that it never opened."""


def ends_open(prompt: str) -> bool:
    """Whether a prompt ends inside a thinking block that its template opened."""
    return _OPEN_AT_END.search(prompt) is not None


def is_tag(token: str) -> bool:
    """Whether a token is a tag of a thinking block."""
    return _TAG.fullmatch(token.strip()) is not None


def without_thoughts(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The predictions of one model, with only the answers as their texts.

    If some texts show that the prompt opens the block, a text that was cut before any tag was still thinking. The
    log-probability of a text with thoughts includes the thoughts, so it is dropped.
    """
    parted = [_split(one.text) for one in predictions]
    opens = any(one is not None and one.is_headless for one in parted)

    found = []
    for one, parts in zip(predictions, parted, strict=True):
        if parts is None and opens and one.finish == "length":
            parts = _Split("", one.text)
        if parts is None or (one.finish != "length" and not parts.answer and not parts.thought):
            found.append(one)  # an answer that is only a tag is about tags
            continue

        extra = {**one.extra, THOUGHT: parts.thought}
        found.append(replace(one, text=parts.answer, logprob=None, extra=extra))

    return found


def _split(text: str) -> _Split | None:
    """The thoughts and the answer of a text; None if it has no thoughts."""
    if _CHANNELS.match(text):
        return _by_channel(text)
    bare = _BARE_CHANNELS.fullmatch(text)
    if bare:
        return _Split(bare["said"].strip(), bare["thought"].strip())
    return _by_tags(text)


def _by_channel(text: str) -> _Split:

    said = {"final": "", "thought": ""}
    for channel in _CHANNEL.finditer(text):
        said["final" if channel["name"] == "final" else "thought"] += channel["said"]

    return _Split(said["final"].strip(), said["thought"].strip())


def _by_tags(text: str) -> _Split | None:
    answer: list[str] = []
    thought: list[str] = []
    at, is_inside, is_headless, mentions = 0, False, False, False
    tags = list(_TAG.finditer(text))
    last_close = max((tag.start() for tag in tags if tag["closes"]), default=-1)
    previous = 0
    for tag in tags:
        has_thought = is_inside or bool(at)

        # A tag inside a line is only mentioned, unless the model is known to think and closes the block.
        _, line_end, line = text[previous : tag.start()].rpartition("\n")
        is_in_line = bool(line.strip()) or (previous > 0 and not line_end)
        previous = tag.end()
        is_block = not is_in_line or (has_thought and tag.end() <= last_close)
        if tag["opens"] and not is_inside and not is_block:
            mentions = True
            continue
        if tag["closes"] and not has_thought and mentions:
            continue

        # A block that was closed but never opened began in the prompt, so everything before the tag is thought.
        if tag["closes"] and not is_inside:
            is_headless = is_headless or not thought
            thought += answer
            answer = []
        is_thought = is_inside or bool(tag["closes"])
        (thought if is_thought else answer).append(text[at : tag.start()])
        is_inside, at = bool(tag["opens"]), tag.end()

    if not at:
        return None

    if is_inside:
        return _Split("", "".join([*answer, *thought, text[at:]]).strip())

    rest = _FRAMES.sub("", "".join([*answer, text[at:]])).strip()
    wrapped = list(_WRAPPED.finditer(rest))
    said = wrapped[-1]["said"].strip() if wrapped else rest
    return _Split(said, "".join(thought).strip(), is_headless=is_headless)
