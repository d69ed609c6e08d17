"""Transformers' Llama class with adapters by PEFT; it also draws the weights that both contestants get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import peft
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from benchmarks._shapes import Shape, Work, adapted

logging.disable_progress_bar()
logging.set_verbosity_error()


def config(shape: Shape) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=shape.dim,
        intermediate_size=shape.hidden_dim,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocab_size,
        max_position_embeddings=2048,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def write_weights(shape: Shape, folder: Path) -> None:
    """Random weights."""
    torch.manual_seed(0)
    LlamaForCausalLM(config(shape)).save_pretrained(folder)


class Contestant:
    def __init__(self, shape: Shape, folder: Path, option: str = "") -> None:
        self.shape, self.layers = shape, option
        self.model = LlamaForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
        self.parameters = sum(p.numel() for p in self.model.parameters())

    def prepare(self, work: Work) -> Callable[[], dict[str, np.ndarray]]:
        targets = {
            "qv": ["q_proj", "v_proj"],
            "all": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        }[self.layers]
        torch.manual_seed(0)
        settings = peft.LoraConfig(r=16, lora_alpha=32, target_modules=targets, task_type="CAUSAL_LM")
        model = peft.get_peft_model(self.model, settings)
        model.train()
        table = self.model.get_input_embeddings()
        # Without it the pictures' embeddings would need no gradient, either; ours come from a frozen connector, too.
        parameters = [one for one in model.parameters() if one.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=True)
        batches = adapted(self.shape, work)

        def step() -> dict[str, np.ndarray]:
            given = next(batches)
            ids = torch.from_numpy(given.ids)
            embeddings = torch.cat(
                [torch.from_numpy(given.embeddings), table(ids[:, self.shape.image_tokens :])], 1
            )
            labels = ids.clone()
            labels[:, : self.shape.image_tokens] = -100
            loss = model(inputs_embeds=embeddings, labels=labels, use_cache=False).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return {"loss": loss.detach().numpy()}

        return step
