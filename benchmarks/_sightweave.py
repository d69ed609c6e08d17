"""Sightweave, composed to the same shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks._shapes import Shape, Work, inputs
from sightweave.answers.decoding import greedy
from sightweave.answers.decoding._base import Draws
from sightweave.core.batch import Batch, Media, TokenSequence
from sightweave.core.checkpoint import MANIFEST, load_into
from sightweave.core.device import keep_freed_memory
from sightweave.models.connectors.pixel_shuffle import PixelShuffle
from sightweave.models.encoders import vit
from sightweave.models.fusions.concat import Concat
from sightweave.models.language_models import decoder_only
from sightweave.models.loss import training_loss
from sightweave.models.vlm import VLM
from sightweave.programs.generation.session import Session, Trunks
from sightweave.programs.generation.stopping import Limits
from sightweave.programs.generation.writing import written
from sightweave.programs.training.optimizers import Optimizer


def compose(shape: Shape) -> VLM:
    return VLM(
        vit.Config(
            image_size=shape.image_size,
            patch_size=shape.patch_size,
            dim=shape.vision_dim,
            depth=shape.vision_depth,
            num_heads=shape.vision_heads,
        ).build(),
        PixelShuffle(in_dim=shape.vision_dim, out_dim=shape.dim, factor=shape.factor),
        Concat(bidirectional="none"),
        decoder_only.Config(
            dim=shape.dim,
            depth=shape.depth,
            num_heads=shape.heads,
            num_kv_heads=shape.kv_heads,
            hidden_dim=shape.hidden_dim,
        ).build(vocab_size=shape.vocab_size),
    )


class Contestant:
    def __init__(self, shape: Shape, folder: Path, option: str = "") -> None:
        keep_freed_memory()  # as every program of ours does
        self.shape = shape
        # As a run is loaded: nothing is drawn that the file's weights would replace.
        with torch.device("meta"):
            self.model = compose(shape)
        if (folder / MANIFEST).exists():
            load_into(self.model, folder, assign=True)
        else:
            theirs = rename(load_file(folder / "model.safetensors"))
            self.model.load_state_dict({name: theirs.pop(name).clone() for name in list(theirs)}, assign=True)
        self.parameters = sum(p.numel() for p in self.model.parameters())

    def prepare(self, work: Work) -> Callable[[], dict[str, np.ndarray]]:
        given = inputs(self.shape, work)
        pixels, ids = torch.from_numpy(given.pixels), torch.from_numpy(given.ids)
        if work.kind in ("train", "forward"):
            return self._training(pixels, ids, work)
        self.model.eval()
        if "questions" in work.kind:
            return self._questions(pixels, ids, work)

        @torch.inference_mode()
        def answer() -> dict[str, np.ndarray]:
            session = Session(self.model, room=work.new)
            session.join(Batch(target=self._tokens(ids), media={"image": _media(pixels)}), packed=False)
            return {"ids": self._write(session, work.new)}

        return answer

    def _questions(
        self, pixels: torch.Tensor, ids: torch.Tensor, work: Work
    ) -> Callable[[], dict[str, np.ndarray]]:
        """One picture's marks are read once; every question goes on from there."""
        shared = self.shape.image_tokens
        rows = torch.zeros(len(ids), dtype=torch.int64)

        @torch.inference_mode()
        def answer() -> dict[str, np.ndarray]:
            prefix = Batch(target=self._tokens(ids[:1, :shared]), media={"image": _media(pixels)})
            trunks = Trunks.read(self.model, prefix)
            batch = Batch(target=self._tokens(ids[:, shared:], start=shared))
            session = Session(self.model, room=work.new)
            session.join(batch, trunks=trunks, rows=rows, packed=False)
            return {"ids": self._write(session, work.new)}

        return answer

    def _write(self, session: Session, new: int) -> np.ndarray:
        decoder = greedy.Config().build(end_id=-1)
        draws = Draws.of(0, [["row"]] * len(session))
        texts = written(session, decoder, draws, [Limits(new)] * len(session), end_id=-1)
        return np.array([text.ids for text in texts])

    def _tokens(self, ids: torch.Tensor, *, start: int = 0, targets: int = 0) -> TokenSequence:
        rows, length = ids.shape
        zeros, is_mark = torch.zeros_like(ids), ids == self.shape.image_token_id
        labels = torch.full_like(ids, -100)
        if targets:
            labels[:, -targets:] = ids[:, -targets:]
        return TokenSequence(
            ids=ids,
            labels=labels,
            positions=torch.arange(start, start + length).expand(rows, -1),
            item=torch.where(is_mark, torch.arange(rows)[:, None], -1),
            ar=zeros + 1,
            segment=zeros,
            branch=zeros,
            valid=zeros == 0,
            plain=True,
        )

    def _training(
        self, pixels: torch.Tensor, ids: torch.Tensor, work: Work
    ) -> Callable[[], dict[str, np.ndarray]]:
        batch = Batch(target=self._tokens(ids, targets=work.new), media={"image": _media(pixels)})
        self.model.train()
        optimizer = Optimizer(self.model, lr=1e-5, betas=(0.9, 0.999), weight_decay=0.01)

        def step() -> dict[str, np.ndarray]:
            if work.kind == "forward":
                with torch.no_grad():
                    return {"loss": training_loss(self.model(batch), batch).numpy()}
            loss = training_loss(self.model(batch), batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return {"loss": loss.detach().numpy()}

        return step


def _media(pixels: torch.Tensor) -> Media:
    zeros = torch.zeros(len(pixels), dtype=torch.int64)
    item = torch.arange(len(pixels))
    return Media(pixels, item=item, row=item, segment=zeros, branch=zeros)


_PLACES = (
    ("model.vision_model.embeddings.patch_embedding.", "encoders.image.encoder.stem."),
    ("model.vision_model.embeddings.position_embedding.weight", "encoders.image.encoder.place_table"),
    ("model.vision_model.post_layernorm.", "encoders.image.encoder.norm."),
    ("model.vision_model.encoder.layers.", "encoders.image.encoder.blocks."),
    ("model.connector.modality_projection.proj.", "encoders.image.connector.projection."),
    ("model.text_model.embed_tokens.", "language_model.token_embedding.table."),
    ("model.text_model.layers.", "language_model.blocks."),
    ("model.text_model.norm.", "language_model.norm."),
    (".layer_norm1.", ".attention_norm."),
    (".layer_norm2.", ".feed_forward_norm."),
    (".input_layernorm.", ".attention_norm."),
    (".post_attention_layernorm.", ".feed_forward_norm."),
    (".self_attn.out_proj.", ".attention.out."),
    (".self_attn.o_proj.", ".attention.out."),
    (".self_attn.q_proj.", ".attention.q."),
    (".self_attn.k_proj.", ".attention.k."),
    (".self_attn.v_proj.", ".attention.v."),
    (".mlp.fc1.", ".feed_forward.up."),
    (".mlp.fc2.", ".feed_forward.down."),
    (".mlp.gate_proj.", ".feed_forward.gate."),
    (".mlp.up_proj.", ".feed_forward.up."),
    (".mlp.down_proj.", ".feed_forward.down."),
)


def rename(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Idefics3's names to ours."""
    renamed = {}
    for name, value in theirs.items():
        for old, new in _PLACES:
            name = name.replace(old, new)
        renamed[name] = value
    return renamed
