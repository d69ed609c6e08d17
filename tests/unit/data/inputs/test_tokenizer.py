"""Any text survives the way to ids and back, and nothing in it is special."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sightweave
from sightweave.core.errors import CheckpointError, DataError, RecipeError
from sightweave.data.inputs import tokenizer as tokenizer_module
from sightweave.data.inputs.tokenizer import StreamDecoder, Template, Tokenizer, names

SPECIAL = tuple(names(Template()))

TEXTS = [
    "The red dog sits left of the blue car, and it's small.",
    "Der rote Hund sitzt links neben dem Auto.",
    "Le chien rouge est \u00e0 c\u00f4t\u00e9 de la voiture.",
    "\u7ea2\u8272\u7684\u72d7\u5750\u5728\u8f66\u7684\u5de6\u8fb9\u3002",
    "How many dogs are there? 3 dogs, 12 cars.",
] * 5


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, 700)


ODD_TEXTS = (
    *(
        "",
        " ",
        "  two",
        "end ",
        "\n\nlines\r\n\ttab",
        "\x00\x07\x1b\x7f\x85",
        "\ufeffmark",
        "\ufffd",
        "\u200d\u200b",
    ),
    *(
        "\U0001f469\u200d\U0001f469\u200d\U0001f467",
        "\u05e9\u05dc\u05d5\u05dd \u202eabc",
        "e\u0301\u0301\u0301",
        "\U0002a6df",
    ),
    *("<image>", "<|image|>", "<|end|>", "a<|pad|><|user|>b", "\u0120", "don't 3.14 C3PO"),
)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_texts_come_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert max(ids) < tokenizer.pad_id


@settings(max_examples=400, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("\u200f\U0001f1e9\U0001f1ea<|end|>")
def test_every_text_comes_back(text: str) -> None:
    tokenizer = SHARED
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(0 <= index < tokenizer.pad_id for index in ids)
    stream = StreamDecoder(tokenizer)
    assert "".join([*map(stream.push, ids), stream.close()]) == text


SHARED = Tokenizer.train(TEXTS, 500)


def test_half_a_surrogate_pair_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"unpaired surrogate \('\\ud800' at character 3\)"):
        tokenizer.encode("abc\ud800")
    with pytest.raises(DataError, match="surrogate"):
        Tokenizer.train(["\udfff"], 300)


def test_special_ids_follow_the_text_ids(tokenizer: Tokenizer) -> None:
    specials = [
        tokenizer.pad_id,
        tokenizer.end_id,
        tokenizer.image_id,
        tokenizer.speak_ids[0],
        tokenizer.again_ids[0],
    ]
    assert specials == list(range(tokenizer.vocab_size - 5, tokenizer.vocab_size))
    assert tokenizer.decode([*specials, *tokenizer.encode("dog"), *specials]) == "dog"


def test_frequent_words_are_one_token_wherever_they_stand(tokenizer: Tokenizer) -> None:
    for word in ("dog", "red", "Hund", "voiture", "3", "\u72d7"):
        ids = tokenizer.word_ids(word)
        assert len([index for index in ids if tokenizer.token_bytes(index) != b" "]) == 1
    (dog,) = tokenizer.word_ids("dog")
    assert tokenizer.encode("dog sits")[0] == dog
    assert dog in tokenizer.encode("the dog sits")
    assert tokenizer.token_bytes(dog) == b" dog"


def test_digits_and_han_characters_stand_alone() -> None:
    tokenizer = Tokenizer.train(["2024 \u7ea2\u8272\u7684\u72d7"] * 50, 600)
    pieces = [
        tokenizer.token_bytes(index).decode() for index in tokenizer.encode("2024 \u7ea2\u8272\u7684\u72d7")
    ]
    assert pieces == [" 2", "0", "2", "4", " ", "\u7ea2", "\u8272", "\u7684", "\u72d7"]


def test_marks_stay_with_their_letters() -> None:
    tokenizer = Tokenizer.train(["\u0939\u093f\u0928\u094d\u0926\u0940"] * 50, 600)
    assert len(tokenizer.encode("\u0939\u093f\u0928\u094d\u0926\u0940")) == 1


def test_the_size_is_kept_and_a_small_one_refused() -> None:
    assert Tokenizer.train(TEXTS, 300).vocab_size == 300
    assert Tokenizer.train(["a"], 5000).vocab_size == 261
    assert Tokenizer.train([], 261).decode(Tokenizer.train([], 261).encode("any \u72d7")) == "any \u72d7"
    with pytest.raises(RecipeError, match=r"256 bytes and 5 special tokens need 261 ids \(got 260\)"):
        Tokenizer.train(TEXTS, 260)


def test_rare_pairs_are_not_merged() -> None:
    assert Tokenizer.train(["zebra"] * 3, 400, min_frequency=4).vocab_size == 261
    assert Tokenizer.train(["zebra"] * 3, 400, min_frequency=3).vocab_size > 261


def test_saved_and_loaded(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.vocab_size == tokenizer.vocab_size
    assert loaded.again_ids == tokenizer.again_ids
    for text in (*TEXTS[:5], *ODD_TEXTS):
        assert loaded.encode(text) == tokenizer.encode(text)
    loaded.save(tmp_path / ".")
    assert Tokenizer.load(tmp_path).encode("<|end|>") == tokenizer.encode("<|end|>")


def test_the_file_is_the_librarys_own_and_names_the_special_tokens(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path)
    raw = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert raw.encode(" the red dog").ids == tokenizer.encode("the red dog")
    assert [raw.token_to_id(text) for text in SPECIAL] == list(range(tokenizer.pad_id, tokenizer.vocab_size))
    assert raw.get_vocab_size() == tokenizer.vocab_size


def test_damaged_files_are_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="file not found"):
        Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for broken in ("", "{", "[]", "{}", '{"added_tokens": 3}', path.read_text(encoding="utf-8")[:-400]):
        path.write_text(broken, encoding="utf-8")
        with pytest.raises(CheckpointError, match="not a tokenizer"):
            Tokenizer.load(tmp_path)
    content["added_tokens"].pop()
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"no special token .<\|user\|>."):
        Tokenizer.load(tmp_path)


def test_a_stream_never_shows_half_a_character(tokenizer: Tokenizer) -> None:
    text = "dog \U0001f469\u200d\U0001f467 \u72d7 \U0002a6df!"
    stream, said = StreamDecoder(tokenizer), []
    for index in tokenizer.encode(text):
        said.append(stream.push(index))
        assert "\ufffd" not in said[-1]
        assert text.startswith("".join(said))
    assert "".join(said) + stream.close() == text
    assert "" in said  # something was held back


def test_bytes_that_make_no_character_are_left_out(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("\U0001f469")
    assert tokenizer.decode(ids[:-1]) == ""
    assert tokenizer.decode([*ids[:-1], *tokenizer.encode("dog")]) == " dog"


def test_ids_outside_the_vocabulary_are_refused(tokenizer: Tokenizer) -> None:
    for index in (-1, tokenizer.vocab_size):
        with pytest.raises(
            DataError, match=f"token id {index} is outside the vocabulary of {tokenizer.vocab_size}"
        ):
            tokenizer.decode([index])


def test_training_gives_the_same_in_another_process() -> None:
    code = (
        "import json, sys; from sightweave.data.inputs.tokenizer import Tokenizer;"
        "texts = json.loads(sys.stdin.read()); print(Tokenizer.train(texts, 500).encode(' '.join(texts)))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(sightweave.__file__).parent.parent)}
    made = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    assert json.loads(made.stdout) == SHARED.encode(" ".join(TEXTS))


def test_work_grows_with_length_alone(tokenizer: Tokenizer) -> None:
    # Long runs are cut into pieces of 64 that are encoded apart, so a run of any length costs its pieces and no more.
    piece = tokenizer.encode("a" * 128)[len(tokenizer.encode("a" * 64)) :]
    assert tokenizer.encode("a" * 64_000) == tokenizer.encode("a" * 64) + piece * 999


def test_ids_that_are_remembered_are_nobodys_to_change(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tokenizer.encode("a red box")
    first.append(0)
    assert tokenizer.encode("a red box") == first[:-1]
    monkeypatch.setattr(tokenizer_module, "_KNOWN_TEXTS", 3)
    texts = [f"text {number}" for number in range(10)]
    expected = [tokenizer.encode(text) for text in texts]
    assert [tokenizer.encode(text) for text in texts] == expected
    assert len(tokenizer._known) <= 3
    monkeypatch.setattr(tokenizer_module, "_KNOWN_LETTERS", 4)
    tokenizer.encode("much longer than that")
    assert " much longer than that" not in tokenizer._known
