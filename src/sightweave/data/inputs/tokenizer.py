"""Text to ids and back: byte-level BPE, learnt from the run's own texts, in which nothing a user types is special.

Neural Machine Translation of Rare Words with Subword Units (Sennrich et al. 2016, arXiv:1508.07909), on bytes as in
Language Models are Unsupervised Multitask Learners (Radford et al. 2019). Differs from it: digits and Han characters
are never merged, marks belong to the letters that they follow, and every text gets one space in front, so that a word
is the same token at the start of an answer as inside a sentence. `pretrained_tokenizer` gives one that a checkpoint
brought along, of any kind that the Rust library knows.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tokenizers
from pydantic import Field
from tokenizers import models, pre_tokenizers, trainers

from sightweave.core import bounded, files
from sightweave.core.bounded import UnreadableError
from sightweave.core.config import config
from sightweave.core.errors import CheckpointError, DataError, RecipeError
from sightweave.data.inputs.chat import Chat, Written

FILE_NAME = "tokenizer.json"
_HAN = r"\p{Han}"
# Runs are cut at 64 characters: the time to learn merges grows with the square of a run's length.
_WORDS = (
    r"'(?:s|t|re|ve|m|ll|d)| ?[\p{L}\p{M}]{1,64}| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]{1,64}|\s{1,64}(?!\S)|\s{1,64}"
)
_MAX_FILE_BYTES = 256 << 20
HIDDEN = "\ufdd0"
"""A noncharacter, which no text has: what begins with it is found by code alone."""
TOKEN_NAME = re.compile(r"<[^<>\s]+>")
"""How special tokens are written in a template."""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_WORD_MARK = "\u2581"
"""What SentencePiece writes for a space."""
_KNOWN_TEXTS = 1 << 14
"""Texts whose ids a tokenizer remembers at most: 10 to 20 MB."""
_KNOWN_LETTERS = 500
"""Of a text that is remembered."""


_Words = Annotated[str, Field(max_length=4096)]


@config
class Template:
    """What stands around the texts of a conversation: strings in which special tokens are named, as only code may do.

    ::

        start picture text speak answer end again text speak answer end

    A checkpoint's own chat template writes turns by itself (`chat`). Then `start`, `speak` and `again` say what it writes
    around a plain question, for programs that cannot render it.
    """

    pad: _Words = "<|pad|>"
    """Padding token."""
    end: _Words = "<|end|>"
    """Token that ends an answer."""
    image: _Words = "<|image|>"
    """Placeholder token for each image embedding."""
    start: _Words = ""
    """Text before everything, including the opening of the first user turn."""
    before_image: _Words = ""
    """Text before the tokens of an image."""
    after_image: _Words = ""
    """Text after the tokens of an image."""
    speak: _Words = "<|assistant|>"
    """Text that ends the user turn and starts the answer."""
    again: _Words = "<|user|>"
    """Text that starts the next user turn after an answer."""
    begin: _Words = ""
    """First token of the decoder in an encoder-decoder; empty means the last token of `speak`."""
    space: bool = True
    """Whether to put a space before each text, so that a word is the same token everywhere."""
    chat: str = ""
    """Jinja chat template that renders all turns; empty means that the texts above do."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """Special tokens by their names in the chat template, such as ``bos_token``."""
    lists: bool = False
    """Whether the chat template takes a turn as a list of texts and images rather than as one text."""
    shows: bool = False
    """Whether the chat template writes the image token itself."""
    lead: str = ""
    """Text that the template puts before an answer and the model must generate, such as a space."""
    first: str = ""
    """Special tokens at the start that the chat template leaves to the processor."""


FRAMED = Template(
    image="<image>",
    before_image="<fake_token_around_image><global-img>",
    after_image="<fake_token_around_image>",
)
"""With the tokens that Idefics3 (arXiv:2408.12637) has around a picture."""


def special_tokens(rust: tokenizers.Tokenizer) -> dict[str, int]:
    """Names and ids of special tokens: those that were added, and pieces that are hidden behind `HIDDEN`."""
    added = {
        token.content: index for index, token in rust.get_added_tokens_decoder().items() if token.special
    }
    hidden = {
        piece.removeprefix(HIDDEN): index
        for piece, index in rust.get_vocab().items()
        if piece.startswith(HIDDEN)
    }
    return added | hidden


def names(template: Template) -> list[str]:
    """The special tokens in the words of a template, each once; a chat template needs only those of rows and pictures."""
    fields = ["pad", "end", "image", "before_image", "after_image"]
    if not template.chat:
        fields += ["start", "speak", "again", "begin"]
    words = [getattr(template, name) for name in fields]
    return list(dict.fromkeys(name for word in words for name in TOKEN_NAME.findall(word)))


@dataclass(frozen=True, slots=True)
class Section:
    """A special token of a rendered conversation, or the text between two of them."""

    start: int
    end: int
    special: int | None = None
    """Id of the special token; None for a text."""


class Tokenizer:
    """Encodes text, in which nothing is special: where it spells a special token out, that is read letter by letter.

    Only code that lays out a prompt puts special ids in. One that `train` made encodes any text exactly:
    ``decode(encode(text)) == text``.

    Args:
        rust: A tokenizer of the Rust library ``tokenizers``; its special tokens are in it as added tokens.
        template: What stands around texts.
        vocab_size: Ids that the model must know; None means those that there are tokens for.

    Raises:
        CheckpointError: the template names a token that the vocabulary does not have.
    """

    def __init__(
        self,
        rust: tokenizers.Tokenizer,
        template: Template | None = None,
        *,
        vocab_size: int | None = None,
    ) -> None:
        self.template = template or Template()
        self._rust = rust
        rust.encode_special_tokens = True
        self._known: dict[str, tuple[int, ...]] = {}
        self._special = special_tokens(rust)
        self.chat = _chat(self.template)
        """The checkpoint's own chat template; None where the words of `template` mark the turns."""
        self._pattern = _pattern(rust, self._special)
        self.vocab_size = vocab_size or rust.get_vocab_size()
        self._bytes = _bytes_of_tokens(rust, self._special.values(), self.vocab_size)
        # A tokenizer in SentencePiece's way puts a space in front of texts by itself.
        self._drops_space = self.template.space or not _is_byte_level(rust)
        self.pad_id, self.end_id, self.image_id = (
            self._one(getattr(self.template, name)) for name in ("pad", "end", "image")
        )
        self.start_ids, self.before_image_ids, self.after_image_ids, self.speak_ids, self.again_ids = (
            self.marked_ids(getattr(self.template, name))
            for name in ("start", "before_image", "after_image", "speak", "again")
        )
        self.first_ids = self.marked_ids(self.template.first)
        # An answer's first letters are read as the tokens that they are behind the words that ask for it.
        speak = self._sections(self.template.speak)
        self._asking = self.template.speak[speak[-1].start :] if speak and speak[-1].special is None else ""
        self.begin_id = (
            self._one(self.template.begin) if self.template.begin else [self.end_id, *self.speak_ids][-1]
        )
        # Special tokens are no part of a decoded text.
        self.lead = "".join(
            self.template.lead[section.start : section.end]
            for section in self._sections(self.template.lead)
            if section.special is None
        )
        """What decoded answers begin with and are given without."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the Rust object reads special tokens in texts; the constructor puts the guard back.
        return _again, (type(self), self._rust, self.template, self.vocab_size)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        min_frequency: int = 2,
        template: Template | None = None,
    ) -> Tokenizer:
        """Learns the merges.

        Args:
            texts: Every word that is to become one token should be in them, with a space or a start before it.
            vocab_size: Ids at most, the 256 bytes and the special tokens included; fewer where texts are few.
            min_frequency: How often a pair must occur to be merged.
            template: What stands around texts; its special tokens follow the last id.

        Raises:
            RecipeError: `vocab_size` has no room for the bytes and the special tokens.
            DataError: a text holds half a surrogate pair.
        """
        special = names(template or Template())
        least = 256 + len(special)
        if vocab_size < least:
            raise RecipeError(
                f"vocab_size: 256 bytes and {len(special)} special tokens need {least} ids (got {vocab_size})."
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
            vocab_size=vocab_size - len(special),
            min_frequency=min_frequency,
            show_progress=False,
            initial_alphabet=sorted(_alphabet()),
        )
        bpe.train_from_iterator((" " + _checked(text) for text in texts), trainer)
        bpe.add_special_tokens(special)
        return cls(bpe, template)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, one space put in front where the template says so; never a special id.

        Raises:
            DataError: the text holds half a surrogate pair.
        """
        return self._ids(text, space=self.template.space)

    def word_ids(self, word: str) -> list[int]:
        """Ids of a word as it stands inside a sentence; one id where the word was frequent in training."""
        return self._ids(word, space=self.template.space or not self._drops_space)

    def marked_ids(self, text: str) -> list[int]:
        """Ids of a string of the template, in which special tokens are special.

        Raises:
            CheckpointError: it names a token, as ``<...>``, that the vocabulary does not have.
        """
        ids: list[int] = []
        for section in self._sections(text):
            piece = text[section.start : section.end]
            if section.special is not None:
                ids.append(section.special)
                continue
            name = TOKEN_NAME.search(piece)
            if name is not None and self.chat is None:  # a chat template may write anything
                self._one(name[0])
            ids += self._ids(piece)
        return ids

    def sections(self, written: Written) -> list[Section]:
        """Special tokens and texts of a rendered conversation; what was said in it is text, whatever it spells."""
        return self._sections(written.text, [(one.start, one.end) for one in written.said])

    def _sections(self, text: str, said: Sequence[tuple[int, int]] = ()) -> list[Section]:
        found: list[Section] = []
        place = 0
        for match in self._pattern.finditer(text):
            name = match.lastgroup or ""
            start, end = match.span(name)
            if any(start < stop and end > begin for begin, stop in said):
                continue
            if match.start() > place:
                found.append(Section(place, match.start()))
            found.append(Section(match.start(), match.end(), self._special[match[name]]))
            place = match.end()
        if len(text) > place:
            found.append(Section(place, len(text)))
        return found

    def text_ids(self, text: str) -> list[int]:
        """Ids of a text as it stands, in which nothing is special.

        Raises:
            DataError: the text holds half a surrogate pair.
        """
        return self._ids(text)

    def ids_and_letters(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The same, and the places of the letters that each id stands for: the first, and that behind the last.

        Raises:
            DataError: the text holds half a surrogate pair.
        """
        encoding = self._rust.encode(_checked(text), add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def answer_ids(self, text: str) -> list[int]:
        """Ids of an answer as the model writes it: behind the words that ask for it, up to the end token.

        Raises:
            DataError: the text holds half a surrogate pair.
        """
        if self.chat is None:
            return [*self.encode(text), self.end_id]
        before = self._ids(self._asking)
        whole = self._ids(self._asking + self.template.lead + text)
        if whole[: len(before)] != before:  # the two share a token, which the prompt does not have
            whole, before = self._ids(self.template.lead + text), []
        return [*whole[len(before) :], self.end_id]

    def _ids(self, text: str, *, space: bool = False) -> list[int]:
        whole = " " * space + text
        if whole in self._known:
            return list(self._known[whole])
        ids = self._rust.encode(" " * space + _checked(text), add_special_tokens=False).ids
        # Questions come again: with other pictures, in another pass of an evaluation, in another epoch.
        if len(whole) <= _KNOWN_LETTERS:
            if len(self._known) >= _KNOWN_TEXTS:
                self._known.clear()
            self._known[whole] = tuple(ids)
        return list(ids)

    def _one(self, token: str) -> int:
        """The id of a special token.

        Raises:
            CheckpointError: there is none of that name.
        """
        if token not in self._special:
            raise CheckpointError(
                f"the tokenizer has no special token {token!r}; it has {sorted(self._special)}."
            )
        return self._special[token]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids: special ids are left out, and so are bytes that make no character.

        Raises:
            DataError: an id outside the vocabulary.
        """
        if ids and (min(ids) < 0 or max(ids) >= self.vocab_size):
            self.token_bytes(min(ids))
            self.token_bytes(max(ids))
        text = b"".join([self._bytes[index] for index in ids]).decode("utf-8", "ignore")
        return self.without_space(text)

    def without_space(self, text: str) -> str:
        """A text from its first letter on: without what encoding, or the chat template, puts in front of an answer."""
        if self.lead and text.startswith(self.lead):
            return text.removeprefix(self.lead)
        return text.removeprefix(" ") if self._drops_space else text

    def token_bytes(self, token_id: int) -> bytes:
        """UTF-8 bytes of one token, perhaps part of a character; empty for a special token.

        Raises:
            DataError: an id outside the vocabulary.
        """
        if not 0 <= token_id < self.vocab_size:
            raise DataError(f"token id {token_id} is outside the vocabulary of {self.vocab_size}.")
        return self._bytes[token_id]

    def token(self, token_id: int) -> str:
        """The token of an id as the library names it.

        Raises:
            DataError: there is none.
        """
        found = next((name for name, index in self._special.items() if index == token_id), None)
        found = found or self._rust.id_to_token(token_id)
        if found is None:
            raise DataError(
                f"token id {token_id} has no token; the vocabulary has {self._rust.get_vocab_size()} tokens."
            )
        return str(found)

    def to_plain(self) -> dict[str, Any]:
        """The library's own form, in which the special tokens are named: what ``tokenizer.json`` holds."""
        content: dict[str, Any] = json.loads(self._rust.to_str())
        return content

    def save(self, folder: Path | str) -> None:
        """Writes ``tokenizer.json``."""
        path = Path(folder) / FILE_NAME
        files.write_text(path, json.dumps(self.to_plain(), ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(
        cls, folder: Path | str, template: Template | None = None, vocab_size: int | None = None
    ) -> Tokenizer:
        """Reads what `save` wrote.

        Raises:
            CheckpointError: no such file, not JSON, not a tokenizer, or not one that this template is for.
        """
        path = Path(folder) / FILE_NAME
        content = read_file(path)
        if not isinstance(content.get("added_tokens"), list):
            raise CheckpointError(f"{path}: not a tokenizer: it has no added_tokens.")
        try:
            return cls(from_plain(content), template, vocab_size=vocab_size)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None
        except Exception as error:  # the Rust library raises bare exceptions
            raise CheckpointError(f"{path}: not a tokenizer: {type(error).__name__}: {error}") from None


def read_file(path: Path) -> dict[str, Any]:
    """The JSON object in a tokenizer.json.

    Raises:
        CheckpointError: no such file, too large a one, or no JSON object.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: file not found; the folder of a trained model contains it.")
    try:
        content = bounded.parsed(path, most=_MAX_FILE_BYTES)
    except UnreadableError as error:
        raise CheckpointError(f"{path}: not a tokenizer: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path}: not a tokenizer: expected a JSON object (got {type(content).__name__})."
        )
    return content


def from_plain(content: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """The library's object from its own form; whatever the library finds wrong with it is raised as it comes.

    Texts are neither cut nor filled by it: rows are laid out elsewhere, and a file could ask for any length.
    """
    return tokenizers.Tokenizer.from_str(json.dumps({**content, "truncation": None, "padding": None}))


def _again(
    kind: type[Tokenizer], rust: tokenizers.Tokenizer, template: Template, vocab_size: int
) -> Tokenizer:
    """What was pickled or copied."""
    return kind(rust, template, vocab_size=vocab_size)


class StreamDecoder:
    """Turns ids into text one by one, holding bytes back until their character is whole.

    It never says U+FFFD unless that character itself was encoded. The one space in front is dropped.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._start: str | None = ""
        """What is held back since it may be what stands before an answer; None once the answer has begun."""

    def push(self, token_id: int) -> str:
        """The text that became certain with this token, perhaps empty."""
        return self._strip(self._decoder.decode(self._tokenizer.token_bytes(token_id)))

    def close(self) -> str:
        """What is left at the end; half a character is dropped."""
        rest = self._decoder.decode(b"", final=True)
        if self._start is None:
            return rest
        return self._tokenizer.without_space(self._start + rest)

    def fork(self) -> StreamDecoder:
        """Another one that continues from here."""
        forked = StreamDecoder(self._tokenizer)
        forked._decoder.setstate(self._decoder.getstate())
        forked._start = self._start
        return forked

    def _strip(self, text: str) -> str:
        if self._start is None:
            return text
        start = self._start + text
        lead = self._tokenizer.lead
        if len(start) < max(1, len(lead)) and lead.startswith(start):
            self._start = start
            return ""
        self._start = None
        return self._tokenizer.without_space(start)


def _chat(template: Template) -> Chat | None:
    """The chat template of a template.

    Raises:
        CheckpointError: it is not valid Jinja.
    """
    if not template.chat:
        return None
    try:
        return Chat(
            template.chat,
            template.tokens,
            lists=template.lists,
            shows=template.shows,
            image=template.image,
        )
    except DataError as error:
        raise CheckpointError(str(error)) from None


def _pattern(rust: tokenizers.Tokenizer, special: Mapping[str, int]) -> re.Pattern[str]:
    """Finds special tokens; some of them take the white space beside them along, as they do in the Rust library."""
    added = {token.content: token for token in rust.get_added_tokens_decoder().values()}
    choices, firsts = [], set()
    for number, name in enumerate(sorted(special, key=len, reverse=True)):
        token = added.get(name)
        before = r"\s*" if token is not None and token.lstrip else ""
        after = r"\s*" if token is not None and token.rstrip else ""
        choices.append(f"{before}(?P<_{number}>{re.escape(name)}){after}")
        firsts |= {r"\s", re.escape(name[:1])} if before else {re.escape(name[:1])}
    if not choices:
        return re.compile("(?!)")
    # There may be thousands of them, and few letters that one can begin with.
    return re.compile(f"(?=[{''.join(sorted(firsts))}])(?:{'|'.join(choices)})")


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
            f"the text contains an unpaired surrogate ({half!a} at character {error.start}); remove it."
        ) from None
    return text


def _is_byte_level(rust: tokenizers.Tokenizer) -> bool:
    return isinstance(rust.decoder, tokenizers.decoders.ByteLevel)


def _bytes_of_tokens(rust: tokenizers.Tokenizer, special: Iterable[int], vocab_size: int) -> list[bytes]:
    """What each id adds to a text; nothing for special tokens and for ids without a token."""
    found = [b""] * vocab_size
    to_byte = {letter: byte for byte, letter in enumerate(_alphabet())} if _is_byte_level(rust) else None
    joins_words = isinstance(rust.decoder, tokenizers.decoders.WordPiece)
    added = {token.content for token in rust.get_added_tokens_decoder().values()}
    for token, index in rust.get_vocab(with_added_tokens=True).items():
        if token in added:  # as it is written; the special ones are taken out below
            found[index] = token.encode()
        elif to_byte is not None:
            found[index] = bytes(to_byte[letter] for letter in token)
        elif joins_words:
            found[index] = (token[2:] if token.startswith("##") else f" {token}").encode()
        elif match := _BYTE_TOKEN.fullmatch(token):
            found[index] = bytes([int(match[1], 16)])
        else:
            found[index] = token.replace(_WORD_MARK, " ").encode()
    for index in special:
        found[index] = b""
    return found
