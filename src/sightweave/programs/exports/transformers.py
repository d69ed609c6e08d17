"""Export to a folder that Transformers opens: weights, configs, tokenizer, chat template, image processor and model card.

There are two layouts: that of Idefics3, which vLLM and llama.cpp also read, and that of LLaVA. Nothing is converted: a
composition that does not fit a layout is rejected with the reason. Transformers itself is needed only for the
comparison.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from sightweave.core import checkpoint
from sightweave.core.config import config
from sightweave.core.errors import ExportError, did_you_mean
from sightweave.core.from_transformers import imported
from sightweave.core.types import Sample
from sightweave.data.inputs import image_files, preprocessor
from sightweave.data.inputs.chat import in_words, quoted, showing
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.tokenizer import FILE_NAME, Template, Tokenizer
from sightweave.models.vlm import VLM
from sightweave.programs import generation
from sightweave.programs.exports import _idefics3, _llava
from sightweave.programs.exports._base import (
    ANSWER_TOKENS,
    Compared,
    Exported,
    compared,
    up_to_end,
    with_longer,
)
from sightweave.programs.exports._card import with_transformers
from sightweave.programs.exports._layout import HEAD, Layout, Source
from sightweave.programs.predictors import from_transformers

LAYOUTS: Mapping[str, Layout] = {one.LAYOUT.name: one.LAYOUT for one in (_idefics3, _llava)}
"""Layouts by name; ``auto`` uses the first one that fits."""
USE = with_transformers(
    "# backend: pixels as in training, which torchvision would round differently (in Transformers 4: use_fast=False).",
    processor=', backend="pil"',
)
"""Usage example for the model card."""
LIMITS = """Problems of other programs that load this folder:

- Transformers 4.57 reads the patch positions of an Idefics3 one row and one column too low; version 5 does not.
- torchvision, where Transformers 5 uses it to resize, rounds differently than in training.
- mlx-vlm 0.7.10 always computes quick GELU in the image encoder of a LLaVA: logits are off by 4e-4 to 1.5e-3.
- optimum-intel 2.2 (OpenVINO 2026.4.1) needs Transformers 4.57, so an Idefics3 is off by 1e-2 there.
- openvino-genai 2026.4.1 cannot open an Idefics3, and opens a LLaVA only if that crops its images: it needs `crop_size` and
  `size.shortest_edge` in preprocessor_config.json, which Transformers rejects next to a plain square size.
- onnxruntime-genai 0.18 can open neither.
- `transformers serve` 5.24 ignores `logprobs` and `n`."""
"""Known problems of other programs, for the model card."""


@config
class Config:
    """Options of the Transformers export."""

    layout: Literal["auto", "idefics3", "llava"] = "auto"
    """Transformers architecture: idefics3, llava, or auto for the first one that fits."""

    def export(self, source: Source, folder: Path, samples: Sequence[Sample], *, card: str = "") -> Exported:
        """Exports a model with these options; see the function `export`."""
        return export(source, folder, samples, card=card, layout=self.layout)


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
        folder: Output folder; an earlier export is replaced.
        samples: Prompts with images for the comparison.
        layout: ``idefics3``, ``llava``, or ``auto`` for the first one that fits.
        card: The model card, in Markdown.

    Raises:
        ExportError: the composition does not fit the layout, or Transformers gives other logits or answers.
        CheckpointError: the folder cannot be written, or Transformers cannot load it.
    """
    chosen = choose(source, layout)
    write(source, folder, chosen, card)

    if importlib.util.find_spec("transformers") is None:
        note = f"not compared: pip install transformers, then run sightweave evaluate {folder}"
        return Exported(folder=folder, layout=chosen.name, program="", note=note)

    made = compare(source, folder, samples, chosen.name)
    made.check()
    return made


