"""The tensors of a batch move together, and media lie down row by row."""

from __future__ import annotations

import torch

from sightweave.core.batch import Batch, Media, MediaEmbeddings, Regions


def test_media_embeddings_are_laid_out_by_row_with_padding() -> None:
    row = torch.tensor([0, 0, 2])
    media = MediaEmbeddings(
        embeddings=torch.tensor([[1.0], [2.0], [3.0]]),
        item=torch.tensor([0, 0, 1]),
        row=row,
        segment=torch.tensor([0, 1, 4]),
        branch=torch.tensor([0, 2, 1]),
    )
    memory = media.per_row(4)
    assert memory.hidden[..., 0].tolist() == [[1, 2], [0, 0], [3, 0], [0, 0]]
    assert memory.valid.tolist() == [[True, True], [False, False], [True, False], [False, False]]
    assert memory.segment.tolist() == [[0, 1], [-1, -1], [4, -1], [-1, -1]]
    assert memory.branch.tolist() == [[0, 2], [-1, -1], [1, -1], [-1, -1]]


def test_no_media_make_an_empty_memory() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    memory = MediaEmbeddings(torch.zeros(0, 5), none, none, none, none).per_row(3)
    assert memory.hidden.shape == (3, 0, 5)
    assert memory.valid.shape == (3, 0)


def test_gradients_go_back_to_each_embedding() -> None:
    embeddings = torch.ones(3, 2, requires_grad=True)
    row = torch.tensor([0, 1, 1])
    media = MediaEmbeddings(embeddings, row, row, row * 0, row * 0)
    (media.per_row(2).hidden * torch.tensor([1.0, 10.0])).sum().backward()
    assert embeddings.grad.tolist() == [[1, 10]] * 3


def test_a_batch_moves_whole() -> None:
    zeros = torch.zeros(1, dtype=torch.int64)
    batch = Batch(
        target=None,
        media={"image": Media(torch.zeros(1, 3, 4, 4), zeros, zeros, zeros, zeros)},
        regions=Regions(zeros, zeros[:, None], whole=True),
    )
    moved = batch.to("meta")
    assert moved.media["image"].dense.device.type == "meta"
    assert moved.regions.words.device.type == "meta"
    assert moved.regions.whole is True
    assert moved.target is None
    assert batch.media["image"].dense.device.type == "cpu"
