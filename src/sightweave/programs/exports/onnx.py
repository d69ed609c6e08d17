"""Two graphs that onnxruntime runs anywhere: pictures to embeddings, and text with embeddings to logits, with a cache.

The folder holds ``encoder.onnx``, ``decoder.onnx``, ``onnx.json`` (names, shapes and ids: all that a program in another
language needs), ``tokenizer.json``, and ``processor.json`` (how pictures are resized and prompts written). A prompt and each
later token go through the same decoder: what it gives as ``present_...`` is the next call's ``past_...``, which is empty (a
length of 0) in the first.
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.export import Dim

from sightweave.core import checkpoint
from sightweave.core.batch import Batch, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.errors import BackendError, ExportError
from sightweave.core.types import Sample
from sightweave.data.inputs.processor import Processor
from sightweave.models.fusions.concat import Concat
from sightweave.models.language_models.decoder_only import DecoderOnly
from sightweave.models.nn.mask import Mask, allowed
from sightweave.models.vlm import VLM, MediaPath
from sightweave.programs import generation
from sightweave.programs.exports._base import ANSWER_TOKENS, Exported, compared, first
from sightweave.programs.exports._layout import Source

TOLERANCE = 1e-4
"""Largest difference of two logits in fp32 that onnxruntime's kernels may make."""
ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
USE = f"""```python
import onnxruntime

encoder = onnxruntime.InferenceSession("{ENCODER}")  # pixels to embeddings
decoder = onnxruntime.InferenceSession("{DECODER}")  # text and embeddings to logits; sizes in onnx.json
```"""
"""For the model card."""


def export(source: Source, folder: Path, samples: Sequence[Sample], *, card: str = "") -> Exported:
    """Writes the folder, runs it with onnxruntime, and compares logits and greedy answers.

    Args:
        source: The model with its processor and its parts' Configs.
        folder: Where to; what stands there is replaced.
        samples: Prompts to compare by.
        card: The model card, in Markdown.

    Raises:
        BackendError: the packages that write such files are not installed.
        ExportError: the composition has no such graphs, or onnxruntime does not say what we say.
        CheckpointError: the folder cannot be written.
    """
    refuse(source)
    write(source, folder, card)
    if importlib.util.find_spec("onnxruntime") is None:
        note = "not compared: pip install onnxruntime, then export again"
        return Exported(folder=folder, layout="onnx", program="", note=note)
    made = compare(source, folder, samples)
    made.check(TOLERANCE)
    return made


def refuse(source: Source) -> None:
    """Raises what hinders: only pictures that stand in a causal decoder's sequence have these two graphs.

    Raises:
        ExportError: another fusion, or another language model.
    """
    model = source.model
    if not isinstance(model.fusion, Concat) or not isinstance(model.language_model, DecoderOnly):
        raise ExportError(
            "onnx is written for pictures in the sequence of a causal decoder: fusion concat with language model "
            f"decoder_only (got {type(model.fusion).__name__} with {type(model.language_model).__name__}, which would need "
            "more graphs than an encoder and a decoder)."
        )


class _Past(Cache):
    """Keys and values as plain tensors: what was read before goes in, and all of it comes out."""

    def __init__(self, past: Sequence[Tensor]) -> None:
        super().__init__(rows=len(past))
        self.past, self.present = past, list[Tensor]()

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        joined = [
            torch.cat([old, new], 2)
            for old, new in zip(self.past[2 * layer : 2 * layer + 2], (keys, values), strict=True)
        ]
        self.present += joined
        return joined[0], joined[1]


class Encoder(nn.Module):
    """The first graph: encoder and connector.

    Args:
        path: The image's.
    """

    def __init__(self, path: MediaPath) -> None:
        super().__init__()
        self.encoder, self.connector = path.encoder, path.connector

    def forward(self, pixels: Float[Tensor, "I 3 H W"]) -> Float[Tensor, "I Q D"]:
        """Pictures to embeddings."""
        return self.connector(self.encoder(pixels))  # type: ignore[no-any-return]  # nn.Module calls are untyped


