"""Exports a model as two graphs for onnxruntime: an encoder from images to embeddings, and a decoder with a cache.

The folder contains ``encoder.onnx``, ``decoder.onnx``, ``onnx.json`` (names, shapes and ids: all that a program in
another language needs), ``tokenizer.json``, and ``processor.json`` (how images are resized and prompts are written).
The decoder reads text and embeddings and returns logits. A prompt and each later token go through the same decoder: its
outputs ``present_...`` are the inputs ``past_...`` of the next call; in the first call, these are empty (length 0).
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.export import Dim

from sightweave.core import checkpoint
from sightweave.core.batch import Batch
from sightweave.core.config import config
from sightweave.core.errors import ExportError, did_you_mean
from sightweave.core.types import Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.prompts import text_tokens
from sightweave.models.fusions.concat import Concat
from sightweave.models.language_models.decoder_only import DecoderOnly
from sightweave.models.nn.mask import Mask, allowed
from sightweave.models.vlm import VLM
from sightweave.programs import generation
from sightweave.programs.exports import _transformers_js
from sightweave.programs.exports._base import ANSWER_TOKENS, Exported, compared, with_longer
from sightweave.programs.exports._layout import Source
from sightweave.programs.exports._onnx import PROVIDERS, Encoder, GraphSession, Past, require, trace

TOLERANCE = 1e-4
"""Largest difference between two fp32 logits that onnxruntime's kernels may cause, as a share of the largest logit."""
LAYOUTS = ("sightweave", _transformers_js.NAME)
ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
USE = f"""Greedy decoding, one token at a time. Sightweave's processor makes the prompt's ids, positions and pixels; it reads
the files next to the graphs. `onnx.json` has the sizes for programs in other languages.

```python
# pip install sightweave onnxruntime
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs.processor import Processor

folder = Path(".")  # where this card is
processor = Processor.load(folder)
encoder = onnxruntime.InferenceSession(folder / "{ENCODER}")  # pixels to embeddings
decoder = onnxruntime.InferenceSession(folder / "{DECODER}")  # tokens and embeddings to logits

picture = np.asarray(Image.new("RGB", (224, 224), "white"))  # yours: Image.open("picture.jpg").convert("RGB")
parts = (Part("user", Medium(picture, "picture")), Part("user", "Describe the image."))
batch = processor.batch([Sample(id="prompt", task="", parts=parts)])
(embeddings,) = encoder.run(None, {{"pixels": batch.media["image"].dense.numpy()}})
# All but the last token, which ends an answer.
tokens = {{name: getattr(batch.target, name).numpy()[:, :-1] for name in ("ids", "positions", "ar", "valid")}}
position = int(tokens["positions"][0, -1])

known = {{one.name: one.shape for one in decoder.get_inputs()}}
past = {{
    name: np.zeros((1, shape[1], 0, shape[3]), np.float32)
    for name, shape in known.items()
    if name.startswith(("past_keys", "past_values"))
}}
answer = []
while len(answer) < 32 and processor.tokenizer.end_id not in answer:
    seen = np.ones((1, next(iter(past.values())).shape[2]), bool)
    given = {{**tokens, **past, "past_valid": seen, "embeddings": embeddings}}
    logits, *kept = decoder.run(None, {{name: given[name] for name in known}})
    answer.append(int(logits[0, -1].argmax()))
    past, position = dict(zip(past, kept)), position + 1
    one = np.array([[answer[-1]]])
    tokens = {{"ids": one, "positions": np.full_like(one, position), "ar": np.ones_like(one), "valid": one == one}}
print(processor.tokenizer.decode(answer))
```"""
"""Usage example for the model card."""
USES = {_transformers_js.NAME: _transformers_js.USE}
"""Usage examples for the model card, by layout, for layouts other than the first."""
LIMITS = """Programs that load this folder, and what they get wrong:

- transformers.js 4.3.2 does not widen its filter when it shrinks an image, so its pixels differ from those of training by
  up to 0.76 (Idefics3) and 1.5 (LLaVA) of a range of 2, which can change an answer. Resize images to the encoder's size
  before passing them to it.
- onnxruntime-genai 0.18 can open neither layout."""
"""Limitations of other programs, for the model card."""


@config
class Config:
    """Options of the ONNX export."""

    layout: Literal["sightweave", "transformers.js"] = "sightweave"
    """File layout: sightweave (two graphs, for any model with concat and decoder_only) or transformers.js (the files
    that it opens directly, if the model fits one of Transformers' layouts)."""

    def export(self, source: Source, folder: Path, samples: Sequence[Sample], *, card: str = "") -> Exported:
        """Exports a model with these options; see the function `export`."""
        return export(source, folder, samples, card=card, layout=self.layout)


