"""A Transformers folder with custom code: any composition, for machines on which Sightweave is installed.

The folder is a Sightweave checkpoint, plus the files that Transformers needs. Its one line of code imports
`sightweave.harnesses.transformers`, so that ``AutoModelForImageTextToText`` and ``AutoProcessor`` open it with
``trust_remote_code=True``; `sightweave.load` opens it too. No other program can: vLLM, llama.cpp and TRL need a layout
of `transformers`.
"""

from __future__ import annotations

import copy
import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sightweave.core import checkpoint
from sightweave.core.config import config
from sightweave.core.from_transformers import imported
from sightweave.core.types import Prediction, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.models.vlm import VLM
from sightweave.programs import generation
from sightweave.programs.exports._base import ANSWER_TOKENS, Compared, Exported, with_longer
from sightweave.programs.exports._card import with_transformers
from sightweave.programs.exports._layout import Source

MODEL_TYPE = "sightweave"
MODULE = "modeling_sightweave"
USE = with_transformers(
    "# pip install sightweave: the folder's one line of code imports it",
    processor=", trust_remote_code=True",
    model=", trust_remote_code=True",
)
"""Usage example for the model card."""
LIMITS = "Other programs cannot load this folder: vLLM, llama.cpp and TRL need an architecture built into Transformers."
"""Limitations, for the model card."""
_CLASSES = {
    "AutoConfig": "SightweaveConfig",
    "AutoModelForImageTextToText": "SightweaveForConditionalGeneration",
    "AutoProcessor": "SightweaveProcessor",
}
_CODE = f'''"""Transformers' Auto classes for this folder; pip install sightweave."""

from sightweave.harnesses.transformers import {", ".join(sorted(_CLASSES.values()))}
'''


@config
class Config:
    """The export as custom code has no options."""

    def export(self, source: Source, folder: Path, samples: Sequence[Sample], *, card: str = "") -> Exported:
        """Exports a model; see the function `export`."""
        return export(source, folder, samples, card=card)


def export(source: Source, folder: Path, samples: Sequence[Sample], *, card: str = "") -> Exported:
    """Writes the folder, opens it with Transformers' Auto classes, and compares logits and answers.

    Args:
        source: The model with its processor, its parts' Configs and its recipe.
        folder: Output folder; an existing one is replaced.
        samples: Prompts with images for the comparison.
        card: The model card, in Markdown.

    Raises:
        ExportError: Transformers gives other logits or answers than Sightweave.
        CheckpointError: the folder cannot be written.
    """
    write(source.model, source.processor, source.recipe, folder, card)
    if importlib.util.find_spec("transformers") is None:
        note = "not compared: pip install transformers, then export again"
        return Exported(folder=folder, layout="custom_code", program="", note=note)
    made = compare(source, folder, samples)
    made.check()
    return made


def write(model: VLM, processor: Processor, recipe: Mapping[str, Any], folder: Path, card: str = "") -> None:
    """Writes the folder completely or not at all.

    Raises:
        CheckpointError: the disk is full, or the folder cannot be written.
    """
    tokenizer = processor.tokenizer
    documents = {
        **_processor_documents(processor),
        "recipe": dict(recipe),
        "config": {
            "model_type": MODEL_TYPE,
            "architectures": [_CLASSES["AutoModelForImageTextToText"]],
            "auto_map": _auto_map("AutoConfig", "AutoModelForImageTextToText"),
            "is_encoder_decoder": processor.layout.form == "encoder_decoder",
            "vocab_size": tokenizer.vocab_size,
            "pad_token_id": tokenizer.pad_id,
            "eos_token_id": tokenizer.end_id,
            "begin_token_id": tokenizer.begin_id,
            "answer_ids": [tokenizer.answer_ids(one) for one in processor.answers],
            "dtype": "float32",
        },
    }
    texts = {f"{MODULE}.py": _CODE, **({"README.md": card} if card else {})}
    checkpoint.write_folder(folder, {"model": model.state_dict()}, documents, texts)


def write_processor(processor: Processor, folder: Path) -> None:
    """Writes a folder that ``AutoProcessor`` can open; an existing one is replaced.

    Raises:
        CheckpointError: as raised by `write`.
    """
    checkpoint.write_folder(folder, {}, _processor_documents(processor), {f"{MODULE}.py": _CODE})


def _processor_documents(processor: Processor) -> dict[str, Any]:
    own = {"processor_class": _CLASSES["AutoProcessor"], "auto_map": _auto_map("AutoProcessor")}
    return {**processor.documents(), "processor_config": own}


def _auto_map(*names: str) -> dict[str, str]:
    return {name: f"{MODULE}.{_CLASSES[name]}" for name in names}


@torch.inference_mode()
def compare(source: Source, folder: Path, samples: Sequence[Sample]) -> Exported:
    """Compares the run with what Transformers opens, in fp32 on the CPU: logits of every token, and greedy answers.

    The folder's code is run here, which is safe because `write` has written it.
    """
    transformers = imported()
    theirs: Any = transformers.AutoModelForImageTextToText.from_pretrained(
        str(folder), trust_remote_code=True, trust_run=True
    )
    opens: Any = transformers.AutoProcessor  # untyped
    processor: Any = opens.from_pretrained(str(folder), trust_remote_code=True, trust_run=True)
    model = copy.deepcopy(source.model).to("cpu").float().eval()
    theirs.eval()
    options = generation.Options(max_tokens=ANSWER_TOKENS)
    answers = generation.generate(model, source.processor, samples, options)

    alone = []
    for sample, ours in zip(samples, answers, strict=True):
        inputs = processor.inputs([sample], targets=True)
        batch = source.processor.batch([sample], share=False)
        at = None
        if batch.class_at is None and batch.target is not None:
            at = torch.arange(batch.target.ids.numel())
        own = model(batch, at=at).logits.float()
        largest = float((own - theirs(**inputs).logits.flatten(0, -2).float()).abs().max())
        (said,) = _answers(theirs, processor, [sample])
        alone.append(_judged(sample, ours, said, largest=largest, scale=float(own.abs().max())))

    # Add a longer prompt, so that all others are padded.
    together = _answers(theirs, processor, with_longer(source.processor, samples))[: len(samples)]
    batched = [
        _judged(sample, ours, said, largest=0.0, scale=one.scale)
        for sample, ours, said, one in zip(samples, answers, together, alone, strict=True)
    ]
    program = f"transformers {transformers.__version__} with code of the folder"
    return Exported(
        folder=folder, layout="custom_code", program=program, compared=tuple(alone), batched=tuple(batched)
    )


def _answers(theirs: Any, processor: Any, samples: Sequence[Sample]) -> list[str]:
    """Answers of one batch, generated by the folder's own `generate`."""
    prompts = processor.inputs(samples, targets=False)
    made = theirs.generate(**prompts, max_new_tokens=ANSWER_TOKENS)
    start = 0 if theirs.config.is_encoder_decoder else prompts["input_ids"].shape[1]
    return [str(text) for text in processor.batch_decode(made[:, start:])]


def _judged(sample: Sample, ours: Prediction, said: str, *, largest: float, scale: float) -> Compared:
    lead = 0.0 if said == ours.text else math.inf  # both run the same program, so nothing is due to rounding
    return Compared(id=sample.id, largest=largest, ours=ours.text, theirs=said, lead=lead, scale=scale)