class Decoder(nn.Module):
    """The second graph: concatenation, all blocks, the head.

    Args:
        language_model: Its blocks.
        image_id: The id of a picture's marks.
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
        """Logits of all S new tokens, then keys and values of all K = P + S, layer by layer."""
        model, cache = self.language_model, _Past(past)
        hidden = model.positions.add(self._fused(model.embed(ids), ids, embeddings), positions)
        mask = self._mask(ids, positions, ar, valid, past_valid)
        rotation = None if model.rotary is None else model.rotary(positions)
        for layer, block in enumerate(model.blocks):
            hidden = block(hidden, mask, rotation=rotation, cache=cache, layer=layer)
        logits = model.head(model.norm(hidden).flatten(0, 1))
        return logits.view(*ids.shape, -1), *cache.present

    def _fused(self, hidden: Tensor, ids: Tensor, embeddings: Tensor) -> Tensor:
        """As `Concat`, without a step whose size depends on values: each mark looks its own embedding up."""
        marks = ids == self.image_id
        # One row more, so that a text without pictures has something to look at.
        rows = nn.functional.pad(embeddings.flatten(0, 1), (0, 0, 0, 1))
        number = (marks.flatten().cumsum(0) - 1).clamp(min=0).view_as(ids)
        return torch.where(marks[..., None], rows[number], hidden)

    def _mask(self, ids: Tensor, positions: Tensor, ar: Tensor, valid: Tensor, past_valid: Tensor) -> Mask:
        """All that was read before, and of the new tokens those that `core/batch.py` allows."""
        zeros = torch.zeros_like(ids)
        tokens = TokenSequence(ids, ids, positions, ids, ar, zeros, zeros, valid)
        before = past_valid[:, None, :].expand(-1, ids.shape[1], -1)
        return Mask(dense=torch.cat([before, allowed(tokens)], 2)[:, None])


def write(source: Source, folder: Path, card: str = "") -> None:
    """Writes the folder, whole or not at all.

    Raises:
        BackendError: the packages that write such files are not installed.
        CheckpointError: the folder cannot be written.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(
            f"onnx: {' and '.join(missing)} not installed; pip install 'sightweave[onnx]' gets what is needed."
        )
    model = copy.deepcopy(source.model).to("cpu").float().eval()
    documents = {**source.processor.documents(), "onnx": _description(source)}
    texts = {"README.md": card} if card else {}
    checkpoint.write_folder(
        folder, {}, documents, texts, more=lambda place: _write_graphs(model, source.processor, place)
    )


def _write_graphs(model: VLM, processor: Processor, folder: Path) -> None:
    side = model.encoder.image_size
    encoder = Encoder(model.encoders["image"])  # type: ignore[arg-type]  # ModuleDict forgets the type
    pictures = ({0: Dim("pictures")},)
    _trace(encoder, (torch.zeros(2, 3, side, side),), pictures, folder / ENCODER, ["pixels"], ["embeddings"])
    decoder = Decoder(model.language_model, processor.tokenizer.image_id)  # type: ignore[arg-type]  # `refuse` saw to it
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
    _trace(decoder, example, shapes, folder / DECODER, inputs, outputs)


def _names(model: VLM) -> list[str]:
    """Of the keys and values, in the order in which the decoder takes and gives them."""
    return [f"{kind}_{layer}" for layer in range(model.language_model.depth) for kind in ("keys", "values")]