def export(
    source: Source, folder: Path, samples: Sequence[Sample], *, card: str = "", layout: str = "sightweave"
) -> Exported:
    """Writes the folder, runs it with onnxruntime, and compares logits and greedy answers.

    Args:
        source: The model with its processor and the Configs of its parts.
        folder: Output folder; an existing one is replaced.
        samples: Prompts for the comparison.
        card: The model card, in Markdown.
        layout: ``sightweave``: two graphs, for any composition of concat and decoder_only; or ``transformers.js``: the
            files that it opens directly, for compositions that fit one of Transformers' layouts.

    Raises:
        BackendError: the packages that write ONNX files are not installed.
        ExportError: the layout is unknown, the composition has no such graphs, or onnxruntime gives other results.
        CheckpointError: the folder cannot be written.
    """
    if layout not in LAYOUTS:
        raise ExportError(f"onnx: no layout {layout!r}. {did_you_mean(layout, LAYOUTS)}")
    if layout == _transformers_js.NAME:
        return _transformers_js.export(source, folder, samples, card=card, tolerance=TOLERANCE)

    refuse(source)
    write(source, folder, card)
    if importlib.util.find_spec("onnxruntime") is None:
        note = "not compared: pip install onnxruntime, then export again"
        return Exported(folder=folder, layout="onnx", program="", note=note)

    made = compare(source, folder, samples)
    made.check(TOLERANCE)
    return made


def refuse(source: Source) -> None:
    """Refuses compositions that these two graphs cannot express: all but image tokens in a causal decoder.

    Raises:
        ExportError: the fusion or the language model is another one, or the model reads other media than images.
    """
    model = source.model
    _ = source.transform  # raises if the model reads anything but images
    if not isinstance(model.fusion, Concat) or not isinstance(model.language_model, DecoderOnly):
        raise ExportError(
            "the onnx export supports image tokens in a causal decoder only: fusion concat with language model "
            f"decoder_only (got {type(model.fusion).__name__} with {type(model.language_model).__name__}, which would need "
            "more graphs than an encoder and a decoder)."
        )


class Decoder(nn.Module):
    """The second graph: concatenation, all blocks and the head.

    Args:
        language_model: The language model.
        image_id: Id of the image token.
    """

    def __init__(self, language_model: DecoderOnly, image_id: int) -> None:
        super().__init__()
        self.language_model, self.image_id = language_model, image_id

    def forward(
        self,
        ids: Int[Tensor, "B S"],
        positions: Int[Tensor, "B S"],
        ar: Int[Tensor, "B S"],
        valid: Bool[Tensor, "B S"],
        past_valid: Bool[Tensor, "B P"],
        embeddings: Float[Tensor, "I Q D"],
        past: Sequence[Float[Tensor, "B Hkv P Dh"]],
    ) -> tuple[Tensor, ...]:
        """Logits of the S new tokens, then keys and values of all P + S tokens, layer by layer."""
        model, cache = self.language_model, Past(past)
        hidden = model.positions.add(self._fused(model.embed(ids), ids, embeddings), positions)
        mask = self._mask(ids, positions, ar, valid, past_valid)
        rotation = None if model.rotary is None else model.rotary(positions)

        for layer, block in enumerate(model.blocks):
            hidden = block(hidden, mask, rotation=rotation, cache=cache, layer=layer)

        logits = model.head(model.norm(hidden).flatten(0, 1))
        return logits.view(*ids.shape, -1), *cache.present

    def _fused(self, hidden: Tensor, ids: Tensor, embeddings: Tensor) -> Tensor:
        """Like `Concat`, without operations whose size depends on values: each image token looks up its own embedding."""
        marks = ids == self.image_id
        # Add one row, so that a text without images has a row to look up.
        rows = nn.functional.pad(embeddings.flatten(0, 1), (0, 0, 0, 1))
        number = (marks.flatten().cumsum(0) - 1).clamp(min=0).view_as(ids)
        return torch.where(marks[..., None], rows[number], hidden)

    def _mask(self, ids: Tensor, positions: Tensor, ar: Tensor, valid: Tensor, past_valid: Tensor) -> Mask:
        """The mask in which new tokens attend to all earlier tokens, and to each other as in `TokenSequence`."""
        tokens = text_tokens(ids, positions, ar=ar, valid=valid)
        before = past_valid[:, None, :].expand(-1, ids.shape[1], -1)
        return Mask(dense=torch.cat([before, allowed(tokens)], 2)[:, None])


