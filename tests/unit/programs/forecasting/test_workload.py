"""A workload's microsteps are those that training will compute, in their order and with their lengths."""

from __future__ import annotations

import dataclasses
from itertools import islice

import pytest
from contracts._compose import Case, compose
from unit.programs.training.test_durations import Pictures

from sightweave.core.batch import Features
from sightweave.data.tasks import vqa
from sightweave.programs.forecasting.memory import batch_bytes
from sightweave.programs.forecasting.workload import Workload, feature_bytes, with_features
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.settings import Stage

CONCAT = Case("concat", (), "decoder_only")


def feed(**changes: object) -> Feed:
    _, processor = compose(CONCAT)
    stage = dataclasses.replace(Stage(steps=6, batch_size=2, tasks=("vqa",)), **changes)  # type: ignore[arg-type]
    return Feed(
        [Pictures(9)], {"vqa": vqa.Config().build()}, processor, stage, seed=3, quarantine=Quarantine()
    )


@pytest.mark.parametrize("changes", [{}, {"pack_to": 64}, {"pack_to": 64, "pack_window": 2}], ids=str)
def test_planned_rows_make_the_batches_that_training_gets(changes: dict[str, object]) -> None:
    made = [step.batch for step in islice(feed(**changes).microsteps(), 4)]
    own = feed(**changes)
    planned = [own.batch_of(rows) for rows in islice(own.planned(), 4)]
    for one, other in zip(planned, made, strict=True):
        assert one.target is not None
        assert other.target is not None
        assert one.target.ids.tolist() == other.target.ids.tolist()
        assert batch_bytes(one) == batch_bytes(other)


def test_sizes_are_slots_with_padding_and_the_largest_decides() -> None:
    work = Workload(feed())
    assert len(work.microsteps) == 6  # as many as the stage has
    for one, rows in zip(work.microsteps, feed().planned(), strict=False):
        target = work.feed.batch_of(rows).target
        assert target is not None
        assert target.ids.numel() == one.size
        assert int(target.valid.sum()) == one.tokens
    assert work.largest.size == max(one.size for one in work.microsteps)
    assert work.samples == sum(one.samples for one in work.microsteps) / 6
    assert len(Workload(feed(), most=2).microsteps) == 2


def test_another_size_is_twice_or_half_the_rows() -> None:
    work = Workload(feed())
    found = work.other_size()
    assert found is not None
    assert found[0] == 2.0
    assert len(found[1]) == 2 * len(work.largest.rows)
    found = Workload(feed(), most=1).other_size()
    assert found is not None
    assert (found[0], len(found[1])) == (0.5, 1)


def test_kept_features_replace_the_encoder() -> None:
    model, _ = compose(CONCAT)
    work = Workload(feed())
    batch = with_features(work.batch(work.largest), model.encoders)
    features = batch.media["image"].features
    assert isinstance(features, Features)
    sizes = list(feature_bytes(batch))
    assert sum(sizes) == features.values.nbytes
    assert len(sizes) == len(features.values)
