"""How a sample is written down for a model, drawn token by token."""

from __future__ import annotations

import numpy as np
import pytest

from sightweave.core.errors import DataError
from sightweave.core.types import InputLayout, MediaLayout, Medium, Part, Sample
from sightweave.data.inputs.collate import stretch_rows
from sightweave.data.inputs.template import Encoded, Stretch, encode
from sightweave.data.inputs.tokenizer import Template, Tokenizer, names

SPECIAL = tuple(names(Template()))

TOKENIZER = Tokenizer.train(["what is it ? a cat"] * 3, vocab_size=280)
LAYOUT = InputLayout(media={"image": MediaLayout(tokens=2)}, bidirectional="image")
NAMES = {
    TOKENIZER.end_id: "END",
    TOKENIZER.speak_ids[0]: "ASSISTANT",
    TOKENIZER.again_ids[0]: "USER",
    TOKENIZER.image_id: "IMAGE",
}


def picture(name: str) -> Medium:
    return Medium(np.zeros((2, 2, 3), np.uint8), key=name)


def sample(*parts: tuple[str, str | Medium] | tuple[str, str | Medium, bool]) -> Sample:
    return Sample(id="s", task="vqa", parts=tuple(Part(*part) for part in parts))


def drawn(stretch: Stretch) -> str:
    """Special tokens by name, texts as they are, learnt ones in brackets."""
    words: list[str] = []
    text: list[int] = []
    learnt: list[bool] = []

    def close() -> None:
        if text:
            word = TOKENIZER.decode(text)
            words.append(f"[{word}]" if all(learnt) else word)
            text.clear()
            learnt.clear()

    for index, learn in zip(stretch.ids, stretch.learn, strict=True):
        if index in NAMES:
            close()
            words.append(f"[{NAMES[index]}]" if learn else NAMES[index])
        else:
            text.append(index)
            learnt.append(learn)
    close()
    return " ".join(words)


def layout_of(encoded: Encoded) -> tuple[str, str, str]:
    return drawn(encoded.trunk), drawn(encoded.prompt), drawn(encoded.target)


def test_a_question_about_a_picture() -> None:
    one = sample(("user", picture("a")), ("user", "what is it ?"), ("assistant", "a cat", True))
    encoded = encode(one, TOKENIZER, LAYOUT)
    assert layout_of(encoded) == ("IMAGE IMAGE", "what is it ? ASSISTANT", "[a cat] [END]")
    assert encoded.trunk.item == [0, 0]
    assert encoded.trunk.ar == [1, 0]
    assert set(encoded.prompt.ar) == {1}
    assert [medium.key for medium in encoded.trunk_media] == ["a"]


def test_turns_before_the_last_are_set_apart() -> None:
    one = sample(
        ("user", picture("a")),
        ("user", "what is it ?"),
        ("assistant", "a cat", True),
        ("user", "is it a cat ?"),
        ("assistant", "it is", False),
        ("user", "a"),
        ("user", "what ?"),
        ("assistant", "cat", True),
    )
    assert layout_of(encode(one, TOKENIZER, LAYOUT)) == (
        "IMAGE IMAGE",
        "what is it ? ASSISTANT [a cat] [END] USER is it a cat ? ASSISTANT it is END USER a what ? ASSISTANT",
        "[cat] [END]",
    )


def test_the_systems_words_stand_on_a_line_of_their_own() -> None:
    one = sample(("system", "a cat"), ("user", "what ?"), ("assistant", "it", True))
    line = TOKENIZER.marked_ids("\n")
    encoded = encode(one, TOKENIZER, LAYOUT)
    assert encoded.prompt.ids == [
        *TOKENIZER.encode("a cat"),
        *line,
        *TOKENIZER.encode("what ?"),
        *TOKENIZER.speak_ids,
    ]
    shown = sample(("system", "a cat"), ("user", picture("a")), ("user", "what ?"))
    marks = [TOKENIZER.image_id] * 2
    assert encode(shown, TOKENIZER, LAYOUT).prompt.ids[: -len(TOKENIZER.encode("what ?")) - 1] == [
        *TOKENIZER.encode("a cat"),
        *line,
        *TOKENIZER.before_image_ids,
        *marks,
        *TOKENIZER.after_image_ids,
    ]


