"""Explains an answer: finds the tokens of its word, chooses the method, and names what the values belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from sightweave.answers.attribution.question import Question, Wanted
from sightweave.answers.explainers._base import Attribution, Explainer
from sightweave.core import catalog
from sightweave.core.config import build, config, kind_of, one_of
from sightweave.core.errors import DataError, RecipeError
from sightweave.core.explanation import Explanation, MediumValues
from sightweave.core.types import Prediction, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.template import Encoded, Stretch
from sightweave.data.inputs.tokenizer import Tokenizer
from sightweave.models.vlm import VLM
from sightweave.programs import generation

FAMILY = "answers.explainers"
_MAX_TOKENS = 96
"""Maximum number of tokens of an answer that is generated in order to be explained."""


@config
class _Choice:
    method: Annotated[Any, one_of(FAMILY)]


@torch.inference_mode(False)  # gradients are needed, whatever the caller's mode
def explain(
    model: VLM,
    processor: Processor,
    sample: Sample,
    method: Any = "occlusion",
    *,
    answer: str | None = None,
    word: str | None = None,
    against: str | None = None,
) -> Explanation:
    """Explains an answer, or one word of it.

    Args:
        model: The model, which is not changed.
        processor: The model's own processor.
        sample: The prompt; its target is ignored.
        method: A kind in ``answers/explainers``, a mapping with its settings, or its ``Config``.
        answer: The answer to explain; None lets the model answer.
        word: A word of the answer, or several neighbouring ones; None explains the whole answer.
        against: Text with which the word, or the whole answer, is compared: what decided for the one and not the other.

    Raises:
        DataError: The answer is empty, lacks the word, does not differ from `against`, or is not in a classifier's list.
        RecipeError: There is no such method, its settings are wrong, or it cannot explain this model.
    """
    chosen = build(_Choice, {"method": method}, where="explain").method
    try:
        explainer: Explainer = chosen.build()
    except ValueError as error:
        raise RecipeError(f"explain: {error}") from error

    said, ids = _answer(model, processor, sample, answer)
    question = _question(model, processor, sample, said, ids, word=word, against=against)
    reason = explainer.refusal(question)
    if reason:
        raise RecipeError(_refused(kind_of(chosen), reason, question))
    found = explainer.attribute(question)
    with torch.no_grad():
        score = float(question.scores([question.own()]))
    return _explanation(
        question, found, method=kind_of(chosen), answer=said, word=word, against=against, score=score
    )


def question_of(model: VLM, processor: Processor, sample: Sample, answer: str) -> Question:
    """The question whose whole answer is explained; arguments and errors are as for `explain`."""
    said, ids = _answer(model, processor, sample, answer)
    return _question(model, processor, sample, said, ids, word=None, against=None)


def _question(
    model: VLM,
    processor: Processor,
    sample: Sample,
    said: str,
    ids: list[int],
    *,
    word: str | None,
    against: str | None,
) -> Question:
    """The prompt with the answer and the tokens that are explained; errors are as for `explain`."""
    if processor.layout.form == "classify":
        wanted = [_class(processor.answers, said, word, against)]
    else:
        ids, wanted = _tokens(processor.tokenizer, said, ids, word, against)
    return Question(model, processor, _with_answer(processor, sample, ids), wanted)


def _answer(model: VLM, processor: Processor, sample: Sample, answer: str | None) -> tuple[str, list[int]]:
    """The answer and its token ids without the end token; a classifier's answer has no ids.

    Raises:
        DataError: The answer is empty.
    """
    if answer is None:
        options = generation.Options(max_tokens=_MAX_TOKENS)
        (found,) = generation.generate(model, processor, [sample], options)
        if not found.text.strip():
            raise DataError("explain: the model's answer is empty; give an answer to explain.")
        return found.text, _without_end(found, processor.tokenizer)

    if not answer.strip():
        raise DataError("explain: the answer is empty; give at least one word.")
    if processor.layout.form == "classify":
        return answer, []
    return answer, processor.tokenizer.answer_ids(answer)[:-1]


def _without_end(found: Prediction, tokenizer: Tokenizer) -> list[int]:
    ids = list(found.ids)
    return ids[:-1] if ids and ids[-1] == tokenizer.end_id else ids


def _class(answers: Sequence[str], said: str, word: str | None, against: str | None) -> Wanted:
    """The class of an answer, and that with which it is compared.

    Raises:
        DataError: An answer is not in the list, the two are equal, or the answer lacks the word.
    """
    for one in (said, against):
        if one is not None and one not in answers:
            shown = ", ".join(map(repr, answers[:8])) + (" ..." if len(answers) > 8 else "")
            raise DataError(
                f"explain: {one!r} is not among the {len(answers)} answers that this model chooses from: {shown}."
            )
    if word is not None:
        _span(said, word)
    if against == said:
        raise DataError(f"explain: against is {against!r}, which is the answer itself; give another answer.")
    return Wanted(0, answers.index(said), None if against is None else answers.index(against))


def _tokens(
    tokenizer: Tokenizer, said: str, ids: list[int], word: str | None, against: str | None
) -> tuple[list[int], list[Wanted]]:
    """The ids of the answer, and the tokens whose choice is explained.

    Raises:
        DataError: The answer lacks the word, or the text with which it is compared has the same tokens.
    """
    start, end = (0, len(said)) if word is None else _span(said, word)
    if against is None:
        spans = _spans(tokenizer, ids)
        numbers = [n for n, (first, last) in enumerate(spans) if first < end and last > start]
        return ids, [Wanted(number, ids[number]) for number in numbers]

    # Two texts are compared at their first different token: up to there, the model has not decided between them.
    other = tokenizer.answer_ids(said[:start] + against + said[end:])
    own = [*ids, tokenizer.end_id]
    for number, (one, another) in enumerate(zip(own, other, strict=False)):
        if one != another:
            return ids if number < len(ids) else own, [Wanted(number, one, another)]
    raise DataError(
        f"explain: against is {against!r}, which gives the answer {said!r} itself; give another text."
    )


def _span(text: str, word: str) -> tuple[int, int]:
    """Start and end of a word in a text: of a whole word if there is one, or otherwise of a part of one.

    Raises:
        DataError: The word is empty, or the text lacks it.
    """
    if not word.strip():
        raise DataError("explain: the word is empty; leave it out to explain the whole answer.")

    starts = [start for start in range(len(text)) if text.startswith(word, start)]
    for start in starts:
        end = start + len(word)
        before, after = text[start - 1 : start], text[end : end + 1]
        if not (before.isalnum() and word[0].isalnum()) and not (after.isalnum() and word[-1].isalnum()):
            return start, end
    if starts:
        return starts[0], starts[0] + len(word)
    raise DataError(f"explain: the answer {text!r} has no word {word!r}; choose one of its words.")


def _spans(tokenizer: Tokenizer, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Start and end in the answer's text of each token; a token that is part of a character covers the whole character."""
    lengths = [len(tokenizer.decode(ids[:count])) for count in range(len(ids) + 1)]
    spans = []
    for number in range(len(ids)):
        later = [length for length in lengths[number + 1 :] if length > lengths[number]]
        spans.append(
            (
                lengths[number],
                lengths[number + 1]
                if lengths[number + 1] > lengths[number]
                else min(later, default=lengths[number]),
            )
        )
    return spans


