"""Fourteen real photographs with captions, questions and translations, written as a user's own folder.

The photographs are read from scikit-image's installed package; every text was written for this file. Each picture is
saved in another way (palette, grey, CMYK, RGBA, 16 bits, turned by EXIF ...) and in an odd size. Questions come in several
wordings; one wording of each is never learnt (``split: test``), so the test asks what was learnt in words that are new.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

SOURCES = Path(skimage.data.__file__).parent
TURNED = 6  # EXIF: the camera was held upright; turn by 90 degrees clockwise to look at it
WORDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "thing": (
        (
            "What is shown here?",
            "What is this?",
            "What do you see in the picture?",
            "Say what is in the photo.",
            "Say what you see.",
            "Which thing does this photo show?",
        ),
        ("What is shown in this picture?", "Say which thing you see here."),
    ),
    "colour": (
        (
            "What colour is it?",
            "Which colour does it have?",
            "Name the main colour.",
            "Say which colour you see.",
            "What is the main colour of the picture?",
        ),
        ("What colour does it have?", "Which is the main colour in this photo?"),
    ),
    "place": (
        (
            "Where is it?",
            "Where was the photo taken?",
            "In which place is it?",
            "Name the place.",
            "Say where this is.",
        ),
        ("In which place was the picture taken?", "Where is the place?"),
    ),
    "use": (
        (
            "What can people do with it?",
            "What do people use it for?",
            "What is it good for?",
            "Say what can be done with it.",
            "What is it used for?",
        ),
        ("What can it be used for?", "What do people do with it?"),
    ),
}
"""The same question in several words: those to learn, and those to ask."""


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One picture, how it is saved, and what is said of it."""

    source: str
    name: str
    size: tuple[int, int]
    mode: str = "RGB"
    turn: bool = False
    captions: tuple[str, ...]
    answers: dict[str, str]
    translations: dict[str, str]