def write(source: Source, folder: Path, card: str = "") -> None:
    """Writes the folder completely or not at all.

    Raises:
        BackendError: the packages that write ONNX files are not installed.
        CheckpointError: the folder cannot be written.
    """
    require()
    model = copy.deepcopy(source.model).to("cpu").float().eval()
    documents = {**source.processor.documents(), "onnx": _description(source)}
    texts = {"README.md": card} if card else {}
    checkpoint.write_folder(
        folder, {}, documents, texts, more=lambda place: _write_graphs(model, source.processor, place)
    )


def _write_graphs(model: VLM, processor: Processor, folder: Path) -> None:
    """Writes both graphs."""
    side = model.encoder.image_size
    encoder = Encoder(model.encoders.path("image"))
    pictures = ({0: Dim("pictures")},)
    trace(encoder, (torch.zeros(2, 3, side, side),), pictures, folder / ENCODER, ["pixels"], ["embeddings"])

    decoder = Decoder(model.language_model, processor.tokenizer.image_id)  # type: ignore[arg-type]  # `refuse` ensures it
    names = _names(model)
    example, shapes = _example(model)
    inputs = [
        "ids",
        "positions",
        "ar",
        "valid",
        "past_valid",
        "embeddings",
        *(f"past_{one}" for one in names),
    ]
    outputs = ["logits", *(f"present_{one}" for one in names)]
    trace(decoder, example, shapes, folder / DECODER, inputs, outputs)


def _names(model: VLM) -> list[str]:
    """Names of the cached keys and values, in the order of the decoder's inputs and outputs."""
    names = []
    for layer in range(model.language_model.depth):
        names += [f"keys_{layer}", f"values_{layer}"]
    return names


