"""Sample -> stretches of tokens: media tokens, the prompt, and the tokens to learn.

The order is: the prompt, the tokens that ask the model to answer, the answer, the end token. Later turns of the user begin
with a mark of their own (see `tokenizer.Template`). If a checkpoint has a chat template, that template writes the turns
(`chat.Chat`). Special tokens are inserted as ids, so no text that a user types can become one.
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
"""Identities of the leading media, and the token ids of the trunk."""


@dataclass(slots=True)
class Stretch:
    """Consecutive tokens; lists, since they are short and are often concatenated."""

    ids: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)
    """Number of the sample's medium that a token represents, -1 for text."""
    ar: list[int] = field(default_factory=list)
    """1 if the tokens before this one cannot see it (see `TokenSequence`)."""
    learn: list[bool] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    """Distance to the next token's position; 1 everywhere if left empty."""

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
        """Appends tokens; with `ahead` they all see one another, with `one_position` they share one position."""
        count = len(ids)
        self.step += [0] * (count - 1) + [1] * min(count, 1) if one_position else [1] * count
        self.ids += ids
        self.item += [item] * count
        self.ar += [1, *[0] * (count - 1)] if ahead and count else [1] * count
        self.learn += [learn] * count

    @property
    def span(self) -> int:
        """Number of positions: one per token, or one per medium with `one_position`."""
        return sum(self.step)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True)
class Encoded:
    """A sample as tokens: its leading media (the trunk), the prompt, and the target."""

    sample: Sample
    trunk_media: tuple[Medium, ...]
    """Media before the first text, after the template's start: samples with the same ones share the trunk."""
    branch_media: tuple[Medium, ...]
    """Media after the first text."""
    trunk: Stretch
    prompt: Stretch
    """Ends with the tokens that ask the model to answer."""
    target: Stretch
    """The answer and the end token, all learnt; empty if only the prompt was encoded."""
    begin: int
    """First token of the decoder of an encoder-decoder."""

    @property
    def trunk_key(self) -> TrunkKey:
        """A key that is equal for equal trunks: the media, and the tokens before them, which a chat template may vary."""
        return tuple([medium.identity for medium in self.trunk_media]), tuple(self.trunk.ids)


NumTokens = Callable[[Medium], int]
"""Returns the number of tokens that a medium takes up in a text."""


def encode(
    sample: Sample,
    tokenizer: Tokenizer,
    layout: InputLayout,
    *,
    with_target: bool = True,
    num_tokens: NumTokens | None = None,
) -> Encoded:
    """Encodes one sample, with or without its target.

    Args:
        sample: The sample.
        tokenizer: Converts texts to ids.
        layout: How the model expects its tokens.
        with_target: Whether to encode the answer too.
        num_tokens: Returns the number of tokens of a medium; None takes the fixed number of its modality.

    Raises:
        DataError: A medium in an answer, or a conversation that the chat template rejects.
    """
    parts = list(sample.parts)
    last = _last_answer(parts)
    answer = "".join(_answer(part, sample) for part in parts[last:])
    counts = _counts(sample.media, layout, num_tokens)

    try:
        if tokenizer.chat is None:
            encoded = _in_own_words(sample, parts[:last], counts, tokenizer, layout)
            if with_target:
                encoded.target.add(_own_answer_ids(parts[last:], tokenizer), learn=True)
        else:
            # If media are not in the text, the template must not write words around them either.
            told = [part for part in parts[:last] if layout.in_sequence or isinstance(part.content, str)]
            encoded = _in_words_of_chat(sample, told, counts, tokenizer, tokenizer.chat, layout)
            if with_target:
                encoded.target.add(_chat_answer_ids(told, answer, tokenizer, tokenizer.chat), learn=True)
    except DataError as error:
        raise DataError(f"sample {sample.id!r}: {error}") from None

    _let_look_ahead(encoded, layout)
    return encoded


def _counts(media: Sequence[Medium], layout: InputLayout, num_tokens: NumTokens | None) -> list[int]:
    """Number of tokens of each medium in the text; empty if media are not in the text."""
    if not layout.in_sequence:
        return []
    if num_tokens is None:
        return [layout.media[medium.modality].tokens for medium in media]
    return [num_tokens(medium) for medium in media]


def _answer(part: Part, sample: Sample) -> str:
    if isinstance(part.content, Medium):
        raise DataError(f"sample {sample.id!r}: the answer contains an image; answers must be text.")
    return part.content


