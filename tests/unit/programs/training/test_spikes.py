"""A loss far above those before it is named once, with its samples; ordinary noise is not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from contracts._compose import Case, compose
from unit.programs.training.test_trainer import Pictures, stage, trainer

from sightweave.data.tasks import vqa
from sightweave.programs.training import spikes
from sightweave.programs.training.logs import read_metrics


def test_noise_and_falling_losses_are_no_spikes() -> None:
    drawn = random.Random(1)
    losses = [4 / (1 + n / 50) + drawn.gauss(0, 0.1) for n in range(1000)]
    assert not any(
        spikes.is_spike(loss, losses[max(0, n - spikes.WINDOW) : n]) for n, loss in enumerate(losses)
    )
    assert not spikes.is_spike(1.3, [1.0] * 50)  # an even loss
    assert not spikes.is_spike(100.0, [1.0] * 10)  # too few to compare with


def test_a_spike_is_found_also_after_other_spikes() -> None:
    drawn = random.Random(2)
    before = [1 + drawn.gauss(0, 0.05) for _ in range(90)] + [30.0] * 10
    assert spikes.is_spike(2.0, before)
    assert not spikes.is_spike(0.0, before)


def test_a_row_names_at_most_five_samples() -> None:
    row = spikes.row(9.0, [1.0, 2.0, 3.0], [f"s{n}" for n in range(8)])
    assert row == {
        "spike_loss": 9.0,
        "spike_typical_loss": 2.0,
        "spike_samples": "s0, s1, s2, s3, s4 and 3 more",
    }
    assert spikes.row(9.0, [1.0], ["a"])["spike_samples"] == "a"


def test_notes_are_about_the_highest_spikes_and_survive_foreign_rows() -> None:
    history: list[dict[str, Any]] = [
        {"step": n, "spike_loss": 10.0 + n, "spike_typical_loss": 1.0, "spike_samples": f"id-{n}"}
        for n in range(4)
    ]
    history += [{"step": 9, "loss": 1.0}, {"step": 10, "spike_loss": "inf", "spike_samples": "none"}]
    found = spikes.notes(history, most=2)
    assert found == [
        "The loss of step 3 was 12, but 1 was typical; samples of this update: id-2.",
        "The loss of step 4 was 13, but 1 was typical; samples of this update: id-3.",
        "2 smaller spikes of the loss are in metrics.jsonl.",
    ]
    odd = [{"step": 0, "spike_loss": 1, "spike_typical_loss": "nan", "spike_samples": "x" * 9000}]
    (sentence,) = spikes.notes(odd)
    assert len(sentence) < 700
    assert spikes.notes([]) == []


class Odd(Pictures):
    """Pictures with one answer, but for three pictures."""

    def __getitem__(self, index: int) -> list[Any]:
        (record,) = super().__getitem__(index % 2)
        answers = ("red",) if index not in (10, 50, 90) else ("it it it two two blue",)
        return [vqa.Record(id=f"id-{index}", images=record.images, question="what ?", answers=answers)]


def test_training_names_the_samples_of_a_spike_in_its_log(tmp_path: Path) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    made = trainer(model, processor, tmp_path, stage(100, batch_size=1), data=[Odd(100)], log_every=40)
    made.run()
    found = [row for row in read_metrics(tmp_path / "metrics.jsonl") if "spike_loss" in row]
    assert {"id-10", "id-50", "id-90"} & {row["spike_samples"] for row in found}
    assert all(row["stage"] == "main" for row in found)
    assert all(row["spike_loss"] > row["spike_typical_loss"] for row in found)
    assert len(made.state.recent_losses) == spikes.WINDOW
