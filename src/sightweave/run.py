"""A run: a model with its processor and its recipe, and the folder that contains them.

RUN/
  recipe.yaml        the resolved recipe
  run.json           seed, device, precision, processor, versions, times, and facts about the training
  checkpoint/        model.safetensors, processor.json, tokenizer.json, recipe.json, manifest.json
  metrics.jsonl      training curves; TensorBoard events are next to it
  evaluation.json    scores of each split
  predictions.jsonl  all answers behind the scores
  report.html        report on all of the above
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sightweave import recipe as recipes
from sightweave.core import checkpoint, config, files, old_names, places, terminal
from sightweave.core.device import choose_device, processor_name
from sightweave.core.errors import CheckpointError, DataError
from sightweave.core.run_folder import CHECKPOINT as CHECKPOINT
from sightweave.core.run_folder import FACTS as FACTS
from sightweave.core.run_folder import facts_of as facts_of
from sightweave.core.run_folder import unfinished as unfinished
from sightweave.core.types import Asked, Medium, Part, Prediction, Sample
from sightweave.data.inputs import thumbnails, turbo
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.text_pictures import picture_of
from sightweave.data.tasks.translation import LANGUAGES as LANGUAGE_NAMES
from sightweave.models.adapters import lora
from sightweave.models.parts import named_parts
from sightweave.models.vlm import VLM
from sightweave.pages import notebook
from sightweave.pages.notebook import Shown
from sightweave.programs import generation
from sightweave.programs.evaluation import scores, stored
from sightweave.programs.evaluation.scores import Evaluation
from sightweave.programs.predictors import run as run_predictor

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

    Image = str | Path | bytes | np.ndarray | PIL.Image.Image

logger = logging.getLogger(__name__)
FORMAT_VERSION = 1
RECIPE = "recipe.yaml"
ASKED = "asked"
"""Key of ``run.json``: sections of the recipe as the user gave them. ``recipe.yaml`` has them resolved: parts on the Hub
with their sizes, epochs as steps, data with its held-out splits."""
_MAX_BYTES = {"recipe": 8 << 20, "processor": 64 << 20, "tokenizer": checkpoint.MAX_JSON_BYTES}
"""Maximum sizes of the JSON files of a checkpoint, by name."""
_MAX_ANSWERS_BYTES = 16 << 20
"""Maximum size of ``predictions.jsonl``; with a larger one, a notebook shows only the scores."""
ASKED_MODEL = "asked_model"
"""The same for the model only, as written by earlier versions."""

LANGUAGES = "languages"
"""Key of ``run.json``: language pairs, such as ``en-de``, in the translations of the training data."""
EPOCH_IMAGES = "epoch_images"
"""Key of ``run.json``: number of images in one epoch of each stage."""
GIVEN = "recipe_given"
"""Key of ``run.json``: the whole recipe as the user gave it, which a resume must repeat."""
SOURCES = "sources"
"""Key of ``run.json``: fingerprint and number of images of each source of the training split."""
RESUMED = "resumed"
"""Key of ``run.json``: one entry for each resume, with the step, the time and the changes that were allowed."""


_UNTRAINED = "the model is untrained, so its answers are meaningless; train it with sightweave train (or train in Python)"


@dataclass(repr=False)
class Run:
    """A model with its processor and recipe, ready to answer. ``sightweave.load(folder)`` loads one.

    Thread-safe: concurrent callers get the same answers as they would alone. A run can be pickled and deep-copied, for
    spawned processes.
    """

    model: VLM
    processor: Processor
    recipe: recipes.Recipe
    folder: Path | None = None
    is_interrupted: bool = False
    """Whether training ended before its last step because it was stopped, killed or failed."""
    stop_signal: int = 0
    """Number of the signal that stopped training in this process; 0 if none did."""
    rank: int = 0
    """Number of this process among those that trained the run; process 0 writes its files and evaluates it."""
    unfinished: str = ""
    """A sentence about training that ended before its last step; empty if it did not."""
    is_trusted: bool = True
    """Whether paths and modules named by the recipe may be opened; for a loaded run, only if the caller trusts it."""
    languages: frozenset[str] | None = None
    """Language pairs, such as ``en-de``, that the run was trained to translate; None if unknown."""
    initial: tuple[float, ...] = ()
    """Sums of the initial weights, for a run with parts that are not pretrained; empty for others."""
    is_warned: bool = False
    """Whether the warning about an untrained model was already logged."""

    @property
    def evaluations(self) -> list[Evaluation]:
        """Scores of each split in the run's folder; empty if the run was not evaluated yet.

        Raises:
            DataError: The scores are damaged.
        """
        place = self._place()
        return [] if place is None else Shown(stored.read_scores(place))

    def __repr__(self) -> str:
        found = self._scores()[: notebook.MOST]
        lines = [terminal.in_short(f"  {one.split}: {scores.in_short(one)}") for one in found]
        folder, *facts = self._facts().values()
        title = ", ".join([repr(folder), *facts])
        return "\n".join([terminal.in_short(f"Run({title})"), *lines])

    def _repr_html_(self) -> str:
        found = self._scores()
        rows, images = self._few_answers() if found else ([], {})
        title = self.recipe.title or "Run"
        return notebook.run(title, self._facts(), [one.to_json() for one in found], rows, images)

    def _facts(self) -> dict[str, str]:
        """The most important facts about the run, for display."""
        model = self.recipe.model
        count = sum(parameter.numel() for parameter in self.model.parameters())

        parts = [model.encoder, model.connector]
        for further in model.media.values():
            parts += [further.encoder, further.connector]
        parts += [model.fusion, model.language_model]

        facts = {
            "folder": str(self.folder or "in memory"),
            "parts": " > ".join(config.kind_of(part) for part in parts if part is not None),
            "size": f"{count / 1e6:.2f} M parameters",
        }
        return facts | ({"state": self.unfinished} if self.unfinished else {})

    def _place(self) -> Path | None:
        """The folder with the scores: the run's own, or the one above a checkpoint."""
        if self.folder is None:
            return None
        places = (self.folder, self.folder.parent) if self.folder.name == CHECKPOINT else (self.folder,)
        return next((folder for folder in places if (folder / stored.EVALUATION).is_file()), None)

    def _scores(self) -> list[Evaluation]:
        """The evaluations; empty if they cannot be read, since a representation must not fail."""
        try:
            return self.evaluations
        except (DataError, OSError) as error:
            logger.warning("%s: its scores are not shown: %s", self.folder, error)
            return []

    def _few_answers(self) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
        """Some answers of the first split with their images; empty if the file of answers is too large to read."""
        place = self._place()
        try:
            if place is None or (place / stored.PREDICTIONS).stat().st_size > _MAX_ANSWERS_BYTES:
                return [], {}
            first, *_ = stored.read_evaluations(place)
            files_of = stored.read_gallery(place)
        except (DataError, OSError):
            return [], {}

        media = {key: Medium(path, key) for key, path in files_of.items()}
        return scores.few(first, media)

    def generate(
        self,
        image: Image | Sequence[Image] | None,
        prompt: str | Sequence[str],
        *,
        decoding: str | dict[str, Any] = "greedy",
        writer: str | dict[str, Any] = "text",
        max_tokens: int = 96,
        stop: str | Sequence[str] = (),
        seed: int = 0,
        max_batch_tokens: int | None = None,
    ) -> Any:
        """Answers one prompt, or several about the same image, which is then encoded once.

        Args:
            image: A path, a data URL, base64, bytes, an array or a Pillow image; several of them for a
                prompt about several images; or None.
            prompt: One text, or several.
            decoding: A kind in ``answers/decoding``, or a mapping with its fields.
            writer: A kind in ``answers/writers``, or a mapping with its fields.
            max_tokens: Maximum tokens per answer.
            stop: One or more stop texts; an answer ends before the first one in its text.
            seed: Random seed for sampling.
            max_batch_tokens: Maximum tokens in a batch, padding and answers included; None derives it from free memory.

        Returns:
            A `Prediction` for one prompt, a list of them for several.

        Raises:
            DataError: A prompt is empty.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        media = as_media(image)
        samples = [self._ask(media, text) for text in prompts]
        answers = self.predict(
            samples,
            decoding=decoding,
            writer=writer,
            max_tokens=max_tokens,
            stop=stop,
            seed=seed,
            max_batch_tokens=max_batch_tokens,
        )

        # Keep what a notebook needs to show the question with its images.
        small = [thumbnails.kept(medium) for medium in media if medium.modality == "image"]
        shown = []
        for text, answer in zip(prompts, answers, strict=True):
            asked = Asked(text, functools.partial(_html_of, text, small))
            shown.append(replace(answer, asked=asked))

        return shown[0] if isinstance(prompt, str) else Shown(shown)

    def stream(self, image: Image | None, prompt: str, **options: Any) -> Iterator[str]:
        """Yields one answer piece by piece; options as for `generate`."""
        self.warn_untrained()
        sample = self._ask(as_media(image), prompt)
        return generation.stream(self.model, self.processor, sample, _options(**options))

    def caption(self, image: Image, **options: Any) -> Prediction:
        """Describes an image."""
        return self.generate(image, self.recipe.task("captioning").instruction, **options)  # type: ignore[no-any-return]  # one prompt gives one

    def translate(self, image: Image | None, text: str, *, to: str, **options: Any) -> Prediction:
        """Translates a text with the help of an image.

        Args:
            image: The image that the text describes, or None.
            text: Text in any language that the model was trained on.
            to: Code of the target language, such as ``de``.
            options: As for `generate`.

        Raises:
            DataError: The text is empty, or the run was not trained on the language.
        """
        if not text.strip():
            raise DataError("translate: the text is empty.")
        _check_language(to, self.languages)
        task = self.recipe.task("translation").build()
        return self.generate(image, task.prompt(text, to), **options)  # type: ignore[no-any-return]  # one prompt gives one

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        decoding: str | dict[str, Any] = "greedy",
        writer: str | dict[str, Any] = "text",
        max_tokens: int = 96,
        stop: str | Sequence[str] = (),
        seed: int = 0,
        max_batch_tokens: int | None = None,
        progress: Any = None,
    ) -> list[Prediction]:
        """Answers samples of any tasks, in order, and computes the likelihood of given texts as their answers.

        Args:
            samples: Samples to answer; their targets are ignored.
            texts: The texts to rate for each sample; empty means none.
            decoding: As for `generate`.
            writer: As for `generate`.
            max_tokens: Maximum tokens per answer; 0 generates nothing.
            stop: As for `generate`.
            seed: Random seed for sampling.
            max_batch_tokens: Maximum tokens in a batch, padding and answers included; None derives it from free memory.
            progress: Called with the number of new answers.
        """
        self.warn_untrained()
        options = _options(
            decoding=decoding,
            writer=writer,
            max_tokens=max_tokens,
            stop=stop,
            seed=seed,
            max_batch_tokens=max_batch_tokens,
        )
        return generation.generate(self.model, self.processor, samples, options, texts, progress=progress)

    def predictor(self) -> run_predictor.RunPredictor:
        """A predictor for evaluating this run."""
        config = run_predictor.Config()
        name = str(self.folder or "a run in memory")
        return config.build(
            model=self.model, processor=self.processor, name=name, fingerprint=self.fingerprint()
        )

    def fingerprint(self) -> str:
        """A digest of everything that an answer depends on: the weights in memory, the processor and the version."""
        digest = hashlib.sha256(_version("sightweave").encode())
        digest.update(json.dumps(self.processor.documents(), sort_keys=True).encode())
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            whole = value.detach().cpu().contiguous()
            digest.update(whole.flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def warn_untrained(self) -> None:
        """Warns, once per run, if its weights are still the initial random ones."""
        if self.initial and not self._is_untrained():
            self.initial = ()  # no need to check again
        elif self.initial and not self.is_warned:
            logger.warning("%s: %s", self.folder or "this run", _UNTRAINED)
            self.is_warned = True

    def _is_untrained(self) -> bool:
        return bool(self.initial) and self.initial == sums(self.model)

    def _ask(self, media: tuple[Medium, ...], prompt: str) -> Sample:
        # The recipe's instruction for captions may be empty.
        if not prompt.strip() and prompt != self.recipe.task("captioning").instruction:
            raise DataError("the question is empty; ask, for example, 'What is this?'.")
        parts = (*[Part("user", medium) for medium in media], Part("user", prompt))
        # Always the same id, because sampling depends on it and must not depend on the position of the prompt.
        return Sample(id="prompt", task="", parts=parts)

    def save(self, folder: Path, model: VLM | None = None) -> None:
        """Writes ``checkpoint/`` and ``recipe.yaml``, each atomically.

        Args:
            folder: Folder of the run.
            model: Model to write instead of the run's own, such as a copy with merged adapters.
        """
        write(folder, (model or self.model).state_dict(), self.processor, self.recipe)
        if self._is_untrained():  # `load` warns about it
            record(folder, {"steps": 0})
        self.folder = folder


def write(
    folder: Path, weights: Mapping[str, torch.Tensor], processor: Processor, recipe: recipes.Recipe
) -> None:
    """Writes ``checkpoint/`` and ``recipe.yaml`` into a run's folder, each atomically.

    Raises:
        CheckpointError: the disk is full, or the folder cannot be written; existing files are unharmed.
    """
    documents = {**processor.documents(), "recipe": recipe.to_plain()}
    checkpoint.write_folder(folder / CHECKPOINT, {"model": weights}, documents)
    files.write_text(folder / RECIPE, recipe.to_yaml())


def sums(model: VLM) -> tuple[float, ...]:
    """The sum of each weight tensor: a cheap check of whether anything was trained."""
    return tuple(float(weight.detach().sum(dtype=torch.float64)) for weight in model.parameters())


def languages_of(known: Mapping[str, Any]) -> frozenset[str] | None:
    """Language pairs that a run was trained to translate, from its ``run.json``; None if they are not recorded."""
    pairs = known.get(LANGUAGES)
    return frozenset(map(str, pairs)) if isinstance(pairs, list) else None


def _check_language(to: str, pairs: frozenset[str] | None) -> None:
    """Raises `DataError` if a run was not trained to translate into a language, given by its code or its name in prompts."""
    if pairs is None:
        return

    codes = sorted({pair.partition("-")[2] for pair in pairs})
    names = {LANGUAGE_NAMES.get(code, code) for code in codes}
    if LANGUAGE_NAMES.get(to, to) in names:
        return
    if not codes:
        raise DataError(f"translate: this run was not trained on translation (asked for {to!r}).")
    raise DataError(
        f"translate: this run was not trained to translate into {to!r}. It was trained on: {', '.join(codes)}."
    )


def _options(
    *,
    decoding: str | dict[str, Any] = "greedy",
    writer: str | dict[str, Any] = "text",
    max_tokens: int = 96,
    stop: str | Sequence[str] = (),
    seed: int = 0,
    max_batch_tokens: int | None = None,
) -> generation.Options:
    values = {
        "decoding": decoding,
        "writer": writer,
        "max_tokens": max_tokens,
        "stop": stop if isinstance(stop, str) else tuple(stop),
        "seed": seed,
        "max_batch_tokens": max_batch_tokens,
    }
    return config.build(generation.Options, values, where="generate")


def _html_of(prompt: str, media: Sequence[Medium], said: str, about: Sequence[str]) -> str:
    """HTML of an answer in a notebook, with the question and small copies of the images."""
    return notebook.answer(prompt, said, pictures=thumbnails.addresses(media), about=about)


def as_media(image: Any) -> tuple[Medium, ...]:
    """Converts None, one image or several to media with distinct keys.

    Raises:
        MediaError: A text is a network URL, or does not refer to an image.
    """
    if image is None:
        return ()
    images = image if isinstance(image, list | tuple) else [image]

    media = []
    for number, one in enumerate(images):
        source = picture_of(one) if isinstance(one, str | Path) else one
        if isinstance(source, Medium):
            media.append(source)
        else:
            key = str(source) if isinstance(source, Path) else f"image-{number}"
            media.append(Medium(source, key=key))
    return tuple(media)


@torch.inference_mode(False)  # a model loaded under inference mode may be trained later
def load(
    folder: str | Path,
    *,
    device: str = "auto",
    trust_run: bool = False,
    modules: frozenset[str] = frozenset(),
    only_model: bool = False,
) -> Run:
    """Loads a run's checkpoint. No code in the folder is executed, and no path that it names is opened.

    Args:
        folder: The run's folder, or its ``checkpoint`` folder.
        device: ``auto``, ``cpu``, ``cuda`` ...
        trust_run: Whether the run's recipe may import Python modules and name paths, like the user's own recipes.
        modules: Dotted kinds that may be imported even without `trust_run`.
        only_model: Whether to leave out the recipe's data and tasks.

    Raises:
        CheckpointError: The folder contains no run, or one that is damaged or from another program.
        RecipeError: The recipe names a Python module, and `trust_run` is False.
    """
    path = Path(folder)
    inner = files.whole(path / CHECKPOINT)
    if not inner.is_dir():
        inner = files.whole(path)
    if not inner.is_dir():
        raise CheckpointError(places.no_folder(path))

    # Read the JSON files. Their sizes are compared with the weights' header before anything that large is allocated.
    documents = _read_documents(inner)
    shapes = checkpoint.shapes(inner)
    _compare_vocabulary(inner, documents["processor"], shapes)
    values = documents["recipe"]
    if only_model:
        values = values | {"data": [], "tasks": {}}

    # Build the model without weights, and check it against the processor.
    source = None if trust_run else config.Downloaded(modules)
    recipe = recipes.of_run(values, where=str(inner / "recipe.json"), source=source)
    processor = Processor.load(inner, allowed=None if trust_run else modules)
    model = _empty_model(inner, recipe, processor, shapes)
    _compare_processor(inner, model, processor)

    # Load the weights.
    checkpoint.load_into(model, inner, assign=True)
    model.eval().to(choose_device(device))

    known = known_of(path)
    warning = unfinished(known)
    if warning or known.get("steps") == 0:
        logger.warning("%s: %s", path, warning or _UNTRAINED)
    return Run(
        model,
        processor,
        recipe,
        path,
        is_interrupted=bool(warning),
        unfinished=warning,
        is_trusted=trust_run,
        languages=languages_of(known),
    )


def _read_documents(folder: Path) -> dict[str, Any]:
    """Reads the JSON files of a checkpoint, by name: objects of at most `_MAX_BYTES`, exactly as they were written."""
    documents = {
        name: checkpoint.read_document(folder, name, most=limit) for name, limit in _MAX_BYTES.items()
    }
    for name, document in documents.items():
        if not isinstance(document, dict):
            raise CheckpointError(
                f"{folder / name}.json: expected a JSON object (got {type(document).__name__})."
            )
    return documents


def _compare_processor(folder: Path, model: VLM, processor: Processor) -> None:
    """Raises `CheckpointError` if the processor prepares other inputs than the model reads."""
    compared: list[tuple[str, object, object]] = [("layout", model.layout, processor.layout)]
    if "image" in model.modalities and "image" in processor.loaders:
        compared.append(("image_size", model.encoder.image_size, processor.images.transform.size))
    for name, own, theirs in compared:
        if own != theirs:
            raise CheckpointError(f"{folder}: the processor's {name} is {theirs}, but the model's is {own}.")


def known_of(folder: Path) -> dict[str, Any]:
    """``run.json`` of a run's folder, or of the folder above a checkpoint; empty if it cannot be read."""
    folders = (folder, folder.parent) if folder.name == CHECKPOINT else (folder,)
    for candidate in folders:
        try:
            known = facts_of(candidate)
            if known:
                return known
        except CheckpointError as error:
            logger.warning("cannot tell whether training finished: %s", error)
    return {}


