"""Decides whether a model uses the image: a word and a sentence for each task, and for all tasks together.

One control is not enough: a model that was never trained without an image may fail without one, and so seem to
need it. The gain of the image is therefore the score with it *above the best* of every other way to answer: without the
image, with another one, with a grey one, and two baselines that only read the text. The interval of each difference
must be above the threshold, so the best rival need not be known beforehand (an intersection-union test: Berger 1982,
doi:10.1080/00401706.1982.10487790).

On text-only baselines: Making the V in VQA Matter (Goyal et al. 2017, arXiv:1612.00837).

A task whose texts alone suffice for an answer cannot show whether the image is used, so it does not count for the
model. But a missing gain does not prove that a task is of this kind: a model that ignores its images gains nothing
anywhere. A task is therefore said to need its images if the same text has different answers with different images
(`left_open`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sightweave.core.types import Prediction, Sample
from sightweave.core.verdicts import HARDLY, NO, NOT_NEEDED, PARTLY, UNKNOWN, YES, use_of_image
from sightweave.programs.evaluation.statistics import Estimate

FEW_PICTURES = 10
"""Number of images below which the verdict is unknown."""
CLEAR_GAIN = 0.05
"""Gain above which the image clearly matters, as a fraction of the best possible score (five points)."""
BROKEN = 0.5
"""Share of unreadable or truncated answers above which a control is inconclusive."""
ENOUGH = 0.9
"""Share of the best possible score at which text alone counts as sufficient, so that the task does not need the
image."""
INFORMATIVE = 2.0
"""Text counts as informative if it alone scores more than this many times the score of the most frequent answer."""
WORTH_SAYING = 0.01
"""Smallest share of unreadable answers that is mentioned in the sentence."""

CONTROLS = {
    "no_image": "without it",
    "shuffled_image": "with another image",
    "blank_image": "with a grey image",
}
"""Descriptions of the controls that a verdict uses. All other controls change the prompt or keep the image
recognisable."""
BASELINES = {
    "majority": "by always giving the most frequent answer",
    "neighbour": "by the answer of the nearest training prompt",
}
"""Descriptions of the baselines, which answer from text alone without any model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A way to answer the same prompts without looking at their image."""

    name: str
    """Key in `CONTROLS` or `BASELINES`."""
    score: float
    gain: Estimate
    """Score of the model with the image minus that of the rival, paired by sample."""
    unreadable: float = 0.0
    """Share of the rival's answers that could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on whether the answers of one task come from the image."""

    word: str
    """The verdict ``yes``, ``hardly``, ``no`` or ``unknown``."""
    sentence: str
    needs_image: bool
    """Whether this task can show that the image is used; it cannot if its texts alone suffice for an answer."""


def broken(predictions: Sequence[Prediction], is_read: list[bool]) -> str:
    """The reason why the answers of a control are inconclusive; empty if they can be used.

    Args:
        predictions: Answers of the control.
        is_read: Whether each of them could be read.
    """
    count = len(predictions)
    unreadable = is_read.count(False)
    cut = sum(one.finish == "length" and read for one, read in zip(predictions, is_read, strict=True))
    if not count or (unreadable + cut) / count <= BROKEN:
        return ""

    parts = []
    if unreadable:
        parts.append(f"{unreadable} of {count} answers are unreadable")
    if cut:
        parts.append(f"{cut} of {count} are cut at the token limit")
    return " and ".join(parts)


def left_open(samples: Iterable[Sample]) -> float:
    """The smallest possible error rate of answers from the prompts alone.

    Without images, all samples with the same text and options get the same answer. If they have different images and
    different references, only the images show which reference is right. Texts that occur only once have no error here,
    so this is a lower bound.
    """
    accepted: dict[tuple[str, tuple[str, ...]], dict[str, set[str]]] = {}
    for sample in samples:
        of_pictures = accepted.setdefault((_folded(sample.prompt), tuple(sample.options)), {})
        of_pictures.setdefault(sample.group, set()).update(map(_folded, sample.references))

    total = wrong = 0
    for of_pictures in accepted.values():
        right: Counter[str] = Counter()
        for references in of_pictures.values():
            right.update(references)
        total += len(of_pictures)
        wrong += len(of_pictures) - max(right.values(), default=0)
    return wrong / total if total else 0.0


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def judge(
    task: str,
    score: float | None,
    rivals: Sequence[Rival],
    broken_controls: Mapping[str, str],
    *,
    pictures: int,
    best: float = 1.0,
    prior: float = 1.0,
    open_share: float = 1.0,
) -> Verdict:
    """The verdict on one task.

    The intervals of the gains over all rivals decide. ``yes``: each is above five points. ``hardly``: each is above 0.
    ``no``: some interval is not above 0. ``unknown``: there are fewer than ten images, or no usable control. ``yes``
    and ``hardly`` need the control with another image, because only that control shows the model the kind of input on
    which it was trained.

    Args:
        task: Name of the task.
        score: Score with the image, on the samples that have one; None if there are none.
        rivals: Usable controls and baselines.
        broken_controls: The reason why each other control is inconclusive, by name.
        pictures: Number of distinct images.
        best: The best possible score.
        prior: Score of always giving the most frequent answer.
        open_share: `left_open` of the samples.
    """
    begin = f"{task} uses the image:"
    has_controls = any(rival.name in CONTROLS for rival in rivals)
    if score is None or not (has_controls or broken_controls):
        why = "the controls without the image and with another image were not run."
        return Verdict(word=UNKNOWN, sentence=f"{begin} unknown - {why}", needs_image=True)
    if pictures < FEW_PICTURES:
        why = f"{pictures} distinct image(s) are too few to tell; {FEW_PICTURES} are needed."
        return Verdict(word=UNKNOWN, sentence=f"{begin} unknown - {why}", needs_image=True)

    # The rivals determine the word; the scores of text alone determine whether the task can show any use.
    word, why = _word(rivals, broken_controls, best)
    texts = [rival.score for rival in rivals if rival.name in BASELINES or rival.name == "no_image"]
    texts_alone = max(texts, default=0.0)
    is_enough = texts_alone >= ENOUGH * best
    is_as_good = (
        word == NO
        and open_share <= CLEAR_GAIN
        and texts_alone >= score - CLEAR_GAIN * best
        and texts_alone > max(INFORMATIVE * prior, CLEAR_GAIN * best)
    )
    needs_image = word == YES or not (is_enough or is_as_good)

    # Build the sentence with the numbers.
    sign = " %" if best == 1 else ""  # CIDEr goes up to 1,000 and is not a share
    if not needs_image and word in (NO, HARDLY):
        why += f" Text alone reaches {100 * texts_alone:.1f}{sign}, so these prompts do not need the image."
    least = min(rivals, key=lambda rival: rival.gain.low, default=None)
    measured = ", ".join([f"{100 * score:.1f}{sign} with it", *_rival_scores(rivals, sign)])
    gain = f"; {_gain(least)}" if least is not None else ""
    shown = use_of_image(word, needs_image=needs_image)
    return Verdict(word=word, sentence=f"{begin} {shown} - {measured}{gain}.{why}", needs_image=needs_image)


