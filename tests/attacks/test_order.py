"""A run that goes on elsewhere: the same pictures, whatever the epoch, the place and the number of processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
import torch
from contracts._compose import Case, compose, picture

from sightweave.core import catalog
from sightweave.core.errors import RecipeError
from sightweave.data.inputs.order import Mixing
from sightweave.data.tasks import captioning
from sightweave.programs.training.feed import Feed, Step
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.world import World

TASKS = {name: catalog.config_class("data.tasks", name)().build() for name in catalog.kinds("data.tasks")}
PROCESSOR = compose(Case("concat", (), "decoder_only"))[1]
MIX = (Mixing(epochs=1.5), Mixing(epochs=0.5))


class Pictures:
    """So many captioned pictures, numbered from `first`."""

    def __init__(self, size: int, first: int = 0, fingerprint: str | None = None) -> None:
        self.size, self.first = size, first
        if fingerprint is not None:
            self.fingerprint = fingerprint

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> list[Any]:
        number = self.first + index
        return [captioning.Record(id=str(number), images=(picture(number),), captions=("a blue ball",))]

    def texts(self) -> Iterator[str]:
        yield "red"


def feed(*data: Pictures, pictures: int = 4, stage: dict[str, Any] | None = None, **settings: Any) -> Feed:
    made = Stage(steps=1, batch_size=pictures, gradient_accumulation_steps=2, **(stage or {}))
    return Feed(data, TASKS, PROCESSOR, made, seed=11, quarantine=Quarantine(), **settings)


def take(source: Feed, count: int, start: int = 0, within: int = 0) -> list[Step]:
    with closing(source.microsteps(start, within)) as stream:
        return list(islice(stream, count))


# One epoch has 13 places: 3 is in epoch 0, 13 at its edge, 19 in the middle of epoch 1, 26 at the next edge.
@pytest.mark.parametrize("start", [0, 3, 12, 13, 19, 26])
@pytest.mark.parametrize("mix", [(), MIX])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_all_processes_together_see_what_one_sees(world: int, mix: tuple[Mixing, ...], start: int) -> None:
    data = (Pictures(8), Pictures(5, first=100))
    alone = take(feed(*data, mix=mix), 8, start)
    ranks = [take(feed(*data, mix=mix, world=World(rank, world)), 8, start) for rank in range(world)]
    for step, shares in zip(alone, zip(*ranks, strict=True), strict=True):
        assert Counter(step.ids) == sum((Counter(share.ids) for share in shares), Counter())
        assert {share.position for share in shares} == {step.position}
        assert {len(share.ids) for share in shares} == {4 // world}


@pytest.mark.parametrize("done", [1, 3, 4, 6, 7])
@pytest.mark.parametrize("worlds", [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_a_run_that_goes_on_equals_one_that_never_stopped(worlds: tuple[int, int], done: int) -> None:
    data = (Pictures(8), Pictures(5, first=100))
    before, after = worlds
    whole = [take(feed(*data, mix=MIX, world=World(rank, after)), 10) for rank in range(after)]
    stopped = take(feed(*data, mix=MIX, world=World(0, before)), done)[-1].position
    for rank in range(after):
        later = take(feed(*data, mix=MIX, world=World(rank, after)), 10 - done, stopped)
        for one, other in zip(whole[rank][done:], later, strict=True):
            assert one.ids == other.ids
            assert torch.equal(one.batch.target.ids, other.batch.target.ids)
            assert torch.equal(one.batch.media["image"].dense, other.batch.media["image"].dense)


@pytest.mark.parametrize("world", [1, 2])
def test_every_picture_comes_exactly_once_an_epoch(world: int) -> None:
    data = (Pictures(7), Pictures(5, first=100))
    ranks = [take(feed(*data, world=World(rank, world)), 9) for rank in range(world)]
    for epoch in range(3):
        steps = [step for steps in ranks for step in steps[3 * epoch : 3 * epoch + 3]]
        found = sorted(int(name) for step in steps for name in step.ids)
        assert found == [*range(7), *range(100, 105)]


def test_a_changed_data_set_changes_the_fingerprint() -> None:
    known = feed(Pictures(5, fingerprint="a"), Pictures(5)).fingerprint
    assert known == feed(Pictures(5, fingerprint="a"), Pictures(5)).fingerprint
    others = {
        feed(Pictures(5, fingerprint="b"), Pictures(5)).fingerprint,
        feed(Pictures(5, fingerprint="a"), Pictures(6)).fingerprint,
        feed(Pictures(5), Pictures(5, fingerprint="a")).fingerprint,
        feed(Pictures(5), Pictures(5)).fingerprint,
    }
    assert len(others | {known}) == 5


def test_pictures_that_processes_cannot_share_are_an_error() -> None:
    with pytest.raises(
        RecipeError, match="4 images cannot be shared by 3 processes; set batch_size to a multiple of 3"
    ):
        feed(Pictures(9), world=World(0, 3))


PACKED = {"pack_to": 150, "pack_window": 3}


@pytest.mark.parametrize("start", [0, 3, 12, 13, 19])
@pytest.mark.parametrize("world", [2, 4])
def test_windows_of_all_processes_together_hold_what_one_sees(world: int, start: int) -> None:
    data = (Pictures(8), Pictures(5, first=100))
    alone = take(feed(*data, mix=MIX, stage=PACKED), 9, start)
    ranks = [
        take(feed(*data, mix=MIX, world=World(rank, world), stage=PACKED), 9, start) for rank in range(world)
    ]
    for window in range(0, 9, 3):
        seen = Counter(name for step in alone[window : window + 3] for name in step.ids)
        shares = [step for steps in ranks for step in steps[window : window + 3]]
        assert seen == Counter(name for step in shares for name in step.ids)
        assert sum(seen.values()) == 12
    for steps in ranks:
        assert [(step.position, step.within) for step in steps] == [(s.position, s.within) for s in alone]
        assert all(step.ids for step in steps)


@pytest.mark.parametrize("done", range(1, 8))
@pytest.mark.parametrize("worlds", [(1, 1), (2, 2), (1, 2)])
def test_a_run_that_goes_on_inside_a_window_equals_one_that_never_stopped(
    worlds: tuple[int, int], done: int
) -> None:
    data = (Pictures(8), Pictures(5, first=100))
    before, after = worlds
    stopped = take(feed(*data, mix=MIX, world=World(0, before), stage=PACKED), done)[-1]
    for rank in range(after):
        whole = take(feed(*data, mix=MIX, world=World(rank, after), stage=PACKED), 8)
        source = feed(*data, mix=MIX, world=World(rank, after), stage=PACKED)
        later = take(source, 8 - done, stopped.position, stopped.within)
        for one, other in zip(whole[done:], later, strict=True):
            assert one.ids == other.ids
            assert torch.equal(one.batch.target.ids, other.batch.target.ids)
            assert torch.equal(one.batch.media["image"].dense, other.batch.media["image"].dense)
