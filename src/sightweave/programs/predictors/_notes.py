"""Notes on answers that are missing, cut or odd, as plain sentences.

They depend only on the predictions, so cached predictions count too. Predictors set these keys of ``Prediction.extra``,
which are read here:

    unanswered      why the prompt has no answer, in the server's words; the text is empty
    may_pass        the reason may no longer apply next time; such a prediction is not cached
    thought         the thoughts before the answer (`_thinking`)
    finish_reason   why the server ended the answer, if it was neither its end nor its length
    declined        the model's own words if it declined to answer
    impossible      the highest log-probability of a token that the server reported; it is above 0, so none is used
    is_sampled      the server rejects a temperature, so the answer is not greedy
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sightweave.core.types import Prediction
from sightweave.programs.predictors._thinking import THOUGHT

Asked = Sequence[tuple[str, Prediction]]
"""Pairs of a sample's id and its prediction."""
_SHOWN = 5
_RAISE = "raise evaluate.max_tokens"


def is_unanswered(prediction: Prediction) -> bool:
    """Whether a prompt received no answer, in which case the prediction is an empty text."""
    return "unanswered" in prediction.extra


def on(name: str, asked: Asked, max_tokens: int | None) -> list[str]:
    """The notes that a reader of the scores needs.

    Args:
        name: Name of the predictor.
        asked: All prompts with their predictions, of all passes.
        max_tokens: Maximum number of tokens of an answer; None if answers come from a file, which are never cut here.
    """
    found = [*_on_unanswered(asked), *_on_thoughts(asked, max_tokens)]
    if max_tokens is not None:
        found += _on_answers(asked, max_tokens)
    return [f"{name}: {sentence}." for sentence in found]


def _on_unanswered(asked: Asked) -> list[str]:
    lost = [(sample, answer) for sample, answer in asked if is_unanswered(answer)]
    refused = [(sample, answer) for sample, answer in lost if "may_pass" not in answer.extra]
    failed = [(sample, answer) for sample, answer in lost if "may_pass" in answer.extra]

    found = []
    if refused:
        found.append(
            f"the server refused {len(refused)} of {len(asked)} prompts; each counts as an empty answer and is asked "
            f"again only with --fresh: {_by_reason(refused)}"
        )
    if failed:
        found.append(
            f"{len(failed)} of {len(asked)} prompts got no answer; each counts as an empty answer; run the same "
            f"command again to retry: {_by_reason(failed)}"
        )
    return found


def _by_reason(lost: Asked) -> str:
    """Names of samples, grouped by reason with the most frequent reasons first, as text."""
    by_reason: dict[str, dict[str, None]] = {}
    for sample, answer in lost:
        by_reason.setdefault(str(answer.extra["unanswered"]), {})[sample] = None

    most = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    texts = [f"{_listed(list(samples))} ({reason})" for reason, samples in most[:_SHOWN]]
    if len(most) > _SHOWN:
        texts.append(f"and {len(most) - _SHOWN} more reasons")
    return "; ".join(texts)


def _listed(samples: Sequence[str]) -> str:
    more = len(samples) - _SHOWN
    names = ", ".join(repr(sample) for sample in samples[:_SHOWN])
    return f"{names} and {more} more" if more > 0 else names


def _on_thoughts(asked: Asked, max_tokens: int | None) -> list[str]:
    thinking = [answer for _, answer in asked if THOUGHT in answer.extra]
    cut = [answer for answer in thinking if not answer.text and answer.finish == "length"]
    endless = [answer for answer in thinking if not answer.text and answer.finish != "length"]
    answered = len(thinking) - len(cut) - len(endless)

    of = f"of {len(asked)} answers"
    found = []
    if cut:
        where, remedy = ("", "") if max_tokens is None else (f" at max_tokens={max_tokens}", f"; {_RAISE}")
        found.append(f"{len(cut)} {of} were cut{where} while thinking and contain no answer{remedy}")
    if endless:
        found.append(f"{len(endless)} {of} end while still thinking and contain no answer")
    if answered:
        found.append(
            f"{answered} {of} had a thinking block, which was removed; the model's confidence in the answer alone "
            "is unknown"
        )
    return found


def _on_answers(asked: Asked, max_tokens: int) -> list[str]:
    """Notes on prompts that have an answer: how often each kind of oddity occurs."""
    answers = [(sample, answer) for sample, answer in asked if not is_unanswered(answer)]
    plain = [(sample, answer) for sample, answer in answers if answer.text or THOUGHT not in answer.extra]

    found = []
    for sentence, names_them, fits in _kinds(max_tokens):
        fitting = [sample for sample, answer in plain if fits(answer)]
        if fitting:
            named = f": {_listed(list(dict.fromkeys(fitting)))}" if names_them else ""
            found.append(f"{len(fitting)} of {len(asked)} answers {sentence}{named}")
    return found


def _kinds(max_tokens: int) -> list[tuple[str, bool, Callable[[Prediction], bool]]]:
    """For each kind of oddity: a sentence, whether to name the samples, and a function that detects it in a prediction."""
    return [
        (f"were cut at max_tokens={max_tokens}; {_RAISE}", False, lambda answer: answer.finish == "length"),
        (
            "had no text; each counts as an empty answer",
            True,
            lambda answer: not answer.text.strip() and "declined" not in answer.extra,
        ),
        ("were declined by the model itself", True, lambda answer: "declined" in answer.extra),
        (
            "were ended by the server for another reason, such as a filter",
            True,
            lambda answer: "finish_reason" in answer.extra,
        ),
        (
            "are not greedy, because the server rejects temperature 0: the same question may get another answer next time",
            False,
            lambda answer: "is_sampled" in answer.extra,
        ),
        (
            "had invalid log-probabilities above 0, so the model's confidence is unknown",
            True,
            lambda answer: "impossible" in answer.extra,
        ),
        (
            "had no log-probabilities, so the model's confidence is unknown",
            False,
            lambda answer: (
                answer.logprob is None and THOUGHT not in answer.extra and "impossible" not in answer.extra
            ),
        ),
    ]
