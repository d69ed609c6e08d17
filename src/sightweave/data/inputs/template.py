"""Encodes a sample as tokens: its leading media, its prompt, and the target to learn.

The prompt is followed by the tokens that start an answer, the answer, and the end token. Later user turns start with a
string of their own (see `tokenizer.Template`). If a checkpoint has a chat template, that template renders the turns
(`chat.Chat`). Special tokens are inserted as ids, so that no user text can become one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from sightweave.core.errors import DataError
from sightweave.core.types import InputLayout, Medium, Part, Sample
from sightweave.data.inputs.chat import Chat, Said, Written
from sightweave.data.inputs.tokenizer import Section, Tokenizer

TrunkKey = tuple[tuple[str, ...], tuple[int, ...]]
"""Key of a trunk: the identities of its media, and its token ids."""


@dataclass(slots=True)
class Stretch:
    """A run of consecutive tokens, stored as lists with one entry per token, because it is short and often extended."""

    ids: list[int] = field(default_factory=list)
    """Token ids."""
    item: list[int] = field(default_factory=list)
    """Index, among the sample's media, of the medium to which the token belongs; -1 for text."""
    ar: list[int] = field(default_factory=list)
    """1 if earlier tokens must not attend to the token, else 0 (see `TokenSequence`)."""
    learn: list[bool] = field(default_factory=list)
    """Whether the token contributes to the loss."""
    step: list[int] = field(default_factory=list)
    """Difference between the position ids of the next token and of this one; if empty, it is filled with 1."""

    def __post_init__(self) -> None:
        self.step = self.step or [1] * len(self.ids)

    def add(
        self,
        ids: list[int],
        *,
        item: int = -1,
        ahead: bool = False,
        learn: bool = False,
        one_position: bool = False,
    ) -> None:
        """Appends tokens.

        Args:
            ids: Token ids.
            item: Index of the sample's medium to which the tokens belong; -1 for text.
            ahead: Whether all of the tokens attend to one another.
            learn: Whether the tokens contribute to the loss.
            one_position: Whether the tokens share one position id.
        """
        count = len(ids)
        self.step += [0] * (count - 1) + [1] * min(count, 1) if one_position else [1] * count
        self.ids += ids
        self.item += [item] * count
        self.ar += [1, *[0] * (count - 1)] if ahead and count else [1] * count
        self.learn += [learn] * count

    @property
    def span(self) -> int:
        """Number of position ids that the tokens take up: one per token, or one per medium with `one_position`."""
        return sum(self.step)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True)
class Encoded:
    """A sample encoded as tokens, in three parts: trunk (leading media), prompt and target."""

    sample: Sample
    trunk_media: tuple[Medium, ...]
    """Media before the first text; samples with the same ones can share the trunk."""
    branch_media: tuple[Medium, ...]
    """Media after the first text."""
    trunk: Stretch
    """The template's start, and the tokens of the leading media."""
    prompt: Stretch
    """The prompt after the trunk, up to the tokens that start the answer."""
    target: Stretch
    """The answer and the end token, which all contribute to the loss; empty if only the prompt was encoded."""
    begin: int
    """Id of the first token of the decoder, for an encoder-decoder model."""
    pictures: tuple[Medium, ...] = ()
    """Images of the target, whose codes are holes."""

    @property
    def trunk_key(self) -> TrunkKey:
        """A key that is equal for equal trunks; it includes the tokens, which may differ with a chat template."""
        return tuple([medium.identity for medium in self.trunk_media]), tuple(self.trunk.ids)


NumTokens = Callable[[Medium], int]
"""A function that returns the number of tokens of a medium."""


def encode(
    sample: Sample,
    tokenizer: Tokenizer,
    layout: InputLayout,
    *,
    with_target: bool = True,
    num_tokens: NumTokens | None = None,
) -> Encoded:
    """Encodes a sample, with or without its target.

    Args:
        sample: The sample.
        tokenizer: Tokenizer, with the template.
        layout: Token layout that the model expects.
        with_target: Whether to encode the answer too.
        num_tokens: Returns the number of tokens of a medium; None uses the fixed number of its modality.

    Raises:
        DataError: An answer contains a medium that the model cannot make or that is not to be learnt, an earlier part has an
            image to learn, or the chat template rejects the conversation.
    """
    parts = list(sample.parts)
    last = _last_answer(parts)
    _check_prompt(parts[:last], sample)
    answer = "".join(_answer(part, sample, tokenizer, layout) for part in parts[last:])
    counts = _counts(sample.media, layout, num_tokens)

    try:
        if tokenizer.chat is None:
            encoded = _in_own_words(sample, parts[:last], counts, tokenizer, layout)
            if with_target:
                encoded.target.add(_own_answer_ids(parts[last:], tokenizer, layout), learn=True)
                encoded.pictures = sample.pictures
        else:
            # If media have no tokens in the sequence, the template must not write anything for them.
            told = [part for part in parts[:last] if layout.in_sequence or isinstance(part.content, str)]
            encoded = _in_words_of_chat(sample, told, counts, tokenizer, tokenizer.chat, layout)
            if with_target:
                encoded.target.add(_chat_answer_ids(told, answer, tokenizer, tokenizer.chat), learn=True)
    except DataError as error:
        raise DataError(f"sample {sample.id!r}: {error}") from None

    _let_look_ahead(encoded, layout)
    return encoded


