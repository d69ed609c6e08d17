"""Options that a prompt lists with letters, and the same list in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Literal

from sightweave.core.types import Sample


def listing(options: Sequence[str]) -> str:
    """One option a line, with its letter: ``A. red``."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))


def with_listing(text: str, options: Sequence[str]) -> str:
    """A question with its options below it, unless it lists them already; more than 26 are never listed."""
    lines = listing(options)
    if not options or len(options) > len(ascii_uppercase) or _lists(text, lines):
        return text
    return f"{text}\n{lines}"


def without_listing(text: str, options: Sequence[str]) -> str:
    """The question alone, if its options stand below it."""
    return f"{text}\n".removesuffix(f"\n{listing(options)}\n").removesuffix("\n") if options else text


def hides_options(sample: Sample) -> bool:
    """Whether the prompt leaves out an option that could be listed, so that nobody can know it."""
    could_list = 1 < len(sample.options) <= len(ascii_uppercase)
    prompt = sample.prompt.casefold()
    return could_list and not all(option.casefold() in prompt for option in sample.options)


def _lists(text: str, lines: str) -> bool:
    """Whether a text has these lines; the last one must end there, for ``B. red`` is not ``B. red-brown``."""
    return f"{lines}\n" in f"{text}\n"


def answered(
    answer: str, references: tuple[str, ...], options: Sequence[str], answer_with: Literal["text", "letter"]
) -> tuple[str, tuple[str, ...]]:
    """What is learnt, and what is right, where options are listed: an option's text and its letter both are.

    Options that are letters themselves are answered by their texts alone. References that repeat are votes: letters
    among them would change the shares that VQA accuracy counts, so they get none unless letters are learnt.
    """
    letters = dict(zip(options, ascii_uppercase, strict=False))
    has_votes = len(set(references)) < len(references)
    if not set(options).isdisjoint(letters.values()) or (has_votes and answer_with == "text"):
        return answer, references
    folded = {option.casefold(): letter for option, letter in letters.items()}

    def letter(text: str) -> str:
        return letters.get(text) or folded.get(text.casefold(), "")

    both = tuple(word for text in references for word in (text, letter(text)) if word)
    return (letter(answer) or answer) if answer_with == "letter" else answer, both


def rotate(sample: Sample, by: int) -> Sample | None:
    """The sample with its list of options turned by so many places; None if its prompt lists none, or one alone.

    What it says of letters stays true: an answer that is a letter moves with its option, also after steps.
    """
    options, count = sample.options, len(sample.options)
    if not 2 <= count <= len(ascii_uppercase):
        return None
    turned = (*options[by % count :], *options[: by % count])
    before, after = listing(options), listing(turned)
    letters = dict(zip(ascii_uppercase, options, strict=False))
    places = {option: letter for letter, option in zip(ascii_uppercase, turned, strict=False)}

    def moved(text: str) -> str:
        steps, space, last = text.rpartition(" ")
        # "Vitamin A" is an option's text, and its end no letter of the list.
        if last not in letters or last not in sample.references or text.endswith(options):
            return text
        return f"{steps}{space}{places[letters[last]]}"

    parts, is_listed = [], False
    for part in sample.parts:
        content = part.content
        if isinstance(content, str) and part.role == "user" and _lists(content, before):
            content, is_listed = f"{content}\n".replace(f"{before}\n", f"{after}\n")[:-1], True
        elif isinstance(content, str) and part.learn:
            content = moved(content)
        parts.append(replace(part, content=content))
    if not is_listed:
        return None
    references = tuple(map(moved, sample.references))
    return replace(sample, parts=tuple(parts), options=turned, references=references)
