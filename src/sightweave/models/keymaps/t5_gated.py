"""T5 1.1, FLAN-T5 and mT5: T5 with gated GELU and its own head.

GLU Variants Improve Transformer (Shazeer 2020, arXiv:2002.05202); mT5: A Massively Multilingual Pre-trained Text-to-Text
Transformer (Xue et al. 2021, arXiv:2010.11934).
"""

from __future__ import annotations

import dataclasses

from sightweave.models.keymaps import t5

KEYMAP = dataclasses.replace(
    t5.KEYMAP,
    when=t5.is_gated,
    names={
        ours: theirs.replace("DenseReluDense.wi", "DenseReluDense.wi_1")
        for ours, theirs in t5.KEYMAP.names.items()
    }
    | {
        "encoder_blocks.{n}.feed_forward.gate": "encoder.block.{n}.layer.1.DenseReluDense.wi_0",
        "blocks.{n}.feed_forward.gate": "decoder.block.{n}.layer.2.DenseReluDense.wi_0",
    },
)
