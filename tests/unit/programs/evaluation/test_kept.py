"""Kept answers: nothing is asked twice, whatever happened in between, and nothing wrong is ever reused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import sightweave
from sightweave.core.errors import BackendError, DataError, UnansweredError
from sightweave.core.types import Likelihood, Medium, Part, Prediction, Sample
from sightweave.data.reading.image_paths import Slice
from sightweave.programs.evaluation.controls import CONTROLS
from sightweave.programs.evaluation.kept import Kept
from sightweave.programs.evaluation.worse import WORSE

SOURCE = Path(sightweave.__file__).parents[1]
RED = np.full((2, 2, 3), 200, np.uint8)


class Speaker:
    """Says a sample's prompt and pictures back, and remembers what it was asked."""

    name = "speaker"
    can_score = True
    can_control = True

    def __init__(self, fingerprint: str = "speaker 1", fails_after: int | None = None) -> None:
        self.fingerprint = fingerprint
        self.calls: list[list[str]] = []
        self.fails_after = fails_after

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        max_tokens: int = 96,
        progress: Any = None,
    ) -> list[Prediction]:
        if self.fails_after is not None and len(self.calls) >= self.fails_after:
            raise BackendError("speaker: gone.")
        self.calls.append([sample.id for sample in samples])
        if progress is not None:
            progress(len(samples))
        given = texts or [()] * len(samples)
        return [
            Prediction(
                f"{sample.prompt} {[m.key for m in sample.media]} {max_tokens}" if max_tokens else "",
                logprob=-0.1 * len(sample.prompt) / 3,
                tokens=max_tokens,
                finish="length" if max_tokens else "none",
                likelihoods=tuple(Likelihood(-len(text) / 7, 2) for text in judged),
                extra={"said": [1, "\u4e2d"]},
            )
            for sample, judged in zip(samples, given, strict=True)
        ]

    @property
    def asked(self) -> list[str]:
        return [name for call in self.calls for name in call]


def asking(name: str, prompt: str = "", medium: Medium | None = None, target: str = "x") -> Sample:
    shown = (Part("user", medium),) if medium else ()
    parts = (*shown, Part("user", prompt or f"question {name}?"), Part("assistant", target, learn=True))
    return Sample(id=name, task="vqa", parts=parts, group=medium.key if medium else name)


def picture(number: int) -> Medium:
    return Medium(np.full((2, 2, 3), number, np.uint8), f"picture {number}")


def many(pictures: int = 10, questions: int = 3) -> list[Sample]:
    return [
        asking(f"{n}/{k}", f"question {k} {'long ' * n}?", picture(n))
        for n in range(pictures)
        for k in range(questions)
    ]


def test_answers_come_in_order_and_are_asked_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "kept.jsonl"
    told: list[int] = []
    speaker, samples = Speaker(), many()
    kept = Kept(speaker, path, max_tokens=5, pictures_at_once=4, progress=told.append)
    wanted = Speaker().predict(samples, max_tokens=5)
    assert kept(samples) == wanted
    assert sum(told) == kept.asked == 30
    assert kept(samples) == wanted
    assert (kept.asked, kept.reused, len(speaker.asked)) == (30, 0, 30)
    again = Speaker()
    kept = Kept(again, path, max_tokens=5)
    assert kept(samples) == wanted
    assert (kept.asked, kept.reused, again.calls, kept.notes) == (0, 30, [], ())


def test_in_memory_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = Kept(Speaker(), None, max_tokens=5)
    assert kept(many()) == kept(many())
    assert kept.asked == 30
    assert not list(tmp_path.iterdir())


def test_chunks_hold_whole_pictures_long_prompts_first() -> None:
    speaker = Speaker()
    Kept(speaker, None, max_tokens=5, pictures_at_once=4)(many())
    assert [len(call) for call in speaker.calls] == [12, 12, 6]
    assert [{name.partition("/")[0] for name in call} for call in speaker.calls] == [
        {"9", "8", "7", "6"},
        {"5", "4", "3", "2"},
        {"1", "0"},
    ]
    full = Speaker()
    Kept(full, None, max_tokens=5)(many(5, 2400))
    assert [len(call) for call in full.calls] == [4800, 4800, 2400]


def test_equal_prompts_are_asked_once_whatever_their_targets() -> None:
    speaker = Speaker()
    kept = Kept(speaker, None, max_tokens=5)
    samples = [asking(str(n), f"is it {n % 3}?", target=str(n)) for n in range(30)]
    found = kept(samples)
    assert [one.text for one in found] == [f"is it {n % 3}? [] 5" for n in range(30)]
    assert speaker.asked == ["0", "1", "2"]
    assert kept.asked == 3


