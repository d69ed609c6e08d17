"""Idefics3 and SmolVLM as complete models: a SigLIP encoder, pixel shuffle with a linear projection, and a Llama.

Building and better understanding vision-language models (Laurencon et al. 2024, arXiv:2408.12637).
"""

from __future__ import annotations

from sightweave.models.keymaps._base import KeyMap, Place, Whole

WHOLE = Whole(
    model_types=("idefics3", "smolvlm"),
    places={
        "encoder": Place(inner="vision_config", names=(("model.vision_model.", "vision_model."),)),
        "connector": Place(names=(("model.connector.", ""),)),
        "language_model": Place(
            inner="text_config", names=(("model.text_model.", "model."), ("lm_head.", "lm_head."))
        ),
    },
    connector=KeyMap(
        part="connector",
        kind="pixel_shuffle",
        model_types=("idefics3", "smolvlm"),
        names={"projection": "modality_projection.proj"},
        fields=lambda theirs: {"factor": theirs.get("scale_factor", 2)},
    ),
)
