"""Sightweave's own training step with adapters on the language model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import peft  # noqa: F401  # both contestants import it before their memory is counted
import torch
from safetensors.torch import load_file

from benchmarks._shapes import Adapted, Shape, Work, adapted
from benchmarks._sightweave import compose, rename
from sightweave.core.batch import Batch, MediaEmbeddings, TokenSequence
from sightweave.core.device import Precision, keep_freed_memory
from sightweave.models.adapters.lora import Lora
from sightweave.models.parts import choose_parts
from sightweave.programs.training.gradients import Gradients
from sightweave.programs.training.optimizers import Optimizer
from sightweave.programs.training.settings import Stage

LAYERS = {"qv": ("q", "v"), "all": ("q", "k", "v", "out", "gate", "up", "down")}


class Contestant:
    def __init__(self, shape: Shape, folder: Path, option: str = "") -> None:
        keep_freed_memory()  # as every program of ours does
        self.shape, self.layers = shape, option
        self.model = compose(shape)
        theirs = load_file(folder / "model.safetensors")
        named = rename(
            {name.replace("model.", "model.text_model.", 1): theirs.pop(name) for name in list(theirs)}
        )
        language_model = self.model.language_model
        language_model.load_state_dict(
            {name.removeprefix("language_model."): one for name, one in named.items()}
        )
        self.parameters = sum(p.numel() for p in language_model.parameters())

    def prepare(self, work: Work) -> Callable[[], dict[str, np.ndarray]]:
        torch.manual_seed(0)
        adapters = {"language_model": Lora(rank=16, alpha=32, target_modules=LAYERS[self.layers])}
        stage = Stage(steps=1, parts=("language_model",), lora=adapters)
        choose_parts(self.model, stage.parts, stage.lora)
        self.model.train()
        optimizer = Optimizer(self.model, lr=1e-4, betas=(0.9, 0.999), weight_decay=0.0)
        parameters = list(optimizer.parameters.values())
        gradients = Gradients(self.model, parameters, stage, Precision("fp32", torch.device("cpu"), ""))
        batches = adapted(self.shape, work)

        def step() -> dict[str, np.ndarray]:
            loss = gradients.add([self._batch(next(batches))])
            optimizer.step()
            optimizer.zero_grad()
            return {"loss": np.array(loss)}

        return step

    def _batch(self, given: Adapted) -> Batch:
        ids = torch.from_numpy(given.ids)
        rows, length = ids.shape
        zeros, is_mark = torch.zeros_like(ids), ids == self.shape.image_token_id
        target = TokenSequence(
            ids=ids,
            labels=ids.where(~is_mark, -100),
            positions=torch.arange(length).expand(rows, -1),
            item=torch.where(is_mark, torch.arange(rows)[:, None], -1),
            ar=zeros + 1,
            segment=zeros,
            branch=zeros,
            valid=zeros == 0,
            plain=True,
        )
        item = torch.arange(rows).repeat_interleave(given.embeddings.shape[1])
        nothing = torch.zeros_like(item)
        embeddings = torch.from_numpy(given.embeddings).flatten(0, 1)
        return Batch(target=target, embeddings=MediaEmbeddings(embeddings, item, item, nothing, nothing))
