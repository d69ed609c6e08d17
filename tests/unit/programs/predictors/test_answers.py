"""A file of answers: every layout is read, every sample finds its own answer, and every fault is one clear error."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightweave.core import catalog
from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Medium, Part, Prediction, Sample
from sightweave.data.reading.dataset import task_of
from sightweave.data.tasks import captioning, vqa
from sightweave.programs.evaluation import submission
from sightweave.programs.evaluation.scores import Answer, Evaluation, Item
from sightweave.programs.predictors import answers


def sample(name: str, prompt: str = "what?", image: str = "a.png") -> Sample:
    media = (Part("user", Medium(np.zeros((2, 2, 3), np.uint8), image)),) if image else ()
    target = Part("assistant", "x", learn=True)
    return Sample(id=name, task="vqa", parts=(*media, Part("user", prompt), target))


def write(folder: Path, content: Any, name: str = "answers.jsonl") -> Path:
    path = folder / name
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def said(path: Path, *names: str, **options: Any) -> list[str]:
    found = answers.Config(path=str(path), **options).build()
    return [one.text for one in found.predict([sample(name) for name in names])]


def refusal(path: Path, *names: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        said(path, *names or ("1",), **options)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is read.


@pytest.mark.parametrize("name", ["id", "question_id", "questionId", "identifier", "image_id", "image"])
@pytest.mark.parametrize("field", ["answer", "prediction", "caption"])
def test_names_of_fields(name: str, field: str, tmp_path: Path) -> None:
    path = write(tmp_path, [{name: "2", field: "blue"}, {name: "1", field: "red"}])
    assert said(path, "1", "2") == ["red", "blue"]


def test_numbers_are_taken_as_they_are_written(tmp_path: Path) -> None:
    path = write(
        tmp_path, '{"question_id": 007, "answer": 1}\n'.replace("007", "7") + '{"id": "8", "answer": 2.50}\n'
    )
    assert said(path, "7", "8") == ["1", "2.50"]


ROWS = [("7", "red"), ("12", 'a, "quoted"\nanswer'), ("3", "\u00e9 \u4e2d \U0001f600")]


@pytest.mark.parametrize("kind", [kind for kind in submission.LAYOUTS if kind != "nlvr2"])
def test_every_layout_that_servers_take_comes_back(kind: str, tmp_path: Path) -> None:
    rows = [{"id": name, "answer": text} for name, text in ROWS]
    path = write(tmp_path, submission.write(kind, rows), "answers.json")
    assert said(path, *(name for name, _ in ROWS)) == [text for _, text in ROWS]


def test_nlvr2_comes_back(tmp_path: Path) -> None:
    rows = [{"id": "test1-0-0-0", "answer": "True"}, {"id": "test1-0-1-0", "answer": "no"}]
    path = write(tmp_path, submission.write("nlvr2", rows), "answers.csv")
    assert said(path, "test1-0-1-0", "test1-0-0-0") == ["false", "true"]


@pytest.mark.parametrize(
    ("kind", "made", "layout"),
    [
        ("vqa_v2", "write", "vqa_v2"),
        ("vqa_v2", "write_okvqa", "vqa_v2"),
        ("vqa_v2", "write_vizwiz", "vizwiz"),
        ("textvqa", "write", "textvqa"),
        ("gqa", "write", "gqa"),
        ("nlvr2", "write", "nlvr2"),
        ("coco", "write", "coco"),
        ("coco", "write_karpathy", "coco"),
    ],
)
def test_ids_of_a_servers_file_are_those_of_the_data_set(
    kind: str, made: str, layout: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    getattr(importlib.import_module(f"data_sets.{kind}"), made)(folder)
    data = catalog.config_class("data.datasets", kind)(path=str(folder)).build(split="val")
    ask = {"vqa": vqa.Config().build(), "captioning": captioning.Config().build()}
    asked = [ask[task_of(record)].sample(record) for records in data for record in records]
    assert asked
    rows = [{"id": one.id, "answer": one.target} for one in asked]
    name = "answers.csv" if layout == "nlvr2" else "answers.json"
    path = write(tmp_path, submission.write(layout, rows[::-1]), name)
    found = answers.Config(path=str(path)).build()
    texts = [one.text for one in found.predict(asked)]
    assert texts == [one.target.lower() if layout == "nlvr2" else one.target for one in asked]
    assert found.notes == ()


def test_our_own_predictions_come_back(tmp_path: Path) -> None:
    def item(name: str, text: str, logprob: float | None, finish: str) -> Item:
        answer = Answer(text=text, parsed=text, right=False, logprob=logprob, finish=finish, image="a.png")
        return Item(
            id=name,
            group="a.png",
            task="vqa",
            type="question",
            prompt="what?",
            references=("red",),
            answer=answer,
            controls={"no_image": answer},
        )

    items = (item("1", "red", -0.25, "stop"), item("2", "", None, "length"))
    evaluation = Evaluation(split="val", seed=0, count=2, pictures=1, tasks=(), items=items)
    path = write(tmp_path, list(evaluation.predictions()))
    found = answers.Config(path=str(path), split="val").build()
    assert found.predict([sample("2"), sample("1")]) == [
        Prediction("", finish="length"),
        Prediction("red", logprob=-0.25),
    ]
    assert "1 of 2 answers are empty" in found.notes[0]


def test_rows_of_generate_are_found_by_picture_and_prompt(tmp_path: Path) -> None:
    rows = [
        {"image": "a.png", "prompt": "what?", "answer": "red", "logprob": -1.5},
        {"image": "b.png", "prompt": "what?", "answer": "blue", "logprob": -0.5},
        {"image": None, "prompt": "what?", "answer": "nothing", "logprob": None},
        {"image": "a.png", "prompt": "what?", "answer": "red", "logprob": -1.5},
        {"id": "9", "image": "a.png", "prompt": "what?", "answer": "by id", "logprob": -1.0},
    ]
    found = answers.Config(path=str(write(tmp_path, rows))).build()
    asked = [sample("x", image="b.png"), sample("y", image="a.png"), sample("z", image=""), sample("9")]
    assert [one.text for one in found.predict(asked)] == ["blue", "red", "nothing", "by id"]
    assert [one.logprob for one in found.predict(asked)] == [-0.5, -1.5, None, -1.0]
    rows[3]["answer"] = "green"
    message = refusal(write(tmp_path, rows))
    assert ":4: the prompt 'what?' on the image 'a.png' is also in" in message
    assert ":1; keep one answer for each" in message


def test_names_of_pictures_with_and_without_their_ending(tmp_path: Path) -> None:
    path = write(tmp_path, [{"image": "V_1.jpg", "answer": "one"}, {"image": "deep/2.jpg", "answer": "two"}])
    assert said(path, "V_1", "V_1.jpg", "deep/2.jpg") == ["one", "one", "two"]
    assert "no answer for 1 of 2" in refusal(path, "V_1", "2")
    both = write(tmp_path, [{"image": "1.jpg", "answer": "jpg"}, {"image": "1.png", "answer": "png"}])
    assert said(both, "1.png", "1.jpg") == ["png", "jpg"]
    assert "none of its 2 answer(s)" in refusal(both, "1")


def test_csv_with_a_head(tmp_path: Path) -> None:
    text = 'answer,other,id,logprob\r\n"red, dark",1,q1,-0.5\r\n"two\nlines",1,q2,\r\n'
    found = answers.Config(path=str(write(tmp_path, text, "a.csv"))).build()
    assert found.predict([sample("q2"), sample("q1")]) == [
        Prediction("two\nlines"),
        Prediction("red, dark", logprob=-0.5),
    ]


@pytest.mark.parametrize("name", ["answers.json", "answers.jsonl"])
def test_layout_is_told_by_content(name: str, tmp_path: Path) -> None:
    rows = [{"id": "1", "answer": "red"}, {"id": "2", "answer": "blue"}]
    for text in (json.dumps(rows), json.dumps(rows, indent=1), "\n".join(map(json.dumps, rows)), " \n[ ]"):
        path = write(tmp_path, "\ufeff" + text, name)
        if "red" in text:
            assert said(path, "1", "2") == ["red", "blue"]
        else:
            assert "no answers" in refusal(path)


def test_one_split_of_several(tmp_path: Path) -> None:
    rows = [{"id": "1", "answer": split, "split": split} for split in ("val", "test")]
    path = write(tmp_path, [*rows, {"id": "2", "answer": "any"}])
    message = refusal(path)
    assert ":2: the id '1' is also in" in message
    assert "they are in the splits 'val' and 'test': set `split`" in message
    assert said(path, "1", "2", split="test") == ["test", "any"]
    assert said(path, "1", split="val") == ["val"]


# What a predictor is.


def test_what_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, [{"id": "1", "answer": "red"}])
    found = answers.Config(path=str(path)).build()
    assert (found.name, found.can_score, found.can_control) == (str(path), False, False)
    assert answers.recognise(str(path)) == "a file of answers"
    assert not answers.recognise(str(tmp_path))
    assert not answers.recognise(str(tmp_path / "other.jsonl"))
    assert not answers.recognise("http://localhost/answers.json")
    assert not answers.recognise("a\0.json")
    same = answers.Config(path=str(write(tmp_path, [{"id": "1", "answer": "red"}], "copy.jsonl"))).build()
    other = answers.Config(path=str(write(tmp_path, [{"id": "1", "answer": "blue"}], "other.jsonl"))).build()
    assert found.fingerprint == same.fingerprint != other.fingerprint


def test_texts_are_not_judged(tmp_path: Path) -> None:
    found = answers.Config(path=str(write(tmp_path, [{"id": "1", "answer": "red"}]))).build()
    told: list[int] = []
    with pytest.raises(BackendError, match=": a file of answers has no likelihoods of other texts;"):
        found.predict([sample("1")], [["red"]])
    with pytest.raises(DataError, match=r"2 list\(s\) of texts for 1 sample"):
        found.predict([sample("1")], [[], []])
    assert found.predict([sample("1")], [()], progress=told.append) == [Prediction("red")]
    assert found.predict([sample("1")], max_tokens=0) == [Prediction("", finish="none")]
    assert found.predict([]) == []
    assert told == [1]


# What does not fit.


def test_missing_answers_stop_it_or_count_as_wrong(tmp_path: Path) -> None:
    path = write(tmp_path, [{"id": "1", "answer": "red"}])
    names = ["1", *(f"q{n}" for n in range(9))]
    message = refusal(path, *names)
    assert "no answer for 9 of 10 samples, such as q0, q1, q2, q3, q4;" in message
    assert "q5" not in message
    found = answers.Config(path=str(path), missing="wrong").build()
    given = found.predict([sample(name) for name in names])
    assert given == [Prediction("red"), *[Prediction("")] * 9]
    assert found.notes == (f"{path}: 9 of 10 samples have no answer; each counts as an empty answer.",)


def test_answers_for_other_samples_are_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path, json.dumps([{"id": n, "answer": "red"} for n in range(5)]), "a.json"
    )  # all in one line
    found = answers.Config(path=str(path)).build()
    found.predict([sample("1"), sample("3"), sample("3")])
    assert found.notes == (f"{path}: 3 of its 5 answers match none of these samples.",)


@pytest.mark.parametrize("missing", ["error", "wrong"])
def test_answers_to_something_else_are_an_error_whatever_is_allowed_to_miss(
    missing: str, tmp_path: Path
) -> None:
    path = write(tmp_path, [{"id": "vqa-1", "answer": "red"}, {"id": "vqa-2", "answer": "red"}])
    message = refusal(path, "gqa-1", "gqa-2", "gqa-3", missing=missing)
    assert "none of its 2 answer(s) matches any of the 3 sample(s)" in message
    assert "it has 'vqa-1', the samples 'gqa-1'" in message


def test_twice_the_same_id(tmp_path: Path) -> None:
    path = write(tmp_path, [{"id": 1, "answer": "a"}, {"id": 2, "answer": "b"}, {"id": "1", "answer": "a"}])
    message = refusal(path)
    assert message.startswith(f"{path}:3: the id '1' is also in {path}:1; keep one answer for each")
    array = write(tmp_path, json.dumps([{"image": "1", "answer": "a"}] * 2), "a.json")
    assert ":1 (row 2): the image '1' is also in" in refusal(array)


WRONG = [
    ({"id": "1"}, "no answer; a row needs one of answer, prediction, caption (it has: ['id'])"),
    ({"id": "1", "answer": "x", "caption": "y"}, "both answer and caption; keep the one to evaluate"),
    ({"answer": "x"}, "no id; a row needs one of id"),
    ({"id": None, "answer": "x"}, "id: must be text (got None)"),
    ({"id": True, "answer": "x"}, "id: must be text (got True)"),
    ({"id": 1.5, "answer": "x"}, "id: must be text or a whole number (got 1.5)"),
    ({"id": ["1"], "answer": "x"}, "id: must be text (got ['1'])"),
    ({"id": " ", "answer": "x"}, "id: is empty"),
    ({"id": "1", "answer": None}, "answer: must be text (got None)"),
    ({"id": "1", "answer": False}, "answer: must be text (got False)"),
    ({"id": "1", "answer": ["x"]}, "answer: must be text (got ['x'])"),
    ({"id": "1", "answer": {"text": "x"}}, "answer: must be text"),
    ({"id": "1", "answer": "\ud800"}, "unpaired surrogate"),
    ({"id": "1", "answer": "x", "logprob": "-1"}, "logprob: must be the mean"),
    ({"id": "1", "answer": "x", "logprob": 0.5}, "logprob: must be the mean natural logarithm"),
    ({"id": "1", "answer": "x", "logprob": [1]}, "logprob: must be"),
    ({"image": "a.png", "prompt": 5.5, "answer": ["x"]}, "answer: must be text"),
    ({"image": "a.png", "prompt": None, "answer": "x"}, "prompt: must be text"),
    ("text", "a row must be an object"),
    (5, "a row must be an object"),
    (None, "a row must be an object"),
]


@pytest.mark.parametrize(("row", "words"), WRONG)
@pytest.mark.parametrize("form", ["lines", "array"])
def test_a_wrong_row_is_said_with_its_line(row: Any, words: str, form: str, tmp_path: Path) -> None:
    rows = [{"id": "first", "answer": "x"}, row]
    text = json.dumps(rows, indent=1) if form == "array" else "\n\n".join(map(json.dumps, rows))
    path = write(tmp_path, text)
    message = refusal(path)
    assert words in message
    assert message.startswith(f"{path}:3: " if form == "lines" else f"{path}:6 (row 2): ")


BROKEN: list[tuple[bytes, str]] = [
    (b"", "the file is empty"),
    (b" \n \xef\xbb\xbf".strip(b" \n"), "empty"),
    (b'{"id": "1", "answer": "x"}\n{"id": "2", "ans', ":2: not JSON: Unterminated string"),
    (b'{"id": "1", "answer": "x"} {"id": "2"}', ":1: unexpected text after the row"),
    (b'{"id": "1", "answer": "x"},\n', ":1: unexpected text after the row: ','"),
    (b'{"id": "1", "answer": "\xff"}', ":1: not UTF-8: byte 0xff"),
    (b'[{"id": "1", "answer": "x"},\n{"id": "1", "answer": "\xff"}]', ":2: not UTF-8"),
    (b'{"id": "1", "answer": "x", "logprob": NaN}', ":1: NaN is not JSON"),
    (b'[{"id": "1", "answer": "x",\n "logprob": -Infinity}]', ":1: -Infinity is not JSON"),
    (b'{"id": "1", "answer": "x", "logprob": -1e999}', ":1: logprob: must be"),
    (b'{"id": "1", "answer": "x", "answer": "y"}', ":1: 'answer' is given twice ('x' and 'y')"),
    (b"[" * 100_000, "nested too deep"),
    (b'{"id": ' + b"[" * 100_000, "nested too deep"),
    (b'[{"id": "1", "answer": "x"}', "or ']' (got the end of the file)"),
    (b'[{"id": "1", "answer": "x"},]', "']' (got "),
    (b'[{"id": "1", "answer": "x"}\n{"id": "2", "answer": "x"}]', ":2: not JSON: expected ',' and a row"),
    (b'[{"id": "1", "answer": "x"}] 5', ": unexpected text after the array:"),
    (b"[", "not JSON: Expecting value"),
    (b"{\n", ":1: not JSON"),
    (b"answers: none", ":1: not JSON"),
    (b"\x1f\x8b\x08\x00", ":1: not UTF-8"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN)
def test_what_is_no_file_of_answers(content: bytes, words: str, tmp_path: Path) -> None:
    message = refusal(write(tmp_path, content))
    assert words in message
    assert len(message) < 500 + len(str(tmp_path))


BROKEN_CSV = [
    ("1,true,2\n", ":1: 3 value(s) for the 2 columns id, answer"),
    ("id,answer\n1\n", ":2: 1 value(s) for the 2 columns id, answer"),
    ('id,answer\n1,"x\n', "not CSV"),
    ("id,answer,id\n", ":1: a column appears twice"),
    ("id,answer\n", "no answers"),
    ("id,answer,logprob\n1,x,nan\n", ":2: logprob: must be"),
    ("id,answer,logprob\n1,x,low\n", ":2: logprob: must be"),
    ("id,answer\n,x\n", ":2: id: is empty"),
    ("1," + "x" * 200_000, ":1: not CSV: field larger"),
    ("1,x\n1,x\n", ":2: the id '1' is also in"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN_CSV)
def test_what_is_no_csv_of_answers(content: str, words: str, tmp_path: Path) -> None:
    assert words in refusal(write(tmp_path, content, "answers.csv"))


def test_what_is_no_file(tmp_path: Path) -> None:
    assert ": is a folder; give the file of answers in it." in refusal(tmp_path)
    assert "cannot be read (No such file" in refusal(tmp_path / "none.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "not a regular file" in refusal(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="not a valid file name"):
        answers.Config(path="a\0b.jsonl").build()


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no room
    assert "bytes; keep only ids and answers in it, or split it." in refusal(path)


def test_what_a_model_thought_is_no_answer_in_a_file_either(tmp_path: Path) -> None:
    texts = ["<think>A dog?</think>\ncat", "A dog?</think>cat", "cat", "The tag is <think>"]
    path = write(tmp_path, [{"id": str(n), "answer": text, "logprob": -0.1} for n, text in enumerate(texts)])
    assert said(path, "0", "1", "2", "3") == ["cat", "cat", "cat", "The tag is <think>"]
    rows = [{"id": "a", "answer": "a</think>cat"}, {"id": "b", "answer": "Perhaps a", "finish": "length"}]
    assert said(write(tmp_path, rows), "a", "b") == ["cat", ""]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_a_line_separator_in_an_answer_ends_no_row(mark: str, tmp_path: Path) -> None:
    text = f"one{mark}two"
    rows = [{"id": "1", "answer": text}, {"id": "2", "answer": "red"}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert said(write(tmp_path, lines), "1", "2") == [text, "red"]
    assert said(write(tmp_path, f'id,answer\n1,"{text}"\n2,red\n', "a.csv"), "1", "2") == [text, "red"]
