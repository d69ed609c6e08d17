"""GQA's plausibility: whether an answer occurs with its subject anywhere in the data (apples are never purple).

GQA: A New Dataset for Real-World Visual Reasoning (Hudson and Manning 2019, arXiv:1902.09506), section 4.4. Needs the
official choices file. Differs from the authors' script: case and white space are ignored.
"""

from __future__ import annotations

from typing import Annotated

from sightweave.answers.scoring import gqa
from sightweave.core.config import config, place


@config
class Config:
    """Options of GQA's plausibility."""

    choices: Annotated[str, place()] = ""
    """Path of the official choices file, such as val_choices.json; without it the metric is not computed."""

    def build(self) -> gqa.AmongChoices:
        """Builds the metric."""
        return gqa.AmongChoices(metric="gqa_plausibility", field="plausible", path=self.choices)
