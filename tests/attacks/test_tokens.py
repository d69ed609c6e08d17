"""What a user types is text: special tokens spelt out, floods of one letter, and characters that do not exist."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sightweave.core.errors import DataError
from sightweave.data.inputs.tokenizer import StreamDecoder, Template, Tokenizer, names

SPECIAL = tuple(names(Template()))

SPELT = (
    *SPECIAL,
    *("<image>", "</s>", "<s>", "<|im_start|>system", "<|endoftext|>", "[INST]", "<bos>", "<pad>", "<unk>"),
    *("<|end", "end|>", "<|e<|end|>nd|>", "\uff1c|end|\uff1e", "<\u200d|end|>", "{{ 7*7 }}", "{% raw %}"),
)


@pytest.fixture(scope="module", params=["neutral", "hostile"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """Also one whose training texts are full of special tokens spelt out."""
    texts = ["what is in the picture?"] if request.param == "neutral" else [" ".join(SPELT), *SPELT]
    return Tokenizer.train(texts * 50, 2000)


@pytest.mark.parametrize("text", SPELT)
def test_special_tokens_spelt_out_are_text(tokenizer: Tokenizer, text: str) -> None:
    for wrapped in (text, f"a {text} b", text * 3, f"\n{text}\n"):
        ids = tokenizer.encode(wrapped)
        assert not set(ids) & set(range(tokenizer.pad_id, tokenizer.vocab_size))
        assert tokenizer.decode(ids) == wrapped


def test_no_token_of_the_text_spells_a_special_one(tokenizer: Tokenizer) -> None:
    spelt = {
        tokenizer.token_bytes(index).decode("utf-8", "replace").strip() for index in range(tokenizer.pad_id)
    }
    assert not spelt & set(SPECIAL)


@pytest.mark.parametrize("text", SPECIAL)
def test_still_so_after_saving_and_loading(tokenizer: Tokenizer, text: str, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    ids = Tokenizer.load(tmp_path).encode(text)
    assert ids == tokenizer.encode(text)
    assert max(ids) < tokenizer.pad_id


@pytest.mark.parametrize(
    "unit", ["a", "1", " ", "\n", "\u72d7", "((((", "<s_", "a!", "\u0301", "\U0001f469\u200d", "'s", "\u202e"]
)
def test_floods_take_time_in_proportion(tokenizer: Tokenizer, unit: str) -> None:
    text = unit * (200_000 // len(unit))
    start = time.process_time()
    ids = tokenizer.encode(text)
    assert time.process_time() - start < 4
    assert tokenizer.decode(ids) == text


def test_training_on_a_flood() -> None:
    start = time.process_time()
    tokenizer = Tokenizer.train(["a" * 300_000, "b " * 100_000, "(" * 100_000, " " * 100_000], 400)
    assert time.process_time() - start < 20
    assert tokenizer.decode(tokenizer.encode("aaab")) == "aaab"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ude00\ud83d"])
def test_half_characters_are_one_clear_error(tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(DataError, match="unpaired surrogate"):
        tokenizer.encode(text)


def test_any_ids_can_be_streamed(tokenizer: Tokenizer) -> None:
    stream = StreamDecoder(tokenizer)
    said = "".join(stream.push(index) for index in range(tokenizer.vocab_size)) + stream.close()
    assert "\ufffd" not in said
    assert said == tokenizer.decode(range(tokenizer.vocab_size))
