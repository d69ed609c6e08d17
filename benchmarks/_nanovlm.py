"""nanoVLM, from the folder that `--nanovlm` names: it is not a package."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks._shapes import Shape, Work, inputs


def _import(folder: str, shape: Shape) -> tuple[Any, Any]:
    """Its model and config classes; its tokenizer would come from the network, and only two ids of it are used."""
    sys.path.insert(0, folder)
    tokenizer = types.SimpleNamespace(image_token_id=shape.image_token_id, eos_token_id=None)
    processors = types.ModuleType("data.processors")
    processors.get_tokenizer = lambda *_: tokenizer  # type: ignore[attr-defined]
    sys.modules["data"], sys.modules["data.processors"] = types.ModuleType("data"), processors
    from models.config import VLMConfig
    from models.vision_language_model import VisionLanguageModel

    return VisionLanguageModel, VLMConfig


def compose(shape: Shape, folder: str) -> Any:
    """Its model class in this shape, with random weights."""
    model, config = _import(folder, shape)
    return model(
        config(
            vit_hidden_dim=shape.vision_dim,
            vit_inter_dim=4 * shape.vision_dim,
            vit_patch_size=shape.patch_size,
            vit_img_size=shape.image_size,
            vit_n_heads=shape.vision_heads,
            vit_n_blocks=shape.vision_depth,
            lm_hidden_dim=shape.dim,
            lm_inter_dim=shape.hidden_dim,
            lm_rms_eps=1e-6,
            lm_re_base=10_000,
            lm_max_position_embeddings=2048,
            lm_vocab_size=shape.vocab_size,
            lm_n_heads=shape.heads,
            lm_n_kv_heads=shape.kv_heads,
            lm_n_blocks=shape.depth,
            mp_pixel_shuffle_factor=shape.factor,
            mp_image_token_length=shape.image_tokens,
        ),
        load_backbone=False,
    )


def packer(folder: str) -> Callable[[Sequence[int], int], list[list[int]]]:
    """Its way from lengths to rows, called as its data set calls it; each item has one picture."""
    path = Path(folder) / "data" / "advanced_datasets.py"
    spec = importlib.util.spec_from_file_location("nanovlm_packing", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    method = module.ConstantLengthDataset._balanced_greedy_knapsack  # it uses nothing of the data set itself

    def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
        items = [{"input_ids": range(length), "images": (None,)} for length in lengths]
        return method(None, items, capacity, delta=5, max_images_per_knapsack=18)

    return pack


def leak(shape: Shape, folder: str) -> tuple[float, float]:
    """Largest gradient of the second sample's loss in the first one's embeddings and in its own, packed in one row.

    The row is what its `ConstantLengthDataset` makes of two samples: joined, under a mask that is 1 everywhere.
    """
    torch.manual_seed(0)
    model = compose(shape, folder)
    given = inputs(shape, Work("train", 2, shape.image_tokens + 12, 4))
    ids, pixels = torch.from_numpy(given.ids).reshape(1, -1), torch.from_numpy(given.pixels)
    targets = torch.full_like(ids, -100)  # its labels are shifted beforehand
    targets[:, -5:-1] = ids[:, -4:]
    kept: list[torch.Tensor] = []

    def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    model.decoder.token_embedding.register_forward_hook(keep)
    model.MP.register_forward_hook(keep)
    model(ids, pixels, attention_mask=torch.ones_like(ids), targets=targets)[1].backward()
    text, images = (one.grad for one in kept)
    half = ids.shape[1] // 2
    first, second = text[0, :half], text[0, half:]
    return (
        max(float(first.abs().max()), float(images[0].abs().max())),
        max(float(second.abs().max()), float(images[1].abs().max())),
    )


class Contestant:
    def __init__(self, shape: Shape, folder: Path, option: str = "") -> None:
        self.shape = shape
        self.model = compose(shape, option)
        self.model.load_state_dict(_weights(load_file(folder / "model.safetensors"), self.model.state_dict()))
        self.parameters = sum(p.numel() for p in self.model.parameters())

    def prepare(self, work: Work) -> Callable[[], dict[str, np.ndarray]]:
        given = inputs(self.shape, work)
        pixels, ids = torch.from_numpy(given.pixels), torch.from_numpy(given.ids)
        if work.kind in ("train", "forward"):
            return self._training(pixels, ids, work)
        self.model.eval()
        batches = [(pixels, ids)]
        if work.kind == "questions":
            batches = [(pixels, row[None]) for row in ids]
        if work.kind == "batched_questions":
            batches = [(pixels.expand(len(ids), *pixels.shape[1:]), ids)]

        def answer() -> dict[str, np.ndarray]:
            made = [
                self.model.generate(rows, pictures, max_new_tokens=work.new, greedy=True)
                for pictures, rows in batches
            ]
            return {"ids": torch.cat(made).numpy()}

        return answer

    def _training(
        self, pixels: torch.Tensor, ids: torch.Tensor, work: Work
    ) -> Callable[[], dict[str, np.ndarray]]:
        targets = torch.full_like(ids, -100)  # its labels are shifted beforehand
        targets[:, -work.new - 1 : -1] = ids[:, -work.new :]
        self.model.train()
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)

        def step() -> dict[str, np.ndarray]:
            if work.kind == "forward":
                with torch.no_grad():
                    return {"loss": self.model(ids, pixels, targets=targets)[1].numpy()}
            loss = self.model(ids, pixels, targets=targets)[1]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return {"loss": loss.detach().numpy()}

        return step


_PLACES = (
    ("model.vision_model.embeddings.patch_embedding.", "vision_encoder.patch_embedding.conv."),
    ("model.vision_model.post_layernorm.", "vision_encoder.layer_norm."),
    ("model.vision_model.encoder.layers.", "vision_encoder.blocks."),
    ("model.connector.modality_projection.proj.", "MP.proj."),
    ("model.text_model.embed_tokens.", "decoder.token_embedding."),
    ("model.text_model.layers.", "decoder.blocks."),
    ("model.text_model.norm.", "decoder.norm."),
    (".layer_norm1.", ".ln1."),
    (".layer_norm2.", ".ln2."),
    (".input_layernorm.", ".norm1."),
    (".post_attention_layernorm.", ".norm2."),
    (".self_attn.o_proj.", ".attn.out_proj."),
    (".self_attn.", ".attn."),
)


def _weights(theirs: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Idefics3's names to nanoVLM's; the queries, keys and values of its vision encoder are joined."""
    renamed = {}
    for name, value in theirs.items():
        for old, new in _PLACES:
            name = name.replace(old, new)
        renamed[name] = value
    place = renamed.pop("model.vision_model.embeddings.position_embedding.weight")
    renamed["vision_encoder.patch_embedding.position_embedding"] = place[None]
    for name in [name for name in renamed if name.startswith("vision_encoder") and ".attn.q_proj." in name]:
        parts = [renamed.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        renamed[name.replace("q_proj", "qkv_proj")] = torch.cat(parts)
    renamed["decoder.head.weight"] = renamed["decoder.token_embedding.weight"]
    renamed["decoder.rotary_embd.inv_freq"] = own["decoder.rotary_embd.inv_freq"]
    return renamed
