"""Transformers' Idefics3 class; it also draws the weights that all contestants get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import Idefics3Config, Idefics3ForConditionalGeneration
from transformers.utils import logging

from benchmarks._shapes import Shape, Work, inputs

logging.disable_progress_bar()
logging.set_verbosity_error()


def config(shape: Shape) -> Idefics3Config:
    return Idefics3Config(
        vision_config={
            "hidden_size": shape.vision_dim,
            "intermediate_size": 4 * shape.vision_dim,
            "num_hidden_layers": shape.vision_depth,
            "num_attention_heads": shape.vision_heads,
            "image_size": shape.image_size,
            "patch_size": shape.patch_size,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": shape.dim,
            "intermediate_size": shape.hidden_dim,
            "num_hidden_layers": shape.depth,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "vocab_size": shape.vocab_size,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": None,
        },
        scale_factor=shape.factor,
        image_token_id=shape.image_token_id,
        tie_word_embeddings=True,
    )


def write_weights(shape: Shape, folder: Path) -> None:
    """Random weights, large enough that no two answers come near a tie."""
    torch.manual_seed(0)
    model = Idefics3ForConditionalGeneration(config(shape))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and "embed" not in name:
                weight.normal_(std=weight[0].numel() ** -0.5)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)


class Contestant:
    def __init__(self, shape: Shape, folder: Path, option: str = "") -> None:
        self.shape = shape
        self.model = Idefics3ForConditionalGeneration.from_pretrained(folder, attn_implementation="sdpa")
        self.parameters = sum(p.numel() for p in self.model.parameters())

    def prepare(self, work: Work) -> Callable[[], dict[str, np.ndarray]]:
        given = inputs(self.shape, work)
        pixels = torch.from_numpy(given.pixels)[:, None]  # I 1 3 H W
        ids = torch.from_numpy(given.ids)
        if work.kind in ("train", "forward"):
            return self._training(pixels, ids, work)
        self.model.eval()
        batches = [(pixels, ids)]
        if work.kind == "questions":
            batches = [(pixels, row[None]) for row in ids]
        if work.kind == "batched_questions":
            batches = [(pixels.expand(len(ids), *pixels.shape[1:]).contiguous(), ids)]

        @torch.inference_mode()
        def answer() -> dict[str, np.ndarray]:
            made = [
                self.model.generate(
                    input_ids=rows,
                    attention_mask=torch.ones_like(rows),
                    pixel_values=pictures,
                    max_new_tokens=work.new,
                    min_new_tokens=work.new,
                    do_sample=False,
                )[:, rows.shape[1] :]
                for pictures, rows in batches
            ]
            return {"ids": torch.cat(made).numpy()}

        return answer

    def _training(
        self, pixels: torch.Tensor, ids: torch.Tensor, work: Work
    ) -> Callable[[], dict[str, np.ndarray]]:
        labels = ids.clone()
        labels[:, : -work.new] = -100
        mask = torch.ones_like(ids)
        self.model.train()
        # The Trainer's own default is the fused kernel, too.
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)

        def forward() -> torch.Tensor:
            return self.model(
                input_ids=ids, attention_mask=mask, pixel_values=pixels, labels=labels, use_cache=False
            ).loss

        def step() -> dict[str, np.ndarray]:
            if work.kind == "forward":
                with torch.no_grad():
                    return {"loss": forward().numpy()}
            loss = forward()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return {"loss": loss.detach().numpy()}

        return step