def _counts(media: Sequence[Medium], layout: InputLayout, num_tokens: NumTokens | None) -> list[int]:
    """Number of tokens of each medium in the sequence; empty if media have no tokens in the sequence."""
    if not layout.in_sequence:
        return []
    if num_tokens is None:
        return [layout.media[medium.modality].tokens for medium in media]
    return [num_tokens(medium) for medium in media]


def _check_prompt(parts: Sequence[Part], sample: Sample) -> None:
    """Raises `DataError` if an image to learn is not in the last answer."""
    for number, part in enumerate(parts):
        if part.learn and isinstance(part.content, Medium):
            raise DataError(
                f"sample {sample.id!r}: part {number} of {len(sample.parts)} is an image to learn, but only the last "
                f"answer, from part {len(parts)} on, is learnt; set learn=False to show the image, or make a sample of its "
                "own for it."
            )


def _answer(part: Part, sample: Sample, tokenizer: Tokenizer, layout: InputLayout) -> str:
    """The text of a part of the answer, which is empty for an image that the model can learn to make."""
    if not isinstance(part.content, Medium):
        return part.content

    where = f"sample {sample.id!r}: the answer contains an image"
    if layout.image_tokens is None:
        raise DataError(
            f"{where}, but the model has no image tokenizer; set model.image_tokenizer, such as {{kind: fsq}}."
        )
    if part.content.modality != "image":
        raise DataError(
            f"sample {sample.id!r}: the answer contains a medium of the modality {part.content.modality}; only text and "
            "images can be learnt."
        )
    if tokenizer.chat is not None:
        raise DataError(
            f"{where}, but the language model has a chat template, with which only text can be answered."
        )
    if not part.learn:
        raise DataError(
            f"{where} with learn=False, which would be neither shown nor learnt; set learn=True, or move it to the prompt."
        )
    return ""


def _let_look_ahead(encoded: Encoded, layout: InputLayout) -> None:
    """Sets ``ar`` for the blocks of tokens that attend to one another in both directions."""
    is_mutual = layout.bidirectional == "all" or layout.form == "encoder_decoder"
    if is_mutual:
        encoded.trunk.ar = [0] * len(encoded.trunk)
    if is_mutual or layout.bidirectional == "prompt":
        # The prompt is one block that attends to the trunk and to itself. The trunk does not attend to the prompt, so that
        # several prompts can share it.
        encoded.prompt.ar = [1, *[0] * (len(encoded.prompt) - 1)]


def _in_own_words(
    sample: Sample, parts: list[Part], counts: Sequence[int], tokenizer: Tokenizer, layout: InputLayout
) -> Encoded:
    """Encodes trunk and prompt with the strings of our own template around each text."""
    lead = _leading(parts)
    encoded = _empty(sample, parts, lead, tokenizer)
    encoded.trunk.add(tokenizer.start_ids)
    for item in range(lead):
        _add_medium(encoded.trunk, item, counts, tokenizer, layout)
    _add_prompt(encoded, parts, lead, counts, tokenizer, layout)
    return encoded


def _leading(parts: Sequence[Part]) -> int:
    """Number of parts before the first text, which are all media."""
    texts = (number for number, part in enumerate(parts) if isinstance(part.content, str))
    return next(texts, len(parts))


def _own_answer_ids(parts: Sequence[Part], tokenizer: Tokenizer, layout: InputLayout) -> list[int]:
    ids: list[int] = []
    for part in parts:
        if isinstance(part.content, str):
            ids += tokenizer.encode(part.content)
        else:
            assert layout.image_tokens is not None  # ensured by `_answer`
            ids += layout.image_tokens.picture()
    return [*ids, tokenizer.end_id]


def _empty(sample: Sample, parts: Sequence[Part], lead: int, tokenizer: Tokenizer) -> Encoded:
    media = tuple(part.content for part in parts if isinstance(part.content, Medium))
    return Encoded(
        sample=sample,
        trunk_media=media[:lead],
        branch_media=media[lead:],
        trunk=Stretch(),
        prompt=Stretch(),
        target=Stretch(),
        begin=tokenizer.begin_id,
    )


