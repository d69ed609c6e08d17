"""Losses on cases that can be worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from sightweave.core.batch import Batch, MediaEmbeddings, Output, Regions, TokenSequence
from sightweave.models import loss as loss_module
from sightweave.models.adapters import lora
from sightweave.models.language_models.decoder_only import DecoderOnly
from sightweave.models.loss import (
    answer_loss,
    chunked_cross_entropy,
    cross_entropies,
    is_chunked,
    token_loss,
    training_loss,
    word_loss,
)
from sightweave.models.nn.block import BlockShape


def sequence(labels: list[list[int]]) -> TokenSequence:
    row = torch.tensor(labels)
    zeros = torch.zeros_like(row)
    return TokenSequence(
        row.clamp(min=0), row, zeros, zeros - 1, zeros + 1, zeros, zeros, zeros == 0, plain=True
    )


def media(count: int) -> MediaEmbeddings:
    zeros = torch.zeros(count, dtype=torch.int64)
    return MediaEmbeddings(torch.ones(count, 2, requires_grad=True), zeros, zeros, zeros, zeros)


def test_the_token_before_predicts_a_label() -> None:
    target = sequence([[-100, -100, 2, 0], [-100, 1, -100, -100]])
    at = target.predicting()
    assert at.tolist() == [1, 2, 4]
    logits = torch.full((3, 3), -50.0)
    logits[0, 2] = logits[1, 0] = logits[2, 1] = 50.0
    assert token_loss(Output(logits, at), Batch(target=target)) == 0
    wrong = token_loss(Output(logits.roll(1, 0), at), Batch(target=target))
    assert wrong == pytest.approx(100)


@pytest.mark.parametrize("z_loss", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cross_entropies_and_gradients_are_those_of_torch(z_loss: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    vocabulary = 300_000  # so that the rows fill several chunks
    logits = (4 * torch.randn(9, vocabulary)).to(dtype)
    labels = torch.randint(vocabulary, (9,))
    labels[4] = -100
    weights = torch.rand(9)
    ours, theirs = (logits.clone().requires_grad_(True) for _ in range(2))
    found = cross_entropies(ours, labels, z_loss=z_loss)
    whole = theirs.float()
    expected = torch.nn.functional.cross_entropy(whole, labels, reduction="none")
    expected = expected + z_loss * whole.logsumexp(-1).square().where(labels >= 0, 0.0)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert ours.grad is not None
    assert ours.grad.dtype == dtype
    torch.testing.assert_close(
        ours.grad, theirs.grad, rtol=1e-2 if dtype != torch.float32 else 1e-4, atol=1e-6
    )


def test_no_copy_of_the_logits_is_kept_for_the_backward_pass() -> None:
    target = sequence([[-100, 3, 4, 1]])
    logits = torch.randn(3, 1000, requires_grad=True)
    kept: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        token_loss(Output(logits, target.predicting()), Batch(target=target), z_loss=0.1)
    own = logits.untyped_storage().data_ptr()
    others = [one for one in kept if one.untyped_storage().data_ptr() != own]
    assert sum(one.numel() for one in others) < 100


def test_even_logits_cost_the_log_of_the_vocabulary() -> None:
    target = sequence([[-100, 3, 4]])
    output = Output(torch.zeros(2, 5), target.predicting())
    assert token_loss(output, Batch(target=target)) == pytest.approx(math.log(5))
    assert token_loss(output, Batch(target=target), z_loss=0.5) == pytest.approx(
        math.log(5) + 0.5 * math.log(5) ** 2
    )


def test_each_answer_is_a_question_of_yes_or_no() -> None:
    logits = torch.tensor([[0.0, 2.0], [-1.0, 0.0]])
    scores = torch.tensor([[1.0, 0.3], [0.0, 0.0]])

    def cost(logit: float, score: float) -> float:
        chance = 1 / (1 + math.exp(-logit))
        return -score * math.log(chance) - (1 - score) * math.log(1 - chance)

    expected = (cost(0, 1) + cost(2, 0.3) + cost(-1, 0) + cost(0, 0)) / 2
    batch = Batch(target=None, class_scores=scores)
    assert answer_loss(Output(logits, torch.tensor([0, 1])), batch) == pytest.approx(expected, rel=1e-5)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_words_of_a_region_are_a_bag() -> None:
    logits = torch.tensor([[5.0, 1.0, 4.0]])
    regions = Regions(torch.tensor([0]), torch.tensor([[0, 2, -1]]))
    # Logits less the bias of 4: words 0 and 2 are there, word 1 is not.
    expected = softplus(-1.0) + softplus(-0.0) + softplus(-3.0)
    output = Output(None, None, media(1), region_logits=logits)
    assert word_loss(output, regions) == pytest.approx(expected, rel=1e-5)


def test_words_of_a_whole_picture_may_stand_anywhere_in_it() -> None:
    logits = torch.tensor([[9.0, -9.0], [-9.0, -9.0], [-9.0, 9.0], [-9.0, 9.0]], requires_grad=True)
    regions = Regions(torch.arange(2), torch.tensor([[0], [1]]), whole=True)
    output = Output(None, None, media(4), region_logits=logits)
    seen = word_loss(output, regions)
    swapped = word_loss(output, Regions(torch.arange(2), torch.tensor([[1], [0]]), whole=True))
    assert swapped > seen + 5
    seen.backward()
    # Gradient goes mostly to the embedding that says the word most.
    assert logits.grad[0, 0].abs() > 100 * logits.grad[1, 0].abs()


def test_a_batch_without_regions_left_costs_nothing_and_still_goes_backwards() -> None:
    shown = media(2)
    loss = training_loss(Output(None, None, shown), Batch(target=None))
    assert loss == 0
    loss.backward()
    assert not shown.embeddings.grad.any()


def test_words_weigh_less_beside_answers() -> None:
    target = sequence([[-100, 1]])
    regions = Regions(torch.tensor([0]), torch.tensor([[1]]))
    batch = Batch(target=target, regions=regions)
    output = Output(torch.zeros(1, 3), target.predicting(), media(1), region_logits=torch.zeros(1, 3))
    alone, words = token_loss(output, batch), word_loss(output, regions)
    assert training_loss(output, batch, region_weight=0.25) == pytest.approx(float(alone + 0.25 * words))
    assert training_loss(output, batch, region_weight=0.0) == pytest.approx(float(alone))
    only = Output(None, None, media(1), region_logits=torch.zeros(1, 3))
    assert training_loss(only, Batch(target=None, regions=regions), region_weight=0.25) == pytest.approx(
        float(words)
    )


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few rows fill several."""
    monkeypatch.setattr(loss_module, "_HEAD_LOGITS", 2_500)