def choose(source: Source, layout: str = "auto") -> Layout:
    """The layout that fits a composition.

    Raises:
        ExportError: there is no such layout, or the composition does not fit it (or any); the message lists all
            reasons, nearest layout first.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise ExportError(f"no layout {layout!r}. {did_you_mean(layout, [*LAYOUTS, 'auto'])}")

    candidates = list(LAYOUTS.values()) if layout == "auto" else [LAYOUTS[layout]]
    reasons = {one.name: one.refusals(source) for one in candidates}
    for one in candidates:
        if not reasons[one.name]:
            return one

    listed = ""
    for one in sorted(candidates, key=lambda one: len(reasons[one.name])):
        listed += f"\n  {one.name}: " + "\n    ".join(reasons[one.name])
    other = "sightweave export RUN --to custom_code supports any model, for Transformers with Sightweave installed."
    raise ExportError(f"this model does not fit {' or '.join(reasons)}; nearest first:{listed}\n{other}")


def write(source: Source, folder: Path, layout: Layout, card: str = "", *, repeats_head: bool = True) -> None:
    """Writes the folder completely or not at all.

    Args:
        source: The model with its processor and its parts' Configs.
        folder: Output folder; an earlier export is replaced.
        layout: A layout that the model fits.
        card: The model card, in Markdown.
        repeats_head: Whether to also write a head that is tied to the token embeddings, which some programs need.
    """
    tensors = layout.tensors(source)
    named, texts = documents(source, layout)
    if named["config"]["tie_word_embeddings"] and not repeats_head:
        tensors = {name: value for name, value in tensors.items() if not name.endswith(HEAD)}

    if card:
        texts = {**texts, "README.md": card}
    checkpoint.write_folder(folder, {"model": tensors}, named, texts)


def documents(source: Source, layout: Layout) -> tuple[dict[str, Any], dict[str, str]]:
    """All files of a layout except the weights: JSON values by name without the suffix, and texts by file name."""
    tokenizer = source.processor.tokenizer
    config = {**layout.config(source), "dtype": "float32", "torch_dtype": "float32"}
    ids = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    chat = chat_template(tokenizer.template, writes_frame=not layout.frames_by_processor)

    # The image processor must resize and normalise as in training.
    processor = layout.processor(source)
    images = processor["image_processor"] | preprocessor.settings(source.transform)
    processor_class = {"processor_class": processor["processor_class"]}

    special = _special_tokens(tokenizer, ids["bos_token_id"])
    named = {
        "config": config,
        "generation_config": {key: value for key, value in ids.items() if value is not None},
        "processor_config": processor | {"image_processor": images} | processor_class,
        # Transformers 4 and llama.cpp read the image processor's settings from this file.
        "preprocessor_config": images | processor_class,
        # The chat template writes the first token; a post-processor would add it a second time.
        FILE_NAME.removesuffix(".json"): {**tokenizer.to_plain(), "post_processor": None},
        "tokenizer_config": {
            **special,
            "tokenizer_class": "PreTrainedTokenizerFast",
            **processor_class,
            "model_max_length": source.processor.max_length,
            # `generate` appends after the last column, so shorter prompts are padded on the left.
            "padding_side": "left",
            # Version 4 would also create token_type_ids, which these models reject.
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": False,
            "extra_special_tokens": {"image_token": tokenizer.template.image},
            "chat_template": chat,
        },
        "special_tokens_map": special,
    }
    return named, {"chat_template.jinja": chat}


def _special_tokens(tokenizer: Tokenizer, bos: int | None) -> dict[str, str]:
    special = {"eos_token": tokenizer.template.end, "pad_token": tokenizer.template.pad}
    if bos is not None:
        special["bos_token"] = tokenizer.token(bos)
    special.update(tokenizer.template.tokens)

    # A chat template that uses bos_token would write it.
    if "bos_token" in tokenizer.template.chat and "bos_token" not in tokenizer.template.tokens:
        special.pop("bos_token", None)
    return special


def chat_template(template: Template, *, writes_frame: bool) -> str:
    """A Jinja chat template that writes the prompts of training, with text parts and images in any order."""
    image = template.image
    if writes_frame:
        image = template.before_image + image + template.after_image

    if template.chat:
        # The exported tokenizer adds nothing at the start, so the template must do it.
        first = f"{{{{- {quoted(template.first)} -}}}}" if template.first else ""
        # A template that places images itself contains the image token; the frame is put around that token.
        shown = first + template.chat.replace(template.image, image)
        return shown if template.shows else showing(first + template.chat, image)

    return in_words(
        start=template.start,
        speak=template.speak,
        end=template.end,
        again=template.again,
        image=image,
        space=template.space,
    )


@torch.inference_mode()
def compare(source: Source, folder: Path, samples: Sequence[Sample], layout: str) -> Exported:
    """Compares both programs in fp32 on the CPU: logits along prompt and target, and greedy answers.

    The folder is used as its users would, with its own padding and generation settings: first each sample alone, then
    all in batches of prompts of different lengths.

    Raises:
        CheckpointError: Transformers cannot load the folder, or a weight is missing.
        ExportError: the two programs tokenize a prompt differently.
    """
    theirs = _Theirs(folder)
    model = copy.deepcopy(source.model).to("cpu").float().eval()
    options = generation.Options(max_tokens=ANSWER_TOKENS)
    answers = generation.generate(model, source.processor, samples, options)
    end = source.processor.tokenizer.end_id

    # Run each sample alone.
    alone = []
    for sample, ours in zip(samples, answers, strict=True):
        largest = _largest_difference(model, source.processor, theirs, sample)
        ((said, logits),) = theirs.answers([sample], end)
        alone.append(
            compared(model, source.processor, sample, largest=largest, ours=ours, said=said, theirs=logits)
        )

    # Run the samples in batches, with a longer prompt in each batch so that all samples are padded.
    batched: dict[int, Compared] = {}
    for places in _same_count(samples):
        rows = [samples[place] for place in places]
        found = theirs.answers(with_longer(source.processor, rows), end)[: len(rows)]
        for place, (said, logits) in zip(places, found, strict=True):
            batched[place] = compared(
                model,
                source.processor,
                samples[place],
                largest=0.0,
                ours=answers[place],
                said=said,
                theirs=logits,
            )

    together = tuple(batched[place] for place in range(len(samples)))
    return Exported(folder=folder, layout=layout, program=_program(), compared=tuple(alone), batched=together)


class _Theirs:
    """The folder in Transformers, used as its users would.

    Args:
        folder: Folder with model and processor.

    Raises:
        CheckpointError: Transformers cannot load it, or a weight is missing.
    """

    def __init__(self, folder: Path) -> None:
        # Training resizes with Pillow; torchvision, which Transformers uses if it is installed, rounds differently.
        self.model, self.processor = from_transformers.opened(str(folder), torch.device("cpu"), resizer="pil")

    def prompt(self, sample: Sample) -> str:
        """The prompt that the chat template writes."""
        messages = from_transformers.messages(from_transformers.asked(sample))
        return str(self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def inputs(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """The processor's output for prompts that have the same number of images."""
        images = []
        for sample in samples:
            images.append([Image.fromarray(image_files.load(medium)) for medium in sample.media])

        made = self.processor(
            text=[self.prompt(sample) for sample in samples],
            images=images if any(images) else None,
            padding=True,
            return_tensors="pt",
        )
        return dict(made)

    def answers(self, samples: Sequence[Sample], end: int) -> list[tuple[list[int], Tensor]]:
        """Ids of each answer up to its end, and their logits T V."""
        made = self.model.generate(
            **self.inputs(samples),
            max_new_tokens=ANSWER_TOKENS,
            output_logits=True,
            return_dict_in_generate=True,
        )

        logits = torch.stack(made.logits, 1)  # B T V
        rows = made.sequences[:, -logits.shape[1] :].tolist()
        answers = []
        for row, each in zip(rows, logits, strict=True):
            ids = up_to_end(row, end)
            answers.append((ids, each[: len(ids)]))
        return answers


