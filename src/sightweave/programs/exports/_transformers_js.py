"""Writes the files that transformers.js opens directly: three graphs in ``onnx/`` next to Transformers' own configs.

transformers.js 4.3 (https://github.com/huggingface/transformers.js) looks up token embeddings, replaces those of image
tokens by image features, and calls a decoder with ``past_key_values``. It creates an empty cache from the names of the
axes: only an axis named ``batch_size`` gets the same number of rows as the prompt.
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.export import Dim

from sightweave.core import checkpoint
from sightweave.core.batch import Batch
from sightweave.core.errors import ExportError
from sightweave.core.types import Sample
from sightweave.data.inputs.processor import Processor
from sightweave.models.language_models.decoder_only import DecoderOnly
from sightweave.models.nn.mask import Mask
from sightweave.models.vlm import VLM
from sightweave.programs import generation
from sightweave.programs.exports import transformers
from sightweave.programs.exports._base import ANSWER_TOKENS, Exported, compared, with_longer
from sightweave.programs.exports._layout import Layout, Source
from sightweave.programs.exports._onnx import PROVIDERS, Encoder, GraphSession, Past, require, trace

NAME = "transformers.js"
GRAPHS = "onnx"
TOKENS, VISION, DECODER = "embed_tokens.onnx", "vision_encoder.onnx", "decoder_model_merged.onnx"
USE = """```js
import { AutoModelForImageTextToText, AutoProcessor } from "@huggingface/transformers";

const processor = await AutoProcessor.from_pretrained(FOLDER);
const model = await AutoModelForImageTextToText.from_pretrained(FOLDER, { dtype: "fp32" });
```"""
"""Usage example for the model card."""
_MOST_BYTES = 2 * 10**9
"""Maximum size of one graph's weights in bytes: a file of this format holds at most 2 GiB."""


def export(
    source: Source, folder: Path, samples: Sequence[Sample], *, card: str, tolerance: float
) -> Exported:
    """Writes the folder, runs its graphs with onnxruntime, and compares logits and greedy answers.

    Args:
        source: The model with its processor and its parts' Configs.
        folder: Output folder; an earlier export is replaced.
        samples: Prompts for the comparison.
        card: The model card, in Markdown.
        tolerance: Largest accepted difference of two logits, as a share of the largest logit.

    Raises:
        BackendError: the packages that write such files are not installed.
        ExportError: the composition fits no layout of Transformers, its weights are too large for one file, or onnxruntime
            gives other logits or answers.
        CheckpointError: the folder cannot be written.
    """
    layout = transformers.choose(source)
    write(source, folder, layout, card)

    if importlib.util.find_spec("onnxruntime") is None:
        note = "not compared: pip install onnxruntime, then export again"
        return Exported(folder=folder, layout=f"{NAME}, {layout.name}", program="", note=note)

    made = compare(source, folder, samples, layout)
    made.check(tolerance)
    return made


