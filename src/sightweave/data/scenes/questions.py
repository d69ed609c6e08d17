"""Makes questions with short answers, about existence, colour, name, size and side.

To balance the answers, the answer is drawn first from those that are possible in the scene. If the scene allows no question
of a type, its function returns None, and the caller tries another type.
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
    """A question with its answer, and with reasoning steps if it needs any."""

    type: str
    template: str
    text: str
    answer: str
    options: tuple[str, ...] = ()
    steps: str = ""


def pick(random: Random, phrases: Sequence[Phrase]) -> Phrase:
    """A random phrase; phrases at the start of the sequence, which are shorter, are more likely."""
    return phrases[min(random.below(len(phrases)), random.below(len(phrases)))]


def exist(view: View, random: Random) -> Question | None:
    """Asks whether something is in the image: "Is there a red circle?"."""
    for _ in range(3):
        present = pick(random, random.choice(view.facts).phrases)
        if present.text == "thing":
            continue
        absent = view.absent(present, random)
        if absent is None:
            continue

        is_present = random.below(2)
        asked = present if is_present else absent
        return Question("exist", "exist", f"Is there {asked.a}?", YES_NO[1 - is_present], YES_NO)
    return None


def color(view: View, random: Random) -> Question | None:
    """Asks for the colour of a shape: "What color is the big star?"."""
    shapes = [number for number, thing in enumerate(view.things) if thing.is_shape]
    for number in random.drawn(shapes):
        phrases = [phrase for phrase in view.unique_phrases(number) if not phrase.color]
        if phrases:
            text = f"What color is the {pick(random, phrases).text}?"
            return Question("color", "color", text, view.things[number].color, COLORS)
    return None


def name(view: View, random: Random) -> Question | None:
    """Asks what a thing is: "What is the small thing on the left?", "What animal is this?"."""
    for way in random.drawn((_name_by_attributes, _name_by_side, _name_by_end, _name_of_kind)):
        made = way(view, random)
        if made is not None:
            return made
    return None


def _name_by_attributes(view: View, random: Random) -> Question | None:
    for number in random.drawn(range(len(view.things))):
        phrases = [p for p in view.unique_phrases(number) if p.level == "thing" and p.text != "thing"]
        if phrases:
            text = f"What is the {pick(random, phrases).text}?"
            return Question("name", "name", text, view.facts[number].english)
    return None


def _name_by_side(view: View, random: Random) -> Question | None:
    """Asks for the only thing on one side that a phrase describes; things near the middle count for both sides."""
    for side in random.drawn(("left", "right")):
        here = [number for number, thing in enumerate(view.things) if is_on(side, thing.x)]
        maybe_here = 0
        for number, thing in enumerate(view.things):
            if number in here or abs(thing.x - MIDDLE) < OFF_MIDDLE:
                maybe_here |= 1 << number

        for number in random.drawn(here):
            things = [p for p in view.facts[number].phrases if p.level == "thing"]
            unique = [p for p in things if view.masks[p] & maybe_here == 1 << number]
            if unique:
                text = f"What is the {pick(random, unique).text} on the {side}?"
                return Question("name", "name_side", text, view.facts[number].english)
    return None


def _name_by_end(view: View, random: Random) -> Question | None:
    if len(view.things) < 2:
        return None

    ends = {"leftmost": 0, "rightmost": len(view.things) - 1}
    heights = [view.things[number].y for number in view.rows]
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

        phrases = view.unique_phrases(number)
        if any(p.level == "category" and p.text == p.head for p in phrases):
            return Question("name", "name_kind", f"What {kind} is this?", english)
        things = [p for p in phrases if p.level == "thing"]
        if things:
            return Question("name", "name_kind", f"What {kind} is the {pick(random, things).text}?", english)
    return None


def size(view: View, random: Random) -> Question | None:
    """Asks for the size of a thing: "Is the dog big or small?"."""
    by_answer: dict[str, list[Phrase]] = {}
    for number, thing in enumerate(view.things):
        phrases = [p for p in view.unique_phrases(number) if not p.size and p.text != "thing"]
        if phrases:
            by_answer.setdefault(thing.size, []).append(pick(random, phrases))
    if not by_answer:
        return None

    answer = random.choice(sorted(by_answer))
    text = f"Is the {random.choice(by_answer[answer]).text} big or small?"
    return Question("size", "size", text, answer, SIZE_WORDS)


def is_on(side: str, x: int) -> bool:
    """Whether a centre is clearly on the ``left`` or ``right`` side of the image."""
    return x <= MIDDLE - OFF_MIDDLE if side == "left" else x >= MIDDLE + OFF_MIDDLE


def side(view: View, random: Random) -> Question | None:
    """Asks which side a thing is on: "Is the dog on the left or on the right?"."""
    offsets = [thing.x - MIDDLE for thing in view.things]
    return _which_end(view, random, "side", offsets, "Is the {} on the left or on the right?", SIDE_WORDS)


def height(view: View, random: Random) -> Question | None:
    """Asks whether a thing is in the upper or lower half: "Is the dog at the top or at the bottom?"."""
    offsets = [thing.y - MIDDLE for thing in view.things]
    return _which_end(view, random, "height", offsets, "Is the {} at the top or at the bottom?", HEIGHT_WORDS)


def _which_end(
    view: View, random: Random, kind: str, offsets: Sequence[int], text: str, ends: tuple[str, str]
) -> Question | None:
    """Asks at which of the two ends of an axis a thing is; things near the middle are not asked about.

    Args:
        view: The scene.
        random: Source of randomness.
        kind: Type of the question.
        offsets: Signed distance of each thing's centre from the middle along the axis, in sixteenths of a pixel.
        text: The question, with ``{}`` for the thing.
        ends: The answers for negative and for positive offsets.
    """
    by_answer: dict[str, list[Phrase]] = {}
    for number, offset in enumerate(offsets):
        if abs(offset) < OFF_MIDDLE:
            continue
        phrases = [p for p in view.unique_phrases(number) if p.text != "thing"]
        if phrases:
            by_answer.setdefault(ends[offset > 0], []).append(pick(random, phrases))
    if not by_answer:
        return None

    answer = random.choice(sorted(by_answer))
    asked = random.choice(by_answer[answer])
    return Question(kind, kind, text.format(asked.text), answer, ends)


VQA = {"exist": exist, "color": color, "name": name, "size": size, "side": side, "height": height}
