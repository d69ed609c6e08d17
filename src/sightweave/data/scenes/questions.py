"""Short questions with short answers: is it there, what colour, what is it, how big, on which side.

Balance: the answer is drawn first, and only where every answer is possible; a question without one is dropped, and the
caller asks another type, never the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightweave.data.scenes.lexicon import COLORS
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.view import CLEAR_Y, MIDDLE, OFF_MIDDLE, Phrase, View

YES_NO = ("yes", "no")
SIZE_WORDS = ("big", "small")
SIDE_WORDS = ("left", "right")
HEIGHT_WORDS = ("top", "bottom")


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A question with its answer, and the steps to it where it needs any."""

    type: str
    template: str
    text: str
    answer: str
    options: tuple[str, ...] = ()
    steps: str = ""


def pick(random: Random, said: Sequence[Phrase]) -> Phrase:
    """One of the phrases, the shorter ones more often."""
    return said[min(random.below(len(said)), random.below(len(said)))]


def exist(view: View, random: Random) -> Question | None:
    """Is there a red circle?"""
    for _ in range(3):
        said = pick(random, random.choice(view.facts).phrases)
        if said.text == "thing":
            continue
        other = view.absent(said, random)
        if other is not None:
            is_there = random.below(2)
            text = f"Is there {(said if is_there else other).a}?"
            return Question("exist", "exist", text, YES_NO[1 - is_there], YES_NO)
    return None


def color(view: View, random: Random) -> Question | None:
    """What color is the big star?"""
    for number in random.drawn([i for i, thing in enumerate(view.things) if thing.is_shape]):
        said = [phrase for phrase in view.unique_phrases(number) if not phrase.color]
        if said:
            text = f"What color is the {pick(random, said).text}?"
            return Question("color", "color", text, view.things[number].color, COLORS)
    return None


def name(view: View, random: Random) -> Question | None:
    """What is the small thing on the left? What animal is this?"""
    for way in random.drawn((_name_by_attributes, _name_by_side, _name_by_end, _name_of_kind)):
        made = way(view, random)
        if made is not None:
            return made
    return None


def _name_by_attributes(view: View, random: Random) -> Question | None:
    for number in random.drawn(range(len(view.things))):
        said = [p for p in view.unique_phrases(number) if p.level == "thing" and p.text != "thing"]
        if said:
            return Question(
                "name", "name", f"What is the {pick(random, said).text}?", view.facts[number].english
            )
    return None


def _name_by_side(view: View, random: Random) -> Question | None:
    """A thing that is alone of its look on one side; what stands near the middle might be counted on either."""
    for side in random.drawn(("left", "right")):
        here = [number for number, thing in enumerate(view.things) if is_on(side, thing.x)]
        maybe = sum(
            1 << number
            for number, thing in enumerate(view.things)
            if number in here or abs(thing.x - MIDDLE) < OFF_MIDDLE
        )
        for number in random.drawn(here):
            said = [
                p
                for p in view.facts[number].phrases
                if p.level == "thing" and view.masks[p] & maybe == 1 << number
            ]
            if said:
                text = f"What is the {pick(random, said).text} on the {side}?"
                return Question("name", "name_side", text, view.facts[number].english)
    return None


def _name_by_end(view: View, random: Random) -> Question | None:
    if len(view.things) < 2:
        return None
    heights = [view.things[number].y for number in view.rows]
    ends = {"leftmost": 0, "rightmost": len(view.things) - 1}
    if heights[1] - heights[0] >= CLEAR_Y:
        ends["topmost"] = view.rows[0]
    if heights[-1] - heights[-2] >= CLEAR_Y:
        ends["bottommost"] = view.rows[-1]
    end = random.choice(tuple(ends))
    return Question("name", "name_end", f"What is the {end} thing?", view.facts[ends[end]].english)


def _name_of_kind(view: View, random: Random) -> Question | None:
    for number in random.drawn(range(len(view.things))):
        kind, english = view.facts[number].noun.category, view.facts[number].english
        if not kind:
            continue
        said = view.unique_phrases(number)
        if any(p.level == "category" and p.text == p.head for p in said):
            return Question("name", "name_kind", f"What {kind} is this?", english)
        things = [p for p in said if p.level == "thing"]
        if things:
            return Question("name", "name_kind", f"What {kind} is the {pick(random, things).text}?", english)
    return None


def size(view: View, random: Random) -> Question | None:
    """Is the dog big or small?"""
    found: dict[str, list[Phrase]] = {}
    for number, thing in enumerate(view.things):
        said = [p for p in view.unique_phrases(number) if not p.size and p.text != "thing"]
        if said:
            found.setdefault(thing.size, []).append(pick(random, said))
    if not found:
        return None
    answer = random.choice(sorted(found))
    return Question(
        "size", "size", f"Is the {random.choice(found[answer]).text} big or small?", answer, SIZE_WORDS
    )


def is_on(side: str, x: int) -> bool:
    """Whether a centre is clearly on the left or on the right."""
    return x <= MIDDLE - OFF_MIDDLE if side == "left" else x >= MIDDLE + OFF_MIDDLE


def side(view: View, random: Random) -> Question | None:
    """Is the dog on the left or on the right?"""
    middles = [thing.x - MIDDLE for thing in view.things]
    return _which_end(view, random, "side", middles, "Is the {} on the left or on the right?", SIDE_WORDS)


def height(view: View, random: Random) -> Question | None:
    """Is the dog at the top or at the bottom?"""
    middles = [thing.y - MIDDLE for thing in view.things]
    return _which_end(view, random, "height", middles, "Is the {} at the top or at the bottom?", HEIGHT_WORDS)


def _which_end(
    view: View, random: Random, kind: str, middles: Sequence[int], text: str, ends: tuple[str, str]
) -> Question | None:
    """Asks for one of two ends of an axis; what stands near the middle is not asked for."""
    found: dict[str, list[Phrase]] = {}
    for number, middle in enumerate(middles):
        said = (
            [p for p in view.unique_phrases(number) if p.text != "thing"] if abs(middle) >= OFF_MIDDLE else []
        )
        if said:
            found.setdefault(ends[middle > 0], []).append(pick(random, said))
    if not found:
        return None
    answer = random.choice(sorted(found))
    return Question(kind, kind, text.format(random.choice(found[answer]).text), answer, ends)


VQA = {"exist": exist, "color": color, "name": name, "size": size, "side": side, "height": height}
