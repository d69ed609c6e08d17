"""Export to GGUF files for llama.cpp: text model and projector, made by llama.cpp's converter from the Idefics3 layout.

The converter comes from the user's clone of github.com/ggml-org/llama.cpp. It identifies a tokenizer by a hash of its
output for one text, and rejects unknown ones. Here the tokenizer's way of splitting text is recognised instead, and
llama.cpp must then give equal ids for a thousand strings.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sightweave.core import checkpoint, gguf
from sightweave.core.config import config
from sightweave.core.errors import BackendError, ExportError
from sightweave.core.types import Medium, Sample
from sightweave.data.inputs import image_files
from sightweave.data.inputs.processor import Processor
from sightweave.programs import generation
from sightweave.programs.exports import transformers
from sightweave.programs.exports._base import ANSWER_TOKENS, Exported, compared
from sightweave.programs.exports._layout import Layout, Source
from sightweave.programs.exports._llama_cpp import LlamaCpp

TEXT, PROJECTOR = "model.gguf", "mmproj.gguf"
Numbers = Literal["f32", "f16", "bf16", "q8_0"]
USE = f"""```bash
llama-mtmd-cli -m {TEXT} --mmproj {PROJECTOR} --image picture.jpg -p "Describe the image."
```"""
"""Usage example for the model card."""
LIMITS = """llama.cpp computes GELU from a table in half precision: logits are off by up to 0.5 % of the largest even in f32.
Its own front end splits each image into tiles, followed by the whole image; this model was trained only on whole
images."""
"""Known problems of llama.cpp, for the model card."""
_VARIABLE = "LLAMA_CPP"
_STRINGS = 1000
_LETTERS = "abcdefghijklmnopqrstuvwxyz ABC 0123456789  \n\t.,;:?!'\"-()[]{}<>|/\\_\u00e9\u00df\u4eba\u72d7\u0434\U0001f600"
_DRIVER = """
import sys
root, name = sys.argv[1:3]
sys.argv = ["convert_hf_to_gguf.py", *sys.argv[3:]]
sys.path[:0] = [root, root + "/gguf-py"]
from conversion import base
base.TextModel.get_vocab_base_pre = lambda self, tokenizer: name
import convert_hf_to_gguf
convert_hf_to_gguf.main()
"""
"""Program that runs the user's converter, with our name for the tokenizer's way of splitting text."""


@config
class Config:
    """Options of the GGUF export."""

    llama_cpp: str = ""
    """Path of a llama.cpp clone; empty means the environment variable LLAMA_CPP."""
    numbers: Numbers = "f16"
    """Number format of the weights: f32, f16, bf16 or q8_0."""

    def export(self, source: Source, folder: Path, samples: Sequence[Sample], *, card: str = "") -> Exported:
        """Exports a model with these options; see the function `export`."""
        return export(source, folder, samples, card=card, llama_cpp=self.llama_cpp, numbers=self.numbers)


def export(
    source: Source,
    folder: Path,
    samples: Sequence[Sample],
    *,
    card: str = "",
    llama_cpp: str = "",
    numbers: Numbers = "f16",
) -> Exported:
    """Writes ``model.gguf`` and ``mmproj.gguf``, loads them with llama.cpp, and compares ids, logits and greedy answers.

    Args:
        source: The model with its processor and its parts' Configs.
        folder: Output folder; an earlier export is replaced.
        samples: Prompts with images for the comparison.
        card: The model card, in Markdown.
        llama_cpp: Path of a llama.cpp clone; empty means the environment variable LLAMA_CPP.
        numbers: Number format of the weights: ``f32``, ``f16``, ``bf16`` or ``q8_0``.

    Raises:
        ExportError: the composition does not fit the Idefics3 layout, its tokenizer splits text in a way that llama.cpp
            does not support, or llama.cpp gives other logits or answers.
        BackendError: there is no llama.cpp clone, or its converter failed.
        CheckpointError: the folder cannot be written, or contains other files.
    """
    root = Path(llama_cpp or os.environ.get(_VARIABLE, ""))
    if not (root / "convert_hf_to_gguf.py").is_file():
        raise BackendError(
            f"gguf: llama.cpp's converter not found (looked in {str(root)!r}): git clone "
            f"https://github.com/ggml-org/llama.cpp, then set llama_cpp=PATH or {_VARIABLE}=PATH."
        )

    layout = transformers.choose(source, "idefics3")
    name = cuts_as(source.processor.tokenizer.to_plain())

    def write_files(place: Path) -> None:
        _write_files(source, layout, place, root, name, numbers)

    texts = {"README.md": card} if card else {}
    checkpoint.write_folder(folder, {}, {}, texts, more=write_files)

    if importlib.util.find_spec("llama_cpp") is None:
        note = "not compared: pip install llama-cpp-python, then export again"
        return Exported(folder=folder, layout="idefics3", program="", note=note)

    made = compare(source, folder, samples)
    # llama.cpp computes GELU from a half-precision table; half-precision weights add further rounding.
    made.check(tolerance=0.005 if numbers == "f32" else 0.05)
    return made


def _write_files(source: Source, layout: Layout, folder: Path, root: Path, name: str, numbers: str) -> None:
    with tempfile.TemporaryDirectory(prefix="sightweave-gguf-") as scratch:
        model = Path(scratch) / "model"
        transformers.write(source, model, layout, repeats_head=False)
        for file, more in ((TEXT, ()), (PROJECTOR, ("--mmproj",))):
            out = str(folder / file)
            _convert(root, name, [str(model), "--outfile", out, "--outtype", numbers, *more])


def cuts_as(content: Mapping[str, Any]) -> str:
    """llama.cpp's name for a tokenizer's way of splitting text.

    Args:
        content: The contents of a ``tokenizer.json``.

    Raises:
        ExportError: llama.cpp does not support this way.
    """
    whole = content.get("pre_tokenizer") or {
        "type": "none; its pieces have scores that only a tokenizer.model holds"
    }
    steps = whole["pretokenizers"] if whole["type"] == "Sequence" else [whole]

    found: list[str] = []
    for step in steps:
        if step["type"] == "Digits" and step.get("individual_digits"):
            found.append(gguf.DIGITS)
        elif step["type"] == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
            found.append(step["pattern"].get("Regex", ""))
        elif step["type"] == "ByteLevel" and not step.get("add_prefix_space"):
            found += [gguf.GPT2] if step.get("use_regex", True) else []
        else:
            found.append(json.dumps(step))

    name = next((name for name, known in gguf.CUTS.items() if list(known) == found), None)
    if name is None:
        raise ExportError(
            f"llama.cpp has no tokenizer that splits text by {found}; supported are "
            f"{', '.join(gguf.CUTS)}. Use a language model with its own tokenizer (model.language_model: FOLDER)."
        )
    return name


def _convert(root: Path, name: str, arguments: Sequence[str]) -> None:
    command = [sys.executable, "-c", _DRIVER, str(root), name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise BackendError(f"gguf: llama.cpp's converter failed: {last}")


@torch.inference_mode()
def compare(source: Source, folder: Path, samples: Sequence[Sample]) -> Exported:
    """Compares both programs: ids of texts, logits after each prompt, and greedy answers.

    Raises:
        ExportError: one of a thousand strings has other ids.
    """
    processor, model = source.processor, copy.deepcopy(source.model).to("cpu").float().eval()
    theirs = LlamaCpp(folder / TEXT, folder / PROJECTOR)
    try:
        _check_ids(processor, theirs, samples)
        options = generation.Options(max_tokens=ANSWER_TOKENS)
        answers = generation.generate(model, processor, samples, options)

        found = []
        for sample, ours in zip(samples, answers, strict=True):
            # Compute their logits after the prompt, and their answer.
            encoded = processor.encode(sample)
            segments = _segments(processor, sample)
            logits, said = theirs.answer(segments, processor.tokenizer.end_id, ANSWER_TOKENS)

            # Compute ours at the same position.
            batch = processor.batch([sample])
            at = torch.tensor([len(encoded.trunk) + len(encoded.prompt) - 1])
            own = model(batch, at=at).logits[0].numpy()
            largest = float(np.abs(own - logits[: len(own)]).max())
            found.append(compared(model, processor, sample, largest=largest, ours=ours, said=said))
    finally:
        theirs.close()

    program = f"llama-cpp-python {theirs.version}"
    return Exported(folder=folder, layout="idefics3", program=program, compared=tuple(found))


def _segments(processor: Processor, sample: Sample) -> list[list[int] | np.ndarray]:
    """A prompt as segments of ids and images, in order."""
    encoded = processor.encode(sample)
    ids = encoded.trunk.ids + encoded.prompt.ids
    items = encoded.trunk.item + encoded.prompt.item

    found: list[list[int] | np.ndarray] = []
    last = -1
    for token, item in zip(ids, items, strict=True):
        if item >= 0 and item != last:
            found.append(_resized_pixels(processor, sample.media[item]))
        elif item < 0 and (not found or isinstance(found[-1], np.ndarray)):
            found.append([token])
        elif item < 0:
            found[-1].append(token)  # type: ignore[union-attr]  # the branch above ensures that it is a list
        last = item
    return found


def _resized_pixels(processor: Processor, medium: Medium) -> np.ndarray:
    """The resized pixels of our transform before normalisation, which are used because llama.cpp resizes differently."""
    return processor.images.transform.resize(image_files.load(medium)).values.permute(1, 2, 0).numpy()


def _check_ids(processor: Processor, theirs: LlamaCpp, samples: Sequence[Sample]) -> None:
    """Checks that both programs tokenize the texts of the samples, and random texts, equally.

    Raises:
        ExportError: a text is tokenized differently.
    """
    texts: list[str] = []
    for sample in samples:
        texts += [part.content for part in sample.parts if isinstance(part.content, str)]

    rng = random.Random(0)
    for _ in range(_STRINGS):
        length = rng.randrange(1, 50)
        texts.append("".join(rng.choice(_LETTERS) for _ in range(length)))

    for text in texts[:_STRINGS]:
        ours, other = processor.tokenizer.encode(text), theirs.ids(text)
        if ours != other:
            raise ExportError(f"llama.cpp tokenizes {text!r} as {other[:30]}, but Sightweave as {ours[:30]}.")
