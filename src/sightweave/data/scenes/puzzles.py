"""Questions that need steps: counting, comparing, relations, sameness, neighbours.

The steps are short and always of the same form, since a model of a million parameters has to learn them: what matches,
numbered from left to right, or things in the order of an axis, up to the one that decides. So the last words of the steps
hold the conclusion: steps that leave it to be drawn from a whole list are learnt, but the conclusion is not. As in
``questions.py``, the answer is drawn first.
"""

from __future__ import annotations

from collections.abc import Sequence

from sightweave.data.scenes.questions import YES_NO, Question, pick
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.view import CLEAR_Y, Phrase, View

COUNTS = ("0", "1", "2", "3", "4")
RELATIONS = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
_COUNT_WEIGHTS = {1: 2, 2: 3, 3: 5, 4: 6}
_NREL_WEIGHTS = (3, 3, 4, 6)
# Scenes in which the shapes have pairs of one colour and pairs of two are always asked about. Of a hundred others, so
# many are: first where no two are alike, then where all are; elsewhere, then in ``combinations``. So "yes" and "no"
# stay level (measured).
_KEEP = {"color": ((95, 100), (36, 100)), "shape": ((84, 100), (100, 66))}


def count(view: View, random: Random) -> Question | None:
    """How many red shapes are there?"""
    found: dict[int, list[Phrase]] = {}
    for said, mask in view.masks.items():
        if said.text != "thing":
            found.setdefault(mask.bit_count(), []).append(said)
    if random.below(9) < 2:
        some = random.choice([said for group in found.values() for said in group])
        asked = view.absent(some, random)
        if asked is None:
            return None
    else:
        numbers = sorted(found)
        number = random.weighted(numbers, [_COUNT_WEIGHTS[n] for n in numbers])
        asked = random.choice(found[number])
    text, matches = f"How many {asked.plural} are there?", view.fitting(asked)
    return Question("count", "count", text, str(len(matches)), COUNTS, f"{_numbered(view, matches)}.")


def _numbered(view: View, things: Sequence[int]) -> str:
    """What matches, counted one by one: the last number is how many there are."""
    return ", ".join(f"{place} {view.short[number]}" for place, number in enumerate(things, 1)) or "none"


def cmp(view: View, random: Random) -> Question | None:
    """Are there more dogs than red circles?"""
    present = [
        said for said in view.masks if said.level != "thing" or said.size or said.color or said.striped
    ]
    for _ in range(4):
        first = random.choice(present)
        second = view.absent(first, random) if random.below(4) == 0 else random.choice(present)
        if second is None:
            continue
        one, two = view.masks[first], view.masks.get(second, 0)
        numbers = one.bit_count(), two.bit_count()
        # One group within the other would give the answer away.
        if one & two or numbers[0] == numbers[1]:
            continue
        is_more = random.below(2)
        more, less = (first, second) if numbers[0] > numbers[1] else (second, first)
        a, b = (more, less) if is_more else (less, more)
        text = f"Are there more {a.plural} than {b.plural}?"
        lists = [view.fitting(said) for said in (a, b)]
        counts = " and ".join(str(len(things)) for things in lists)
        steps = f"{'; '.join(_numbered(view, things) for things in lists)}; {counts}."
        return Question("cmp", "cmp", text, YES_NO[1 - is_more], YES_NO, steps)
    return None


def _in_order(view: View, order: Sequence[int], *, down: bool, counted: Sequence[int] = ()) -> str:
    """The steps of every question about places: things along an axis as far as needed, some of them with a number."""
    said = [
        f"{counted.index(number) + 1} {view.short[number]}" if number in counted else view.short[number]
        for number in order
    ]
    return f"{'top to bottom' if down else 'left to right'}: {', '.join(said)}"


def rel(view: View, random: Random) -> Question | None:
    """Is the dog to the left of the red circle?"""
    if len(view.unique) < 2:
        return None
    relation = random.choice(tuple(RELATIONS))
    first, second = random.shuffled(view.unique)[:2]
    down = relation in ("above", "below")
    if down and not (view.rows_are_clear() and _differ(view, first, second)):
        relation, down = random.choice(("left", "right")), False
    order = view.rows if down else list(range(len(view.things)))
    earlier, later = (first, second) if order.index(first) < order.index(second) else (second, first)
    is_so = random.below(2)
    if (relation in ("left", "above")) != bool(is_so):
        earlier, later = later, earlier
    text = f"Is the {view.short[earlier]} {RELATIONS[relation]} the {view.short[later]}?"
    is_first = order.index(earlier) < order.index(later)
    truth = ("above" if is_first else "below") if down else ("to the left" if is_first else "to the right")
    listed = order[: min(order.index(earlier), order.index(later)) + 1]
    steps = f"{_in_order(view, listed, down=down)}; {view.short[earlier]} {truth}."
    return Question("rel", f"rel_{relation}", text, YES_NO[1 - is_so], YES_NO, steps)


