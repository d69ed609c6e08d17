"""Encodes and decodes text with byte-level BPE trained on the run's own texts; user text never becomes a special token.

Neural Machine Translation of Rare Words with Subword Units (Sennrich et al. 2016, arXiv:1508.07909), on bytes as in
Language Models are Unsupervised Multitask Learners (Radford et al. 2019). In contrast to the latter, digits and Han
characters are never merged, combining marks are treated as part of the preceding letter, and a space is put before every
text, so that a word is the same token at the start of an answer as inside a sentence. `pretrained_tokenizer` reads the
tokenizer of a checkpoint, which may be of any kind that the Rust library supports.
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
# Words are cut at 64 characters, because the time for learning merges grows with the square of a word's length.
_WORDS = (
    r"'(?:s|t|re|ve|m|ll|d)| ?[\p{L}\p{M}]{1,64}| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]{1,64}|\s{1,64}(?!\S)|\s{1,64}"
)
_MAX_FILE_BYTES = 256 << 20
HIDDEN = "\ufdd0"
"""A Unicode noncharacter, which never occurs in texts. Vocabulary pieces that start with it cannot be produced by a text."""
TOKEN_NAME = re.compile(r"<[^<>\s]+>")
"""Matches a special token in a template."""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_WORD_MARK = "\u2581"
"""SentencePiece's character for a space."""
_KNOWN_TEXTS = 1 << 14
"""Maximum number of texts whose ids a tokenizer caches, which takes 10 to 20 MB."""
_KNOWN_LETTERS = 500
"""Maximum length in characters of a cached text."""


_Words = Annotated[str, Field(max_length=4096)]


