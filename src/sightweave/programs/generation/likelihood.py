"""Computes the likelihoods of given texts as answers to the prompts of a session."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sightweave.core.types import Likelihood
from sightweave.data.inputs.processor import Processor
from sightweave.programs.budget import Budget
from sightweave.programs.generation.session import Session

_LOGITS = 1 << 26
"""Maximum number of logits in memory at once while texts are scored: 256 MB in fp32."""


@torch.inference_mode()
def judged(
    processor: Processor, session: Session, texts: Sequence[Sequence[str]], width: int, budget: Budget
) -> list[tuple[Likelihood, ...]]:
    """The likelihoods of each prompt's texts; the session is not changed.

    The session's logits predict the first token of each text; each further token is predicted by the one before it.

    Args:
        processor: The model's own processor.
        session: Prompts that joined with ``packed=False``, `width` rows for each.
        texts: Texts to score for each prompt.
        width: Rows per prompt.
        budget: Limits of what may be read at once.

    Returns:
        For each prompt, one likelihood per text.
    """
    if not any(texts):
        return [()] * (len(session) // width)

    # Collect all texts in one list, with the row that each continues.
    rows, targets = [], []
    for number, each in enumerate(texts):
        for text in each:
            rows.append(number * width)
            targets.append(processor.tokenizer.answer_ids(text))

    # Read texts of similar length together.
    totals = [0.0] * len(targets)
    order = sorted(range(len(targets)), key=lambda i: len(targets[i]))
    while order:
        longest = len(targets[order[0]])
        # Each text continues a copy of its prompt's keys and values.
        fit = budget.rows(session.cache.longest + longest, longest)
        fit = max(1, min(fit, _LOGITS // (session.logits.shape[-1] * longest)))
        chunk, order = order[:fit], order[fit:]
        found = _totals(processor, session, [rows[i] for i in chunk], [targets[i] for i in chunk])
        for index, value in zip(chunk, found.tolist(), strict=True):
            totals[index] = value

    # Regroup the likelihoods by prompt.
    each_text = [Likelihood(total, len(ids)) for total, ids in zip(totals, targets, strict=True)]
    likelihoods, start = [], 0
    for each in texts:
        likelihoods.append(tuple(each_text[start : start + len(each)]))
        start += len(each)
    return likelihoods


def _totals(
    processor: Processor, session: Session, rows: Sequence[int], targets: Sequence[Sequence[int]]
) -> Tensor:
    """Summed log-probabilities of T texts, each of which continues its row of the session; float64 T."""
    device = session.logits.device
    chosen = torch.tensor(rows, device=device)
    first = torch.tensor([ids[0] for ids in targets], device=device)
    sums = session.logits[chosen].float().log_softmax(-1).gather(1, first[:, None])[:, 0].double()

    longer = [number for number, ids in enumerate(targets) if len(ids) > 1]
    if not longer:
        return sums

    # Read all tokens of each text except the last; the logits after each token predict the next one.
    going = torch.tensor(longer, device=device)
    forked = session.fork(chosen[going])
    fed = [list(targets[number][:-1]) for number in longer]
    tokens = processor.continuations(fed, forked.positions.tolist()).to(device)
    logits = forked.read(tokens)

    after = torch.tensor([id_ for number in longer for id_ in targets[number][1:]], device=device)
    each = logits.float().log_softmax(-1).gather(1, after[:, None])[:, 0]
    text = going.repeat_interleave(tokens.valid.sum(1))
    sums.index_add_(0, text, each.double())
    return sums
