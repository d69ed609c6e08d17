"""A folder that Transformers opens by itself: weights, configs, tokenizer, chat template, image processor and model card.

Two layouts: Idefics3's, which vLLM and llama.cpp read too, and LLaVA's. Nothing is converted: a composition that has no
place in a layout is refused, with the reason. Transformers itself is needed only to compare.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sightweave.core import checkpoint
from sightweave.core.batch import Batch
from sightweave.core.errors import ExportError, did_you_mean
from sightweave.core.types import Sample
from sightweave.data.inputs import preprocessor
from sightweave.data.inputs.tokenizer import FILE_NAME, Template
from sightweave.programs import generation
from sightweave.programs.exports import _idefics3, _llava
from sightweave.programs.exports._base import ANSWER_TOKENS, Exported, compared
from sightweave.programs.exports._card import with_transformers
from sightweave.programs.exports._layout import Layout, Source
from sightweave.programs.predictors import from_transformers

LAYOUTS: Mapping[str, Layout] = {one.LAYOUT.name: one.LAYOUT for one in (_idefics3, _llava)}
"""The first that fits is taken where none is asked for."""
USE = with_transformers(
    "# backend: pixels as in training, which torchvision would round differently (in Transformers 4: use_fast=False).",
    processor=', backend="pil"',
)
"""For the model card."""


def export(
    source: Source,
    folder: Path,
    samples: Sequence[Sample],
    *,
    layout: str = "auto",
    card: str = "",
) -> Exported:
    """Writes the folder, opens it with Transformers, and compares logits and greedy answers.

    Args:
        source: The model with its processor and its parts' Configs.
        folder: Where to; what stands there is replaced.
        samples: Prompts with pictures to compare by.
        layout: ``idefics3``, ``llava``, or ``auto``: the first that fits.
        card: The model card, in Markdown.

    Raises:
        ExportError: the composition has no place in the layout, or Transformers does not say what we say.
        CheckpointError: the folder cannot be written, or Transformers cannot load it.
    """
    chosen = choose(source, layout)
    write(source, folder, chosen, card)
    if importlib.util.find_spec("transformers") is None:
        note = f"not compared: pip install transformers, then sightweave evaluate {folder} asks it"
        return Exported(folder=folder, layout=chosen.name, program="", note=note)
    made = compare(source, folder, samples, chosen.name)
    made.check()
    return made


def choose(source: Source, layout: str = "auto") -> Layout:
    """The layout that a composition has a place in.

    Raises:
        ExportError: no such layout, or no place in it (or in any); each reason is given, that of the nearest layout first.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise ExportError(f"there is no layout {layout!r}. {did_you_mean(layout, [*LAYOUTS, 'auto'])}")
    asked = list(LAYOUTS.values()) if layout == "auto" else [LAYOUTS[layout]]
    reasons = {one.name: one.refusals(source) for one in asked}
    fitting = [one for one in asked if not reasons[one.name]]
    if fitting:
        return fitting[0]
    nearest = sorted(asked, key=lambda one: len(reasons[one.name]))
    other = "sightweave export RUN --to custom_code takes any, for Transformers where Sightweave is installed too."
    listed = "".join(f"\n  {one.name}: " + "\n    ".join(reasons[one.name]) for one in nearest)
    raise ExportError(
        f"this composition has no place in {' or '.join(reasons)}; nearest first:{listed}\n{other}"
    )


def write(source: Source, folder: Path, layout: Layout, card: str = "") -> None:
    """Writes the folder, whole or not at all."""
    tokenizer = source.processor.tokenizer
    config = {**layout.config(source), "dtype": "float32", "torch_dtype": "float32"}
    ids = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    chat = chat_template(tokenizer.template, writes_frame=not layout.frames_by_processor)
    processor = layout.processor(source)
    images = processor["image_processor"] | preprocessor.settings(source.processor.transform)
    special = {
        "eos_token": tokenizer.template.end,
        "pad_token": tokenizer.template.pad,
        **({} if ids["bos_token_id"] is None else {"bos_token": tokenizer.token(ids["bos_token_id"])}),
    }
    checkpoint.write_folder(
        folder,
        {"model": layout.tensors(source)},
        {
            "config": config,
            "generation_config": {key: value for key, value in ids.items() if value is not None},
            "processor_config": processor
            | {"image_processor": images, "processor_class": processor["processor_class"]},
            # Transformers 4 and llama.cpp read the image processor's settings here.
            "preprocessor_config": images | {"processor_class": processor["processor_class"]},
            # The chat template writes what stands at the start; put there twice, it would be read twice.
            FILE_NAME.removesuffix(".json"): {**tokenizer.to_plain(), "post_processor": None},
            "tokenizer_config": {
                **special,
                "tokenizer_class": "PreTrainedTokenizerFast",
                "processor_class": processor["processor_class"],
                "model_max_length": source.processor.max_length,
                # Version 4 makes token_type_ids too, which these models refuse.
                "model_input_names": ["input_ids", "attention_mask"],
                "clean_up_tokenization_spaces": False,
                "extra_special_tokens": {"image_token": tokenizer.template.image},
                "chat_template": chat,
            },
            "special_tokens_map": special,
        },
        {"chat_template.jinja": chat, **({"README.md": card} if card else {})},
    )