def _same_count(samples: Sequence[Sample]) -> list[list[int]]:
    """Indices of the samples, grouped by their number of images, because processors reject mixtures."""
    found: dict[int, list[int]] = {}
    for place, sample in enumerate(samples):
        found.setdefault(len(sample.media), []).append(place)
    return list(found.values())


def _largest_difference(model: VLM, processor: Processor, theirs: _Theirs, sample: Sample) -> float:
    """Largest difference between two logits, over all text tokens of a sample's prompt and target.

    Raises:
        ExportError: the two programs tokenize the prompt differently.
    """
    batch, prompt = processor.batch([sample]), processor.encode(sample)
    assert batch.target is not None  # batches of samples always have targets
    count = len(prompt.trunk) + len(prompt.prompt)
    inputs = theirs.inputs([sample])
    ids = batch.target.ids
    if not ids[:, :count].equal(inputs["input_ids"]):
        raise ExportError(
            f"{sample.id!r} is tokenized differently by Transformers: {inputs['input_ids'][0].tolist()[:40]} ..., but "
            f"{ids[0, :count].tolist()[:40]} ... here."
        )

    inputs["input_ids"] = ids
    more = ids.shape[1] - count
    inputs["attention_mask"] = torch.nn.functional.pad(inputs["attention_mask"], (0, more), value=1)

    text = (batch.target.item[0] < 0).nonzero()[:, 0]
    ours = model(batch, at=text).logits
    return float((ours - theirs.model(**inputs).logits[0, text]).abs().max())


def _program() -> str:
    transformers = imported()
    return f"transformers {transformers.__version__}"