def _let_look_ahead(encoded: Encoded, layout: InputLayout) -> None:
    """Marks the blocks of tokens that all see one another."""
    is_mutual = layout.bidirectional == "all" or layout.form == "encoder_decoder"
    if is_mutual:
        encoded.trunk.ar = [0] * len(encoded.trunk)
    if is_mutual or layout.bidirectional == "prompt":
        # The prompt is one block, which sees the trunk and itself. The trunk does not see it, so trunks can be shared.
        encoded.prompt.ar = [1, *[0] * (len(encoded.prompt) - 1)]


def _in_own_words(
    sample: Sample, parts: list[Part], counts: Sequence[int], tokenizer: Tokenizer, layout: InputLayout
) -> Encoded:
    """Trunk and prompt, with the tokens of our own template around each text."""
    lead = _leading(parts)
    encoded = _empty(sample, parts, lead, tokenizer)
    encoded.trunk.add(tokenizer.start_ids)
    for item in range(lead):
        _add_medium(encoded.trunk, item, counts, tokenizer, layout)
    _add_prompt(encoded, parts, lead, counts, tokenizer, layout)
    return encoded


def _leading(parts: Sequence[Part]) -> int:
    """Number of media before the first text."""
    texts = (number for number, part in enumerate(parts) if isinstance(part.content, str))
    return next(texts, len(parts))


def _own_answer_ids(parts: Sequence[Part], tokenizer: Tokenizer) -> list[int]:
    texts = (part.content for part in parts if isinstance(part.content, str))
    return [*(index for text in texts for index in tokenizer.encode(text)), tokenizer.end_id]


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
    """Trunk and prompt as the chat template writes them.

    The trunk ends with the last medium before the first text or, without one, with the last special token before it.
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
            # The end token of an answer is learnt with it.
            ends = section.special == tokenizer.end_id and _ends_learnt(section, written, parts)
            stretch.add([section.special], learn=ends)
        else:
            _add_text(stretch, section, written, parts, tokenizer)
    return encoded


def _ends_learnt(section: Section, written: Written, parts: Sequence[Part]) -> bool:
    """Whether a special token directly follows an answer that is learnt."""
    before = [one for one in written.said if one.end <= section.start]
    if not before or not parts[before[-1].part].learn:
        return False
    between = written.text[before[-1].end : section.start]
    return not between.strip()


def _add_text(
    stretch: Stretch, section: Section, written: Written, parts: Sequence[Part], tokenizer: Tokenizer
) -> None:
    """Adds the text between two special tokens; tokens that contain a letter of a learnt answer are learnt."""
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
    """The answer after its prompt as the chat template writes it, up to the end token.

    Raises:
        DataError: The template rejects the conversation with its answer.
    """
    if not answer.strip():
        return [tokenizer.end_id]

    asked = chat.write(parts, asks=True).text + tokenizer.template.lead
    whole = chat.write([*parts, Part("assistant", answer)], asks=False)
    said = whole.said[-1]
    # Some templates move the system turn into the last turn, so adding an answer changes the text before it.
    start = len(asked) if whole.text.startswith(asked) else said.start

    # White space after the answer belongs to it only if an end token follows.
    tail = whole.text[said.end :]
    blanks = len(tail) - len(tail.lstrip())
    ends = tail[blanks:].startswith(tokenizer.template.end)
    return tokenizer.answer_ids(whole.text[start : said.end + blanks * ends])


def _last_answer(parts: list[Part]) -> int:
    """Index of the last answer; everything before it is the prompt, including earlier answers."""
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
    """Adds everything after the leading media, up to the tokens that ask the model to answer."""
    prompt = encoded.prompt
    item = lead
    for index in range(lead, len(parts)):
        part = parts[index]
        before = parts[index - 1].role if index else part.role
        if part.role == "assistant":
            prompt.add(tokenizer.speak_ids)
        elif before == "assistant":
            prompt.add(tokenizer.again_ids)
        elif before != part.role:  # keeps the system's words apart from the user's
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
    """Adds the tokens of the sample's medium `item`, which has `counts[item]` of them."""
    if layout.in_sequence:
        stretch.add(tokenizer.before_image_ids)
        marks = [tokenizer.image_id] * counts[item]
        stretch.add(marks, item=item, ahead=layout.bidirectional != "none", one_position=layout.one_position)
        stretch.add(tokenizer.after_image_ids)
