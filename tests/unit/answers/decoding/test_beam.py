"""Beams against every text that there is, on a language small enough to list."""

from __future__ import annotations

import itertools

import pytest
import torch

from sightweave.answers.decoding import beam
from sightweave.answers.decoding._base import Draws

VOCABULARY, END, LENGTH = 4, 0, 4


def table(seed: int) -> torch.Tensor:
    """Logits of the next token by the last two: a small language of its own."""
    return (
        torch.randn(VOCABULARY, VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 1.5
    )


def score(language: torch.Tensor, text: tuple[int, ...]) -> float:
    before = (1, 1)
    total = 0.0
    for token in text:
        total += float(language[before].log_softmax(-1)[token])
        before = (before[1], token)
    return total


def texts() -> list[tuple[int, ...]]:
    """All texts: those that end, and those that are cut at the longest length."""
    found = []
    for length in range(1, LENGTH + 1):
        for text in itertools.product(range(VOCABULARY), repeat=length):
            ends = text[-1] == END and END not in text[:-1]
            if ends or (length == LENGTH and END not in text):
                found.append(text)
    return found


def search(
    language: torch.Tensor, width: int, penalty: float, prompts: int = 1
) -> list[tuple[tuple[int, ...], float]]:
    """Beam search by the method under test, with the texts moved as it says."""
    method = beam.Config(num_beams=width, length_penalty=penalty).build(end_id=END)
    rows = prompts * width
    written: list[tuple[int, ...]] = [() for _ in range(rows)]
    totals = torch.zeros(rows)
    done = torch.zeros(rows, dtype=torch.bool)
    for _ in range(LENGTH):
        logits = torch.stack([language[((1, 1, *text)[-2], (1, 1, *text)[-1])] for text in written])
        choice = method.choose(logits, done, Draws.of(0, [["row"]] * rows))
        assert choice.rows is not None
        totals = totals[choice.rows] + choice.logprobs
        was_done = done[choice.rows]
        written = [
            written[row] if stopped else (*written[row], token)
            for row, token, stopped in zip(
                choice.rows.tolist(), choice.ids.tolist(), was_done.tolist(), strict=True
            )
        ]
        done = was_done | (choice.ids == END)
    lengths = torch.tensor([len(text) for text in written])
    return [(written[i], float(totals[i])) for i in method.best(totals, lengths).tolist()]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_as_wide_as_the_language_finds_the_best_text(seed: int, penalty: float) -> None:
    language = table(seed)
    ((found, total),) = search(language, 128, penalty)
    best = max(texts(), key=lambda text: score(language, text) / len(text) ** penalty)
    assert found == best
    assert total == pytest.approx(score(language, best), abs=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_a_narrow_beam_reports_the_true_score_of_what_it_says(seed: int) -> None:
    language = table(seed)
    for width in (1, 2, 3):
        ((found, total),) = search(language, width, 1.0)
        assert found in texts()
        assert total == pytest.approx(score(language, found), abs=1e-5)


def test_prompts_do_not_mix() -> None:
    language = table(1)
    assert search(language, 3, 1.0, prompts=4) == search(language, 3, 1.0) * 4


def test_some_text_needs_more_than_one_beam() -> None:
    gains = [search(table(seed), 8, 0.0)[0][1] - search(table(seed), 1, 0.0)[0][1] for seed in range(6)]
    assert min(gains) >= -1e-5
    assert max(gains) > 0.1


def test_no_beams_are_refused() -> None:
    with pytest.raises(ValueError, match="num_beams must be 1 or more \\(got 0\\)"):
        beam.Config(num_beams=0).build(end_id=0)
