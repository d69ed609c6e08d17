"""Text to ids and back: byte-level BPE, learnt from the run's own texts, in which nothing a user types is special.

Neural Machine Translation of Rare Words with Subword Units (Sennrich et al. 2016, arXiv:1508.07909), on bytes as in
Language Models are Unsupervised Multitask Learners (Radford et al. 2019). Differs from it: digits and Han characters
are never merged, marks belong to the letters that they follow, and every text gets one space in front, so that a word
is the same token at the start of an answer as inside a sentence.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from sightweave.core.errors import CheckpointError, DataError, RecipeError

SPECIAL = ("<|pad|>", "<|end|>", "<|image|>", "<|assistant|>", "<|user|>")
"""Tokens outside the text; their ids follow the last id of the BPE, in this order."""
FILE_NAME = "tokenizer.json"
_HAN = r"\p{Han}"
# Runs are cut at 64 characters: the time to learn merges grows with the square of a run's length.
_WORDS = (
    r"'(?:s|t|re|ve|m|ll|d)| ?[\p{L}\p{M}]{1,64}| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]{1,64}|\s{1,64}(?!\S)|\s{1,64}"
)
_MAX_FILE_BYTES = 256 << 20


class Tokenizer:
    """Encodes any text exactly: ``decode(encode(text)) == text``.

    The special tokens are not known to the BPE: where a text spells one out, it is read letter by letter. Only code
    that lays out a prompt puts their ids in.

    Args:
        bpe: A byte-level BPE of the Rust library ``tokenizers``, without added tokens.
    """

    def __init__(self, bpe: tokenizers.Tokenizer) -> None:
        self._bpe = bpe
        base = bpe.get_vocab_size(with_added_tokens=False)
        self.pad_id, self.end_id, self.image_id, self.assistant_id, self.user_id = range(
            base, base + len(SPECIAL)
        )
        self.vocab_size = base + len(SPECIAL)
        to_byte = {letter: byte for byte, letter in enumerate(_alphabet())}
        self._bytes = [b""] * self.vocab_size
        for token, index in bpe.get_vocab(with_added_tokens=False).items():
            self._bytes[index] = bytes(to_byte[letter] for letter in token)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, min_frequency: int = 2) -> Tokenizer:
        """Learns the merges.

        Args:
            texts: Every word that is to become one token should be in them, with a space or a start before it.
            vocab_size: Ids at most, the 256 bytes and the special tokens included; fewer where texts are few.
            min_frequency: How often a pair must occur to be merged.

        Raises:
            RecipeError: `vocab_size` has no room for the bytes and the special tokens.
            DataError: a text holds half a surrogate pair.
        """
        least = 256 + len(SPECIAL)
        if vocab_size < least:
            raise RecipeError(
                f"vocab_size: 256 bytes and {len(SPECIAL)} special tokens need {least} ids (got {vocab_size})."
            )
        bpe = tokenizers.Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(_HAN), "isolated"),
                pre_tokenizers.Split(tokenizers.Regex(_WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        bpe.decoder = tokenizers.decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - len(SPECIAL),
            min_frequency=min_frequency,
            show_progress=False,
            initial_alphabet=sorted(_alphabet()),
        )
        bpe.train_from_iterator((" " + _checked(text) for text in texts), trainer)
        return cls(bpe)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, one space put in front; never a special id.

        Raises:
            DataError: the text holds half a surrogate pair.
        """
        return list(self._bpe.encode(" " + _checked(text), add_special_tokens=False).ids)

    def word_ids(self, word: str) -> list[int]:
        """Ids of a word as it stands inside a sentence; one id where the word was frequent in training."""
        return self.encode(word)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids: special ids are left out, and so are bytes that make no character.

        Raises:
            DataError: an id outside the vocabulary.
        """
        if ids and (min(ids) < 0 or max(ids) >= self.vocab_size):
            self.token_bytes(min(ids))
            self.token_bytes(max(ids))
        text = b"".join([self._bytes[index] for index in ids]).decode("utf-8", "ignore")
        return text.removeprefix(" ")

    def token_bytes(self, token_id: int) -> bytes:
        """UTF-8 bytes of one token, perhaps part of a character; empty for a special token.

        Raises:
            DataError: an id outside the vocabulary.
        """
        if not 0 <= token_id < self.vocab_size:
            raise DataError(f"token id {token_id} is outside the vocabulary of {self.vocab_size}.")
        return self._bytes[token_id]

    def to_plain(self) -> dict[str, Any]:
        """The library's own form, in which the special tokens are named: what ``tokenizer.json`` holds."""
        content: dict[str, Any] = json.loads(self._bpe.to_str())
        content["added_tokens"] = [_added(text, self.pad_id + index) for index, text in enumerate(SPECIAL)]
        return content

    def save(self, folder: Path | str) -> None:
        """Writes ``tokenizer.json``."""
        path = Path(folder) / FILE_NAME
        path.write_text(json.dumps(self.to_plain(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | str) -> Tokenizer:
        """Reads what `save` wrote.

        Raises:
            CheckpointError: no such file, not JSON, or not a tokenizer of this kind.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; a trained model's folder holds it.")
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise CheckpointError(
                f"{path}: {path.stat().st_size} bytes; a tokenizer may have {_MAX_FILE_BYTES}."
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            added = [(token["content"], token["id"]) for token in content.pop("added_tokens")]
            # Without them the library can never take a user's text for a special token.
            bpe = tokenizers.Tokenizer.from_str(json.dumps(content | {"added_tokens": []}))
            result = cls(bpe)
        except Exception as error:  # the Rust library raises bare exceptions
            raise CheckpointError(
                f"{path}: not a tokenizer of Sightweave's: {type(error).__name__}: {error}"
            ) from None
        expected = [(text, result.pad_id + index) for index, text in enumerate(SPECIAL)]
        if added != expected:
            raise CheckpointError(f"{path}: special tokens are {added}, expected {expected}.")
        return result


class StreamDecoder:
    """Turns ids into text one by one, holding bytes back until their character is whole.

    It never says U+FFFD unless that character itself was encoded. The one space in front is dropped.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._is_start = True

    def push(self, token_id: int) -> str:
        """The text that became certain with this token, perhaps empty."""
        return self._strip(self._decoder.decode(self._tokenizer.token_bytes(token_id)))

    def close(self) -> str:
        """What is left at the end; half a character is dropped."""
        return self._strip(self._decoder.decode(b"", final=True))

    def _strip(self, text: str) -> str:
        if text and self._is_start:
            self._is_start = False
            return text.removeprefix(" ")
        return text


def _alphabet() -> Iterator[str]:
    """The letter that stands for each byte: itself where it is printable Latin-1, else one from U+0100 on."""
    spare = 256
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255:
            yield chr(byte)
        else:
            yield chr(spare)
            spare += 1


def _checked(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise DataError(
            f"text holds half a surrogate pair ({half!a} at character {error.start}), which is no character; remove it."
        ) from None
    return text


def _added(text: str, token_id: int) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": text, **plain, "special": True}
