"""GQA's accuracy on open questions: those that name no possible answer.

GQA: A New Dataset for Real-World Visual Reasoning (Hudson and Manning 2019, arXiv:1902.09506), section 4.4. Those are
the questions of the structural type ``query``. Differs from the authors' script: capitals and white space are ignored.
"""

from __future__ import annotations

from sightweave.answers.scoring import gqa
from sightweave.core.config import config


@config
class Config:
    """There is nothing to choose."""

    def build(self) -> gqa.AccuracyByStructure:
        """The metric."""
        return gqa.AccuracyByStructure(metric="gqa_open", is_open=True)
