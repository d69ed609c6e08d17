"""Does a model use the image? A word and a sentence for each task, and for all of them together.

A single control proves little. A model that was never trained without a picture may collapse where there is none, and
look as if it had needed the picture. So the picture's worth is what the model scores with it *above the best* of every
other way to answer: without the picture, with another one, with a grey one, and two ways that look at texts alone. The
interval of each difference must lie above the threshold, so the best one need not be known beforehand (an
intersection-union test: Berger 1982, doi:10.1080/00401706.1982.10487790).

Why text-only baselines belong here: Making the V in VQA Matter (Goyal et al. 2017, arXiv:1612.00837).

A task whose words already say everything cannot show whether the picture is used, so it does not decide over the model.
A model's failure to gain proves no such thing, though: a model that ignores its pictures gains nothing anywhere. So a
task needs its pictures wherever the same words ask for different answers beside different pictures (`left_open`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sightweave.core.types import Prediction, Sample
from sightweave.core.verdicts import HARDLY, NO, NOT_NEEDED, PARTLY, UNKNOWN, YES, use_of_image
from sightweave.programs.evaluation.statistics import Estimate

FEW_PICTURES = 10
"""With fewer pictures than this, nothing is said about whether the image is used."""
CLEAR_GAIN = 0.05
"""Five points: a gain that is surely above it is a plain yes. A fraction of the best possible score."""
BROKEN = 0.5
"""A control proves nothing if more than this share of its answers is unreadable or cut."""
ENOUGH = 0.9
"""A task does not need the picture if texts alone reach this share of the best possible score."""
INFORMATIVE = 2.0
"""Texts say something about the answers if they score more than this many times the most frequent answer."""
WORTH_SAYING = 0.01
"""From this share of unreadable answers on, the sentence mentions them."""

CONTROLS = {
    "no_image": "without it",
    "shuffled_image": "with another image",
    "blank_image": "with a grey image",
}
"""The controls that a verdict rests on. All other controls change the prompt or keep the picture recognisable."""
BASELINES = {
    "majority": "by always giving the most frequent answer",
    "neighbour": "by the answer of the nearest training prompt",
}
"""Ways to answer from texts alone, without any model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another way to answer the same prompts than by looking at their picture."""

    name: str
    """A key of `CONTROLS` or `BASELINES`."""
    score: float
    gain: Estimate
    """What the model with the picture scores above it, paired by sample."""
    unreadable: float = 0.0
    """Share of its answers in which nothing could be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the answers of one task come from the picture."""

    word: str
    """``yes``, ``hardly``, ``no`` or ``unknown``."""
    sentence: str
    needs_image: bool
    """Whether this task can show a use of the image; if its texts say everything, it cannot."""


def broken(predictions: Sequence[Prediction], is_read: list[bool]) -> str:
    """Why the answers of a control prove nothing; empty where they can be used.

    Args:
        predictions: What was said.
        is_read: Whether an answer could be read in each.
    """
    count = len(predictions)
    unreadable = is_read.count(False)
    cut = sum(said.finish == "length" and read for said, read in zip(predictions, is_read, strict=True))
    if not count or (unreadable + cut) / count <= BROKEN:
        return ""
    parts = [f"{unreadable} of {count} answers are unreadable"] if unreadable else []
    parts += [f"{cut} of {count} are cut at the token limit"] if cut else []
    return " and ".join(parts)


def left_open(samples: Iterable[Sample]) -> float:
    """The share of samples that even the best reader of their prompts alone gets wrong.

    Such a reader gives one answer to all samples with the same words and options. Where those samples have different
    pictures and different references, only the pictures can tell which one is right. Words that occur once leave nothing
    open, so this is a lower bound.
    """
    accepted: dict[tuple[str, tuple[str, ...]], dict[str, set[str]]] = {}
    for sample in samples:
        of_pictures = accepted.setdefault((_folded(sample.prompt), tuple(sample.options)), {})
        of_pictures.setdefault(sample.group, set()).update(map(_folded, sample.references))

    total = wrong = 0
    for of_pictures in accepted.values():
        right = Counter(reference for references in of_pictures.values() for reference in references)
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

    ``yes``: the gain over each rival is surely above five points. ``hardly``: it is surely above nothing. ``no``: over
    some rival it is not. ``unknown``: with fewer than ten pictures, or without a control that could tell; only
    another picture shows a model what it was trained on, so ``yes`` and ``hardly`` need that one.

    Args:
        task: Name of the task.
        score: With the picture, on the samples that have one; None where there are none.
        rivals: The controls that can be used, and the baselines.
        broken_controls: Why the other controls prove nothing, by name.
        pictures: Distinct pictures that were asked about.
        best: The best possible score.
        prior: Score of always giving the most frequent answer.
        open_share: What `left_open` finds on the samples.
    """
    begin = f"{task} uses the image:"
    asked = [rival for rival in rivals if rival.name in CONTROLS]
    if score is None or not (asked or broken_controls):
        why = "the controls without the image and with another image were not run."
        return Verdict(word=UNKNOWN, sentence=f"{begin} unknown - {why}", needs_image=True)
    if pictures < FEW_PICTURES:
        why = f"{pictures} distinct image(s) are too few to tell; {FEW_PICTURES} are needed."
        return Verdict(word=UNKNOWN, sentence=f"{begin} unknown - {why}", needs_image=True)

    # The word follows from the rivals, whether the task can tell at all from what its texts give away.
    word, why = _word(rivals, broken_controls, best)
    texts_alone = max((r.score for r in rivals if r.name in BASELINES or r.name == "no_image"), default=0.0)
    is_enough = texts_alone >= ENOUGH * best
    is_as_good = (
        word == NO
        and open_share <= CLEAR_GAIN
        and texts_alone >= score - CLEAR_GAIN * best
        and texts_alone > max(INFORMATIVE * prior, CLEAR_GAIN * best)
    )
    needs_image = word == YES or not (is_enough or is_as_good)

    sign = " %" if best == 1 else ""  # CIDEr goes up to 1,000 and is no share
    if not needs_image and word in (NO, HARDLY):
        why += f" Text alone reaches {100 * texts_alone:.1f}{sign}, so these prompts do not need the image."
    least = min(rivals, key=lambda rival: rival.gain.low, default=None)
    measured = ", ".join([f"{100 * score:.1f}{sign} with it", *_said(rivals, sign)])
    gain = f"; {_gain(least)}" if least is not None else ""
    shown = use_of_image(word, needs_image=needs_image)
    return Verdict(word=word, sentence=f"{begin} {shown} - {measured}{gain}.{why}", needs_image=needs_image)


