"""How likely given texts are as the answers to prompts that were just read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sightweave.core.types import Likelihood
from sightweave.data.inputs.processor import Processor
from sightweave.programs.budget import Budget
from sightweave.programs.generation.session import Session

_LOGITS = 1 << 26
"""Logits that are held at once while texts are judged: 256 MB in fp32."""


@torch.inference_mode()
def judged(
    processor: Processor, session: Session, texts: Sequence[Sequence[str]], width: int, budget: Budget
) -> list[tuple[Likelihood, ...]]:
    """How likely each prompt's texts are, read behind the prompts of a session, which stays as it is.

    The first token's probability is known already; of the others each is predicted by the one before it.

    Args:
        processor: The model's own.
        session: Prompts that joined without being packed, `width` rows for each.
        texts: Of each prompt.
        width: Rows of a prompt.
        budget: What may be read at once.
    """
    if not any(texts):
        return [()] * (len(session) // width)
    rows = [number * width for number, each in enumerate(texts) for _ in each]
    targets = [processor.tokenizer.answer_ids(one) for each in texts for one in each]

    # Those of about the same length are read together.
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

    each = iter([Likelihood(total, len(ids)) for total, ids in zip(totals, targets, strict=True)])
    return [tuple(next(each) for _ in some) for some in texts]


def _totals(
    processor: Processor, session: Session, rows: Sequence[int], targets: Sequence[Sequence[int]]
) -> Tensor:
    """float64 T: summed log-probabilities of some texts, each behind its row of the session."""
    device = session.logits.device
    chosen = torch.tensor(rows, device=device)
    first = torch.tensor([ids[0] for ids in targets], device=device)
    sums = session.logits[chosen].float().log_softmax(-1).gather(1, first[:, None])[:, 0].double()

    longer = [number for number, ids in enumerate(targets) if len(ids) > 1]
    if longer:
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