def _differ(view: View, first: int, second: int) -> bool:
    return abs(view.things[first].y - view.things[second].y) >= CLEAR_Y


def same(view: View, random: Random) -> Question | None:
    """Are the dog and the star the same size?"""
    for asked in random.drawn(("size", "color", "shape")):
        made = _same(view, random, asked)
        if made is not None:
            return made
    return None


def _same(view: View, random: Random, asked: str) -> Question | None:
    names, values = {}, {}
    for number, thing in enumerate(view.things):
        if asked != "size" and not thing.is_shape:
            continue
        said = [p for p in view.unique_phrases(number) if _keeps_secret(p, asked)]
        if said:
            names[number] = pick(random, said).text
            values[number] = {"size": thing.size, "color": thing.color, "shape": thing.name}[asked]
    pairs = [(a, b) for a in names for b in names if a < b]
    alike = [(a, b) for a, b in pairs if values[a] == values[b]]
    unlike = [(a, b) for a, b in pairs if values[a] != values[b]]
    if alike and unlike:
        chosen = (unlike, alike)[random.below(2)]
    elif asked == "size":
        # Two things are of one size as often as not; of three, those that can be named may be of one size too often.
        chosen = (alike or unlike) if len(view.things) == 2 else []
    else:
        keep = _KEEP[asked][view.allows_held_out][bool(alike)]
        chosen = (alike or unlike) if random.chance(keep) else []
    if not chosen:
        return None
    first, second = random.choice(chosen)
    text = f"Are the {names[first]} and the {names[second]} the same {asked}?"
    steps = f"{values[first]} and {values[second]}."
    return Question("same", f"same_{asked}", text, "yes" if chosen is alike else "no", YES_NO, steps)


def _keeps_secret(said: Phrase, asked: str) -> bool:
    """Whether a phrase names a thing without saying what is asked about it."""
    if asked == "size":
        return not said.size and said.level == "noun"
    if asked == "color":
        return not said.color and said.level != "thing"
    return said.level == "thing" and said.text != "thing"


def next_to(view: View, random: Random) -> Question | None:
    """What is just to the left of the dog?"""
    relation = random.choice(("left", "right"))
    step = -1 if relation == "left" else 1
    asked = [number for number in view.unique if 0 <= number + step < len(view.things)]
    if not asked:
        return None
    number = random.choice(asked)
    text = f"What is just {RELATIONS[relation]} the {view.short[number]}?"
    steps = f"{_in_order(view, range(number + 1), down=False)}."
    return Question("next", f"next_{relation}", text, view.short[number + step], (), steps)


def nrel(view: View, random: Random) -> Question | None:
    """How many things are to the left of the dog?"""
    things, last = view.things, len(view.things) - 1
    down = random.below(3) == 0 and view.rows_are_clear()
    order = view.rows if down else list(range(last + 1))
    relation = random.choice(("above", "below") if down else ("left", "right"))
    found: dict[int, int] = {}
    for place, number in enumerate(order):
        near = (order[i] for i in (place - 1, place + 1) if 0 <= i <= last) if down else ()
        if number in view.unique and all(abs(things[number].y - things[i].y) >= CLEAR_Y for i in near):
            found[place if relation in ("left", "above") else last - place] = number
    if len(found) < 2:
        return None
    answers = sorted(found)
    answer = random.weighted(answers, [_NREL_WEIGHTS[n] for n in answers])
    text = f"How many things are {RELATIONS[relation]} the {view.short[found[answer]]}?"
    place = order.index(found[answer])
    if relation in ("left", "above"):
        listed, counted = order[: place + 1], order[:place]
    else:
        listed, counted = order, order[place + 1 :]
    steps = f"{_in_order(view, listed, down=down, counted=counted)}."
    return Question("nrel", f"nrel_{relation}", text, str(answer), COUNTS[:4], steps)


REASONING = {"count": count, "cmp": cmp, "rel": rel, "same": same, "next": next_to, "nrel": nrel}