def _example(model: VLM) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Inputs of the decoder, and which of their axes may have any length."""
    rows, new, old, pictures = 2, 5, 3, 2
    attention: Any = model.language_model.blocks[0].attention  # type: ignore[union-attr,index]  # a decoder has blocks
    ids = torch.zeros(rows, new, dtype=torch.long)
    kept = (rows, attention.num_kv_heads, old, attention.head_dim)
    embeddings = torch.zeros(pictures, model.layout.tokens_per_image, model.language_model.dim)
    count = 2 * model.language_model.depth
    # Each a tensor of its own: where two inputs are one tensor, the tracer takes them for one input.
    past = [torch.zeros(kept) for _ in range(count)]
    seen = torch.ones(rows, old, dtype=torch.bool)
    tensors = (ids, ids.clone(), ids + 1, ids == 0, seen, embeddings, past)
    sizes = {name: Dim(name) for name in ("rows", "new", "old", "pictures")}
    token = {0: sizes["rows"], 1: sizes["new"]}
    before = {0: sizes["rows"], 1: sizes["old"]}
    layer = {0: sizes["rows"], 2: sizes["old"]}
    shapes = (token, token, token, token, before, {0: sizes["pictures"]}, [layer] * count)
    return tensors, shapes


def _trace(
    graph: nn.Module,
    example: tuple[Any, ...],
    shapes: tuple[Any, ...],
    file: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> None:
    with torch.no_grad(), warnings.catch_warnings(), _quiet():
        warnings.simplefilter(
            "ignore"
        )  # torch warns of its own deprecated calls and of names that two axes share
        torch.onnx.export(
            graph.eval(),
            example,
            file,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch logs of operators that this machine does not have."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _description(source: Source) -> dict[str, Any]:
    """What a program in another language needs to know."""
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
    """Runs both graphs: logits along prompt and target, and a greedy answer, token by token with what was kept."""
    model, processor = copy.deepcopy(source.model).to("cpu").float().eval(), source.processor
    theirs = _Session(folder, model)
    answers = generation.generate(model, processor, samples, generation.Options(max_tokens=ANSWER_TOKENS))
    found = []
    for sample, ours in zip(samples, answers, strict=True):
        encoded, batch = processor.encode(sample), processor.batch([sample])
        assert batch.target is not None  # a batch of samples has targets
        text = (batch.target.item[0] < 0).nonzero()[:, 0]
        own = model(batch, at=text).logits.numpy()
        largest = float(np.abs(own - theirs.read(batch, batch.target)[0, text.numpy()]).max())
        count = len(encoded.trunk) + len(encoded.prompt)
        said = theirs.answer(batch, count, processor.tokenizer.end_id)
        found.append(compared(model, processor, sample, largest=largest, ours=ours, said=said))
    program = f"onnxruntime {importlib.metadata.version('onnxruntime')}"
    return Exported(folder=folder, layout="onnx", program=program, compared=tuple(found))


class _Session:
    """Both graphs in onnxruntime, on the CPU."""

    def __init__(self, folder: Path, model: VLM) -> None:
        import onnxruntime

        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
            for name in (ENCODER, DECODER)
        )
        self._names = _names(model)
        self._empty = _example(model)[0][-1][0][:1, :, :0].numpy()
        self._none = np.zeros((1, model.layout.tokens_per_image, model.language_model.dim), np.float32)
        self._past: list[np.ndarray] = []
        self._embeddings = self._none

    def read(self, batch: Batch, tokens: TokenSequence) -> np.ndarray:
        """Logits of all tokens, from an empty start."""
        image = batch.media.get("image")
        self._embeddings = self._none  # a text without pictures looks nothing up
        if image is not None:
            (self._embeddings,) = self._encoder.run(None, {"pixels": image.pixels.numpy()})
        self._past = [self._empty] * len(self._names)
        return self._step(
            tokens.ids.numpy(), tokens.positions.numpy(), tokens.ar.numpy(), tokens.valid.numpy()
        )

    def answer(self, batch: Batch, count: int, end: int) -> list[int]:
        """Greedy ids after the first `count` tokens, with the end where it came to one."""
        assert batch.target is not None  # a batch of samples has targets
        prompt = first(batch.target, count)
        logits = self.read(batch, prompt)
        position = int(prompt.positions[0, -1])
        said: list[int] = []
        while len(said) < ANSWER_TOKENS and end not in said:
            said.append(token := int(logits[0, -1].argmax()))
            position += 1
            one = np.array([[token]])
            logits = self._step(one, np.array([[position]]), np.ones_like(one), one == token)
        return said

    def _step(self, ids: np.ndarray, positions: np.ndarray, ar: np.ndarray, valid: np.ndarray) -> np.ndarray:
        seen = np.ones((1, self._past[0].shape[2]), bool)
        given = {"ids": ids, "positions": positions, "ar": ar, "valid": valid, "past_valid": seen}
        given["embeddings"] = self._embeddings
        given |= {f"past_{name}": value for name, value in zip(self._names, self._past, strict=True)}
        # A graph that never reads an input does not have it.
        wanted = {one.name for one in self._decoder.get_inputs()}
        logits, *self._past = self._decoder.run(None, {k: v for k, v in given.items() if k in wanted})
        return np.asarray(logits)
