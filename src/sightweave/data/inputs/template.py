"""Sample -> stretches of tokens: which stand for the picture, which are asked, and which are learnt.

A prompt is written as it is, then what asks the model to speak, then the answer, then the end token; a later turn of the
user begins with a mark of its own (`tokenizer.Template` has the words). Special tokens are put in as ids, so nothing that
a user types can become one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sightweave.core.errors import DataError
from sightweave.core.types import InputLayout, Medium, Part, Sample
from sightweave.data.inputs.tokenizer import Tokenizer


@dataclass(slots=True)
class Stretch:
    """Tokens in a row; lists, since they are short and are joined often."""

    ids: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)
    """Number of the sample's medium that stands here, -1 for text."""
    ar: list[int] = field(default_factory=list)
    """1 where a token hides from those before it (see `TokenSequence`)."""
    learn: list[bool] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    """How much further the next token's position is; left empty, 1 everywhere."""

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
        """Appends tokens; `ahead` lets all of them see one another, `one_position` gives them all the same position."""
        count = len(ids)
        self.step += [0] * (count - 1) + [1] * min(count, 1) if one_position else [1] * count
        self.ids += ids
        self.item += [item] * count
        self.ar += [1, *[0] * (count - 1)] if ahead and count else [1] * count
        self.learn += [learn] * count

    @property
    def span(self) -> int:
        """Positions that it takes: one for each token, or one for a whole picture."""
        return sum(self.step)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True)
class Encoded:
    """A sample as tokens: the pictures that come first (the trunk), the prompt, and what is to be written."""

    sample: Sample
    trunk_media: tuple[Medium, ...]
    """Pictures at the very front, after the template's start: samples with the same ones share the trunk."""
    branch_media: tuple[Medium, ...]
    """Pictures after the first text."""
    trunk: Stretch
    prompt: Stretch
    """Ends with what asks the model to speak."""
    target: Stretch
    """The answer and the end token, all learnt."""
    begin: int
    """What the decoder of an encoder-decoder reads first."""


def encode(sample: Sample, tokenizer: Tokenizer, layout: InputLayout) -> Encoded:
    """Lays one sample out.

    Raises:
        DataError: a medium in an answer.
    """
    parts = list(sample.parts)
    lead = 0
    while lead < len(parts) and isinstance(parts[lead].content, Medium):
        lead += 1
    encoded = Encoded(
        sample=sample,
        trunk_media=tuple(part.content for part in parts[:lead] if isinstance(part.content, Medium)),
        branch_media=tuple(part.content for part in parts[lead:] if isinstance(part.content, Medium)),
        trunk=Stretch(),
        prompt=Stretch(),
        target=Stretch(),
        begin=tokenizer.begin_id,
    )
    mutual = layout.bidirectional == "all"
    encoded.trunk.add(tokenizer.start_ids)
    for item in range(lead):
        _add_medium(encoded.trunk, item, tokenizer, layout)
    if mutual or layout.form == "encoder_decoder":
        encoded.trunk.ar = [0] * len(encoded.trunk)
    last = _last_answer(parts)
    _add_prompt(encoded, parts[lead:last], lead, tokenizer, layout)
    if mutual or layout.form == "encoder_decoder" or layout.bidirectional == "prompt":
        # One block: it sees the trunk and itself, and the trunk does not see it, so that trunks can be shared.
        encoded.prompt.ar = [1, *[0] * (len(encoded.prompt) - 1)]
    for part in parts[last:]:
        if isinstance(part.content, Medium):
            raise DataError(f"sample {sample.id!r}: a picture stands in the answer; answers are text here.")
        encoded.target.add(tokenizer.encode(part.content), learn=True)
    encoded.target.add([tokenizer.end_id], learn=True)
    return encoded


def _last_answer(parts: list[Part]) -> int:
    """Index of the last answer: everything before it is prompt, earlier answers included."""
    for index in range(len(parts) - 1, -1, -1):
        if parts[index].role != "assistant":
            return index + 1
    return 0


def _add_prompt(
    encoded: Encoded, parts: list[Part], item: int, tokenizer: Tokenizer, layout: InputLayout
) -> None:
    prompt = encoded.prompt
    for index, part in enumerate(parts):
        if isinstance(part.content, Medium):
            _add_medium(prompt, item, tokenizer, layout)
            item += 1
        elif part.role == "assistant":
            prompt.add(tokenizer.speak_ids)
            prompt.add(tokenizer.encode(part.content), learn=part.learn)
            prompt.add([tokenizer.end_id], learn=part.learn)
        else:
            if index and parts[index - 1].role == "assistant":
                prompt.add(tokenizer.again_ids)
            prompt.add(tokenizer.encode(part.content))
    prompt.add(tokenizer.speak_ids)


def _add_medium(stretch: Stretch, item: int, tokenizer: Tokenizer, layout: InputLayout) -> None:
    if layout.in_sequence:
        stretch.add(tokenizer.before_image_ids)
        marks = [tokenizer.image_id] * layout.tokens_per_image
        stretch.add(marks, item=item, ahead=layout.bidirectional != "none", one_position=layout.one_position)
        stretch.add(tokenizer.after_image_ids)