@config
class Template:
    """The strings around the texts of a conversation, which may contain the names of special tokens.

    They are used in this order::

        start image text speak answer end again text speak answer end

    If `chat` is set to a checkpoint's own chat template, that template renders the turns instead. `start`, `speak` and
    `again` are then the strings that it writes around a plain question, for programs that cannot render it.
    """

    pad: _Words = "<|pad|>"
    """Padding token."""
    end: _Words = "<|end|>"
    """Token that ends an answer."""
    image: _Words = "<|image|>"
    """Placeholder token for each image embedding."""
    start: _Words = ""
    """Text at the start of a conversation, including the start of the first user turn."""
    before_image: _Words = ""
    """Text before the placeholder tokens of an image."""
    after_image: _Words = ""
    """Text after the placeholder tokens of an image."""
    speak: _Words = "<|assistant|>"
    """Text that ends the user turn and starts the answer."""
    again: _Words = "<|user|>"
    """Text that starts each user turn after an answer."""
    begin: _Words = ""
    """First token of the decoder in an encoder-decoder model; empty means the last token of `speak`."""
    space: bool = True
    """Whether to put a space before each text, so that a word is the same token everywhere."""
    chat: str = ""
    """Jinja chat template that renders all turns; if it is empty, the strings above are used."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """Special tokens by their variable names in the chat template, such as ``bos_token``."""
    lists: bool = False
    """Whether the chat template expects the content of a turn as a list of parts rather than as one text."""
    shows: bool = False
    """Whether the chat template writes the image token itself."""
    lead: str = ""
    """Text that the chat template writes before an answer and that the model must generate, such as a space."""
    first: str = ""
    """Special tokens at the start of a conversation that the processor adds, rather than the chat template."""


FRAMED = Template(
    image="<image>",
    before_image="<fake_token_around_image><global-img>",
    after_image="<fake_token_around_image>",
)
"""A template with the tokens that Idefics3 (arXiv:2408.12637) puts around images."""


def special_tokens(rust: tokenizers.Tokenizer) -> dict[str, int]:
    """Ids of all special tokens by name: added special tokens, and pieces of the vocabulary that start with `HIDDEN`."""
    found: dict[str, int] = {}
    for index, token in rust.get_added_tokens_decoder().items():
        if token.special:
            found[token.content] = index
    for piece, index in rust.get_vocab().items():
        if piece.startswith(HIDDEN):
            found[piece.removeprefix(HIDDEN)] = index
    return found


def names(template: Template) -> list[str]:
    """The distinct special tokens in a template; with a chat template, only those for padding, the end and images."""
    fields = ["pad", "end", "image", "before_image", "after_image"]
    if not template.chat:
        fields += ["start", "speak", "again", "begin"]

    found: list[str] = []
    for field_name in fields:
        found += TOKEN_NAME.findall(getattr(template, field_name))
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Section:
    """A span of a rendered conversation: a special token, or the text between two special tokens."""

    start: int
    end: int
    special: int | None = None
    """Id of the special token; None if the section is a text."""


class Tokenizer:
    """Encodes texts without special tokens: a text that contains the name of one is encoded as ordinary characters.

    Special ids are only inserted by the code that builds prompts. A tokenizer made by `train` is lossless for any text:
    ``decode(encode(text)) == text``.

    Args:
        rust: A tokenizer of the Rust library ``tokenizers``, with its special tokens as added tokens.
        template: The strings around texts.
        vocab_size: Vocabulary size of the model; None means the number of tokens.

    Raises:
        CheckpointError: The template contains a special token that is not in the vocabulary.
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
        """The checkpoint's own chat template; None if the strings of `template` are used instead."""
        self._pattern = _pattern(rust, self._special)
        self.vocab_size = vocab_size or rust.get_vocab_size()
        self._bytes = _bytes_of_tokens(rust, self._special.values(), self.vocab_size)
        # A SentencePiece tokenizer itself adds a space before texts.
        self._drops_space = self.template.space or not _is_byte_level(rust)

        # Encode the template's strings.
        self.pad_id = self._one(self.template.pad)
        self.end_id = self._one(self.template.end)
        self.image_id = self._one(self.template.image)
        self.start_ids = self.marked_ids(self.template.start)
        self.before_image_ids = self.marked_ids(self.template.before_image)
        self.after_image_ids = self.marked_ids(self.template.after_image)
        self.speak_ids = self.marked_ids(self.template.speak)
        self.again_ids = self.marked_ids(self.template.again)
        self.first_ids = self.marked_ids(self.template.first)

        # The start of an answer is tokenized together with the text directly before it.
        speak = self._sections(self.template.speak)
        self._asking = self.template.speak[speak[-1].start :] if speak and speak[-1].special is None else ""
        if self.template.begin:
            self.begin_id = self._one(self.template.begin)
        else:
            self.begin_id = [self.end_id, *self.speak_ids][-1]

        # Decoded text contains no special tokens.
        lead = self.template.lead
        texts = [section for section in self._sections(lead) if section.special is None]
        self.lead = "".join([lead[section.start : section.end] for section in texts])
        """Text that is removed from the start of decoded answers."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A copied Rust object would encode special tokens in texts again; the constructor turns this off.
        return _again, (type(self), self._rust, self.template, self.vocab_size)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        min_frequency: int = 2,
        template: Template | None = None,
    ) -> Tokenizer:
        """Trains a tokenizer on texts.

        Args:
            texts: Training texts. Words are learnt with the space before them; one is put before each text.
            vocab_size: Maximum vocabulary size, including the 256 bytes and the special tokens. With little text, the
                vocabulary is smaller.
            min_frequency: Minimum frequency of a pair to be merged.
            template: The strings around texts; its special tokens get the last ids.

        Raises:
            RecipeError: `vocab_size` is too small for the bytes and the special tokens.
            DataError: A text contains an unpaired surrogate.
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
        """Encodes a text, with a space before it if the template requires one; never returns special ids.

        Raises:
            DataError: The text contains an unpaired surrogate.
        """
        return self._ids(text, space=self.template.space)

    def word_ids(self, word: str) -> list[int]:
        """Encodes a word as it would be inside a sentence, which is a single id if the word was frequent in training."""
        return self._ids(word, space=self.template.space or not self._drops_space)

    def marked_ids(self, text: str) -> list[int]:
        """Encodes a string of the template, with special ids for the special tokens in it.

        Raises:
            CheckpointError: The string contains a token of the form ``<...>`` that is not a special token.
        """
        ids: list[int] = []
        for section in self._sections(text):
            piece = text[section.start : section.end]
            if section.special is not None:
                ids.append(section.special)
                continue

            name = TOKEN_NAME.search(piece)
            if (
                name is not None and self.chat is None
            ):  # a chat template may contain such strings as ordinary text
                self._one(name[0])
            ids += self._ids(piece)
        return ids

    def sections(self, written: Written) -> list[Section]:
        """Splits a rendered conversation into special tokens and texts; no special tokens are found in user texts."""
        return self._sections(written.text, [(span.start, span.end) for span in written.said])

    def _sections(self, text: str, said: Sequence[tuple[int, int]] = ()) -> list[Section]:
        """Splits a text at its special tokens, except those that overlap one of the spans in `said`."""
        found: list[Section] = []
        position = 0
        for match in self._pattern.finditer(text):
            name = match.lastgroup or ""
            start, end = match.span(name)
            if any(start < stop and end > begin for begin, stop in said):
                continue
            if match.start() > position:
                found.append(Section(position, match.start()))
            found.append(Section(match.start(), match.end(), self._special[match[name]]))
            position = match.end()

        if len(text) > position:
            found.append(Section(position, len(text)))
        return found

    def text_ids(self, text: str) -> list[int]:
        """Encodes a text without a space before it; never returns special ids.

        Raises:
            DataError: The text contains an unpaired surrogate.
        """
        return self._ids(text)

    def ids_and_letters(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Encodes a text like `text_ids`; also returns the start and end (exclusive) of each id's characters.

        Raises:
            DataError: The text contains an unpaired surrogate.
        """
        encoding = self._rust.encode(_checked(text), add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def answer_ids(self, text: str) -> list[int]:
        """Encodes an answer as the model should generate it after the prompt, including the end token.

        Raises:
            DataError: The text contains an unpaired surrogate.
        """
        if self.chat is None:
            return [*self.encode(text), self.end_id]

        before = self._ids(self._asking)
        whole = self._ids(self._asking + self.template.lead + text)
        if (
            whole[: len(before)] != before
        ):  # a token spans the prompt and the answer, so they are encoded separately
            whole, before = self._ids(self.template.lead + text), []
        return [*whole[len(before) :], self.end_id]

    def _ids(self, text: str, *, space: bool = False) -> list[int]:
        whole = " " * space + text
        if whole in self._known:
            return list(self._known[whole])

        ids = self._rust.encode(" " * space + _checked(text), add_special_tokens=False).ids
        # Cache short texts, since questions recur with other images, in other epochs and in repeated evaluations.
        if len(whole) <= _KNOWN_LETTERS:
            if len(self._known) >= _KNOWN_TEXTS:
                self._known.clear()
            self._known[whole] = tuple(ids)
        return list(ids)

    def _one(self, token: str) -> int:
        """The id of a special token, by its name.

        Raises:
            CheckpointError: There is no special token with this name.
        """
        if token not in self._special:
            raise CheckpointError(
                f"the tokenizer has no special token {token!r}; it has {sorted(self._special)}."
            )
        return self._special[token]

    def decode(self, ids: Sequence[int]) -> str:
        """Decodes ids to a text; special ids and bytes that are not valid UTF-8 are dropped.

        Raises:
            DataError: An id is outside the vocabulary.
        """
        if ids and (min(ids) < 0 or max(ids) >= self.vocab_size):
            self.token_bytes(min(ids))
            self.token_bytes(max(ids))

        text = b"".join([self._bytes[index] for index in ids]).decode("utf-8", "ignore")
        return self.without_space(text)

    def without_space(self, text: str) -> str:
        """Removes the space or other text that encoding or the chat template puts before an answer."""
        if self.lead and text.startswith(self.lead):
            return text.removeprefix(self.lead)
        return text.removeprefix(" ") if self._drops_space else text

    def token_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes of a token, which may be only part of a character; empty for a special token.

        Raises:
            DataError: The id is outside the vocabulary.
        """
        if not 0 <= token_id < self.vocab_size:
            raise DataError(f"token id {token_id} is outside the vocabulary of {self.vocab_size}.")
        return self._bytes[token_id]

    def token(self, token_id: int) -> str:
        """The string of a token in the Rust library's notation, by its id.

        Raises:
            DataError: No token has this id.
        """
        found = next((name for name, index in self._special.items() if index == token_id), None)
        found = found or self._rust.id_to_token(token_id)
        if found is None:
            raise DataError(
                f"token id {token_id} has no token; the vocabulary has {self._rust.get_vocab_size()} tokens."
            )
        return str(found)

    def to_plain(self) -> dict[str, Any]:
        """The content of ``tokenizer.json``, including the special tokens."""
        content: dict[str, Any] = json.loads(self._rust.to_str())
        return content

    def save(self, folder: Path | str) -> None:
        """Writes ``tokenizer.json`` into a folder."""
        path = Path(folder) / FILE_NAME
        files.write_text(path, json.dumps(self.to_plain(), ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(
        cls, folder: Path | str, template: Template | None = None, vocab_size: int | None = None
    ) -> Tokenizer:
        """Reads ``tokenizer.json`` from a folder written by `save`; the other arguments are as for the constructor.

        Raises:
            CheckpointError: The file is missing, is not a tokenizer, or does not fit the template.
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
    """Reads the JSON object in a ``tokenizer.json``.

    Raises:
        CheckpointError: The file is missing, too large, or not a JSON object.
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
    """Creates the Rust library's tokenizer from the content of ``tokenizer.json``; raises that library's own exceptions.

    Truncation and padding are turned off, because rows are built elsewhere and a file could request any length.
    """
    return tokenizers.Tokenizer.from_str(json.dumps({**content, "truncation": None, "padding": None}))


def _again(
    kind: type[Tokenizer], rust: tokenizers.Tokenizer, template: Template, vocab_size: int
) -> Tokenizer:
    """Recreates a pickled or copied tokenizer."""
    return kind(rust, template, vocab_size=vocab_size)


class StreamDecoder:
    """Decodes ids one at a time, and holds back bytes until their character is complete.

    Incomplete characters are dropped, not replaced by U+FFFD. The space that encoding puts before the text is removed.

    Args:
        tokenizer: The tokenizer that encoded the text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._start: str | None = ""
        """Text held back because it may be the template's ``lead``; None once the answer has started."""

    def push(self, token_id: int) -> str:
        """Adds a token and returns the text that is now complete, which may be empty."""
        return self._strip(self._decoder.decode(self._tokenizer.token_bytes(token_id)))

    def close(self) -> str:
        """Returns the remaining text; an incomplete character is dropped."""
        rest = self._decoder.decode(b"", final=True)
        if self._start is None:
            return rest
        return self._tokenizer.without_space(self._start + rest)

    def fork(self) -> StreamDecoder:
        """A copy of the decoder in its current state."""
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
    """The chat template of a `Template`; None if it has none.

    Raises:
        CheckpointError: The chat template is not valid Jinja.
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
    """A pattern that matches special tokens, for some of them with adjacent white space, as in the Rust library."""
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
    # The lookahead makes matching fast: there may be thousands of special tokens, but they have few first characters.
    return re.compile(f"(?=[{''.join(sorted(firsts))}])(?:{'|'.join(choices)})")


def _alphabet() -> Iterator[str]:
    """Yields the character that represents each byte: the Latin-1 character if printable, else one from U+0100 on."""
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
    """The bytes that each id decodes to; empty for special tokens and for ids without a token."""
    found = [b""] * vocab_size
    to_byte = {letter: byte for byte, letter in enumerate(_alphabet())} if _is_byte_level(rust) else None
    joins_words = isinstance(rust.decoder, tokenizers.decoders.WordPiece)
    added = {token.content for token in rust.get_added_tokens_decoder().values()}

    for token, index in rust.get_vocab(with_added_tokens=True).items():
        if token in added:  # special tokens are emptied below
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