PHOTOGRAPHS = (
    Photograph(
        source="astronaut.png",
        name="astronaut.jpg",
        size=(301, 401),
        turn=True,
        captions=(
            "An astronaut smiles in her orange suit.",
            "A woman in a space suit sits before a flag.",
            "A portrait of an astronaut with her helmet.",
        ),
        answers={"thing": "an astronaut", "colour": "orange", "place": "a studio", "use": "fly into space"},
        translations={
            "en": "The astronaut smiles.",
            "de": "Die Astronautin l\u00e4chelt.",
            "fr": "L'astronaute sourit.",
            "zh": "\u5b87\u822a\u5458\u5728\u5fae\u7b11\u3002",
        },
    ),
    Photograph(
        source="camera.png",
        name="man with camera.jpg",
        size=(257, 263),
        mode="L",
        captions=(
            "A man looks through his camera.",
            "A photographer in a dark coat stands on a lawn.",
            "A camera stands on three legs.",
        ),
        answers={"thing": "a photographer", "colour": "black", "place": "a park", "use": "take pictures"},
        translations={
            "en": "The man is taking a picture.",
            "de": "Der Mann macht ein Foto.",
            "fr": "L'homme prend une photo.",
            "zh": "\u7537\u4eba\u5728\u62cd\u7167\u3002",
        },
    ),
    Photograph(
        source="chelsea.png",
        name="cat.png",
        size=(391, 277),
        mode="P",
        captions=(
            "A cat with green eyes looks at us.",
            "The face of a striped cat.",
            "A cat rests on a blanket.",
        ),
        answers={"thing": "a cat", "colour": "ginger", "place": "a home", "use": "stroke it"},
        translations={
            "en": "The cat looks at us.",
            "de": "Die Katze sieht uns an.",
            "fr": "Le chat nous regarde.",
            "zh": "\u732b\u5728\u770b\u6211\u4eec\u3002",
        },
    ),
    Photograph(
        source="coffee.png",
        name="caf\u00e9.jpg",
        size=(333, 221),
        mode="CMYK",
        captions=(
            "A cup of coffee on a red saucer.",
            "A small coffee stands on a wooden table.",
            "A cup with a spoon beside it.",
        ),
        answers={"thing": "a cup of coffee", "colour": "brown", "place": "a table", "use": "drink it"},
        translations={
            "en": "The coffee is hot.",
            "de": "Der Kaffee ist hei\u00df.",
            "fr": "Le caf\u00e9 est chaud.",
            "zh": "\u5496\u5561\u5f88\u70eb\u3002",
        },
    ),
    Photograph(
        source="coins.png",
        name="coins.png",
        size=(353, 289),
        mode="I;16",
        captions=(
            "Old coins lie in four rows.",
            "Twenty-four coins on a dark ground.",
            "A collection of ancient coins.",
        ),
        answers={"thing": "coins", "colour": "silver", "place": "a museum", "use": "pay with them"},
        translations={
            "en": "The coins are very old.",
            "de": "Die M\u00fcnzen sind sehr alt.",
            "fr": "Les pi\u00e8ces sont tr\u00e8s anciennes.",
            "zh": "\u8fd9\u4e9b\u786c\u5e01\u5f88\u53e4\u8001\u3002",
        },
    ),
    Photograph(
        source="grass.png",
        name="sub/grass.png",
        size=(311, 311),
        mode="LA",
        captions=("Blades of grass, seen from above.", "A piece of dry lawn.", "Grass covers the ground."),
        answers={"thing": "grass", "colour": "pale grey", "place": "a meadow", "use": "feed cows"},
        translations={
            "en": "The grass is dry.",
            "de": "Das Gras ist trocken.",
            "fr": "L'herbe est s\u00e8che.",
            "zh": "\u8349\u662f\u5e72\u7684\u3002",
        },
    ),
    Photograph(
        source="gravel.png",
        name="sub/gravel.jpeg",
        size=(299, 211),
        mode="L",
        captions=("Many small stones.", "Gravel, seen from above.", "A ground of little rocks."),
        answers={"thing": "gravel", "colour": "stone grey", "place": "a path", "use": "walk on it"},
        translations={
            "en": "The stones are small.",
            "de": "Die Steine sind klein.",
            "fr": "Les pierres sont petites.",
            "zh": "\u77f3\u5934\u5f88\u5c0f\u3002",
        },
    ),
    Photograph(
        source="brick.png",
        name="sub/brick.png",
        size=(203, 307),
        mode="L",
        captions=("A wall of bricks.", "Rows of bricks with pale joints.", "Bricks stand close together."),
        answers={"thing": "bricks", "colour": "dark grey", "place": "a wall", "use": "build houses"},
        translations={
            "en": "The wall is strong.",
            "de": "Die Mauer ist stark.",
            "fr": "Le mur est solide.",
            "zh": "\u5899\u5f88\u7ed3\u5b9e\u3002",
        },
    ),
    Photograph(
        source="hubble_deep_field.jpg",
        name="galaxies.JPG",
        size=(901, 787),
        captions=("Galaxies on a black sky.", "Thousands of far galaxies.", "A deep look into space."),
        answers={"thing": "galaxies", "colour": "deep black", "place": "the sky", "use": "look far back"},
        translations={
            "en": "The galaxies are far away.",
            "de": "Die Galaxien sind weit weg.",
            "fr": "Les galaxies sont tr\u00e8s loin.",
            "zh": "\u661f\u7cfb\u5f88\u8fdc\u3002",
        },
    ),
    Photograph(
        source="moon.png",
        name="moon.jpg",
        size=(417, 419),
        mode="L",
        captions=("The surface of the moon.", "Craters on grey ground.", "The moon from close by."),
        answers={"thing": "the moon", "colour": "grey", "place": "outer space", "use": "land there"},
        translations={
            "en": "The moon has craters.",
            "de": "Der Mond hat Krater.",
            "fr": "La lune a des crat\u00e8res.",
            "zh": "\u6708\u7403\u4e0a\u6709\u73af\u5f62\u5c71\u3002",
        },
    ),
    Photograph(
        source="motorcycle_left.png",
        name="motorcycle.png",
        size=(467, 315),
        mode="RGBA",
        captions=(
            "A red motorcycle in a garage.",
            "A motorcycle stands before a shelf.",
            "Somebody parked a motorcycle among boxes.",
        ),
        answers={"thing": "a motorcycle", "colour": "red", "place": "a garage", "use": "ride it"},
        translations={
            "en": "The motorcycle is red.",
            "de": "Das Motorrad ist rot.",
            "fr": "La moto est rouge.",
            "zh": "\u6469\u6258\u8f66\u662f\u7ea2\u8272\u7684\u3002",
        },
    ),
    Photograph(
        source="page.png",
        name="page.png",
        size=(379, 187),
        mode="1",
        captions=("A page of printed text.", "A heading and some lines below it.", "Words in a book."),
        answers={"thing": "a page of text", "colour": "white", "place": "a book", "use": "read it"},
        translations={
            "en": "The page has many words.",
            "de": "Die Seite hat viele W\u00f6rter.",
            "fr": "La page contient beaucoup de mots.",
            "zh": "\u8fd9\u4e00\u9875\u6709\u5f88\u591a\u5b57\u3002",
        },
    ),
    Photograph(
        source="retina.jpg",
        name="eye.jpg",
        size=(609, 607),
        captions=(
            "The inside of an eye.",
            "Thin vessels run through a retina.",
            "A doctor's picture of an eye.",
        ),
        answers={"thing": "a retina", "colour": "salmon", "place": "an eye", "use": "see"},
        translations={
            "en": "The eye is healthy.",
            "de": "Das Auge ist gesund.",
            "fr": "L'\u0153il est en bonne sant\u00e9.",
            "zh": "\u773c\u775b\u5f88\u5065\u5eb7\u3002",
        },
    ),
    Photograph(
        source="rocket.jpg",
        name="rocket.png",
        size=(501, 333),
        captions=(
            "A rocket stands on its pad at dusk.",
            "A tall rocket between two towers.",
            "Lights shine around a rocket.",
        ),
        answers={
            "thing": "a rocket",
            "colour": "dark blue",
            "place": "a launch pad",
            "use": "lift satellites",
        },
        translations={
            "en": "The rocket is ready.",
            "de": "Die Rakete ist bereit.",
            "fr": "La fus\u00e9e est pr\u00eate.",
            "zh": "\u706b\u7bad\u51c6\u5907\u597d\u4e86\u3002",
        },
    ),
)


