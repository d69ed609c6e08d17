"""Messages of other harnesses become prompts: what a run reads is what they say, in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightweave.core.errors import DataError, MediaError
from sightweave.core.types import Medium, Sample
from sightweave.harnesses._messages import Piece, as_sample
from sightweave.harnesses.lmms_eval import chat_sample, simple_sample
from sightweave.harnesses.vlmevalkit import message_sample, turns_sample

RED = Image.new("RGB", (6, 4), (200, 0, 0))
BLUE = Image.new("RGB", (6, 4), (0, 0, 200))


def told(sample: Sample) -> list[tuple[str, Any]]:
    """Role and content of each part; a picture as its key."""
    return [
        (part.role, part.content.key if isinstance(part.content, Medium) else part.content)
        for part in sample.parts
    ]


def test_text_and_pictures_keep_their_order_and_their_roles() -> None:
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "First"},
                {"type": "image", "url": "a.png"},
                {"type": "text", "text": ""},
                {"type": "text", "text": "then"},
                {"type": "image", "url": "file:///b.png"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Two."}]},
        {"role": "user", "content": "Which is red?"},
    ]
    sample = chat_sample(messages, where="t/test/3")
    assert told(sample) == [
        ("system", "Be brief."),
        ("user", "First"),
        ("user", "a.png"),
        ("user", "then"),
        ("user", "/b.png"),
        ("assistant", "Two."),
        ("user", "Which is red?"),
    ]
    assert [medium.source for medium in sample.media] == [Path("a.png"), Path("/b.png")]
    assert sample.id == "t/test/3"
    assert sample.group == "a.png+/b.png"


def test_simple_prompts_and_both_forms_of_vlmevalkit() -> None:
    assert told(simple_sample("What?", ["a.png", "b.png"], where="x")) == [
        ("user", "a.png"),
        ("user", "b.png"),
        ("user", "What?"),
    ]
    assert told(simple_sample("What?", None, where="x")) == [("user", "What?")]
    message = [{"type": "image", "value": "a.png"}, {"type": "text", "value": "What?"}]
    assert told(message_sample(message, where="x")) == [("user", "a.png"), ("user", "What?")]
    turns = [
        {"role": "user", "content": message},
        {"role": "assistant", "content": [{"type": "text", "value": "A bus."}]},
        {"role": "user", "content": [{"type": "text", "value": "Its colour?"}]},
    ]
    assert told(turns_sample(turns, where="x")) == [
        ("user", "a.png"),
        ("user", "What?"),
        ("assistant", "A bus."),
        ("user", "Its colour?"),
    ]


def test_equal_pictures_have_equal_keys_and_others_have_others() -> None:
    copies = [RED, RED.copy(), np.asarray(RED), BLUE]
    keys = [simple_sample("What?", [one], where=str(n)).media[0].key for n, one in enumerate(copies)]
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([Piece("user", "video", "a.mp4"), Piece("user", "text", "What?")], "part of kind 'video'"),
        ([Piece("tool", "text", "What?")], "unknown role 'tool'. Known: user, assistant, system"),
        ([Piece("user", "text", "")], "the messages contain neither text nor an image."),
        (
            [Piece("user", "text", "What?"), Piece("assistant", "text", "Best option: (")],
            "the last message is from the assistant .*Best option: .*; a run cannot continue an answer.",
        ),
        (
            [Piece("user", "image", "https://x.org/a.png")],
            "part 1: an image at 'https:.*URLs are not fetched",
        ),
        ([Piece("user", "image", "data:image/png;base64,AAAA")], "URLs are not fetched"),
    ],
)
def test_what_a_run_cannot_read_is_said(pieces: list[Piece], message: str) -> None:
    with pytest.raises(DataError, match=f"t/test/3.*{message}"):
        as_sample(pieces, where="t/test/3")


def test_a_damaged_picture_names_its_place() -> None:
    with pytest.raises(MediaError, match="t/test/3, part 2"):
        as_sample(
            [Piece("user", "text", "What?"), Piece("user", "image", np.zeros((0, 4, 3)))], where="t/test/3"
        )