def chat_template(template: Template, *, writes_frame: bool) -> str:
    """A template of turns in Jinja that writes what training saw; text parts and pictures in any order."""
    image = template.image
    if writes_frame:
        image = template.before_image + image + template.after_image
    quoted = {
        "start": template.start,
        "speak": template.speak,
        "end": template.end,
        "again": template.again,
        "image": image,
        "space": " " if template.space else "",
    }
    q = {name: _quoted(text) for name, text in quoted.items()}
    return (
        f"{{{{- {q['start']} -}}}}\n"
        "{%- set turn = namespace(last='') -%}\n"
        "{%- for message in messages -%}\n"
        "{%- if message['role'] == 'assistant' -%}\n"
        f"{{{{- {q['speak']} -}}}}\n"
        "{%- elif turn.last == 'assistant' -%}\n"
        f"{{{{- {q['again']} -}}}}\n"
        "{%- endif -%}\n"
        "{%- if message['content'] is string -%}\n"
        f"{{{{- {q['space']} + message['content'] -}}}}\n"
        "{%- else -%}\n"
        "{%- for part in message['content'] -%}\n"
        "{%- if part['type'] == 'image' -%}\n"
        f"{{{{- {q['image']} -}}}}\n"
        "{%- elif part['type'] == 'text' -%}\n"
        f"{{{{- {q['space']} + part['text'] -}}}}\n"
        "{%- endif -%}\n"
        "{%- endfor -%}\n"
        "{%- endif -%}\n"
        "{%- if message['role'] == 'assistant' -%}\n"
        f"{{{{- {q['end']} -}}}}\n"
        "{%- endif -%}\n"
        "{%- set turn.last = message['role'] -%}\n"
        "{%- endfor -%}\n"
        "{%- if add_generation_prompt -%}\n"
        f"{{{{- {q['speak']} -}}}}\n"
        "{%- endif -%}"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


@torch.inference_mode()
def compare(source: Source, folder: Path, samples: Sequence[Sample], layout: str) -> Exported:
    """Asks the same of both programs, in fp32 on the CPU: logits along prompt and target, and greedy answers.

    Raises:
        CheckpointError: Transformers cannot load the folder, or misses a weight.
        ExportError: the two read a prompt as other tokens.
    """
    # Training resized as Pillow does; torchvision, which Transformers takes where it is installed, rounds otherwise.
    theirs = from_transformers.Config(path=str(folder), device="cpu", precision="fp32", resizer="pil").build()
    model = copy.deepcopy(source.model).to("cpu").float().eval()
    options = generation.Options(max_tokens=ANSWER_TOKENS)
    answers = generation.generate(model, source.processor, samples, options)
    found = []
    for sample, ours in zip(samples, answers, strict=True):
        batch = source.processor.batch([sample])
        assert batch.target is not None  # a batch of samples has targets
        prompt = source.processor.encode(sample)
        count = len(prompt.trunk) + len(prompt.prompt)
        inputs = theirs.inputs([theirs.prompt(sample)], [sample.media])
        own = batch.target.ids[:, :count]
        if not own.equal(inputs["input_ids"]):
            raise ExportError(
                f"{folder}: sample {sample.id!r} is read as other tokens there: {inputs['input_ids'][0].tolist()[:40]} ..., "
                f"and {own[0].tolist()[:40]} ... here."
            )
        said = _said(theirs.model, inputs, count)
        largest = _largest(model, batch, theirs.model, inputs, count)
        found.append(compared(model, source.processor, sample, largest=largest, ours=ours, said=said))
    return Exported(folder=folder, layout=layout, program=_program(), compared=tuple(found))


def _largest(model: Any, batch: Batch, theirs: Any, inputs: dict[str, Any], count: int) -> float:
    """Largest difference between two logits, of all tokens of a sample's prompt and target that are text."""
    assert batch.target is not None  # a batch of samples has targets
    ids = batch.target.ids
    more = ids.shape[1] - count
    inputs["input_ids"] = ids
    inputs["attention_mask"] = torch.nn.functional.pad(inputs["attention_mask"], (0, more), value=1)
    text = (batch.target.item[0] < 0).nonzero()[:, 0]
    ours = model(batch, at=text).logits
    return float((ours - theirs(**inputs).logits[0, text]).abs().max())


def _said(theirs: Any, inputs: dict[str, Any], count: int) -> list[int]:
    """Ids of a greedy answer."""
    made = theirs.generate(**inputs, max_new_tokens=ANSWER_TOKENS, do_sample=False, num_beams=1)
    ids: list[int] = made[0, count:].tolist()
    return ids


def _program() -> str:
    import transformers

    return f"transformers {transformers.__version__}"
