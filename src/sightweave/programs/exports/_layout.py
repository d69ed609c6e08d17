"""Layouts of Transformers models: which compositions fit a layout, and the names and settings that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sightweave.core import config
from sightweave.core.errors import ExportError
from sightweave.data.inputs import transforms
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.tokenizer import FRAMED
from sightweave.models.keymaps import _base as keymaps
from sightweave.models.vlm import VLM


@dataclass(frozen=True, kw_only=True)
class Source:
    """The model to export, with its processor, the Configs of its parts, and its recipe."""

    model: VLM
    processor: Processor
    parts: Any
    """Configs of encoder, connector, fusion and language_model, as attributes with these names."""
    recipe: Mapping[str, Any]
    """The run's resolved recipe as plain data."""

    @property
    def transform(self) -> transforms.Config:
        """The transform that converts images to tensors.

        Raises:
            ExportError: the model reads other media than images.
        """
        found = self.processor.transform
        if found is None or self.model.modalities != ("image",):
            raise ExportError(
                f"the model reads {', '.join(self.model.modalities)}, but this format has a place for images only; "
                "sightweave export RUN --to custom_code supports any model, for Transformers with Sightweave installed."
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One family of complete models in Transformers."""

    name: str
    refusals: Callable[[Source], list[str]]
    """Function that returns the reasons why a composition does not fit; empty if it does."""
    tensors: Callable[[Source], dict[str, Tensor]]
    """Function that returns all weights under the layout's names."""
    config: Callable[[Source], dict[str, Any]]
    """Function that returns the contents of config.json."""
    processor: Callable[[Source], dict[str, Any]]
    """Function that returns the contents of processor_config.json, without the image processor's settings."""
    frames_by_processor: bool
    """Whether the processor itself inserts the tokens around an image."""


def common_refusals(source: Source) -> list[str]:
    """The reasons that apply to every layout: a fusion other than causal concatenation, tiles, or unusual resizing."""
    fusion, transform = source.parts.fusion, source.transform
    found = []

    if config.kind_of(fusion) != "concat":
        found.append(f"model.fusion is {config.kind_of(fusion)}, but the format supports concat only")
    elif fusion.bidirectional != "none" or fusion.one_position:
        found.append(
            f"model.fusion has bidirectional={fusion.bidirectional} and one_position={fusion.one_position}, but "
            "the format supports none and False only"
        )

    if source.processor.tiles.max_tiles > 1:
        found.append(
            f"inputs.max_tiles is {source.processor.tiles.max_tiles}, but only whole images can be exported"
        )
    if not transform.exact:
        found.append("images are not resized as in Pillow: train with inputs.exact=true")

    for part in ("encoder", "language_model"):
        try:
            keymaps.describe(part, getattr(source.parts, part))
        except ValueError as error:
            found.append(f"model.{part}: {error}")
    return found


def framed_refusals(source: Source) -> list[str]:
    """The reasons that apply to layouts whose processor inserts tokens around an image.

    Training must have used the same tokens.
    """
    template = source.processor.tokenizer.template
    names = ("image", "before_image", "after_image")
    if all(getattr(template, name) == getattr(FRAMED, name) for name in names):
        return []

    return [
        f"an image is written {template.before_image}{template.image}{template.after_image}, but the format writes "
        f"{FRAMED.before_image}{FRAMED.image}{FRAMED.after_image}: train with inputs.frame_images=true"
    ]


def part_tensors(source: Source, part: str) -> dict[str, Tensor]:
    """A part's weights under the names of its Transformers family."""
    keymap, _ = keymaps.describe(part, getattr(source.parts, part))
    return keymap.theirs(getattr(source.model, part).state_dict())


HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"
"""Names of the head and of the token embeddings in Llama-like families."""


def with_head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A language model's weights, including a head that is tied to the token embeddings.

    config.json still states that they are tied. mlx-vlm 0.7.10 needs the head of an Idefics3 in the file, and rejects
    that of a LLaVA.
    """
    return {HEAD: tensors[TABLE].clone(), **tensors}


def part_settings(source: Source, part: str) -> dict[str, Any]:
    """A part's config under the names of its Transformers family; that of a language model has the tokenizer's ids."""
    _, settings = keymaps.describe(part, getattr(source.parts, part))
    if part == "language_model":
        tokenizer = source.processor.tokenizer
        start = tokenizer.start_ids[0] if tokenizer.start_ids else None
        settings |= {
            "vocab_size": tokenizer.vocab_size,
            "pad_token_id": tokenizer.pad_id,
            "bos_token_id": start,
            "eos_token_id": tokenizer.end_id,
        }
    return settings


def renamed(tensors: Mapping[str, Tensor], *prefixes: tuple[str, str]) -> dict[str, Tensor]:
    """Replaces the first matching prefix of each weight's name; other names are unchanged."""
    found = {}
    for name, value in tensors.items():
        old, new = next((pair for pair in prefixes if name.startswith(pair[0])), ("", ""))
        found[new + name.removeprefix(old)] = value
    return found