def _compare_vocabulary(
    folder: Path, processor: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raises `CheckpointError` if the vocabulary is larger than every weight."""
    size = processor.get("vocab_size")
    largest = max([max(shape, default=0) for shape in shapes.values()], default=0)
    if isinstance(size, int) and size > largest:
        raise CheckpointError(
            f"{folder / 'processor.json'}: vocab_size is {size}, but no weight has more than {largest} rows; the processor "
            "belongs to another model."
        )


def _empty_model(
    folder: Path, recipe: recipes.Recipe, processor: Processor, shapes: Mapping[str, tuple[int, ...]]
) -> VLM:
    """Builds the recipe's model without weights: it takes no memory, and time in proportion to the weights in the file.

    Raises:
        CheckpointError: The recipe's model cannot be built, or is larger than the weights.
        RecipeError: Parts that do not match.
    """
    # The meta device skips initial weights, which those of the file would replace at once.
    with checkpoint.no_larger_than(shapes, where=folder), torch.device("meta"):
        try:
            model = recipe.model.build(
                vocab_size=processor.tokenizer.vocab_size, num_answers=len(processor.answers)
            )
            if lora.are_in(frozenset(shapes)):  # absent if training stopped before the stage that keeps them
                for part, adapters in recipe.train.kept.items():
                    lora.add(named_parts(model)[part], adapters, where=part)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            MemoryError,
            RecursionError,
            TypeError,
        ) as error:
            raise CheckpointError(
                f"{folder / 'recipe.json'}: the model cannot be built: {type(error).__name__}: {error}."
            ) from error
    return model


def record(folder: Path, values: dict[str, Any]) -> None:
    """Adds values to ``run.json``."""
    known = facts_of(folder) or {"format_version": FORMAT_VERSION}
    text = json.dumps(known | values, indent=1, ensure_ascii=False)
    files.write_text(folder / FACTS, text)


def asked_of(known: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of a run's recipe as the user gave them, for those that are resolved in ``recipe.yaml``."""
    earlier = {"model": known[ASKED_MODEL]} if ASKED_MODEL in known else {}
    return old_names.update({**earlier, **known.get(ASKED, {})}, tell=False)


def shown_facts(known: Mapping[str, Any]) -> dict[str, Any]:
    """``run.json`` for display, with the facts about training grouped; earlier versions recorded only some of them."""
    given = dict(known)
    for name in (
        ASKED,
        ASKED_MODEL,
        EPOCH_IMAGES,
        GIVEN,
        SOURCES,
    ):  # shown with the recipe, or only for a resume
        given.pop(name, None)
    in_data = given.pop("pictures", None)  # the name in earlier versions, which counted all images
    in_data = given.pop("pictures_in_data", in_data)
    steps, planned = given.pop("steps", None), given.pop("steps_planned", None)
    if steps is not None and planned is not None:
        steps = {"done": steps, "planned": planned}

    shown = {
        "shown": given.pop("pictures_shown", None),
        "distinct": given.pop("distinct_pictures_shown", None),
        "in the data": in_data,
    }
    grouped = {
        "training images": {name: count for name, count in shown.items() if count is not None},
        "training samples shown": given.pop("samples_shown", None),
        "training tokens shown": given.pop("tokens_shown", None),
        "steps": steps,
    }
    return {name: value for name, value in grouped.items() if value not in (None, {})} | given


def facts(device: torch.device) -> dict[str, Any]:
    """The facts needed to reproduce a run: processor, versions, commit."""
    versions = {name: _version(name) for name in ("sightweave", "torch", "numpy", "pillow", "tokenizers")}
    simplejpeg = turbo.version()
    if simplejpeg is not None:  # its pixels are Pillow's; recorded in case that is ever in doubt
        versions["simplejpeg"] = simplejpeg

    return {
        "processor": processor_name(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _commit(),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # used from a checkout without installation
        return "not installed"


def _commit() -> str:
    """The commit of the checkout that contains this file, or an empty string."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
