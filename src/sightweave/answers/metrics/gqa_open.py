"""GQA's accuracy on open questions: those that do not name the possible answers.

GQA: A New Dataset for Real-World Visual Reasoning (Hudson and Manning 2019, arXiv:1902.09506), section 4.4. A question is
open if its structural type is ``query``. Differs from the authors' script: case and white space are ignored.
"""

from __future__ import annotations

from sightweave.answers.scoring import gqa
from sightweave.core.config import config


@config
class Config:
    """This metric has no options."""

    def build(self) -> gqa.AccuracyByStructure:
        """Builds the metric."""
        return gqa.AccuracyByStructure(metric="gqa_open", is_open=True)