def _with_answer(processor: Processor, sample: Sample, ids: Sequence[int]) -> Encoded:
    """The encoded prompt, followed by the answer."""
    encoded = processor.encode(sample, with_target=False)
    count = len(ids)
    target = Stretch(list(ids), [-1] * count, [1] * count, [True] * count)
    return dataclasses.replace(encoded, target=target)


def _refused(method: str, reason: str, question: Question) -> str:
    """The message that a method cannot explain a model, with the methods that can."""
    able = [kind for kind in catalog.kinds(FAMILY) if not make(kind).refusal(question)]
    return f"{method} cannot explain this answer: {reason}. Methods that can: {', '.join(able)}."


def make(kind: str) -> Explainer:
    """A method with its default settings."""
    made: Explainer = catalog.config_class(FAMILY, kind)().build()
    return made


def _explanation(
    question: Question,
    found: Attribution,
    *,
    method: str,
    answer: str,
    word: str | None,
    against: str | None,
    score: float,
) -> Explanation:
    """The result with names and shapes.

    Raises:
        DataError: A value is not finite.
    """
    for values in [*found.media, *([] if found.words is None else [found.words])]:
        if not bool(values.isfinite().all()):
            raise DataError(
                f"explain: {method} gave values that are not finite (score {score:.4g}); the model's weights may be "
                "damaged. Try occlusion, or another image."
            )
    pairs = zip(question.media, found.media, strict=True)
    return Explanation(
        method=method,
        answer=answer,
        word=word,
        against=against,
        score=score,
        unit=found.unit,
        media=tuple(
            MediumValues(seen.name, seen.modality, _array(values).reshape(seen.shape))
            for seen, values in pairs
        ),
        tokens=question.tokens,
        token_values=None if found.words is None else _array(found.words),
        baseline=found.baseline,
        completeness_error=found.completeness_error,
    )


def _array(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()