def write(folder: Path, photographs: tuple[Photograph, ...] = PHOTOGRAPHS) -> Path:
    """Saves the pictures and a ``data.jsonl`` about them; returns the folder."""
    rows: list[dict[str, object]] = []
    for photograph in photographs:
        _save(photograph, folder / photograph.name)
        image = photograph.name
        rows += [{"image": image, "caption": caption, "split": "train"} for caption in photograph.captions]
        for question, answer in photograph.answers.items():
            for split, wordings in zip(("train", "test"), WORDINGS[question], strict=True):
                rows += [
                    {"image": image, "question": words, "answer": answer, "split": split, "type": question}
                    for words in wordings
                ]
        rows += [
            {
                "image": image,
                "source": photograph.translations["en"],
                "source_language": "en",
                "target": photograph.translations[language],
                "target_language": language,
                "split": "train",
            }
            for language in ("de", "fr", "zh")
        ]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / "data.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def _save(photograph: Photograph, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(SOURCES / photograph.source) as opened:
        picture = opened.convert("RGB").resize(photograph.size, Image.Resampling.LANCZOS)
    if photograph.turn:
        exif = Image.Exif()
        exif[0x0112] = TURNED
        picture.rotate(90, expand=True).save(path, exif=exif)
    elif photograph.mode == "I;16":
        grey = np.asarray(picture.convert("L"), dtype=np.uint16) * 257
        Image.fromarray(grey).save(path)
    elif photograph.mode == "P":
        picture.quantize(64).save(path)
    elif photograph.mode == "RGBA":
        picture.putalpha(255)
        picture.save(path)
    else:
        picture.convert(photograph.mode).save(path)
