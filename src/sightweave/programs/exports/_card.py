"""Writes the model card: the model, its training data, its scores and its cost, from the records of a run.

Follows Model Cards for Model Reporting (Mitchell et al. 2019, arXiv:1810.03993), in the format of the Hugging Face Hub.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

_FACTS = (
    *("training_seconds", "steps", "steps_planned", "device", "precision", "processor", "threads"),
    *("parameters", "seed", "commit"),
)
"""Names of the fields of ``run.json`` that the card lists, in this order."""


def card(
    title: str,
    recipe: Mapping[str, Any],
    facts: Mapping[str, Any],
    splits: Sequence[Mapping[str, Any]],
    licence: str = "",
    use: str = "",
) -> str:
    """The model card as Markdown with a YAML header.

    Args:
        title: The model's name.
        recipe: The resolved recipe as plain data.
        facts: The contents of ``run.json``.
        splits: The splits of ``evaluation.json``; empty if nothing was measured.
        licence: SPDX name of the licence of the weights; empty if the user gave none.
        use: Markdown on how to load the files.
    """
    pretrained = recipe["model"].get("pretrained", {})
    header: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["sightweave"],
    }
    if licence:
        header["license"] = licence.lower()
    if pretrained:
        header["base_model"] = sorted(set(pretrained.values()))

    # Describe the model.
    kinds = ", ".join(_parts(recipe["model"]))
    how = "composed and trained" if facts.get("steps") else "composed"
    sections = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        f"# {title}",
        f"A vision-language model {how} with Sightweave: {kinds}.",
    ]
    if use:
        sections.append(use)
    # Describe its training data, its scores and its cost.
    sections += [
        "## Data\n\n" + "\n".join(_data(recipe["data"], facts)),
        "## Licence\n\n" + _licence(licence, pretrained),
        "## Scores\n\n" + "\n".join(_scores(splits)),
        "## Cost\n\n" + "\n".join(_cost(facts)),
        f"## Recipe\n\n```yaml\n{yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)}```",
    ]
    return "\n\n".join(sections) + "\n"


def _parts(model: Mapping[str, Any]) -> list[str]:
    """The kind of each part, including those of further modalities."""
    named = [f"{part} `{model[part]['kind']}`" for part in _PARTS if model[part] is not None]
    for modality, parts in model.get("media", {}).items():
        named += [f"{part} of {modality} `{parts[part]['kind']}`" for part in ("encoder", "connector")]
    return named


_PARTS = ("encoder", "connector", "fusion", "language_model")


def with_transformers(first: str, *, processor: str = "", model: str = "") -> str:
    """A code example that asks one question about one image with Transformers, to be run in the folder.

    Args:
        first: Comment at the top.
        processor: Further arguments of the processor, each preceded by a comma.
        model: Further arguments of the model, in the same form.
    """
    return f"""```python
{first}
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = "."  # where this card is
processor = AutoProcessor.from_pretrained(folder{processor})
model = AutoModelForImageTextToText.from_pretrained(folder{model})

picture = Image.new("RGB", (224, 224), "white")  # yours: Image.open("picture.jpg")
content = [{{"type": "image", "image": picture}}, {{"type": "text", "text": "Describe the image."}}]
inputs = processor.apply_chat_template(
    [{{"role": "user", "content": content}}],
    add_generation_prompt=True,
    tokenize=True,
    return_dict=True,
    return_tensors="pt",
)
ids = model.generate(**inputs, max_new_tokens=32, do_sample=False)
print(processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```"""


def _data(sources: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> Iterator[str]:
    for source in sources:
        where = f" at `{source['path']}`" if source.get("path") else ""
        yield f"- `{source['kind']}`{where}"
    if not sources:
        yield "Records passed in Python, or none."

    if facts.get("pictures_shown"):
        yield (
            f"\nTraining used {facts['pictures_shown']:,} images, {facts['distinct_pictures_shown']:,} of them "
            f"distinct, of {facts['pictures_in_data']:,} in the data, with {facts['samples_shown']:,} samples."
        )
    elif not facts.get("steps"):
        yield "\nThis model was not trained."


def _licence(licence: str, pretrained: Mapping[str, str]) -> str:
    text = licence or "Not stated."
    for part, folder in pretrained.items():
        text += f" The {part} was initialized from `{folder}`, whose licence also applies."
    return text


def _scores(splits: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of a table with one row for each split and task."""
    rows = []
    for split in splits:
        rows += [(_named(split), task) for task in split["tasks"]]
    if not rows:
        yield "Not measured."
        return

    yield "| split | task | metric | score | 95 % interval | without the image | with another image |"
    yield "|---|---|---|---|---|---|---|"
    for name, task in rows:
        score = task["score"]
        unit = task.get("facts", {}).get(task["metric"], {}).get("unit", "%")
        low, high = _shown(score["low"], unit), _shown(score["high"], unit)
        interval = f"{low} to {high}" if low and high else "not known"

        cells = [name, task["task"], task["metric"], _shown(score["value"], unit), interval]
        for control_name in ("no_image", "shuffled_image"):
            control = task["controls"].get(control_name)
            cells.append(_shown(control["value"], unit) if control else "")
        yield f"| {' | '.join(cells)} |"


def _named(split: Mapping[str, Any]) -> str:
    """The name of a split, followed by the number of its images if only some were used."""
    total = split.get("pictures_total")
    if total is None:
        return str(split["split"])
    return f"{split['split']} ({split['pictures']:,} of {total:,} images)"


def _shown(value: float | None, unit: str) -> str:
    """The value of a metric as text with its unit; empty if there is none."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.4g} {unit}".rstrip()


def _cost(facts: Mapping[str, Any]) -> Iterator[str]:
    found = [name for name in _FACTS if facts.get(name) not in (None, "")]
    for name in found:
        yield f"- {name.replace('_', ' ')}: {facts[name]}"
    if facts.get("interrupted"):
        yield "- training was stopped early"
    if not found:
        yield "Not recorded."