def decoder(*, tied: bool) -> DecoderOnly:
    torch.manual_seed(0)
    shape = BlockShape(dim=8, num_heads=2, hidden_dim=16)
    made = DecoderOnly(shape, vocab_size=300, depth=1, tie_embeddings=tied)
    return made.double()


def whole_and_chunked(
    model: DecoderOnly, *, rows: int = 50, z_loss: float = 0.0
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Loss, gradient of the hidden states and of all that trains: by all logits at once, and by chunks."""
    torch.manual_seed(1)
    target = sequence(torch.randint(model.vocab_size, (2, rows // 2 + 1)).tolist())
    target.labels[:, 0] = -100
    target.labels[0, 5:9] = -100
    batch, at = Batch(target=target), target.predicting()
    assert is_chunked(batch, model.vocab_size)
    start = torch.randn(len(at), model.dim, dtype=torch.float64)
    parameters = [one for one in model.parameters() if one.requires_grad]
    found = []
    for is_whole in (True, False):
        hidden = start.clone().requires_grad_(True)
        output = Output(model.head(hidden), at) if is_whole else Output(None, at, hidden=hidden)
        # Half a mean: what comes after the loss must reach its gradient.
        loss = 0.5 * token_loss(output, batch, length_power=0.5, z_loss=z_loss, language_model=model)
        gradients = torch.autograd.grad(loss, [hidden, *parameters], allow_unused=True)
        found.append([loss.detach(), *(one for one in gradients if one is not None)])
    return found[0], found[1]


@pytest.mark.parametrize("z_loss", [0.0, 0.3])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("trained", [True, False])
def test_chunks_of_logits_give_the_loss_and_gradients_of_all_at_once(
    trained: bool, tied: bool, z_loss: float, small_chunks: None
) -> None:
    model = decoder(tied=tied).requires_grad_(trained)
    whole, chunked = whole_and_chunked(model, z_loss=z_loss)
    assert len(whole) == len(chunked) == 2 + trained
    for expected, found in zip(whole, chunked, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)


def test_adapters_of_the_head_learn_from_chunks(small_chunks: None) -> None:
    pytest.importorskip("peft")
    model = decoder(tied=False)
    lora.add(model, lora.Lora(rank=2, target_modules=("output",)), where="language_model")
    model.double()
    for name, one in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(one)
    whole, chunked = whole_and_chunked(model)
    assert len(whole) == len(chunked) == 4  # both factors of the adapter
    for expected, found in zip(whole, chunked, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)


def test_all_logits_never_exist_at_once(small_chunks: None) -> None:
    model = decoder(tied=True).float().requires_grad_(False)
    hidden = torch.randn(60, model.dim, requires_grad=True)
    labels = torch.randint(model.vocab_size, (60,))
    sizes: list[int] = []
    head = model.head

    def noted(rows: torch.Tensor) -> torch.Tensor:
        logits = head(rows)
        sizes.append(logits.numel())
        return logits

    model.head = noted  # the same head, looked at
    chunked_cross_entropy(model, hidden, labels, torch.full((60,), 1 / 60)).backward()
    assert hidden.grad is not None
    assert sum(sizes) == 60 * model.vocab_size  # each once, and none again for the gradient
    assert max(sizes) <= 2_500


def test_without_gradients_chunks_give_the_loss_alone(small_chunks: None) -> None:
    model = decoder(tied=True)
    with torch.no_grad():
        hidden = torch.randn(50, model.dim, dtype=torch.float64)
        labels = torch.randint(model.vocab_size, (50,))
        found = chunked_cross_entropy(model, hidden, labels, torch.ones(50).double())
        torch.testing.assert_close(found, cross_entropies(model.head(hidden), labels).sum())
    assert not found.requires_grad


def test_small_vocabularies_classes_and_batches_without_text_are_not_chunked() -> None:
    target = sequence([[-100, 3, 4]])
    assert not is_chunked(Batch(target=target), 50_000)
    assert not is_chunked(Batch(target=None), 10**9)
    assert not is_chunked(Batch(target=target, class_scores=torch.ones(1, 3)), 10**9)
    assert is_chunked(Batch(target=target), 10**8)