class _Tokens(nn.Module):
    """The first graph, from ids to embeddings."""

    def __init__(self, language_model: DecoderOnly) -> None:
        super().__init__()
        self.language_model = language_model

    def forward(self, input_ids: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        return self.language_model.embed(input_ids)


class _Vision(nn.Module):
    """The second graph in Idefics3's form: each row has several images, and padding images are masked."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, pixel_values: Float[Tensor, "B I 3 H W"], pixel_attention_mask: Bool[Tensor, "B I H W"]
    ) -> Float[Tensor, "BI Q D"]:
        shown = pixel_values * pixel_attention_mask[:, :, None].to(pixel_values.dtype)
        return self.encoder(shown.flatten(0, 1))  # type: ignore[no-any-return]  # nn.Module calls are untyped


class _Decoder(nn.Module):
    """The third graph, with all blocks and the head."""

    def __init__(self, language_model: DecoderOnly) -> None:
        super().__init__()
        self.language_model = language_model

    def forward(
        self,
        inputs_embeds: Float[Tensor, "B S D"],
        attention_mask: Int[Tensor, "B K"],
        position_ids: Int[Tensor, "B S"],
        past: Sequence[Float[Tensor, "B Hkv P Dh"]],
    ) -> tuple[Tensor, ...]:
        """Logits of all S new tokens, then keys and values of all K = P + S tokens, layer by layer."""
        model, cache = self.language_model, Past(past)
        new, old = inputs_embeds.shape[1], past[0].shape[2]

        asks, answers = torch.arange(new)[:, None] + old, torch.arange(new + old)[None]
        # Padding attends to itself, because attending to nothing would give NaN.
        seen = (answers <= asks) & ((attention_mask > 0)[:, None] | (answers == asks))
        mask = Mask(dense=seen[:, None])

        hidden = model.positions.add(inputs_embeds, position_ids)
        rotation = None if model.rotary is None else model.rotary(position_ids)
        for layer, block in enumerate(model.blocks):
            hidden = block(hidden, mask, rotation=rotation, cache=cache, layer=layer)

        logits = model.head(model.norm(hidden).flatten(0, 1))
        return logits.view(*inputs_embeds.shape[:2], -1), *cache.present


def write(source: Source, folder: Path, layout: Layout, card: str = "") -> None:
    """Writes the folder.

    Raises:
        BackendError: the packages that write such files are not installed.
        ExportError: the weights are too large for one file.
        CheckpointError: the folder cannot be written.
    """
    require()
    model = copy.deepcopy(source.model).to("cpu").float().eval()
    size = sum(4 * value.numel() for value in model.language_model.parameters())
    if size > _MOST_BYTES:
        raise ExportError(
            f"{NAME}: the language model takes {size / 1e9:.1f} GB in fp32, but one graph can hold "
            f"{_MOST_BYTES / 1e9:.0f}; use --layout sightweave, which stores weights outside the graphs."
        )

    named, texts = transformers.documents(source, layout)
    if card:
        texts = {**texts, "README.md": card}
    checkpoint.write_folder(folder, {}, named, texts)

    (folder / GRAPHS).mkdir(exist_ok=True)
    _write_tokens(model, folder / GRAPHS / TOKENS)
    _write_vision(model, folder / GRAPHS / VISION, layout)
    _write_decoder(model, folder / GRAPHS / DECODER)


def _write_tokens(model: VLM, file: Path) -> None:
    ids = torch.zeros(2, 5, dtype=torch.long)
    shapes = ({0: Dim("batch_size"), 1: Dim("sequence_length")},)
    graph = _Tokens(model.language_model)  # type: ignore[arg-type]  # the layouts allow no other class
    trace(graph, (ids,), shapes, file, ["input_ids"], ["inputs_embeds"], in_one_file=True)


def _write_vision(model: VLM, file: Path, layout: Layout) -> None:
    side = model.encoder.image_size
    graph: nn.Module = Encoder(model.encoders.path("image"))
    example: tuple[Tensor, ...] = (torch.zeros(2, 3, side, side),)
    names = ["pixel_values"]
    axes: dict[int, Any] = {0: Dim("batch_size")}

    if layout.frames_by_processor:  # the layout of Idefics3
        graph = _Vision(graph)  # type: ignore[arg-type]  # created above
        example = (torch.zeros(2, 3, 3, side, side), torch.ones(2, 3, side, side, dtype=torch.bool))
        names = ["pixel_values", "pixel_attention_mask"]
        axes |= {1: Dim("num_images")}

    shapes = tuple(axes for _ in names)
    trace(graph, example, shapes, file, names, ["image_features"], in_one_file=True)


def _write_decoder(model: VLM, file: Path) -> None:
    """Traces the decoder; the sizes of the example are arbitrary but distinct."""
    rows, new, old = 2, 5, 3
    count = 2 * model.language_model.depth
    # Create separate tensors, because the tracer would merge inputs that share one.
    past = [torch.zeros(rows, *_cache_shape(model, old)) for _ in range(count)]
    ones = torch.ones(rows, old + new, dtype=torch.long)
    positions = torch.arange(new).expand(rows, -1).contiguous()
    example = (torch.zeros(rows, new, model.language_model.dim), ones, positions, past)

    batch, sequence = Dim("batch_size"), Dim("sequence_length")
    token, layer = {0: batch, 1: sequence}, {0: batch, 2: Dim("past_sequence_length")}
    # The mask covers old and new tokens; the tracer derives its length itself.
    shapes = (token, {0: batch, 1: Dim.DYNAMIC}, token, [layer] * count)

    graph = _Decoder(model.language_model)  # type: ignore[arg-type]  # the layouts allow no other class
    inputs = ["inputs_embeds", "attention_mask", "position_ids", *_cache_names(model, "past_key_values")]
    outputs = ["logits", *_cache_names(model, "present")]
    trace(graph, example, shapes, file, inputs, outputs, in_one_file=True)


def _cache_shape(model: VLM, length: int) -> tuple[int, int, int]:
    """Shape of the cached keys, or values, of one row and one layer."""
    attention: Any = model.language_model.blocks[0].attention  # type: ignore[union-attr,index]  # a decoder has blocks
    return attention.num_kv_heads, length, attention.head_dim


def _cache_names(model: VLM, begin: str) -> list[str]:
    names = []
    for layer in range(model.language_model.depth):
        names += [f"{begin}.{layer}.key", f"{begin}.{layer}.value"]
    return names


@torch.inference_mode()
def compare(source: Source, folder: Path, samples: Sequence[Sample], layout: Layout) -> Exported:
    """Runs the graphs as transformers.js does: first each sample alone, then all in one batch of different lengths.

    The pixels are those of our own transform: transformers.js does not widen the resizing filter when it shrinks an
    image, so its pixels differ.
    """
    model, processor = copy.deepcopy(source.model).to("cpu").float().eval(), source.processor
    theirs = _Session(folder, model, processor, layout)
    answers = generation.generate(model, processor, samples, generation.Options(max_tokens=ANSWER_TOKENS))

    # Run each sample alone.
    alone = []
    for sample, ours in zip(samples, answers, strict=True):
        batch = processor.batch([sample])
        assert batch.target is not None  # batches of samples always have targets
        text = (batch.target.item[0] < 0).nonzero()[:, 0]
        own = model(batch, at=text).logits
        read = theirs.read([batch.target.ids[0].tolist()], [batch])[0, text]
        largest = float((own - read).abs().max())
        ((said, logits),) = theirs.answers_to([sample])
        alone.append(compared(model, processor, sample, largest=largest, ours=ours, said=said, theirs=logits))

    # Run all samples in one batch, with a longer prompt so that all of them are padded.
    together = theirs.answers_to(with_longer(processor, samples))[: len(samples)] if samples else []
    batched = []
    for sample, ours, (said, logits) in zip(samples, answers, together, strict=True):
        batched.append(compared(model, processor, sample, largest=0.0, ours=ours, said=said, theirs=logits))

    program = f"onnxruntime {importlib.metadata.version('onnxruntime')}"
    return Exported(
        folder=folder,
        layout=f"{NAME}, {layout.name}",
        program=program,
        compared=tuple(alone),
        batched=tuple(batched),
    )


class _Session(GraphSession):
    """The three graphs in onnxruntime on the CPU, combined as transformers.js combines them."""

    def __init__(self, folder: Path, model: VLM, processor: Processor, layout: Layout) -> None:
        import onnxruntime

        def opened(name: str) -> onnxruntime.InferenceSession:
            return onnxruntime.InferenceSession(str(folder / GRAPHS / name), providers=list(PROVIDERS))

        self._tokens, self._vision = opened(TOKENS), opened(VISION)
        super().__init__(opened(DECODER))
        self._names = _cache_names(model, "past_key_values")
        self._cache_shape = _cache_shape(model, 0)
        self._processor, self._in_rows = processor, layout.frames_by_processor

        # The state of one batch of prompts.
        self._mask = np.zeros((0, 0), np.int64)

    def read(self, rows: Sequence[Sequence[int]], batches: Sequence[Batch]) -> Tensor:
        """Logits B S V of prompts, padded on the left, with one batch for the images of each prompt."""
        tokenizer = self._processor.tokenizer
        width = max(map(len, rows))
        ids = np.array([[tokenizer.pad_id] * (width - len(row)) + list(row) for row in rows])
        self._mask = np.array([[0] * (width - len(row)) + [1] * len(row) for row in rows])

        (embeddings,) = self._tokens.run(None, {"input_ids": ids})

        pixels = [one.media["image"].dense.numpy() for one in batches if "image" in one.media]
        if pixels:
            features = self._features(np.concatenate(pixels))
            marks = (ids == tokenizer.image_id) & (self._mask > 0)
            embeddings[marks] = features.reshape(-1, features.shape[-1])

        self._past = [np.zeros((len(rows), *self._cache_shape), np.float32)] * len(self._names)
        return self._run(embeddings, (self._mask.cumsum(1) - 1).clip(min=0))

    def _features(self, pixels: np.ndarray) -> np.ndarray:
        given = {"pixel_values": pixels}
        if self._in_rows:
            shape = (1, len(pixels), *pixels.shape[2:])
            given = {"pixel_values": pixels[None], "pixel_attention_mask": np.ones(shape, bool)}
        (features,) = self._vision.run(None, given)
        return np.asarray(features)

    def answers_to(self, samples: Sequence[Sample]) -> list[tuple[list[int], Tensor]]:
        """Like `answers`, but reads the prompts of samples first."""
        processor = self._processor
        encoded = [processor.encode(sample) for sample in samples]
        rows = [one.trunk.ids + one.prompt.ids for one in encoded]
        self.begin(self.read(rows, [processor.batch([one]) for one in encoded])[:, -1])
        return self.answers(processor.tokenizer.end_id)

    def _read(self, ids: Tensor) -> Tensor:
        (embeddings,) = self._tokens.run(None, {"input_ids": ids[:, None].numpy()})
        self._mask = np.concatenate([self._mask, np.ones_like(self._mask[:, :1])], 1)
        return self._run(embeddings, self._mask.sum(1, keepdims=True) - 1)[:, 0]

    def _select(self, rows: Tensor) -> None:
        self._mask = self._mask[rows.numpy()]

    def _run(self, embeddings: np.ndarray, positions: np.ndarray) -> Tensor:
        given = {"inputs_embeds": embeddings, "attention_mask": self._mask, "position_ids": positions}
        given |= dict(zip(self._names, self._past, strict=True))
        logits, *self._past = self._graph.run(None, given)
        return torch.from_numpy(logits)
