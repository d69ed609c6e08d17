"""Lists the options of a multiple-choice question with letters in a prompt, and rotates such lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Literal

from sightweave.core.types import Sample


def listing(options: Sequence[str]) -> str:
    """Formats options as a list with one option per line, each with its letter, such as ``A. red``."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))


def with_listing(text: str, options: Sequence[str]) -> str:
    """Appends the list of options to a question, unless it already contains the list or there are more than 26 options."""
    lines = listing(options)
    if not options or len(options) > len(ascii_uppercase) or _has_listing(text, lines):
        return text
    return f"{text}\n{lines}"


def without_listing(text: str, options: Sequence[str]) -> str:
    """Removes the list of options from the end of a question, if it is there."""
    return f"{text}\n".removesuffix(f"\n{listing(options)}\n").removesuffix("\n") if options else text


def hides_options(sample: Sample) -> bool:
    """Whether the prompt does not mention one of the options, although they could be listed, so no model can know it."""
    could_list = 1 < len(sample.options) <= len(ascii_uppercase)
    prompt = sample.prompt.casefold()
    return could_list and not all(option.casefold() in prompt for option in sample.options)


def _has_listing(text: str, lines: str) -> bool:
    """Whether a text contains the given complete lines; for example, ``B. red-brown`` does not contain ``B. red``."""
    return f"{lines}\n" in f"{text}\n"


def answered(
    answer: str, references: tuple[str, ...], options: Sequence[str], answer_with: Literal["text", "letter"]
) -> tuple[str, tuple[str, ...]]:
    """The training target and the references of a question with listed options: each option's text and letter are accepted.

    If the options are letters themselves, only their texts are accepted. Duplicate references are votes of annotators, whose
    shares VQA accuracy counts. Letters would change these shares, so they are then added only if the target is a letter.

    Args:
        answer: Text of the correct option.
        references: Reference answers.
        options: The listed options.
        answer_with: Whether the target is the option's ``text`` or its ``letter``.
    """
    letters = dict(zip(options, ascii_uppercase, strict=False))
    has_votes = len(set(references)) < len(references)
    if not set(options).isdisjoint(letters.values()) or (has_votes and answer_with == "text"):
        return answer, references

    folded = {option.casefold(): letter for option, letter in letters.items()}

    def letter_of(text: str) -> str:
        return letters.get(text) or folded.get(text.casefold(), "")

    with_letters: list[str] = []
    for text in references:
        with_letters += [word for word in (text, letter_of(text)) if word]

    if answer_with == "letter":
        answer = letter_of(answer) or answer
    return answer, tuple(with_letters)


def rotate(sample: Sample, by: int) -> Sample | None:
    """Rotates the listed options of a sample by a number of positions; None if its prompt lists fewer than two options.

    Answers remain correct: a letter, alone or at the end of reasoning steps, is replaced by the new letter of its option.
    """
    options, count = sample.options, len(sample.options)
    if not 2 <= count <= len(ascii_uppercase):
        return None

    # The list before and after the rotation, and the mapping of letters.
    rotated = (*options[by % count :], *options[: by % count])
    before, after = listing(options), listing(rotated)
    old_options = dict(zip(ascii_uppercase, options, strict=False))
    new_letters = dict(zip(rotated, ascii_uppercase, strict=False))

    def relettered(text: str) -> str:
        steps, space, last = text.rpartition(" ")
        # The last word of an option's text, such as "Vitamin A", is not a letter of the list.
        if last not in old_options or last not in sample.references or text.endswith(options):
            return text
        return f"{steps}{space}{new_letters[old_options[last]]}"

    # Replace the list in the prompt, and the letters in the target and the references.
    parts, is_listed = [], False
    for part in sample.parts:
        content = part.content
        if isinstance(content, str) and part.role == "user" and _has_listing(content, before):
            content, is_listed = f"{content}\n".replace(f"{before}\n", f"{after}\n")[:-1], True
        elif isinstance(content, str) and part.learn:
            content = relettered(content)
        parts.append(replace(part, content=content))
    if not is_listed:
        return None

    references = tuple(map(relettered, sample.references))
    return replace(sample, parts=tuple(parts), options=rotated, references=references)
