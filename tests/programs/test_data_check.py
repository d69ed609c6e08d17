"""`sightweave data check` on a folder with more than forty planted faults: all are named, and mended where possible."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightweave import api
from sightweave.core.errors import DataError

TRAIN, TEST = {"split": "train"}, {"split": "test"}


def picture(seed: int, side: tuple[int, int] = (96, 64)) -> Image.Image:
    """A picture with large forms, unlike any other seed's."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(side, Image.Resampling.BICUBIC)


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def with_place(path: Path, image: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.0)
    image.save(path, exif=exif)


class Planted:
    """A folder under construction: each fault is one row or one picture."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[bytes] = []
        self.expected: dict[str, str] = {}
        self.numbers = 100
        folder.mkdir()

    def row(self, values: dict[str, Any] | bytes, code: str = "") -> None:
        self.lines.append(values if isinstance(values, bytes) else json.dumps(values).encode())
        if code:
            self.expected.setdefault(code, f"data.jsonl:{len(self.lines)}")

    def good(self) -> str:
        self.numbers += 1
        name = f"good{self.numbers}.png"
        picture(self.numbers).save(self.folder / name)
        return name

    def image(self, name: str, code: str, save: Any) -> None:
        if save is not None:
            save(self.folder / name)
        self.row({"image": name, "caption": f"A picture called {name}.", **TRAIN}, code)
        self.expected[code] = name

    def text(self, text: str, code: str) -> None:
        self.row({"image": self.good(), "caption": text, **TRAIN}, code)


def plant(folder: Path) -> Planted:
    made = Planted(folder)
    pictures(made)
    rows(made)
    texts(made)
    same = made.good()
    made.row({"image": same, "caption": "Twice the same.", **TRAIN})
    made.row({"image": same, "caption": "Twice the same.", **TRAIN}, "duplicate_row")
    (folder / "copy.png").write_bytes((folder / same).read_bytes())
    made.row({"image": "copy.png", "caption": "Its copy.", **TRAIN})
    made.expected["image_duplicate"] = "copy.png"
    picture(501, (320, 240)).save(folder / "large.png")
    picture(501, (320, 240)).resize((200, 150)).save(folder / "near.jpg", quality=60)
    made.row({"image": "large.png", "caption": "Seen in training.", **TRAIN})
    made.row({"image": "near.jpg", "caption": "And in the test.", **TEST})
    made.expected |= {"image_near_duplicate": "near.jpg", "train_test_overlap": "large.png"}
    both = made.good()
    made.row({"image": both, "caption": "In both.", **TRAIN})
    made.row({"image": both, "caption": "In both too.", **TEST})
    made.expected["split_shares_picture"] = both
    # A language prior: the question alone tells the answer.
    for number in range(40):
        thing, answer = ("sky", "blue") if number % 2 else ("grass", "green")
        made.row({"image": made.good(), "question": f"What color is the {thing}?", "answer": answer, **TRAIN})
    for _ in range(30):
        made.row({"image": made.good(), "question": "Is it day?", "answer": "yes", "type": "day", **TRAIN})
    made.row({"image": made.good(), "question": "Is it day?", "answer": "no", "type": "day", **TRAIN})
    made.expected |= {"label_text_only": "", "label_majority": "", "no_licence": ""}
    (folder / "data.jsonl").write_bytes(b"\n".join(made.lines) + b"\n")
    return made


def pictures(made: Planted) -> None:
    whole = made.folder.parent / "whole.jpg"
    picture(1, (320, 240)).save(whole, quality=95)
    broken = bytearray((made.folder / made.good()).read_bytes())
    broken[len(broken) // 2] ^= 255
    frames = [picture(seed) for seed in (2, 3)]
    sixteen = Image.fromarray(np.arange(96 * 64, dtype=np.uint16).reshape(64, 96) * 10)
    made.image("gone.png", "image_missing", None)
    made.image("folder.png", "image_not_a_file", Path.mkdir)
    made.image("empty.png", "image_empty", lambda p: p.write_bytes(b""))
    made.image("damaged.png", "image_corrupt", lambda p: p.write_bytes(broken))
    made.image("cut.jpg", "image_truncated", lambda p: p.write_bytes(whole.read_bytes()[:4000]))
    made.image("tiff.jpg", "image_unsupported_format", lambda p: picture(4).save(p, "TIFF"))
    made.image("bomb.png", "image_too_large", lambda p: p.write_bytes(png_header(40_000, 40_000)))
    made.image("thin.png", "image_aspect_ratio", lambda p: picture(5, (1000, 2)).save(p))
    made.image(
        "moves.gif", "image_animated", lambda p: frames[0].save(p, save_all=True, append_images=frames[1:])
    )
    made.image("inks.jpg", "image_cmyk", lambda p: picture(6).convert("CMYK").save(p))
    made.image("placed.jpg", "image_location", lambda p: with_place(p, picture(7)))
    made.image("tiny.png", "image_extreme_size", lambda p: picture(8, (9, 9)).save(p))
    made.image("deep.png", "image_sixteen_bit", sixteen.save)
    made.image("named.jpg", "image_extension", lambda p: picture(9).save(p, "PNG"))
    made.image("plain.png", "image_blank", lambda p: Image.new("RGB", (64, 64), (9, 9, 9)).save(p))
    secret = made.folder.parent / "secret.png"
    picture(10).save(secret)
    os.symlink(secret, made.folder / "link.png")
    made.row({"image": "link.png", "caption": "x", **TRAIN}, "image_path")


def rows(made: Planted) -> None:
    a = made.good()
    question = {"role": "user", "content": [0, "what?"]}
    answer = {"role": "assistant", "content": "a cat"}
    made.row({"caption": "no picture", **TRAIN}, "missing_field")
    made.row({"image": a, "captoin": "x", **TRAIN}, "unknown_field")
    made.row({"image": a, "caption": {"text": 5}, **TRAIN}, "wrong_type")
    made.row({"image": a, "question": "q", "answer": "", **TRAIN}, "empty_field")
    made.row(b'{"image": "a.png", "caption": "x", "caption": "y"}', "duplicate_field")
    made.row(b'{"image": "a.png", "caption": "x",}', "bad_json")
    made.row(b'{"image": "a.png", "caption": "caf\xe9"}', "bad_encoding")
    made.row(f'{{"image": "{a}", "caption": "\\ud800"}}'.encode(), "bad_text")
    made.row({"image": a, "caption": "x", "split": "trian"}, "bad_split")
    made.row({"images": [a, a], "turns": [question, answer], **TRAIN}, "image_marks")
    made.row(
        {"image": a, "turns": [question, answer, {"role": "user", "content": "?"}], **TRAIN}, "turn_order"
    )
    made.row({"image": a, "turns": [{"role": "usr", "content": [0]}, answer], **TRAIN}, "bad_role")


def texts(made: Planted) -> None:
    made.text("It rings\x07 twice.", "text_control_characters")
    made.text("A caf\ufffd at night.", "text_replacement_character")
    made.text("A caf\u00c3\u00a9 at night.", "text_mojibake")
    made.text("A sign \u202eevil\u202c here.", "text_bidi_override")
    made.text("He says <image> and leaves.", "text_special_token")
    made.text("Write to jane.doe@example.org today.", "text_email")
    made.text("Call +49 30 1234567 now.", "text_phone")
    made.text("See https://example.org/a?b=c for more.", "text_url")
    made.text("A <b>bold</b> dog.", "text_html")
    made.text("very " * 60, "text_repeated")
    made.text("A long story. " + " ".join(f"Then came number {n}." for n in range(400)), "text_over_long")


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sightweave", "data", "check", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def codes(report: Path) -> dict[str, Any]:
    return {one["code"]: one for one in json.loads(report.read_text(encoding="utf-8"))["findings"]}


def test_all_planted_faults_are_named_and_what_can_be_mended_is(tmp_path: Path) -> None:
    made = plant(tmp_path / "data")
    found = run("data", "--fix", "clean", "--out", "report", folder=tmp_path)
    assert found.returncode == 1, found.stderr
    assert "Traceback" not in found.stderr
    assert len(made.expected) >= 40
    report = codes(tmp_path / "report" / "report.json")
    assert sorted(set(made.expected) - set(report)) == []
    for code, place in made.expected.items():
        examples = [
            f"{e['file']}:{e['line']} {e['message']} {e['picture']}" for e in report[code]["examples"]
        ]
        assert any(re.search(rf"{re.escape(place)}\b", example) for example in examples), (
            code,
            place,
            examples,
        )
        assert code in found.stdout
    assert "training and held-out splits share images" in found.stdout
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/") >= 10
    assert "http://" not in re.sub(r"https?://example\.org[^ <]*", "", page)

    changes = [json.loads(line) for line in (tmp_path / "clean" / "changes.jsonl").read_text().splitlines()]
    reasons = {change["reason"] for change in changes}
    assert {"bad picture", "duplicate_row", "train_test_overlap", "image_location", "bad_json"} <= reasons
    clean = run("clean", "--out", "again", folder=tmp_path)
    assert clean.returncode == 0, clean.stdout
    left = codes(tmp_path / "again" / "report.json")
    assert [code for code, one in left.items() if one["severity"] == "error"] == []
    assert "image_location" not in left
    assert "duplicate_row" not in left
    with Image.open(tmp_path / "clean" / "placed.jpg") as image:
        assert image.getexif()[0x0112] == 6  # still turned as it was
        assert not image.getexif().get_ifd(0x8825)


def test_a_check_goes_on_where_it_was(tmp_path: Path) -> None:
    made = Planted(tmp_path / "data")
    for _ in range(12):
        made.row({"image": made.good(), "caption": "A picture.", **TRAIN})
    (made.folder / "data.jsonl").write_bytes(b"\n".join(made.lines))
    first = api.check_data(made.folder, out=tmp_path / "report")
    again = api.check_data(made.folder, out=tmp_path / "report")
    assert (first.looked_at, again.looked_at) == (12, 0)
    assert first.to_json() == again.to_json()
    (made.folder / "good105.png").write_bytes(b"changed")
    third = api.check_data(made.folder, out=tmp_path / "report")
    assert third.looked_at == 1
    assert third.findings["image_corrupt"].count == 1
    assert third.may_train
    assert third.good_rows == 11


def test_a_test_set_that_training_has_seen(tmp_path: Path) -> None:
    train, test = Planted(tmp_path / "train"), Planted(tmp_path / "test")
    for made in (train, test):
        for name, seed in (("a.png", 1), ("b.png", 2)) if made is train else (("c.jpg", 1), ("d.png", 3)):
            picture(seed, (320, 240)).save(made.folder / name)
            made.row({"image": name, "caption": "A picture.", **TRAIN})
        (made.folder / "data.jsonl").write_bytes(b"\n".join(made.lines))
    report = api.check_data(
        train.folder, against=test.folder, fix=tmp_path / "fixed", out=tmp_path / "report"
    )
    assert not report.may_train
    assert report.findings["against_overlap"].count == 1
    assert "a.png is nearly c.jpg" in report.findings["against_overlap"].examples[0].message
    assert "b.png" in (tmp_path / "fixed" / "data.jsonl").read_text()
    assert "a.png" not in (tmp_path / "fixed" / "data.jsonl").read_text()


def test_what_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": generated by Sightweave; there are no files to check\."):
        api.check_data("scenes", out=tmp_path)
    made = Planted(tmp_path / "data")
    made.row({"image": made.good(), "caption": "x"})
    (made.folder / "data.jsonl").write_bytes(b"\n".join(made.lines))
    with pytest.raises(DataError, match=r": is inside the data \("):
        api.check_data(made.folder, fix=made.folder / "clean", out=tmp_path / "report")
    (tmp_path / "report" / "pictures.sqlite").write_bytes(b"no database" * 100)
    for name in ("pictures.sqlite-wal", "pictures.sqlite-shm"):
        (tmp_path / "report" / name).unlink(missing_ok=True)
    with pytest.raises(DataError, match=r": not a file written by this check \("):
        api.check_data(made.folder, out=tmp_path / "report")


def test_rows_without_an_answer_in_a_test_file_are_not_bad(tmp_path: Path) -> None:
    """Official test files hold no answers: a thousand of them must not stop the training."""
    folder = tmp_path / "data"
    folder.mkdir()
    picture(1).save(folder / "CLEVR_train_000000.png")
    picture(2).save(folder / "CLEVR_test_000000.png")
    for split, count, answer in (("train", 1500, {"answer": "yes"}), ("test", 1200, {})):
        questions = [
            {
                "split": split,
                "image_index": 0,
                "image_filename": f"CLEVR_{split}_000000.png",
                "question": f"Is it {n}?",
                "question_family_index": 0,
                **answer,
            }
            for n in range(count)
        ]
        text = json.dumps({"info": {"split": split, "license": "x"}, "questions": questions})
        (folder / f"CLEVR_{split}_questions.json").write_text(text)
    report = api.check_data(folder, out=tmp_path / "report")
    assert (report.kind, report.rows, report.good_rows, report.passed_over) == ("clevr", 2700, 1500, 1200)
    assert report.bad_rows == 0
    assert report.may_train
    filtered = api.check_data({"path": str(folder), "tasks": ["captioning"]}, out=tmp_path / "report")
    assert (filtered.bad_rows, filtered.passed_over, filtered.may_train) == (0, 2700, False)
    assert "none of 2700 rows can be trained on" in filtered.verdict()


def test_over_a_hundredth_of_bad_rows_stops_as_it_does_in_training(tmp_path: Path) -> None:
    made = Planted(tmp_path / "data")
    good = made.good()
    for number in range(1000):
        made.row({"image": good, "caption": f"Number {number}.", **TRAIN})
    for number in range(11):
        made.row({"image": good, "captoin": f"{number}", **TRAIN})
    (made.folder / "data.jsonl").write_bytes(b"\n".join(made.lines))
    report = api.check_data(made.folder, out=tmp_path / "report")
    assert report.bad_rows == 11
    assert "11 of 1011 rows are bad, more than max_bad 1.0%" in report.verdict()
    with pytest.raises(DataError, match=r"11 of 1011 rows are bad, more than max_bad 1\.0%"):
        api.source(made.folder).build(split="train")


def test_a_row_in_training_and_in_the_test_is_a_leak_and_the_test_keeps_it(tmp_path: Path) -> None:
    made = Planted(tmp_path / "data")
    name, other = made.good(), made.good()
    made.row({"image": name, "caption": "Word for word.", **TEST})
    made.row({"image": name, "caption": "Word for word.", **TRAIN}, "train_test_overlap")
    made.row({"image": name, "caption": "In other words.", **TRAIN})
    made.row({"image": other, "caption": "Elsewhere.", **TRAIN})
    (made.folder / "data.jsonl").write_bytes(b"\n".join(made.lines))
    report = api.check_data(made.folder, out=tmp_path / "report", fix=tmp_path / "clean")
    assert not report.may_train
    assert [(e.line, e.message[:8]) for e in report.findings["train_test_overlap"].examples] == [
        (2, "the same")
    ]
    assert "duplicate_row" not in report.findings
    kept = (tmp_path / "clean" / "data.jsonl").read_text(encoding="utf-8")
    assert kept.count("Word for word.") == 1
    assert '"test"' in kept
    # Whoever takes all rows for training has no test to leak into; there the second row is a double.
    alone = api.check_data({"path": str(made.folder), "split": "train"}, out=tmp_path / "again")
    assert alone.may_train
    assert alone.findings["duplicate_row"].count == 1


def test_names_that_are_no_text_are_faults_and_no_traceback(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        picture(len(name)).save(tmp_path / "data" / name / "ok.png")
    odd = os.path.join(os.fsencode(tmp_path / "data" / "cat"), b"caf\xe9.png")
    with open(odd, "wb") as file:
        file.write((tmp_path / "data" / "cat" / "ok.png").read_bytes())
    found = run("data", "--out", "report", folder=tmp_path)
    assert (found.returncode, found.stderr.count("Traceback")) == (0, 0), found.stderr
    assert "contains an invalid character; rename the file in UTF-8" in found.stdout
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert (report["kind"], report["rows"], report["good_rows"]) == ("imagefolder", 3, 2)


def test_a_bad_picture_of_a_class_is_left_out_of_the_copy(tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "dog", "cat/more")):
        (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
        picture(number).save(tmp_path / "data" / name / "ok.png")
    (tmp_path / "data" / "dog" / "empty.png").touch()
    report = api.check_data(tmp_path / "data", out=tmp_path / "report", fix=tmp_path / "clean")
    assert (report.kind, report.bad_rows) == ("imagefolder", 1)
    kept = sorted(p.relative_to(tmp_path / "clean").as_posix() for p in (tmp_path / "clean").rglob("*.*"))
    assert kept == ["cat/more/ok.png", "cat/ok.png", "changes.jsonl", "dog/ok.png"]
    (change,) = (tmp_path / "clean" / "changes.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(change)["file"] == "dog/empty.png"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "data.csv",
            'image,caption\r\ngood.png,"two\rlines, 15"" wide"\r\nmissing.png,x\r\nother.png,a 4" cup\r\n',
        ),
        ("train.tsv", 'filepath\ttitle\ngood.png\tA 15" screen.\nmissing.png\tx\nother.png\tA "cup".\n'),
        (
            "train.tsv",
            'filepath\ttitle\nmissing.png\tA 15" screen.\ngood.png\tA cat.\nother.png\tA 4" cup.\n',
        ),
    ],
)
def test_oddly_quoted_rows_stay_where_another_one_is_taken_out(tmp_path: Path, name: str, text: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for seed, picture_name in enumerate(("good.png", "other.png")):
        picture(seed).save(data / picture_name)
    (data / name).write_bytes(text.encode())
    api.check_data(data, out=tmp_path / "report", fix=tmp_path / "clean", workers=1)
    kept = [line for line in text.split("\n") if not line.startswith("missing.png")]
    assert (tmp_path / "clean" / name).read_bytes().decode() == "\n".join(kept)


def test_what_a_link_leads_to_outside_stays_outside(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "private.txt").write_text("PRIVATE")
    picture(0).save(data / "a.png")
    (data / "notes.txt").symlink_to("../private.txt")
    rows = [{"image": "a.png", "caption": "A square."}, {"image": "none.png", "caption": "x"}]
    (data / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    api.check_data(data, out=tmp_path / "report", fix=tmp_path / "clean", workers=1)
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == [
        "a.png",
        "changes.jsonl",
        "data.jsonl",
    ]
    assert "a symbolic link that leaves the data" in (tmp_path / "clean" / "changes.jsonl").read_text()


def test_a_sentence_that_reads_alike_in_two_languages_is_no_duplicate(tmp_path: Path) -> None:
    made = Planted(tmp_path / "data")
    name = made.good()
    pair = {"image": name, "source": "Tux", "target": "Tux", "source_language": "en", **TRAIN}
    for language in ("de", "fr"):
        made.row({**pair, "target_language": language})
    made.row({**pair, "target_language": "de"}, "duplicate_row")
    made.row({"image": name, "caption": "Pizza.", "tags": {"language": "en"}, **TRAIN})
    made.row({"image": name, "caption": "Pizza.", "tags": {"language": "it"}, **TRAIN})
    made.row({"image": name, "captions": ["a", "b c"], **TRAIN})
    made.row({"image": name, "captions": ["a b", "c"], **TRAIN})
    made.row(
        {"image": name, "caption": "Pizza.", "tags": {"language": "it", "set": "2"}, **TRAIN}, "duplicate_row"
    )
    words = {
        "image": name,
        "source": "Dog",
        "target": "Hund",
        "source_language": "en",
        "target_language": "de",
    }
    for right in (0.5, 1.0):  # one word about two parts of a picture
        made.row({**words, "regions": [{"box": [0, 0, right, 1], "words": ["Dog"]}], **TRAIN})
    (made.folder / "data.jsonl").write_bytes(b"\n".join(made.lines))
    report = api.check_data(made.folder, out=tmp_path / "report", fix=tmp_path / "clean")
    assert [one.line for one in report.findings["duplicate_row"].examples] == [3, 8]
    kept = (tmp_path / "clean" / "data.jsonl").read_bytes().split(b"\n")
    assert kept == [line for number, line in enumerate(made.lines, 1) if number not in (3, 8)]
