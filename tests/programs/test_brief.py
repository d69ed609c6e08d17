"""A vision-language model that a user writes out of our parts: ``VLM(text_encoder, image_encoder, fusion_layer)``.

Made-up pictures of two colours on two sides; one question needs the colour, the other the side, so a model that looks at
one of picture and text alone stays at half.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightweave.models.encoders import vit
from sightweave.models.encoders.cnn import Cnn
from sightweave.models.fusions.addition import Addition
from sightweave.models.fusions.bilinear import Bilinear
from sightweave.models.fusions.concat import Concat
from sightweave.models.fusions.cross_attention import CrossAttention
from sightweave.models.fusions.memory import MemoryFusion
from sightweave.models.nn.block import Block, BlockShape
from sightweave.models.nn.embedding import AddedPositions, TokenEmbedding
from sightweave.models.nn.mask import Mask

WORDS = ("<end>", "color", "side", "red", "blue", "left", "right")
ID = {word: number for number, word in enumerate(WORDS)}
DIM = 32


class TextEncoder(nn.Module):
    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(len(WORDS), DIM)
        self.positions = AddedPositions("sinusoidal", DIM, max_length=64)
        self.block = Block(BlockShape(dim=DIM, num_heads=4, hidden_dim=2 * DIM))
        self.mask = mask

    def forward(self, text: Tensor) -> Tensor:
        positions = torch.arange(text.shape[1]).expand_as(text)
        return self.block(self.positions(self.embedding(text), positions), self.mask)


class VLM(nn.Module):
    """The next token, given the text so far and the picture."""

    def __init__(self, text_encoder: Any, image_encoder: Any, fusion_layer: nn.Module) -> None:
        super().__init__()
        self.text_encoder, self.image_encoder, self.fusion_layer = text_encoder, image_encoder, fusion_layer
        dim = image_encoder.dim
        self.block = Block(BlockShape(dim=dim, num_heads=4, hidden_dim=2 * dim))

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        words = self.text_encoder(text)  # B S D
        features = self.image_encoder(image).values  # B N D
        joined = self.fusion_layer(words, features)  # B S D, or B N+S D with the picture in front
        hidden = self.block(joined, Mask(causal=True))
        return hidden[:, -text.shape[1] :] @ self.text_encoder.embedding.table.weight.T  # B S V


class Chooser(nn.Module):
    """The answer to a question, chosen from the words."""

    def __init__(self, text_encoder: Any, image_encoder: Any, fusion_layer: nn.Module) -> None:
        super().__init__()
        self.text_encoder, self.image_encoder, self.fusion_layer = text_encoder, image_encoder, fusion_layer
        self.head = nn.Linear(DIM, len(WORDS))

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        words = self.text_encoder(text)  # B S D
        features = self.image_encoder(image).values  # B N D
        if isinstance(self.fusion_layer, Bilinear):
            return self.head(self.fusion_layer(words.mean(1), features))  # B A
        return self.head(self.fusion_layer(words, features).amax(1))  # B A


def world() -> tuple[Tensor, Tensor]:
    """Texts B 3 (question, answer, end) and pictures B 3 16 16."""
    texts, pictures = [], []
    for color, channel in (("red", 0), ("blue", 2)):
        for side, columns in (("left", slice(0, 8)), ("right", slice(8, 16))):
            picture = torch.zeros(3, 16, 16)
            picture[channel, :, columns] = 1.0
            for question, answer in (("color", color), ("side", side)):
                texts.append(torch.tensor([ID[question], ID[answer], ID["<end>"]]))
                pictures.append(picture)
    return torch.stack(texts), torch.stack(pictures)


ENCODERS = {
    "vit": lambda: vit.Config(
        image_size=16, patch_size=8, dim=DIM, depth=1, num_heads=4, hidden_dim=2 * DIM
    ).build(),
    "cnn": lambda: Cnn(image_size=16, channels=(16, 16, DIM), blocks=(0, 0, 0)),
}
NEXT_TOKEN = {
    "concat": lambda: Concat(),
    "addition": lambda: Addition(dim=DIM),
    "cross_attention": lambda: CrossAttention(dim=DIM, num_heads=4, depth=1),
    "memory-add": lambda: MemoryFusion(dim=DIM, num_heads=4, join="add"),
    "memory-attend": lambda: MemoryFusion(dim=DIM, num_heads=4, join="attend"),
}
CHOICE = {
    "bilinear": lambda: Bilinear(dim=DIM, num_heads=4, rank=2, hidden_dim=DIM),
    "memory-concatenate": lambda: MemoryFusion(dim=DIM, num_heads=4, join="concatenate"),
}


def train(model: nn.Module, loss: Any, steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("fusion", "encoder"), [*((fusion, "vit") for fusion in NEXT_TOKEN), ("cross_attention", "cnn")]
)
def test_the_briefs_class_learns_the_next_token_from_text_and_image(fusion: str, encoder: str) -> None:
    torch.manual_seed(0)
    model = VLM(TextEncoder(Mask(causal=True)), ENCODERS[encoder](), NEXT_TOKEN[fusion]())
    text, image = world()

    def loss() -> Tensor:
        return F.cross_entropy(model(text[:, :-1], image).flatten(0, 1), text[:, 1:].flatten())

    train(model, loss, 100)
    said = model(text[:, :1], image)[:, -1].argmax(-1)
    assert said.tolist() == text[:, 1].tolist()
    # With the pictures exchanged for their opposites (other colour, other side), every answer turns round.
    opposite = model(text[:, :1], image.flip(0))[:, -1].argmax(-1)
    assert not (opposite == text[:, 1]).any()


@pytest.mark.parametrize("fusion", CHOICE)
def test_the_briefs_class_learns_to_choose_an_answer(fusion: str) -> None:
    torch.manual_seed(0)
    model = Chooser(TextEncoder(Mask()), ENCODERS["vit"](), CHOICE[fusion]())
    text, image = world()
    train(model, lambda: F.cross_entropy(model(text[:, :1], image), text[:, 1]), 100)
    assert model(text[:, :1], image).argmax(-1).tolist() == text[:, 1].tolist()
    opposite = model(text[:, :1], image.flip(0)).argmax(-1)
    assert not (opposite == text[:, 1]).any()
