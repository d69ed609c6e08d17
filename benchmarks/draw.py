"""Drawing with a cache and without one: python -m benchmarks.draw [--quick].

A model of the size of recipes/drawing.yaml, untrained, writes pictures of 8 x 8 codes for some prompts, with guidance. The
plain way reads the whole sequence again for each token. Both follow the same rules and should write the same tokens.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sightweave.core.recipe_files import find
from sightweave.core.types import Part, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.tokenizer import Tokenizer
from sightweave.models.vlm import VLM
from sightweave.programs.generation.pictures import PictureSession
from sightweave.programs.generation.session import Session
from sightweave.recipe import read

GUIDANCE = 2.0
AIM = 3.0
"""How many times as fast drawing with a cache should be."""


class Uncached:
    """A session that reads everything again in each step."""

    def __init__(self, model: VLM, processor: Processor, samples: Sequence[Sample]) -> None:
        self.model, self.processor, self.samples = model, processor, samples
        self.ids = torch.zeros(len(samples), 0, dtype=torch.int64)
        self.step(self.ids)

    def __len__(self) -> int:
        return len(self.samples)

    @torch.inference_mode()
    def step(self, ids: Tensor) -> None:
        if ids.ndim == 1:
            self.ids = torch.cat((self.ids, ids[:, None]), 1)
        session = Session(self.model, with_images=True)
        session.join(self.processor.prompts(self.samples).batch(), packed=False)
        if self.ids.shape[1]:
            starts = session.positions.tolist()
            read = session.read(self.processor.continuations(self.ids.tolist(), starts))
            self.logits = read.unflatten(0, self.ids.shape)[:, -1]
        else:
            self.logits = session.logits


def composed() -> tuple[VLM, Processor]:
    """The recipe's model with random weights, and its processor."""
    recipe = read(find("drawing"))
    tokenizer = Tokenizer.train(["Draw: a small red circle and a big dog"] * 2, 400)
    torch.manual_seed(0)
    model = recipe.model.build(vocab_size=tokenizer.vocab_size).eval()
    return model, recipe.build_processor(tokenizer, model, ())


def drawn(session: PictureSession) -> Tensor:
    """The tokens of one picture for each row, B T; begin and the largest size are given."""
    tokens = session.tokens
    ids = []
    for token in (tokens.begin, tokens.height(tokens.rows), tokens.width(tokens.columns)):
        ids.append(torch.full((len(session),), token))
        session.step(ids[-1])
    for _ in range(tokens.most - len(ids)):
        ids.append(session.logits.argmax(-1))
        session.step(ids[-1])
    return torch.stack(ids, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round, two prompts")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    prompts, rounds = (2, 1) if options.quick else (options.prompts, options.rounds)

    model, processor = composed()
    tokens = processor.layout.image_tokens
    assert tokens is not None
    words = [f"Draw: a small red circle {'and a big dog ' * number}" for number in range(prompts)]
    asked = [Sample(id=text, task="drawing", parts=(Part("user", text),)) for text in words]
    rows = [*asked, *(one.without_prompt() for one in asked)]
    limits = [tokens.most + 1] * prompts

    def cached() -> Tensor:
        session = Session(model, with_images=True)
        session.join(processor.prompts(rows).batch())
        return drawn(PictureSession(session, tokens, limits, guidance=GUIDANCE))

    def plain() -> Tensor:
        session = Uncached(model, processor, rows)
        return drawn(PictureSession(session, tokens, limits, guidance=GUIDANCE))  # type: ignore[arg-type]  # as a session

    who: dict[str, Callable[[], Tensor]] = {"plain": plain, "sightweave": cached}
    seconds: dict[str, list[float]] = {name: [] for name in who}
    found: dict[str, Tensor] = {}
    for _ in range(rounds):
        for name, draw in who.items():
            began = time.perf_counter()
            found[name] = draw()
            seconds[name].append(time.perf_counter() - began)

    same = float((found["plain"] == found["sightweave"]).double().mean())
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    told = ", ".join(f"{name} {value:.3f} s" for name, value in medians.items())
    print(
        f"{prompts} pictures of {tokens.rows} x {tokens.columns} codes, guidance {GUIDANCE:g}; in turns: {told}"
    )
    print(
        f"{medians['plain'] / medians['sightweave']:.1f} times as fast with a cache (aim: {AIM:g}); {100 * same:.1f} % of "
        "the tokens are the same"
    )


if __name__ == "__main__":
    main()