def _word(rivals: Sequence[Rival], broken_controls: Mapping[str, str], best: float) -> tuple[str, str]:
    """The verdict's word, and the sentences that follow the numbers."""
    names = {rival.name for rival in rivals}
    broken_ones = "".join(
        f" The control {name} is inconclusive: {why}." for name, why in broken_controls.items()
    )
    least = min(rivals, key=lambda rival: rival.gain.low, default=None)
    if least is not None and not least.gain.low > 0:
        more = " More test images would narrow it." * (least.gain.value > CLEAR_GAIN * best)
        return NO, f" The interval is not above 0, so use of the image is not shown.{more}{broken_ones}"

    if names.isdisjoint(CONTROLS):
        return UNKNOWN, broken_ones
    if "shuffled_image" not in names:
        asked = "broken" if "shuffled_image" in broken_controls else "not asked"
        return UNKNOWN, (
            f" The control with another image (shuffled_image) was {asked}, and a model may fail without an image only "
            f"because it was never trained that way.{broken_ones}"
        )

    if least is None or not least.gain.low > CLEAR_GAIN * best:
        return HARDLY, f" There is a gain, but it may be less than five points.{broken_ones}"
    return YES, broken_ones


def overall(tasks: Iterable[tuple[str, str, bool]]) -> tuple[str, str]:
    """The verdict over all tasks, as a word and a sentence.

    Only tasks that need the image count, or all tasks if none needs it. The word is ``yes`` if at least one of them has
    ``yes`` and none has ``no``, ``partly`` if both words occur, and otherwise the word that all known verdicts share,
    or ``hardly`` if they differ.

    Args:
        tasks: Name of each task, its word, and whether it needs the image.
    """
    found = list(tasks)
    deciding = [task for task in found if task[2]] or found
    known = {word for _, word, _ in deciding} - {UNKNOWN}
    if YES in known:
        word = PARTLY if NO in known else YES
    else:
        word = known.pop() if len(known) == 1 else HARDLY if known else UNKNOWN

    # Build a clause for the tasks of each verdict.
    names: dict[str, list[str]] = {}
    for name, word_of_task, needs_image in found:
        names.setdefault(use_of_image(word_of_task, needs_image=needs_image), []).append(name)
    clauses = [clause.format(_listed(names[use])) for use, clause in _CLAUSES.items() if use in names]
    about = f" {'; '.join(clauses)}." if clauses else ""
    return word, f"This model uses the image: {word}.{about[:2].upper()}{about[2:]}"


_CLAUSES = {
    YES: "it uses it in {}",
    HARDLY: "it gains from it in {}, perhaps by less than five points",
    NO: "it shows no use of it in {}",
    NOT_NEEDED: "it does not need it in {}, where the text alone does as well",
    UNKNOWN: "nothing can be said about {}",
}
"""The clause of the sentence for each verdict, in this order."""


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _rival_scores(rivals: Sequence[Rival], sign: str) -> list[str]:
    """The score of each rival as text, the best one first."""
    parts = []
    for rival in sorted(rivals, key=lambda rival: -rival.score):
        is_worth_saying = rival.unreadable >= WORTH_SAYING
        note = f" ({100 * rival.unreadable:.1f} % unreadable)" if is_worth_saying else ""
        parts.append(f"{100 * rival.score:.1f}{sign} {_way(rival.name)}{note}")
    return parts


def _way(name: str) -> str:
    return CONTROLS.get(name) or BASELINES[name]


def _gain(rival: Rival) -> str:
    gain = rival.gain
    return (
        f"the least certain gain, over answering {_way(rival.name)}, is {100 * gain.value:+.1f} points "
        f"(95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    )