def test_texts_are_judged_and_writing_is_apart() -> None:
    speaker = Speaker()
    kept = Kept(speaker, None, max_tokens=5)
    samples = [asking("1"), asking("2")]
    assert [one.likelihoods for one in kept(samples, [["yes"], ["no", "maybe"]])] == [
        (Likelihood(-3 / 7, 2),),
        (Likelihood(-2 / 7, 2), Likelihood(-5 / 7, 2)),
    ]
    assert [one.likelihoods for one in kept(samples)] == [(), ()]
    judged = kept(samples, [["yes"], ["no"]], write=False)
    assert [(one.text, one.finish) for one in judged] == [("", "none")] * 2
    assert len(speaker.calls) == 3
    with pytest.raises(DataError, match=r"1 list\(s\) of texts for 2 sample"):
        kept(samples, [["yes"]])


def keys(path: Path) -> list[str]:
    return [json.loads(line)["key"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_change_of_anything_is_asked_again(tmp_path: Path) -> None:
    path, file = tmp_path / "kept.jsonl", tmp_path / "a.png"
    PIL.Image.new("RGB", (2, 2)).save(file)
    base = asking("1", "what?", Medium(file, "a"))
    changed = {
        "prompt": asking("1", "what ?", Medium(file, "a")),
        "no picture": asking("1", "what?"),
        "key": asking("1", "what?", Medium(file, "b")),
        "modality": asking("1", "what?", Medium(file, "a", "video")),
        "other bytes": asking("1", "what?", Medium(file.read_bytes() + b"x", "a")),
        "array": asking("1", "what?", Medium(RED, "a")),
        "other array": asking("1", "what?", Medium(RED + 1, "a")),
        "other shape": asking("1", "what?", Medium(RED.reshape(1, 4, 3), "a")),
        "image": asking("1", "what?", Medium(PIL.Image.new("RGB", (2, 2)), "a")),
        "other image": asking("1", "what?", Medium(PIL.Image.new("RGB", (2, 2), "red"), "a")),
        "drawn": asking("1", "what?", Medium(lambda: RED, "a")),
        "drawn otherwise": asking("1", "what?", Medium(lambda: RED + 1, "a")),
        "inside a row": asking("1", "what?", Medium(partial(bytes, b"a picture"), "a")),
        "inside another": asking("1", "what?", Medium(partial(bytes, b"b picture"), "a")),
        "no file": asking("1", "what?", Medium(tmp_path / "none.png", "a")),
        "role": replace(base, parts=(Part("system", base.parts[0].content), *base.parts[1:])),
        "order": replace(base, parts=(base.parts[1], base.parts[0], base.parts[2])),
        "split in two": replace(base, parts=(base.parts[0], Part("user", "wh"), Part("user", "at?"))),
        "earlier answer": replace(
            base, parts=(*base.parts[:2], Part("assistant", "x"), Part("user", "why?"))
        ),
    }
    Kept(Speaker(), path, max_tokens=5)([base, *changed.values()])
    Kept(Speaker(), path, max_tokens=5)([base], [["yes"]])
    Kept(Speaker(), path, max_tokens=5)([base], [["no"]])
    Kept(Speaker(), path, max_tokens=6)([base])
    Kept(Speaker("speaker 2"), path, max_tokens=5)([base])
    file.write_bytes(file.read_bytes() + b"more")
    Kept(Speaker(), path, max_tokens=5)([base])
    (worse,) = CONTROLS[next(iter(WORSE))]([base], 0).values()
    Kept(Speaker(), path, max_tokens=5)([worse])
    # Another picture of the same size, written at the same time.
    status = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    Kept(Speaker(), path, max_tokens=5)([base, worse])
    found = keys(path)
    assert len(set(found)) == len(found) == 1 + len(changed) + 8


def test_a_file_that_was_touched_or_copied_is_the_same_picture(tmp_path: Path) -> None:
    path, file, copy = tmp_path / "kept.jsonl", tmp_path / "a.png", tmp_path / "copy.png"
    PIL.Image.new("RGB", (3, 3)).save(file)
    copy.write_bytes(file.read_bytes())
    speaker = Speaker()
    Kept(speaker, path, max_tokens=5)([asking("1", "what?", Medium(file, "a"))])
    os.utime(file, ns=(1, 1))
    Kept(speaker, path, max_tokens=5)([asking("1", "what?", Medium(file, "a"))])
    Kept(speaker, path, max_tokens=5)([asking("1", "what?", Medium(copy, "a"))])
    Kept(speaker, path, max_tokens=5)([asking("1", "what?", Medium(file.read_bytes(), "a"))])
    assert speaker.asked == ["1"]


def test_a_member_of_a_shard_that_was_replaced_is_asked_again(tmp_path: Path) -> None:
    path, shard = tmp_path / "kept.jsonl", tmp_path / "0.tar"
    speaker = Speaker()
    for content in (b"first picture", b"other picture", b"first picture"):
        shard.write_bytes(content)
        sample = asking("1", "what?", Medium(Slice(shard, 0, len(content), "0.tar#1"), "0.tar#1"))
        Kept(speaker, path, max_tokens=5)([sample])
    assert speaker.asked == ["1", "1"]


def test_what_changes_nothing_is_not_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    base = asking("1", "what?", Medium(RED, "a"))
    speaker = Speaker()
    kept = Kept(speaker, path, max_tokens=5)
    kept([base])
    for same in (
        replace(base, id="2", tags={"a": "b"}, references=("red",), group="other"),
        replace(base, parts=(Part("user", Medium(RED.copy(), "a")), *base.parts[1:])),
        replace(base, parts=(Part("user", Medium(np.asfortranarray(RED), "a")), *base.parts[1:])),
        replace(base, parts=base.parts[:2]),
        asking("1", "what?", Medium(RED, "a"), target="another"),
    ):
        kept([same])
    assert speaker.asked == ["1"]


def test_a_predictor_that_fails_loses_only_its_chunk(tmp_path: Path) -> None:
    path, samples = tmp_path / "kept.jsonl", many()
    with pytest.raises(BackendError, match="gone"):
        Kept(Speaker(fails_after=2), path, max_tokens=5, pictures_at_once=4)(samples)
    assert len(keys(path)) == 24
    rest = Speaker()
    kept = Kept(rest, path, max_tokens=5, pictures_at_once=4)
    assert kept(samples) == Speaker().predict(samples, max_tokens=5)
    assert [len(call) for call in rest.calls] == [6]
    assert (kept.asked, kept.reused) == (6, 24)


@pytest.mark.parametrize("cut", [1, 2, 20, 150])
def test_a_torn_last_line_is_dropped(cut: int, tmp_path: Path) -> None:
    path, samples = tmp_path / "kept.jsonl", many(4, 1)
    Kept(Speaker(), path, max_tokens=5)(samples)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    rest = Speaker()
    kept = Kept(rest, path, max_tokens=5)
    assert kept(samples) == Speaker().predict(samples, max_tokens=5)
    assert kept.notes == ()
    assert len(rest.asked) == 1
    assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_a_file_of_one_torn_line_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_bytes(b"x" * 200_000)
    Kept(Speaker(), path, max_tokens=5)(many(1, 1))
    assert len(keys(path)) == 1


def damaged(line: str) -> list[bytes]:
    row = json.loads(line)

    def changed(**values: Any) -> bytes:
        return json.dumps({**row, **values}).encode()

    return [
        b"not JSON",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"5",
        b"null",
        b"{}",
        json.dumps({key: value for key, value in row.items() if key != "finish"}).encode(),
        changed(key="12"),
        changed(key="x" * 64),
        changed(key=None),
        changed(text=5),
        changed(text=None),
        changed(logprob="low"),
        changed(logprob=True),
        changed(tokens=1.5),
        changed(finish="gone"),
        changed(finish=["stop"]),
        changed(likelihoods=5),
        changed(likelihoods=[[1.0]]),
        changed(likelihoods=[["a", 1]]),
        changed(extra=[]),
    ]


def test_damaged_and_foreign_lines_are_counted_and_not_used(tmp_path: Path) -> None:
    path, samples = tmp_path / "kept.jsonl", many(1, 2)
    Kept(Speaker(), path, max_tokens=5)(samples)
    first, second = path.read_text(encoding="utf-8").splitlines()
    bad = damaged(first)
    path.write_bytes(b"\n".join([*bad, b"", second.encode(), b""]))
    rest = Speaker()
    kept = Kept(rest, path, max_tokens=5)
    assert kept.notes == (f"{path}: {len(bad)} line(s) are damaged or not saved answers; they are ignored.",)
    assert kept(samples) == Speaker().predict(samples, max_tokens=5)
    assert (rest.asked, kept.reused) == (["0/0"], 1)


def test_a_line_without_end_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with path.open("wb") as file:
        file.truncate(80 << 20)
    assert Kept(Speaker(), path, max_tokens=5).notes == ()  # it does not end: torn
    with path.open("ab") as file:
        file.write(b"\n")
    assert "1 line(s)" in Kept(Speaker(), path, max_tokens=5).notes[0]


def test_likelihoods_of_nothing_come_back(tmp_path: Path) -> None:
    class Sure(Speaker):
        def predict(self, samples: Sequence[Sample], *_: Any, **__: Any) -> list[Prediction]:
            return [
                Prediction("\ud800\u2028\n", likelihoods=(Likelihood(-float("inf"), 3),)) for _ in samples
            ]

    path, samples = tmp_path / "kept.jsonl", many(1, 1)
    first = Kept(Sure(), path, max_tokens=5)(samples)
    assert Kept(Speaker(), path, max_tokens=5)(samples) == first


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the saved answers: a folder"):
        Kept(Speaker(), tmp_path, max_tokens=5)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r": cannot save answers \("):
        Kept(Speaker(), tmp_path / "file" / "kept.jsonl", max_tokens=5)(many(1, 1))


def test_a_predictor_that_loses_answers_is_said() -> None:
    class Lossy(Speaker):
        def predict(self, samples: Sequence[Sample], *_: Any, **__: Any) -> list[Prediction]:
            return []

    with pytest.raises(DataError, match=r"speaker: 0 prediction\(s\) for 2 sample\(s\)"):
        Kept(Lossy(), None, max_tokens=5)(many(1, 2))


def test_a_file_of_answers_is_asked_as_it_is(tmp_path: Path) -> None:
    class File(Speaker):
        can_control = False

    speaker = File()
    samples = [asking("1", "what?"), asking("2", "what?")]  # equal prompts, and each has an id of its own
    kept = Kept(speaker, tmp_path / "kept.jsonl", max_tokens=5)
    assert len(kept(samples)) == 2
    assert speaker.calls == [["1", "2"]]
    assert not (tmp_path / "kept.jsonl").exists()


SLOWLY = """
import sys
import time
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
from test_kept import Speaker, many
from sightweave.data.reading.image_paths import Slice
from sightweave.programs.evaluation.controls import CONTROLS
from sightweave.programs.evaluation.kept import Kept
from sightweave.programs.evaluation.worse import WORSE

class Slow(Speaker):
    def predict(self, *args, **options):
        time.sleep(0.15)
        found = super().predict(*args, **options)
        with open({log!r}, "a") as file:
            file.write("".join(name + "\\n" for name in self.calls[-1]))
        return found

found = Kept(Slow(), Path({path!r}), max_tokens=5, pictures_at_once=1)(many(20, 2))
assert found == Speaker().predict(many(20, 2), max_tokens=5)
"""


def test_a_killed_process_is_gone_on_with(tmp_path: Path) -> None:
    path, log = tmp_path / "kept.jsonl", tmp_path / "log"
    here = Path(__file__).parent
    values = {"tests": str(here.parents[3]), "here": str(here), "path": str(path), "log": str(log)}
    command = [sys.executable, "-c", SLOWLY.format(**values)]
    env = os.environ | {"PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(command, env=env)
    try:
        end = time.monotonic() + 120
        while not path.exists() or path.read_bytes().count(b"\n") < 8:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = path.read_bytes().count(b"\n")
    assert 8 <= before < 40
    answered = log.read_text(encoding="utf-8").split()
    subprocess.run(command, env=env, check=True, timeout=120)  # it compares with answers in one go
    every = log.read_text(encoding="utf-8").split()
    again = [name for name in every[len(answered) :] if name in answered]
    assert len(again) in (0, 2)  # at most the picture that it was at
    assert len(every) - len(answered) == 40 - before
    assert len(set(keys(path))) == len(keys(path)) == 40


class Refusing(Speaker):
    """A server that refuses some prompts for good, and fails on others for now."""

    may_refuse = True

    def __init__(self, refuses: str = "", fails: str = "", fingerprint: str = "speaker 1") -> None:
        super().__init__(fingerprint)
        self.refuses, self.fails = refuses, fails

    def predict(self, samples: Sequence[Sample], *given: Any, **options: Any) -> list[Prediction]:
        found = super().predict(samples, *given, **options)
        for place, sample in enumerate(samples):
            if self.fails and self.fails in sample.prompt:
                found[place] = Prediction("", extra={"unanswered": "overloaded", "may_pass": True})
            if self.refuses and self.refuses in sample.prompt:
                found[place] = Prediction("", extra={"unanswered": "filtered"})
        return found


def test_a_refused_prompt_is_kept_and_one_that_failed_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    samples = [asking(f"s{n}") for n in range(30)]
    kept = Kept(Refusing("s7?", "s8?"), path, max_tokens=5)
    found = kept(samples)
    assert [one.text == "" for one in found] == [n in (7, 8) for n in range(30)]
    refused, failed, cut = kept.take_notes()
    assert refused.startswith("speaker: the server refused 1 of 30 prompts; each counts as an empty answer")
    assert refused.endswith("only with --fresh: 's7' (filtered).")
    assert failed.endswith("run the same command again to retry: 's8' (overloaded).")
    assert "28 of 30 answers were cut at max_tokens=5" in cut
    assert kept.take_notes() == []

    again = Refusing()
    kept = Kept(again, path, max_tokens=5)
    found = kept(samples)
    assert again.asked == ["s8"]
    assert found[7].extra == {"unanswered": "filtered"}
    assert "'s7' (filtered)" in kept.take_notes()[0]  # what was kept is noted as well


def test_a_server_that_refuses_everything_is_asked_a_few_prompts_and_nothing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    refusing = Refusing("question")
    with pytest.raises(
        UnansweredError, match=r"none of the first 8 prompts was answered: filtered\. The server"
    ):
        Kept(refusing, path, max_tokens=5)([asking(f"s{n}") for n in range(1000)])
    assert refusing.asked == [f"s{round(n * 999 / 7)}" for n in range(8)]
    assert not path.exists()
    with pytest.raises(UnansweredError, match="none of the first 2 prompts"):
        Kept(refusing, path, max_tokens=5)([asking("a"), asking("b")])


def test_long_prompts_that_are_all_refused_do_not_end_it(tmp_path: Path) -> None:
    samples = [asking(f"s{n}", f"{'long ' * 9 if n < 300 else 'short'} {n}") for n in range(600)]
    kept = Kept(Refusing("long"), tmp_path / "kept.jsonl", max_tokens=5, pictures_at_once=20)
    found = kept(samples)
    assert sum(one.text == "" for one in found) == 300
    assert "refused 300 of 600 prompts" in kept.take_notes()[0]


def test_what_was_answered_before_counts_when_the_rest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    samples = [asking(f"s{n}") for n in range(4)]
    Kept(Refusing(fails="s3?"), path, max_tokens=5)(samples)
    found = Kept(Refusing(fails="s3?"), path, max_tokens=5)(samples)
    assert [one.text == "" for one in found] == [False, False, False, True]


@pytest.mark.parametrize(("told", "read"), [(1e-4, 0.0), (0.5, None), (float("nan"), None), (-0.5, -0.5)])
def test_an_impossible_log_probability_that_was_kept_is_not_used(
    told: float, read: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "kept.jsonl"
    sample = Sample(id="1", task="vqa", parts=(Part("user", "What?"),))
    Kept(Speaker(), path, max_tokens=5)([sample])
    row = json.loads(path.read_bytes())
    path.write_text(json.dumps(row | {"logprob": told}) + "\n")
    again = Speaker()
    (found,) = Kept(again, path, max_tokens=5)([sample])
    assert (found.text, found.logprob, again.calls) == (row["text"], read, [])


class Painter(Speaker):
    """Answers with a text and an image, which differs from one call to the next."""

    def predict(self, samples: Sequence[Sample], *args: Any, **options: Any) -> list[Prediction]:
        found = super().predict(samples, *args, **options)
        image = PIL.Image.fromarray(np.full((3, 4, 3), len(self.calls), np.uint8))
        return [replace(one, parts=(one.text, image)) for one in found]


def test_images_are_kept_with_their_answers(tmp_path: Path) -> None:
    text = asking("one")
    image = replace(text, parts=(*text.parts[:-1], Part("assistant", picture(1), learn=True)))
    before = Kept(Painter(), tmp_path / "kept.jsonl", max_tokens=5)
    (first,) = before([text])
    (second,) = before([image])
    assert before.asked == 2  # the same question, once for a text and once for an image

    after = Kept(Painter(), tmp_path / "kept.jsonl", max_tokens=5)
    found = after([text, image])
    assert after.asked == 0
    assert [one.images[0].tobytes() for one in found] == [
        first.images[0].tobytes(),
        second.images[0].tobytes(),
    ]
    assert found[0].images[0].tobytes() != found[1].images[0].tobytes()