def _in_words_of_chat(
    sample: Sample,
    parts: Sequence[Part],
    counts: Sequence[int],
    tokenizer: Tokenizer,
    chat: Chat,
    layout: InputLayout,
) -> Encoded:
    """Encodes trunk and prompt as the chat template renders them.

    The trunk ends after the last medium before the first text or, if there is none, after the last special token before it.
    """
    written = chat.write(parts, asks=True)
    sections = tokenizer.sections(written)
    said = min((one.start for one in written.said), default=len(written.text))
    ahead = [number for number, one in enumerate(sections) if one.special is not None and one.end <= said]
    shown = [number for number in ahead if sections[number].special == tokenizer.image_id]
    cut = max(shown or ahead, default=-1) + 1

    lead = len(shown) if layout.in_sequence else _leading(sample.parts)
    encoded = _empty(sample, sample.parts, lead, tokenizer)
    encoded.trunk.add(tokenizer.first_ids)
    item = 0
    for number, section in enumerate(sections):
        stretch = encoded.trunk if number < cut else encoded.prompt
        if section.special == tokenizer.image_id:
            _add_medium(stretch, item, counts, tokenizer, layout)
            item += 1
        elif section.special is not None:
            # The end token of a learnt answer contributes to the loss too.
            ends = section.special == tokenizer.end_id and _ends_learnt(section, written, parts)
            stretch.add([section.special], learn=ends)
        else:
            _add_text(stretch, section, written, parts, tokenizer)
    return encoded


def _ends_learnt(section: Section, written: Written, parts: Sequence[Part]) -> bool:
    """Whether a special token directly follows an answer that contributes to the loss."""
    before = [one for one in written.said if one.end <= section.start]
    if not before or not parts[before[-1].part].learn:
        return False
    between = written.text[before[-1].end : section.start]
    return not between.strip()


def _add_text(
    stretch: Stretch, section: Section, written: Written, parts: Sequence[Part], tokenizer: Tokenizer
) -> None:
    """Adds the text between two special tokens; tokens with any character of a learnt answer contribute to the loss."""
    text = written.text[section.start : section.end]
    learnt = [
        one for one in written.said if parts[one.part].learn and _is_in([one], section.start, section.end)
    ]
    if not learnt:
        stretch.add(tokenizer.text_ids(text))
        return

    ids, offsets = tokenizer.ids_and_letters(text)
    marked = [_is_in(learnt, section.start + start, section.start + end) for start, end in offsets]
    for learn, run in groupby(zip(ids, marked, strict=True), key=lambda pair: pair[1]):
        stretch.add([index for index, _ in run], learn=learn)


def _is_in(spans: Sequence[Said], start: int, end: int) -> bool:
    return any(start < one.end and end > one.start for one in spans)


def _chat_answer_ids(parts: Sequence[Part], answer: str, tokenizer: Tokenizer, chat: Chat) -> list[int]:
    """Ids of the answer after its prompt as the chat template renders it, including the end token.

    Raises:
        DataError: The template rejects the conversation with the answer.
    """
    if not answer.strip():
        return [tokenizer.end_id]

    asked = chat.write(parts, asks=True).text + tokenizer.template.lead
    whole = chat.write([*parts, Part("assistant", answer)], asks=False)
    said = whole.said[-1]
    # With some templates, adding an answer changes the text before it, because they put the system turn into the last turn.
    start = len(asked) if whole.text.startswith(asked) else said.start

    # White space after the answer is part of the target only if an end token follows it.
    tail = whole.text[said.end :]
    blanks = len(tail) - len(tail.lstrip())
    ends = tail[blanks:].startswith(tokenizer.template.end)
    return tokenizer.answer_ids(whole.text[start : said.end + blanks * ends])


def _last_answer(parts: list[Part]) -> int:
    """Index of the first part of the last answer; all parts before it, including earlier answers, are the prompt."""
    for index in range(len(parts) - 1, -1, -1):
        if parts[index].role != "assistant":
            return index + 1
    return 0


def _add_prompt(
    encoded: Encoded,
    parts: list[Part],
    lead: int,
    counts: Sequence[int],
    tokenizer: Tokenizer,
    layout: InputLayout,
) -> None:
    """Adds the parts after the leading media to the prompt, followed by the tokens that start the answer."""
    prompt = encoded.prompt
    item = lead
    for index in range(lead, len(parts)):
        part = parts[index]
        before = parts[index - 1].role if index else part.role
        if part.role == "assistant":
            prompt.add(tokenizer.speak_ids)
        elif before == "assistant":
            prompt.add(tokenizer.again_ids)
        elif before != part.role:  # a line feed separates the system turn from the user turn
            prompt.add(tokenizer.marked_ids("\n"))

        if isinstance(part.content, Medium):
            _add_medium(prompt, item, counts, tokenizer, layout)
            item += 1
        else:
            prompt.add(tokenizer.encode(part.content), learn=part.learn and part.role == "assistant")
        if part.role == "assistant":
            prompt.add([tokenizer.end_id], learn=part.learn)
    prompt.add(tokenizer.speak_ids)


def _add_medium(
    stretch: Stretch, item: int, counts: Sequence[int], tokenizer: Tokenizer, layout: InputLayout
) -> None:
    """Adds the ``counts[item]`` tokens of the sample's medium `item`, and the tokens around them."""
    if layout.in_sequence:
        stretch.add(tokenizer.before_image_ids)
        marks = [tokenizer.image_id] * counts[item]
        stretch.add(marks, item=item, ahead=layout.bidirectional != "none", one_position=layout.one_position)
        stretch.add(tokenizer.after_image_ids)