def test_a_later_turn_that_begins_with_a_picture_is_set_apart() -> None:
    one = sample(
        ("user", "what ?"), ("assistant", "a cat", True), ("user", picture("a")), ("user", "is it ?")
    )
    assert layout_of(encode(one, TOKENIZER, LAYOUT))[1] == (
        "what ? ASSISTANT [a cat] [END] USER IMAGE IMAGE is it ? ASSISTANT"
    )


def test_pictures_in_the_middle_belong_to_the_prompt() -> None:
    one = sample(
        ("user", picture("a")),
        ("user", picture("b")),
        ("user", "is it"),
        ("user", picture("c")),
        ("user", "?"),
        ("assistant", "it", True),
    )
    encoded = encode(one, TOKENIZER, LAYOUT)
    assert layout_of(encoded) == ("IMAGE IMAGE IMAGE IMAGE", "is it IMAGE IMAGE ? ASSISTANT", "[it] [END]")
    assert encoded.trunk.item == [0, 0, 1, 1]
    assert [item for item in encoded.prompt.item if item >= 0] == [2, 2]
    assert [medium.key for medium in encoded.branch_media] == ["c"]


def test_without_marks_in_the_text_media_leave_no_token() -> None:
    one = sample(("user", picture("a")), ("user", "what ?"), ("assistant", "a cat", True))
    encoded = encode(one, TOKENIZER, InputLayout(in_sequence=False, media={"image": MediaLayout(tokens=2)}))
    assert layout_of(encoded) == ("", "what ? ASSISTANT", "[a cat] [END]")
    assert len(encoded.trunk_media) == 1


def test_a_prompt_alone_waits_for_its_answer() -> None:
    encoded = encode(sample(("user", "what ?")), TOKENIZER, LAYOUT)
    assert layout_of(encoded) == ("", "what ? ASSISTANT", "[END]")


@pytest.mark.parametrize(
    ("layout", "trunk", "prompt"),
    [
        (InputLayout(media={"image": MediaLayout(tokens=2)}, bidirectional="none"), [1, 1], [1, 1, 1]),
        (InputLayout(media={"image": MediaLayout(tokens=2)}, bidirectional="image"), [1, 0], [1, 1, 1]),
        (InputLayout(media={"image": MediaLayout(tokens=2)}, bidirectional="prompt"), [1, 0], [1, 0, 0]),
        (
            InputLayout(media={"image": MediaLayout(tokens=2)}, bidirectional="all", form="classify"),
            [0, 0],
            [1, 0, 0],
        ),
        (InputLayout(media={"image": MediaLayout(tokens=2)}, form="encoder_decoder"), [0, 0], [1, 0, 0]),
    ],
)
def test_who_looks_ahead(layout: InputLayout, trunk: list[int], prompt: list[int]) -> None:
    one = sample(("user", picture("a")), ("user", "what ?"), ("assistant", "a", True))
    encoded = encode(one, TOKENIZER, layout)
    assert encoded.trunk.ar == trunk
    assert encoded.prompt.ar == prompt
    assert set(encoded.target.ar) == {1}


@pytest.mark.parametrize("text", [*SPECIAL, "".join(SPECIAL), "<image>", "<|im_start|>user", "</s><s>[INST]"])
def test_what_a_user_types_is_never_special(text: str) -> None:
    one = sample(("user", text), ("assistant", text, True))
    encoded = encode(one, TOKENIZER, InputLayout(in_sequence=False))
    special = {TOKENIZER.pad_id, *NAMES}
    assert not special & set(encoded.prompt.ids[:-1])
    assert not special & set(encoded.target.ids[:-1])
    assert TOKENIZER.decode(encoded.prompt.ids[:-1]) == text
    assert TOKENIZER.decode(encoded.target.ids[:-1]) == text


def test_a_picture_in_an_answer_is_refused() -> None:
    with pytest.raises(DataError, match="sample 's': the answer contains an image"):
        encode(sample(("user", "draw"), ("assistant", picture("a"), True)), TOKENIZER, LAYOUT)


def test_the_marks_of_a_picture_may_share_one_position():
    stretch = Stretch()
    stretch.add([7, 7, 7], item=0, one_position=True)
    stretch.add([1, 2])
    assert stretch.step == [0, 0, 1, 1, 1]
    assert stretch.span == 3
    assert len(stretch) == 5
    (row,) = stretch_rows([stretch], [4], [[0]])
    assert row.positions == [4, 4, 4, 5, 6]
