"""Generated pictures are well-formed whatever the logits are, and the same with a cache and without one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from contracts._compose import Case, picture
from torch import Tensor
from unit.models.test_image_tokens import CASES, codes_of, drawing, samples
from unit.programs.training.test_trainer import stage, trainer

from sightweave.core.errors import DataError, RecipeError
from sightweave.core.image_tokens import ImageTokens, Picture
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.prompts import text_tokens
from sightweave.data.tasks import drawing as drawing_task
from sightweave.models.vlm import VLM
from sightweave.programs.generation import Options, generate
from sightweave.programs.generation.pictures import PictureSession

TOKENS = ImageTokens(first=7, num_codes=5, rows=3, columns=2)
END = 6
MOST = 60


class Random:
    """A session with random logits, of which some favour image tokens strongly."""

    def __init__(self, rows: int, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.rows = rows
        self.step(torch.zeros(rows, dtype=torch.int64))

    def __len__(self) -> int:
        return self.rows

    def step(self, ids: Tensor) -> None:
        self.logits = 20 * torch.randn(len(ids), TOKENS.first + TOKENS.size, generator=self.generator)
        self.logits[:, TOKENS.begin] += 20

    def leave(self, is_done: Tensor) -> Tensor:
        kept = (~is_done).nonzero()[:, 0]
        self.rows, self.logits = len(kept), self.logits[kept]
        return kept


def eager(case: Case = CASES[0]) -> tuple[VLM, Processor]:
    """A model that begins many pictures: its logits of image tokens are large."""
    model, processor = drawing(case)
    vocabulary = model.language_model.image_vocabulary
    assert vocabulary is not None
    with torch.no_grad():
        vocabulary.output.weight.mul_(30)
    return model, processor


@pytest.mark.parametrize("seed", range(3))
def test_every_picture_is_well_formed_under_random_logits(seed: int) -> None:
    rows = 50
    session = PictureSession(Random(rows, seed), TOKENS, [MOST - row for row in range(rows)])  # type: ignore[arg-type]  # as a session
    texts: list[list[int]] = [[] for _ in range(rows)]
    numbers = list(range(rows))
    while numbers:
        ids = session.logits.argmax(-1)
        for number, token in zip(numbers, ids.tolist(), strict=True):
            texts[number].append(token)
        done = [texts[number][-1] == END or len(texts[number]) == MOST - number for number in numbers]
        kept = session.leave(torch.tensor(done)).tolist()
        numbers = [numbers[row] for row in kept]
        if numbers:
            session.step(ids[kept])

    pictures = 0
    sizes = set()
    for number, ids in enumerate(texts):
        assert len(ids) <= MOST - number
        for piece in TOKENS.pieces(ids):  # raises if one is malformed
            if isinstance(piece, Picture):
                pictures += 1
                sizes.add((len(piece.codes), len(piece.codes[0])))
    assert pictures > rows
    assert len(sizes) == 6  # every size occurs


def test_a_picture_that_does_not_fit_is_not_begun() -> None:
    longest = TOKENS.most
    session = PictureSession(Random(2, 0), TOKENS, [longest, longest - 1])  # type: ignore[arg-type]  # as a session
    is_allowed = session.logits[:, TOKENS.begin] > -torch.inf
    assert is_allowed.tolist() == [True, False]


@pytest.mark.parametrize(
    "case", [*CASES, Case("concat", (("bidirectional", "prompt"),), "decoder_only")], ids=str
)
@pytest.mark.parametrize("decoding", ["greedy", "sampling"])
def test_answers_are_those_of_a_loop_without_a_cache(case: Case, decoding: str) -> None:
    model, processor = eager(case)
    options = Options(
        max_tokens=40, writer="image_tokens", decoding="greedy", picture_decoding=decoding, seed=3
    )
    asked = samples()
    found = generate(model, processor, asked, options)
    tokens = processor.layout.image_tokens
    assert tokens is not None
    assert any(one.images for one in found)
    for one, answer in zip(asked, found, strict=True):
        # The answer of each sample alone is the same.
        (alone,) = generate(model, processor, [one], options)
        assert alone.ids == answer.ids
        assert len(answer.images) == sum(
            isinstance(piece, Picture) for piece in tokens.pieces(_texts(answer, processor))
        )
        assert all(
            image.size == (8 * len(p.codes[0]), 8 * len(p.codes))
            for image, p in _pairs(answer, tokens, processor)
        )
    if decoding == "greedy" and case.form == "causal":
        assert [one.ids for one in found] == [_without_cache(model, processor, one, 40) for one in asked]


def _texts(answer: Any, processor: Any) -> tuple[int, ...]:
    ids: tuple[int, ...] = answer.ids
    return ids[:-1] if ids[-1] == processor.tokenizer.end_id else ids


def _pairs(answer: Any, tokens: ImageTokens, processor: Any) -> Any:
    pictures = [piece for piece in tokens.pieces(_texts(answer, processor)) if isinstance(piece, Picture)]
    return zip(answer.images, pictures, strict=True)


def _without_cache(model: Any, processor: Any, one: Any, most: int) -> tuple[int, ...]:
    """The greedy answer by whole forward passes, with the rules of one row written as a function of its tokens."""
    tokens = processor.layout.image_tokens
    ids: list[int] = []
    while len(ids) < most and (not ids or ids[-1] != processor.tokenizer.end_id):
        batch = processor.batch([one], with_target=False)
        if ids:
            target, more = batch.target, torch.tensor([ids])
            positions = target.positions[:, -1:] + 1 + torch.arange(len(ids))
            continued = text_tokens(more, positions)
            joined = {
                field.name: torch.cat((getattr(target, field.name), getattr(continued, field.name)), 1)
                for field in dataclasses.fields(target)
                if field.name != "plain"
            }
            batch = dataclasses.replace(batch, target=type(target)(**joined))
        at = torch.tensor([batch.target.ids.shape[1] - 1])
        with torch.no_grad():
            logits = model(batch, at=at).logits[0]
        allowed = _allowed(ids, tokens, most - len(ids))
        ids.append(max(allowed, key=lambda token: (float(logits[token]), -token)))
    return tuple(ids)


def _allowed(ids: list[int], tokens: ImageTokens, left: int) -> list[int]:
    begins = [place for place, token in enumerate(ids) if token == tokens.begin]
    if not begins or tokens.end in ids[begins[-1] :]:
        return [*range(tokens.first), *([tokens.begin] if left >= tokens.most else [])]
    read = ids[begins[-1] + 1 :]
    if not read:
        return [tokens.height(rows) for rows in range(1, tokens.rows + 1)]
    if len(read) == 1:
        return [tokens.width(columns) for columns in range(1, tokens.columns + 1)]
    rows, columns = read[0] - tokens.height(0), read[1] - tokens.width(0)
    codes = len(read) - 2
    if codes == rows * (columns + 1):
        return [tokens.end]
    if codes % (columns + 1) == columns:
        return [tokens.row]
    return list(range(tokens.first, tokens.first + tokens.num_codes))


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_guidance_scales_the_difference_that_the_prompt_makes_inside_pictures(guidance: float) -> None:
    both = Random(4, 0)
    session = PictureSession(both, TOKENS, [MOST, MOST], guidance=guidance)  # type: ignore[arg-type]  # as a session
    for is_text, token in (
        (True, TOKENS.begin),
        (False, TOKENS.height(1)),
        (False, TOKENS.width(2)),
        (False, 8),
    ):
        asked, bare = both.logits.split(2)
        expected = asked if is_text else bare + guidance * (asked - bare)
        is_allowed = session.logits > -torch.inf
        assert bool(is_allowed.any(1).all())
        torch.testing.assert_close(session.logits[is_allowed], expected[is_allowed])
        session.step(torch.tensor([token, token]))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_guidance_changes_the_codes_of_each_answer_alike_in_a_batch_and_alone(case: Case) -> None:
    model, processor = eager(case)
    plain = Options(max_tokens=30, writer="image_tokens")
    found = generate(model, processor, samples(), plain)
    strong = generate(model, processor, samples(), dataclasses.replace(plain, guidance=3.0))
    assert [one.ids for one in strong] != [one.ids for one in found]
    each = [
        generate(model, processor, [one], dataclasses.replace(plain, guidance=3.0))[0].ids
        for one in samples()
    ]
    assert [one.ids for one in strong] == each


def test_without_a_prompt_guidance_changes_nothing() -> None:
    # Both rows are then the same.
    model, processor = eager()
    bare = [one.without_prompt() for one in samples()]
    plain = Options(max_tokens=30, writer="image_tokens")
    strong = dataclasses.replace(plain, guidance=5.0)
    assert [one.ids for one in generate(model, processor, bare, plain)] == [
        one.ids for one in generate(model, processor, bare, strong)
    ]


def test_texts_are_scored_before_pictures_are_written() -> None:
    model, processor = eager()
    asked, options = samples()[:2], Options(max_tokens=20, writer="image_tokens", guidance=2.0)
    scored = generate(model, processor, asked, options, [["red", "blue"]] * 2)
    for one, alone in zip(scored, generate(model, processor, asked, options), strict=True):
        assert one.ids == alone.ids
        assert [likelihood.tokens > 1 for likelihood in one.likelihoods] == [True, True]


def test_text_answers_never_contain_image_tokens() -> None:
    model, processor = eager()
    for decoding in ("greedy", "sampling", "beam"):
        for one in generate(model, processor, samples(), Options(max_tokens=12, decoding=decoding)):
            assert one.parts == ()
            assert all(token < processor.tokenizer.vocab_size for token in one.ids)


def test_options_that_cannot_make_pictures_are_refused() -> None:
    model, processor = drawing()
    with pytest.raises(RecipeError, match="beam search, cannot write pictures; use greedy or sampling"):
        generate(model, processor, samples(), Options(writer="image_tokens", picture_decoding="beam"))
    with pytest.raises(DataError, match="stop texts cannot end answers with pictures"):
        generate(model, processor, samples(), Options(writer="image_tokens", stop="red"))
    text_only = dataclasses.replace(
        processor, layout=dataclasses.replace(processor.layout, image_tokens=None)
    )
    with pytest.raises(RecipeError, match="the model has no image tokens"):
        generate(model, text_only, samples(), Options(writer="image_tokens"))


def test_sixteen_pictures_are_learnt_by_heart(tmp_path: Any) -> None:
    """Overfitting is exact: every code of every picture comes back, in one step per token."""
    model, processor = drawing()
    names, colours = ("ball", "cats", "box", "picture"), ("red", "blue", "two", "that")
    words = [f"{colour} {name}" for colour in colours for name in names]

    class Drawings:
        def __len__(self) -> int:
            return len(words)

        def __getitem__(self, index: int) -> list[Any]:
            return [
                drawing_task.Record(
                    id=str(index), images=(), description=words[index], target_image=picture(10 + index)
                )
            ]

    settings = {"optimizer": {"lr": 3e-3}, "hide_prompts": 0.1, "batch_size": 16}
    trainer(model, processor, tmp_path, stage(300, **settings), data=[Drawings()]).run()
    task = drawing_task.Config().build()
    asked = [task.sample(Drawings()[index][0]) for index in range(len(words))]
    found = generate(model, processor, asked, Options(max_tokens=20, writer="image_tokens"))
    tokens = processor.layout.image_tokens
    assert tokens is not None
    for number, answer in enumerate(found):
        expected = [*tokens.picture(codes_of(model, processor, 10 + number)), processor.tokenizer.end_id]
        assert list(answer.ids) == expected
        assert len(answer.images) == 1