def _word(rivals: Sequence[Rival], broken_controls: Mapping[str, str], best: float) -> tuple[str, str]:
    """The word, and what to add to the numbers."""
    names = {rival.name for rival in rivals}
    told = "".join(f" The control {name} is inconclusive: {why}." for name, why in broken_controls.items())
    low = min((rival.gain.low for rival in rivals), default=0.0)
    if rivals and not low > 0:
        least = min(rivals, key=lambda rival: rival.gain.low)
        more = " More test images would narrow it." * (least.gain.value > CLEAR_GAIN * best)
        return NO, f" The interval includes 0, so use of the image is not shown.{more}{told}"
    if not names & set(CONTROLS):
        return UNKNOWN, told
    if "shuffled_image" not in names:
        asked = "broken" if "shuffled_image" in broken_controls else "not asked"
        return UNKNOWN, (
            f" The control with another image (shuffled_image) was {asked}, and a model may fail without an image only "
            f"because it was never trained that way.{told}"
        )
    if not low > CLEAR_GAIN * best:
        return HARDLY, f" There is a gain, but it may be less than five points.{told}"
    return YES, told


def overall(tasks: Iterable[tuple[str, str, bool]]) -> tuple[str, str]:
    """A word and a sentence over all tasks, from (name, word, whether the task needs the image).

    Tasks that need the image decide: ``yes`` if it is surely used in each of them and clearly in one, ``no`` or
    ``hardly`` if nowhere more than that, ``partly`` if some clearly use it and others do not. Tasks that do not need it
    decide only where there is no other.
    """
    found = list(tasks)
    needing = [word for _, word, needs_image in found if needs_image]
    known = {word for word in needing or [word for _, word, _ in found]} - {UNKNOWN}
    if YES in known:
        word = PARTLY if NO in known else YES
    else:
        word = known.pop() if len(known) == 1 else HARDLY if known else UNKNOWN

    clauses = []
    for use, clause in _CLAUSES.items():
        names = [name for name, said, needs in found if use_of_image(said, needs_image=needs) == use]
        if names:
            clauses.append(clause.format(_listed(names)))
    about = f" {'; '.join(clauses)}." if clauses else ""
    return word, f"This model uses the image: {word}.{about[:2].upper()}{about[2:]}"


_CLAUSES = {
    YES: "it uses it in {}",
    HARDLY: "it gains from it in {}, perhaps by less than five points",
    NO: "it shows no use of it in {}",
    NOT_NEEDED: "it does not need it in {}, where the text alone does as well",
    UNKNOWN: "nothing can be said about {}",
}
"""What is said about the tasks of each use, in this order."""


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _said(rivals: Sequence[Rival], sign: str) -> list[str]:
    """What each rival scores, the best one first."""
    said = []
    for rival in sorted(rivals, key=lambda rival: -rival.score):
        is_worth_saying = rival.unreadable >= WORTH_SAYING
        note = f" ({100 * rival.unreadable:.1f} % unreadable)" if is_worth_saying else ""
        said.append(f"{100 * rival.score:.1f}{sign} {_way(rival.name)}{note}")
    return said


def _way(name: str) -> str:
    return CONTROLS.get(name) or BASELINES[name]


def _gain(rival: Rival) -> str:
    gain = rival.gain
    return (
        f"the least certain gain, over answering {_way(rival.name)}, is {100 * gain.value:+.1f} points "
        f"(95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    )
