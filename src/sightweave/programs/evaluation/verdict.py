"""Does a model use the image? A word and a sentence for each task, and for all of them together.

A single control proves little. A model that was never trained without a picture may collapse where there is none, and
look as if it had needed the picture. So the picture's worth is what the model scores with it *above the best* of every
other way to answer: without the picture, with another one, with a grey one, and two ways that look at texts alone. The
interval of each difference must lie above the threshold, so the best one need not be known beforehand (an
intersection-union test: Berger 1982, doi:10.1080/00401706.1982.10487790).

Why text-only baselines belong here: Making the V in VQA Matter (Goyal et al. 2017, arXiv:1612.00837).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sightweave.core.types import Prediction
from sightweave.programs.evaluation.statistics import Estimate

FEW_PICTURES = 10
"""With fewer pictures than this, nothing is said about whether the image is used."""
CLEAR_GAIN = 0.05
"""Five points: a gain that is surely above it is a plain yes. A fraction of the best possible score."""
BROKEN = 0.5
"""A control proves nothing if more than this share of its answers is unreadable or cut."""
ENOUGH = 0.9
"""A task does not need the picture if texts alone reach this share of the best possible score."""
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
WORDS = ("yes", "hardly", "no", "unknown")


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
    """One of `WORDS`."""
    sentence: str
    needs_image: bool
    """Whether texts alone fall short on this task; if they do not, it cannot tell."""


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


def judge(
    task: str,
    score: float | None,
    rivals: Sequence[Rival],
    broken_controls: Mapping[str, str],
    *,
    pictures: int,
    best: float = 1.0,
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
    """
    begin = f"{task} uses the image:"
    asked = [rival for rival in rivals if rival.name in CONTROLS]
    if score is None or not (asked or broken_controls):
        why = "it was not asked without the image or with another one."
        return Verdict(word="unknown", sentence=f"{begin} unknown - {why}", needs_image=True)
    if pictures < FEW_PICTURES:
        why = f"{pictures} distinct picture(s) are too few to tell; {FEW_PICTURES} are needed."
        return Verdict(word="unknown", sentence=f"{begin} unknown - {why}", needs_image=True)

    without_looking = [r.score for r in rivals if r.name in BASELINES or r.name == "no_image"]
    sign = " %" if best == 1 else ""  # CIDEr goes up to 1,000 and is no share
    texts_alone = max(without_looking, default=0.0)
    is_enough = texts_alone >= ENOUGH * best
    least = min(rivals, key=lambda rival: rival.gain.low, default=None)
    word, why = _word(rivals, broken_controls, best)
    needs_image = word == "yes" or not is_enough
    if word in ("no", "hardly") and is_enough:
        why += f" Texts alone reach {100 * texts_alone:.1f}{sign}, so these prompts do not need the image."

    measured = ", ".join([f"{100 * score:.1f}{sign} with it", *_said(rivals, sign)])
    gain = f"; {_gain(least)}" if least is not None else ""
    return Verdict(word=word, sentence=f"{begin} {word} - {measured}{gain}.{why}", needs_image=needs_image)


def _word(rivals: Sequence[Rival], broken_controls: Mapping[str, str], best: float) -> tuple[str, str]:
    """The word, and what to add to the numbers."""
    names = {rival.name for rival in rivals}
    told = "".join(f" The control {name} proves nothing: {why}." for name, why in broken_controls.items())
    low = min((rival.gain.low for rival in rivals), default=0.0)
    if rivals and not low > 0:
        return "no", f" That interval is not above 0: no use of the image is shown.{told}"
    if not names & set(CONTROLS):
        return "unknown", told
    if "shuffled_image" not in names:
        asked = "broken" if "shuffled_image" in broken_controls else "not asked"
        return "unknown", (
            f" The control with another image (shuffled_image) was {asked}, and a model may fail without a picture only "
            f"because it never met that.{told}"
        )
    if not low > CLEAR_GAIN * best:
        return "hardly", f" The gain is there, but it may be under five points.{told}"
    return "yes", told


def overall(tasks: Iterable[tuple[str, str, bool]]) -> tuple[str, str]:
    """A word and a sentence over all tasks, from (name, word, whether the task needs the image).

    Tasks that texts alone can answer do not decide, unless there is no other one.
    """
    found = list(tasks)
    known = [one for one in found if one[1] != "unknown"]
    deciding = {word for _, word, needs_image in known if needs_image} or {word for _, word, _ in known}
    word = "unknown" if not deciding else deciding.pop() if len(deciding) == 1 else "hardly"

    parts = []
    for other in WORDS:
        if names := [name for name, said, needs_image in found if said == other and needs_image]:
            parts.append(f"{other} in {', '.join(names)}")
    if names := [name for name, _, needs_image in found if not needs_image]:
        parts.append(f"texts alone suffice in {', '.join(names)}")
    return word, f"This model uses the image: {word}" + (f" ({'; '.join(parts)})." if parts else ".")


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
