"""What training data alone would answer, counted in one pass."""

import json

import pytest

from sightweave.core.types import Part, Sample
from sightweave.programs.evaluation import baselines, neighbour
from sightweave.programs.evaluation.baselines import Baselines
from sightweave.programs.evaluation.program import evaluate, majority_answers


def ask(prompt: str, *references: str, kind: str = "q") -> Sample:
    parts = (Part("user", prompt), Part("assistant", "", learn=True))
    return Sample(
        id=prompt, task="vqa", parts=parts, references=references, tags={"type": kind}, group=prompt
    )


def test_every_sample_counts_once_for_each_of_its_references():
    known = Baselines([ask("a", "Red", "red"), ask("b", "blue"), ask("c", "blue"), ask("d", kind="other")])
    assert known.majority == {"vqa/q": "blue"}
    assert list(known.notes()) == []
    known.add(ask("e", "RED"))
    known.add(ask("f", "red"))
    # Case alone makes no other answer; it is written as it first was, since some metrics look at case.
    assert known.majority == {"vqa/q": "Red"}
    assert majority_answers([ask("a", "x")]) == {"vqa/q": "x"}


def test_an_evaluation_says_what_was_not_counted_exactly(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(baselines, "_MOST_ANSWERS", 10)
    train = [ask(f"p{n}", f"answer {n}") for n in range(100)] + [ask("p", "often")] * 50
    known = Baselines(train, notes=["of 150 pictures."])
    assert known.majority == {"vqa/q": "often"}
    (said,) = (note for note in known.notes() if "majority answer" in note)
    assert said.startswith(
        "vqa/q: over 20 different training answers; the majority answer is right to within"
    )

    def predict(samples, texts, *, write):
        from sightweave.core.types import Prediction

        return [Prediction("often") for _ in samples]

    for trained in (known, Baselines(train)):
        found = evaluate([ask("p", "often")], predict, controls=(), train=trained)
        assert found.tasks[0].types[0].majority_answer == "often"
        assert said in found.notes
        assert ("of 150 pictures." in found.notes) == (trained is known)


def test_prompts_are_a_sample_of_all_where_there_are_too_many():
    prompts = [f"word{n} and more" for n in range(2000)]
    train = [ask(prompt, f"about {prompt}") for prompt in prompts] + [ask(prompts[7], "seven")] * 3
    known = neighbour.Neighbour(train, most_prompts=200)
    (note,) = known.notes()
    assert note.startswith("vqa: the text-only baseline searches 200 of about ")
    about = int(note.split("about ")[1].split(" ")[0].replace(",", ""))
    assert 1600 <= about <= 2400

    def kept(found: neighbour.Neighbour) -> set[str]:
        given = found.answers([ask(prompt) for prompt in prompts])
        return {prompt for prompt, answer in zip(prompts, given, strict=True) if answer == f"about {prompt}"}

    first = kept(known)
    assert 190 <= len(first) <= 200  # the seventh may have said "seven"
    assert sum(prompts.index(prompt) >= 1000 for prompt in first) >= 60  # not the first ones
    assert kept(neighbour.Neighbour(train[::-1], most_prompts=200)) == first  # whatever their order
    assert kept(neighbour.Neighbour(train, most_prompts=200, seed=1)) != first
    assert not list(neighbour.Neighbour(train).notes())


def test_all_answers_to_a_prompt_that_is_kept_are_counted():
    train = []
    for n in range(3000):
        train += [ask(f"word{n}", "rare"), ask(f"word{n}", "common"), ask(f"word{n}", "common")]
    known = neighbour.Neighbour(train, most_prompts=100)
    assert set(known.answers([ask(f"word{n}") for n in range(3000)])) == {"common"}


def test_answers_are_bounded_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(neighbour, "_MOST_ANSWERS", 500)
    train = [ask(f"word{n % 20}", f"a{n}") for n in range(4000)] + [ask("word3", "three")] * 300
    known = neighbour.Neighbour(train)
    held = [votes.counts for prompts in known._prompts.values() for votes in prompts.answers.values()]
    assert sum(map(len, held)) <= 600
    assert known.answers([ask("word3")]) == ["three"]


@pytest.mark.parametrize("room", [3, 1000])
def test_what_was_counted_comes_back_from_json(monkeypatch: pytest.MonkeyPatch, room: int):
    monkeypatch.setattr(baselines, "_MOST_ANSWERS", room)
    monkeypatch.setattr(neighbour, "_ROOM", room)
    monkeypatch.setattr(neighbour, "MOST_PROMPTS", 20)
    train = [ask(f"word{n % 40} and more", f"Answer {n % 23}", kind=f"q{n % 2}") for n in range(200)]
    asked = [ask(f"word{n} and less", kind=f"q{n % 2}") for n in range(60)]
    first = Baselines(train[:100], notes=["of the first run."])
    second = Baselines.from_plain(json.loads(json.dumps(first.to_plain())), notes=["kept."])
    for known in (first, second):
        for sample in train[100:]:  # both go on learning alike
            known.add(sample)
    assert second.majority == first.majority
    assert second.neighbour.answers(asked) == first.neighbour.answers(asked)
    assert [*second.notes()][1:] == [*first.notes()][1:]
    assert next(second.notes()) == "kept."
