"""GQA's accuracy on binary questions: those answered with yes, no or one of two things that the question names.

GQA: A New Dataset for Real-World Visual Reasoning (Hudson and Manning 2019, arXiv:1902.09506), section 4.4. A question
is binary if its structural type is not ``query``. Differs from the authors' script: case and white space are ignored.
"""

from __future__ import annotations

from sightweave.answers.scoring import gqa
from sightweave.core.config import config


@config
class Config:
    """This metric has no options."""

    def build(self) -> gqa.AccuracyByStructure:
        """Builds the metric."""
        return gqa.AccuracyByStructure(metric="gqa_binary", is_open=False)
