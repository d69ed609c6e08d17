"""The shorter way to decode gives what the plain way gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sightweave.answers.decoding import greedy
from sightweave.answers.decoding._base import Draws
from sightweave.core.batch import Batch, Media, TokenSequence
from sightweave.core.cache import Cache
from sightweave.models.connectors.linear import Linear
from sightweave.models.encoders import vit
from sightweave.models.fusions.addition import Addition
from sightweave.models.fusions.concat import Concat
from sightweave.models.fusions.cross_attention import CrossAttention
from sightweave.models.language_models.decoder_only import Config, DecoderOnly
from sightweave.models.nn import fast_decoding as module
from sightweave.models.vlm import VLM
from sightweave.programs.generation.session import Session, Trunks, fast_decoding
from sightweave.programs.generation.stopping import Limits
from sightweave.programs.generation.writing import written as write_texts

BASE = Config(dim=16, depth=2, num_heads=4, hidden_dim=24)
VOCABULARY = 37


def model_of(config: Config, fusion: nn.Module | None = None) -> VLM:
    torch.manual_seed(1)
    encoder = vit.Config(image_size=8, patch_size=4, dim=8, depth=1, num_heads=2, hidden_dim=16).build()
    connector = Linear(in_dim=8, out_dim=16)
    model = VLM(
        encoder, connector, fusion or Concat(bidirectional="none"), config.build(vocab_size=VOCABULARY)
    )
    with torch.no_grad():
        for parameter in model.parameters():  # new blocks are the identity, and new norms are all ones
            parameter.normal_(std=0.5).add_(1.0 if parameter.ndim == 1 else 0.0)
    return model.eval()


def prompts(rows: int, ragged: bool) -> TokenSequence:
    ids = torch.arange(rows * 7).reshape(rows, 7) % VOCABULARY
    valid = torch.ones_like(ids, dtype=torch.bool)
    if ragged:
        valid[0, 5:] = False
    zeros = torch.zeros_like(ids)
    positions = torch.arange(7).expand(rows, -1)
    return TokenSequence(ids, zeros, positions, zeros - 1, zeros + 1, zeros, zeros, valid, plain=not ragged)


@torch.inference_mode()
def logits_of(
    model: VLM, *, rows: int, ragged: bool = False, is_fast: bool, media: dict[str, Media] | None = None
) -> Tensor:
    """T B V: of twelve steps, past the one at which the head is laid out anew; greedy, so that tokens are told, too."""
    session = Session(model)
    assert session._fast is not None
    if not is_fast:
        session._fast = None
    session.join(Batch(target=prompts(rows, ragged), media=media or {}), packed=False)
    steps = []
    for _ in range(12):
        session.step(session.logits.argmax(-1))
        steps.append(session.logits)
    return torch.stack(steps)


def check(model: VLM, *, rows: int, ragged: bool = False, media: dict[str, Media] | None = None) -> None:
    plain = logits_of(model, rows=rows, ragged=ragged, is_fast=False, media=media)
    quick = logits_of(model, rows=rows, ragged=ragged, is_fast=True, media=media)
    torch.testing.assert_close(quick, plain, atol=1e-4, rtol=1e-4)
    assert torch.equal(quick.argmax(-1), plain.argmax(-1))
    assert plain.std() > 0.1  # not all alike


@pytest.mark.parametrize("small_bytes", [0, 32 << 20])
@pytest.mark.parametrize(("rows", "ragged"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qk_norm": True, "num_kv_heads": 2},
        {"num_kv_heads": 1, "tie_embeddings": False},
        {"normalise_embeddings": True, "norm_eps": 0.1},
        *({"feed_forward": form} for form in ("relu", "relu2", "gelu", "gelu_tanh")),
    ],
    ids=str,
)
def test_logits_and_tokens_are_those_of_the_plain_path(
    changes: dict[str, object], rows: int, ragged: bool, small_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SMALL_BYTES", small_bytes)  # as for a large stack, and a small one
    check(model_of(replace(BASE, **changes)), rows=rows, ragged=ragged)


@torch.inference_mode()
def read_and_decoded(session: Session, steps: int = 6) -> Tensor:
    """Logits behind the prompts and of some steps, after the first of which a row leaves and two change places."""
    found = [session.logits]
    for step in range(steps):
        session.step(session.logits.argmax(-1))
        if step == 0:
            session = session.fork(torch.tensor([3, 1, 0]))
        found.append(session.logits)
    return torch.cat(found)


@torch.inference_mode()
def read_both_ways(model: VLM, ragged: bool, group: list[int] | None) -> tuple[Tensor, Tensor]:
    """Four prompts read by the whole model and without padding, alone or behind texts that they share."""
    tokens = replace(prompts(4, ragged), plain=True)
    trunks = rows = None
    if group is not None:
        trunks, rows = Trunks.read(model, Batch(target=prompts(2, False))), torch.tensor(group)
        assert trunks.shared is not None
        tokens = replace(tokens, positions=tokens.positions + 7)
    quick, plain = Session(model), Session(model)
    quick.join(Batch(target=tokens), trunks=trunks, rows=rows)
    plain.join(Batch(target=tokens), trunks=trunks, rows=rows, packed=False)
    assert (quick.cache.shared is not None) == (group is not None)
    assert (quick.cache.padding is not None) == ragged
    assert torch.equal(quick.positions, plain.positions)
    return read_and_decoded(quick), read_and_decoded(plain)


@pytest.mark.parametrize("many_rows", [1, 16])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("group", [None, [0, 1, 1, 0], [1, 1, 1, 1]], ids=str)
@pytest.mark.parametrize(
    "changes", [{}, {"qk_norm": True, "num_kv_heads": 2}, {"depth": 1, "feed_forward": "relu2"}], ids=str
)
def test_prompts_read_without_padding_go_on_as_those_of_the_whole_model(
    changes: dict[str, object],
    group: list[int] | None,
    ragged: bool,
    many_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MANY_ROWS", many_rows)
    quick, plain = read_both_ways(model_of(replace(BASE, **changes)), ragged, group)
    torch.testing.assert_close(quick, plain, atol=1e-4, rtol=1e-4)
    assert torch.equal(quick.argmax(-1), plain.argmax(-1))


@torch.inference_mode()
def test_prompts_with_too_many_scores_are_left_to_the_whole_model(monkeypatch: pytest.MonkeyPatch) -> None:
    session, batch = Session(model_of(BASE)), Batch(target=prompts(3, False))
    trunks = Trunks.read(session.model, Batch(target=prompts(1, False)))
    assert trunks.shared is not None
    shared = trunks.shared.select(torch.zeros(3, dtype=torch.int64))
    assert session._read_packed(batch, None) is not None
    monkeypatch.setattr(module, "_SCORES", 3 * 7 * 7 * 4)
    assert session._read_packed(batch, None) is not None
    assert session._read_packed(batch, shared) is None
    monkeypatch.setattr(module, "_SCORES", 3 * 7 * 7 * 4 - 1)
    assert session._read_packed(batch, None) is None


def test_a_fusion_at_the_input_acts_in_every_step() -> None:
    model = model_of(BASE, Addition(dim=16))
    zeros = torch.zeros(2, dtype=torch.int64)
    media = {"image": Media(torch.randn(2, 3, 8, 8), torch.arange(2), torch.arange(2), zeros, zeros)}
    check(model, rows=2, media=media)
    blind = logits_of(model, rows=2, is_fast=True)
    assert not torch.allclose(blind, logits_of(model, rows=2, is_fast=True, media=media), atol=1e-2)


@pytest.mark.parametrize(
    "changes",
    [
        {"bias": True},
        {"norm": "layer"},
        {"position": "learned"},
        {"position": "sinusoidal"},
        {"feed_forward": "geglu"},
    ],
    ids=str,
)
def test_other_stacks_take_the_plain_path(changes: dict[str, object]) -> None:
    assert fast_decoding(model_of(replace(BASE, **changes))) is None


def test_other_numbers_and_layers_between_blocks_take_the_plain_path() -> None:
    assert fast_decoding(model_of(BASE).double()) is None
    assert fast_decoding(model_of(BASE, CrossAttention(dim=16, num_heads=4, depth=2))) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert fast_decoding(model_of(BASE)) is None


@pytest.mark.parametrize("small_bytes", [0, 32 << 20])
@pytest.mark.parametrize("rows", [1, 2])
def test_weights_changed_between_two_calls_are_used(
    rows: int, small_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SMALL_BYTES", small_bytes)
    model = model_of(BASE)
    assert isinstance(model.language_model, DecoderOnly)

    def written() -> Tensor:
        with torch.inference_mode():
            session = Session(model)
            session.join(Batch(target=prompts(rows, False)), packed=False)
        decoder, draws = greedy.Config().build(end_id=-1), Draws.of(0, [["row"]] * rows)
        texts = write_texts(session, decoder, draws, [Limits(20)] * rows, end_id=-1)
        return torch.tensor([text.ids for text in texts])

    before = written()
    assert torch.equal(written(), before)
    with torch.no_grad():
        for weight in (model.language_model.token_embedding.table.weight, model.language_model.norm.weight):
            weight.copy_(torch.randn_like(weight))
    after = written()
    assert not torch.equal(before, after)
    assert torch.equal(after, torch.cat([after[:, :1], logits_after(model, after)], 1))


@pytest.mark.parametrize("rows", [1, 2])
def test_copies_are_made_once_and_again_for_any_single_value_that_changes(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SMALL_BYTES", 0)
    model = model_of(BASE)
    made: list[int] = []
    transposed, laid_out = module._transposed, module._laid_out
    monkeypatch.setattr(module, "_transposed", lambda parts: (made.append(len(parts)), transposed(parts))[1])
    monkeypatch.setattr(
        module, "_laid_out", lambda head, rows: (made.append(rows), laid_out(head, rows=rows))[1]
    )
    plain = logits_of(model, rows=rows, is_fast=False)
    counts = []
    for _ in range(3):
        torch.testing.assert_close(logits_of(model, rows=rows, is_fast=True), plain, atol=1e-4, rtol=1e-4)
        counts.append(len(made))
    assert counts[0] > 0
    assert counts[1:] == counts[:1] * 2
    for name, weight in model.language_model.named_parameters():
        with torch.no_grad():
            weight.view(-1)[-1] += 0.25
        plain = logits_of(model, rows=rows, is_fast=False)
        torch.testing.assert_close(
            logits_of(model, rows=rows, is_fast=True), plain, atol=1e-4, rtol=1e-4, msg=name
        )


def _step(weight: nn.Parameter) -> None:
    weight.grad = torch.ones_like(weight)
    torch.optim.SGD([weight], lr=0.1).step()


CHANGES: dict[str, Callable[[nn.Linear], object]] = {
    "an optimizer": lambda layer: _step(layer.weight),
    "one value": lambda layer: layer.weight.detach()[0].fill_(3.0),
    "a state that is loaded": lambda layer: layer.load_state_dict({"weight": layer.weight * 2}),
    "a state that is assigned": lambda layer: layer.load_state_dict(
        {"weight": layer.weight * 2}, assign=True
    ),
    "another parameter": lambda layer: setattr(layer, "weight", nn.Parameter(layer.weight * 2)),
    "other data": lambda layer: setattr(layer.weight, "data", layer.weight.data * 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_fresh_until_its_weights_change(change: str) -> None:
    first, second = nn.Linear(3, 5, bias=False), nn.Linear(4, 4, bias=False)
    layouts, copy = module.Layouts(), object()

    def weights() -> list[Tensor]:
        return [first.weight, second.weight]

    assert layouts.fresh("blocks", weights()) is None
    assert layouts.keep("blocks", weights(), copy) is copy
    assert layouts.fresh("blocks", weights()) is copy
    assert layouts.fresh("head", weights()) is None
    assert layouts.fresh("blocks", weights()[::-1]) is None
    assert layouts.fresh("blocks", weights()[:1]) is None
    CHANGES[change](second)
    assert layouts.fresh("blocks", weights()) is None


def test_a_weight_of_another_model_at_the_same_address_is_another_weight() -> None:
    layouts, values = module.Layouts(), torch.randn(3, 3)
    first = nn.Parameter(values)
    layouts.keep("head", [first], "copy")
    second = nn.Parameter(values)
    assert second.data_ptr() == first.data_ptr()
    assert layouts.fresh("head", [second]) is None
    del first
    assert layouts.fresh("head", [second]) is None


def test_copies_of_weights_without_a_counter_are_not_kept() -> None:
    layouts = module.Layouts()
    with torch.inference_mode():
        weight = torch.randn(3, 3)
        assert layouts.keep("head", [weight], "copy") == "copy"
        assert layouts.fresh("head", [weight]) is None


@pytest.mark.parametrize("way", ["weights_changed", "train", "half"])
def test_copies_are_forgotten_where_changes_may_not_be_counted(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SMALL_BYTES", 0)
    model = model_of(BASE)
    logits_of(model, rows=1, is_fast=True)
    for weight in model.language_model.parameters():
        weight.data.mul_(1.5)  # which PyTorch does not count
    if way == "train":
        model.train()
        model(Batch(target=prompts(1, False)), at=torch.tensor([0]))
        model.eval()
    elif way == "half":
        model.half().float()
    else:
        model.language_model.weights_changed()
    plain = logits_of(model, rows=1, is_fast=False)
    torch.testing.assert_close(logits_of(model, rows=1, is_fast=True), plain, atol=1e-4, rtol=1e-4)


def logits_after(model: VLM, written: Tensor) -> Tensor:
    """What one full pass over the prompt and all that was written chooses behind each written token."""
    rows = len(written)
    prompt = prompts(rows, False)
    ids = torch.cat([prompt.ids, written], 1)
    zeros = torch.zeros_like(ids)
    positions = torch.arange(ids.shape[1]).expand(rows, -1)
    tokens = TokenSequence(ids, zeros, positions, zeros - 1, zeros + 1, zeros, zeros, zeros == 0, plain=True)
    with torch.no_grad():
        logits = model(Batch(target=tokens), at=torch.arange(ids.numel()), cache=Cache(rows)).logits
    return logits.view(rows, ids.shape[1], -1).argmax(-1)[:, prompt.ids.shape[1] : -1]
