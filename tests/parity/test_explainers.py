"""Explainers against other programs: relevancy written out from the paper's equations, and captum."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from contracts._compose import Case, compose, picture, sample
from torch import Tensor, nn

from sightweave.answers.attribution.question import Inputs, Question
from sightweave.core.batch import Batch
from sightweave.core.explanation import Explanation
from sightweave.data.inputs.processor import Processor
from sightweave.models.vlm import VLM
from sightweave.programs import explanation

ANSWER, WORD = "the ball is red", "red"


class Watched:
    """Queries, keys, values and mixed values of attention modules, from hooks on their linear maps."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, str], Tensor] = {}

    def watch(self, attention: Any) -> None:
        for name in "qkv":
            getattr(attention, name).register_forward_hook(
                lambda module, given, output, name=name: self.seen.update({(id(attention), name): output})
            )
        attention.out.register_forward_pre_hook(
            lambda module, given: self.seen.update({(id(attention), "mixed"): given[0]})
        )


def heads(x: Tensor, count: int) -> np.ndarray:
    """H S Dh of the first row."""
    return x[0].detach().double().unflatten(-1, (count, -1)).transpose(0, 1).numpy()


def attention_map(
    attention: Any, seen: dict[tuple[int, str], Tensor], score: Tensor, causal: bool, row: int = 0
) -> np.ndarray:
    """Equation 5 of the paper for one attention module: the mean over heads of (gradient * attention)+.

    The attention follows from queries and keys. The gradient with respect to it follows from that with respect to the mixed
    values, since mixed = A V.
    """
    mixed = seen[id(attention), "mixed"]
    (slope,) = torch.autograd.grad(score, mixed, retain_graph=True)
    q, k, v = (heads(seen[id(attention), name][row : row + 1], attention.num_heads) for name in "qkv")
    g = heads(slope[row : row + 1], attention.num_heads)

    total = np.zeros((q.shape[1], k.shape[1]))
    for h in range(len(q)):
        raw = q[h] @ k[h].T / np.sqrt(q.shape[2])
        if causal:
            raw[np.triu_indices(len(raw), 1)] = -np.inf
        shares = np.exp(raw - raw.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        total += np.maximum(shares * (g[h] @ v[h].T), 0)
    return total / len(q)


def bar(relevance: np.ndarray) -> np.ndarray:
    """Equations 8 and 9 of the paper, for a square matrix."""
    rest = relevance - np.eye(len(relevance))
    sums = rest.sum(1, keepdims=True)
    return np.divide(rest, sums, out=np.zeros_like(rest), where=sums > 0) + np.eye(len(relevance))


def log_odds(logits: Tensor, index: int) -> Tensor:
    p = logits.softmax(-1)[index]
    return torch.log(p / (1 - p))


def asked(fusion: str, language_model: str) -> tuple[VLM, Processor, Batch, list[int], list[int]]:
    """A model in fp64, its batch, and the number and the id of each token of the word."""
    case = Case(fusion, (), language_model)
    fields = {"bidirectional": "none"} if fusion == "concat" else {}
    model, processor = compose(case, encoder="vit", seed=3, language_model={"position": "learned"}, **fields)
    model.double().eval()
    batch = processor.batch([sample("one", picture(1), "what colour is the ball ?", answer=ANSWER)])
    for one in batch.media.values():
        one.values = one.values.double()
    ids = processor.tokenizer.answer_ids(ANSWER)
    before = len(processor.tokenizer.answer_ids(ANSWER[: -len(WORD) - 1])) - 1
    numbers = list(range(before, len(ids) - 1))
    assert processor.tokenizer.decode([ids[n] for n in numbers]).strip() == WORD
    return model, processor, batch, numbers, [ids[n] for n in numbers]


def scored(
    model: VLM, batch: Batch, numbers: list[int], ids: list[int], attentions: list[Any]
) -> tuple[Watched, Tensor, Any, Tensor]:
    watched = Watched()
    for one in attentions:
        watched.watch(one)
    output = model(batch)
    score = sum((log_odds(output.logits[n], i) for n, i in zip(numbers, ids, strict=True)), torch.zeros(()))
    return watched, score, output, output.at[torch.tensor(numbers)]


def encoder_relevance(model: VLM, watched: Watched, score: Tensor) -> np.ndarray:
    blocks = [block.attention for block in model.encoder.blocks]
    places = len(watched.seen[id(blocks[0]), "q"][0])
    relevance = np.eye(places)
    for one in blocks:
        relevance = relevance + attention_map(one, watched.seen, score, causal=False) @ relevance
    return relevance


def compare(found: Explanation, media: np.ndarray, words: np.ndarray) -> None:
    np.testing.assert_allclose(found.media[0].values.flatten(), media, rtol=1e-5, atol=1e-12)
    assert found.token_values is not None
    np.testing.assert_allclose(found.token_values, words, rtol=1e-5, atol=1e-12)
    assert media.max() > 0
    assert words.max() > 0


def explained(model: VLM, processor: Processor) -> Explanation:
    """Explained by us; the processor's pixels are converted by a hook, since the model is in fp64."""
    model.encoder.register_forward_pre_hook(lambda module, given: tuple(one.double() for one in given))
    prompt = sample("one", picture(1), "what colour is the ball ?")
    return explanation.explain(model, processor, prompt, "relevancy", answer=ANSWER, word=WORD)


def test_relevancy_of_one_sequence_is_that_of_the_papers_equations() -> None:
    model, processor, batch, numbers, ids = asked("concat", "decoder_only")
    own = [block.attention for block in model.language_model.blocks]
    sight = [block.attention for block in model.encoder.blocks]
    watched, score, _, at = scored(model, batch, numbers, ids, [*own, *sight])

    relevance = np.eye(batch.target.ids.shape[1])
    for one in own:
        relevance = relevance + attention_map(one, watched.seen, score, causal=True) @ relevance
    is_image = (batch.target.item[0] >= 0).numpy()
    prompt = len(
        processor.encode(sample("one", picture(1), "what colour is the ball ?"), with_target=False).prompt
    )
    text = np.flatnonzero(~is_image)
    last = np.flatnonzero(is_image)[-1]
    text = text[text <= last + prompt]

    rows = (relevance - np.eye(len(relevance)))[at.numpy()].mean(0)
    places = rows[is_image] @ bar(encoder_relevance(model, watched, score))
    compare(explained(model, processor), places, rows[text])


def test_relevancy_of_an_encoder_decoder_is_that_of_the_papers_equations() -> None:
    model, processor, batch, numbers, ids = asked("memory", "encoder_decoder")
    language_model = model.language_model
    parts = {
        "source": [block.attention for block in language_model.encoder_blocks],
        "target": [block.attention for block in language_model.blocks],
        "memory": [block.memory_attention for block in language_model.blocks],
        "sight": [block.attention for block in model.encoder.blocks],
    }
    watched, score, _, at = scored(
        model, batch, numbers, ids, [one for part in parts.values() for one in part]
    )
    m, s = batch.source.ids.shape[1], batch.target.ids.shape[1]
    e = model.layout.tokens_per_image

    # R_qq of the memory: the source's own relevance, beside media that nothing has mixed yet.
    r_qq = np.eye(m + e)
    for one in parts["source"]:
        r_qq[:m, :m] = r_qq[:m, :m] + attention_map(one, watched.seen, score, causal=False) @ r_qq[:m, :m]
    r_ss, r_sq = np.eye(s), np.zeros((s, m + e))
    for self_attention, cross_attention in zip(parts["target"], parts["memory"], strict=True):
        a = attention_map(self_attention, watched.seen, score, causal=True)
        r_ss, r_sq = r_ss + a @ r_ss, r_sq + a @ r_sq
        a = attention_map(cross_attention, watched.seen, score, causal=False)
        r_sq = r_sq + bar(r_ss).T @ a @ bar(r_qq)

    rows = r_sq[at.numpy()].mean(0)
    places = rows[m:] @ bar(encoder_relevance(model, watched, score))
    compare(explained(model, processor), places, rows[:m])


def test_relevancy_of_gated_cross_attention_is_that_of_the_papers_equations() -> None:
    model, processor, batch, numbers, ids = asked("cross_attention", "decoder_only")
    layers = list(model.fusion.layers)
    own = [block.attention for block in model.language_model.blocks]
    sight = [block.attention for block in model.encoder.blocks]
    watched, score, output, at = scored(
        model, batch, numbers, ids, [*own, *sight, *[one.attention for one in layers]]
    )
    s, e = batch.target.ids.shape[1], model.layout.tokens_per_image

    r_ss, r_sq = np.eye(s), np.zeros((s, e))
    for layer, self_attention in zip(layers, own, strict=True):
        # The fusion computes the keys and values of all layers in one product, without calling k and v.
        media = layer.media_norm(output.media.embeddings)[None]
        for name in "kv":
            watched.seen[id(layer.attention), name] = getattr(layer.attention, name)(media)
        a = attention_map(layer.attention, watched.seen, score, causal=False)
        r_sq = r_sq + bar(r_ss).T @ a
        a = attention_map(self_attention, watched.seen, score, causal=True)
        r_ss, r_sq = r_ss + a @ r_ss, r_sq + a @ r_sq

    prompt = processor.encode(sample("one", picture(1), "what colour is the ball ?"), with_target=False)
    length = len(prompt.trunk) + len(prompt.prompt)
    places = r_sq[at.numpy()].mean(0) @ bar(encoder_relevance(model, watched, score))
    words = (r_ss - np.eye(s))[at.numpy()].mean(0)[:length]
    compare(explained(model, processor), places, words)


class Pixels(nn.Module):
    """The score of a question as a function of its pixels and words, B 3 H W and B T D, as captum needs it."""

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question

    def forward(self, pixels: Tensor, words: Tensor) -> Tensor:
        rows = [Inputs([one], word) for one, word in zip(pixels, words, strict=True)]
        return self.question.scores(rows)


@pytest.fixture
def captum() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("captum.attr")


def question_of(case: Case, encoder: str = "vit") -> tuple[Question, Callable[..., Explanation]]:
    model, processor = compose(case, encoder=encoder)
    prompt = sample("one", picture(1), "what colour is the ball ?")
    kept: list[Question] = []

    def run(method: Any) -> Explanation:
        return explanation.explain(model, processor, prompt, method, answer=ANSWER, word=WORD)

    ids, wanted = explanation._tokens(
        processor.tokenizer, ANSWER, processor.tokenizer.answer_ids(ANSWER)[:-1], WORD, None
    )
    kept.append(Question(model, processor, explanation._with_answer(processor, prompt, ids), wanted))
    return kept[0], run


CASES = [Case("concat", (), "decoder_only"), Case("memory", (), "encoder_decoder")]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_integrated_gradients_are_those_of_captum(case: Case, captum: Any) -> None:
    question, run = question_of(case)
    own, absent = question.own(), question.absent()
    method = captum.IntegratedGradients(Pixels(question))
    pixels, words = method.attribute(
        (own.media[0][None], own.words[None]), (absent.media[0][None], absent.words[None]), n_steps=30
    )

    found = run({"kind": "integrated_gradients", "steps": 30, "tolerance": 1e9})
    rows, columns = found.media[0].values.shape
    cells = pixels[0].sum(0).unflatten(0, (rows, -1)).unflatten(2, (columns, -1)).sum((1, 3))
    np.testing.assert_allclose(found.media[0].values, cells.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(found.token_values, words[0].sum(-1).detach().numpy(), atol=1e-5)
    assert np.abs(found.media[0].values).max() > 1e-3


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (2, 1), (3, 2)])
def test_occlusion_is_that_of_captum(window: int, stride: int, captum: Any) -> None:
    question, run = question_of(CASES[0])
    own, absent = question.own(), question.absent()
    side = question.media[0].values.shape[1] // question.media[0].shape[0]
    words = own.words[None]
    method = captum.Occlusion(lambda pixels: Pixels(question)(pixels, words.expand(len(pixels), -1, -1)))
    with torch.no_grad():
        pixels = method.attribute(
            own.media[0][None],
            sliding_window_shapes=(3, window * side, window * side),
            strides=(3, stride * side, stride * side),
            baselines=absent.media[0][None],
        )

    found = run({"kind": "occlusion", "window": [window], "stride": [stride], "batch_size": 5})
    np.testing.assert_allclose(found.media[0].values, pixels[0, 0, ::side, ::side].numpy(), atol=1e-5)
    assert np.abs(found.media[0].values).max() > 1e-3


def test_grad_cam_is_that_of_captum(captum: Any) -> None:
    question, run = question_of(CASES[0], encoder="cnn")
    own = question.own()
    words = own.words[None]
    layer = question.model.encoder.stages
    method = captum.LayerGradCam(lambda pixels: Pixels(question)(pixels, words), layer)
    expected = method.attribute(own.media[0][None].requires_grad_(), relu_attributions=True)

    found = run("grad_cam")
    np.testing.assert_allclose(found.media[0].values, expected[0, 0].detach().numpy(), atol=1e-5)
    assert found.media[0].values.max() > 1e-4