def _example(model: VLM) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Example inputs of the decoder, and those of their axes that may have any length."""
    rows, new, old, pictures = 2, 5, 3, 2
    attention: Any = model.language_model.blocks[0].attention  # type: ignore[union-attr,index]  # a decoder has blocks
    kept = (rows, attention.num_kv_heads, old, attention.head_dim)

    ids = torch.zeros(rows, new, dtype=torch.long)
    embeddings = torch.zeros(pictures, model.layout.tokens_per_image, model.language_model.dim)
    count = 2 * model.language_model.depth
    # Use separate tensors, because the tracer would merge inputs that share one.
    past = [torch.zeros(kept) for _ in range(count)]
    seen = torch.ones(rows, old, dtype=torch.bool)
    tensors = (ids, ids.clone(), ids + 1, ids == 0, seen, embeddings, past)

    sizes = {name: Dim(name) for name in ("rows", "new", "old", "pictures")}
    token = {0: sizes["rows"], 1: sizes["new"]}
    before = {0: sizes["rows"], 1: sizes["old"]}
    layer = {0: sizes["rows"], 2: sizes["old"]}
    shapes = (token, token, token, token, before, {0: sizes["pictures"]}, [layer] * count)
    return tensors, shapes


def _description(source: Source) -> dict[str, Any]:
    """The contents of ``onnx.json``, for programs in other languages."""
    model, tokenizer = source.model, source.processor.tokenizer
    attention: Any = model.language_model.blocks[0].attention  # type: ignore[union-attr,index]  # a decoder has blocks
    return {
        "format_version": 1,
        "encoder": ENCODER,
        "decoder": DECODER,
        "image_size": model.encoder.image_size,
        "tokens_per_image": model.layout.tokens_per_image,
        "vocab_size": tokenizer.vocab_size,
        "ids": {"pad": tokenizer.pad_id, "end": tokenizer.end_id, "image": tokenizer.image_id},
        "layers": model.language_model.depth,
        "kv_heads": attention.num_kv_heads,
        "head_dim": attention.head_dim,
        "bidirectional": model.layout.bidirectional,
        "one_position": model.layout.one_position,
    }


@torch.inference_mode()
def compare(source: Source, folder: Path, samples: Sequence[Sample]) -> Exported:
    """Runs both graphs and compares logits along prompt and target, and greedy answers decoded with the cache.

    Each sample is run alone, and then all samples in one batch of prompts of different lengths.
    """
    model, processor = copy.deepcopy(source.model).to("cpu").float().eval(), source.processor
    theirs = _Session(folder, model)
    answers = generation.generate(model, processor, samples, generation.Options(max_tokens=ANSWER_TOKENS))
    end = processor.tokenizer.end_id

    alone = []
    for sample, ours in zip(samples, answers, strict=True):
        batch = processor.batch([sample])
        assert batch.target is not None  # batches of samples always have targets
        text = (batch.target.item[0] < 0).nonzero()[:, 0]
        own = model(batch, at=text).logits
        largest = float((own - theirs.read(batch)[0, text]).abs().max())
        ((said, logits),) = theirs.answers_to(prompts(processor, [sample]), end)
        alone.append(compared(model, processor, sample, largest=largest, ours=ours, said=said, theirs=logits))

    rows = with_longer(processor, samples)
    together = theirs.answers_to(prompts(processor, rows), end)[: len(samples)] if rows else []
    batched = [
        compared(model, processor, sample, largest=0.0, ours=ours, said=said, theirs=logits)
        for sample, ours, (said, logits) in zip(samples, answers, together, strict=True)
    ]
    program = f"onnxruntime {importlib.metadata.version('onnxruntime')}"
    return Exported(
        folder=folder, layout="onnx", program=program, compared=tuple(alone), batched=tuple(batched)
    )


def prompts(processor: Processor, samples: Sequence[Sample]) -> Batch:
    """A batch of prompts without their targets, one per row, padded on the right."""
    return processor.batch(samples, share=False, with_target=False)


class _Session(GraphSession):
    """Both graphs in onnxruntime on the CPU."""

    def __init__(self, folder: Path, model: VLM) -> None:
        import onnxruntime

        encoder, decoder = (
            onnxruntime.InferenceSession(str(folder / name), providers=list(PROVIDERS))
            for name in (ENCODER, DECODER)
        )
        super().__init__(decoder)
        self._encoder = encoder
        # A graph has only those inputs that it reads.
        self._wanted = {one.name for one in decoder.get_inputs()}
        self._names = _names(model)
        self._empty = _example(model)[0][-1][0][:1, :, :0]
        self._none = torch.zeros(1, model.layout.tokens_per_image, model.language_model.dim).numpy()
        self._embeddings = self._none
        self._seen = torch.zeros(0, 0, dtype=torch.bool)
        self._positions = torch.zeros(0, dtype=torch.int64)

    def read(self, batch: Batch) -> Tensor:
        """Logits B S V of all tokens of a batch; whatever was read before is dropped."""
        tokens, image = batch.target, batch.media.get("image")
        assert tokens is not None  # batches of samples always have targets
        self._embeddings = self._none  # a text without images looks nothing up
        if image is not None:
            (self._embeddings,) = self._encoder.run(None, {"pixels": image.dense.numpy()})

        rows = len(tokens.ids)
        self._past = [self._empty.expand(rows, -1, -1, -1).numpy()] * len(self._names)
        self._seen = torch.zeros(rows, 0, dtype=torch.bool)
        return self._run(tokens.ids, tokens.positions, tokens.ar, tokens.valid)

    def answers_to(self, batch: Batch, end: int) -> list[tuple[list[int], Tensor]]:
        """Like `answers`, but reads a batch of prompts first."""
        assert batch.target is not None  # batches of samples always have targets
        last = batch.target.valid.sum(1) - 1
        row = torch.arange(len(last))
        self._positions = batch.target.positions[row, last]
        self.begin(self.read(batch)[row, last])
        return self.answers(end)

    def _read(self, ids: Tensor) -> Tensor:
        self._positions = self._positions + 1
        ones = torch.ones_like(ids)[:, None]
        return self._run(ids[:, None], self._positions[:, None], ones, ones > 0)[:, 0]

    def _select(self, rows: Tensor) -> None:
        self._positions, self._seen = self._positions[rows], self._seen[rows]

    def _run(self, ids: Tensor, positions: Tensor, ar: Tensor, valid: Tensor) -> Tensor:
        tokens = {"ids": ids, "positions": positions, "ar": ar, "valid": valid, "past_valid": self._seen}
        given = {name: value.numpy() for name, value in tokens.items()}
        given["embeddings"] = self._embeddings
        for name, value in zip(self._names, self._past, strict=True):
            given[f"past_{name}"] = value

        wanted = {name: value for name, value in given.items() if name in self._wanted}
        logits, *self._past = self._graph.run(None, wanted)
        self._seen = torch.cat([self._seen, valid], 1)
        return torch.from_numpy(logits)
