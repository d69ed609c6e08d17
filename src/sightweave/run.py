"""A run: a composed model with its processor and its recipe, and the folder that holds them.

RUN/
  recipe.yaml        the resolved recipe
  run.json           seed, device, precision, processor, versions, times, and what training saw and did
  checkpoint/        model.safetensors, processor.json, tokenizer.json, recipe.json, manifest.json
  metrics.jsonl      curves; TensorBoard events stand beside it
  evaluation.json    scores of each split
  predictions.jsonl  every answer behind them
  report.html        all of it, to look at
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
"""Key of ``run.json``: sections of the recipe as they were given, where ``recipe.yaml`` has them resolved: parts on the hub
with their sizes, epochs as steps, data of which some is held out."""
_MOST_BYTES = {"recipe": 8 << 20, "processor": 64 << 20, "tokenizer": checkpoint.MAX_JSON_BYTES}
"""Of the JSON files of a checkpoint, by name."""
_MOST_ANSWERS_BYTES = 16 << 20
"""Of ``predictions.jsonl``, beyond which a notebook is shown scores alone."""
ASKED_MODEL = "asked_model"
"""The same of the model alone, as earlier versions wrote it."""

LANGUAGES = "languages"
"""Key of ``run.json``: pairs of languages, such as ``en-de``, that training showed translations between."""
EPOCH_IMAGES = "epoch_images"
"""Key of ``run.json``: images that one epoch of each stage shows."""


_UNTRAINED = "the model is untrained, so its answers are meaningless; train it with sightweave train (or train in Python)"


@dataclass(repr=False)
class Run:
    """A model that answers. ``sightweave.load(folder)`` gives one.

    Several threads may ask a run at the same time; each gets the answers that it would get alone. A run can be pickled and
    deep-copied, for processes that are spawned.
    """

    model: VLM
    processor: Processor
    recipe: recipes.Recipe
    folder: Path | None = None
    is_interrupted: bool = False
    """Whether its training ended before its last step: asked to stop, killed or failed."""
    stop_signal: int = 0
    """Number of the signal that stopped its training in this process; 0 where none did."""
    unfinished: str = ""
    """A sentence on a training that ended before its last step."""
    is_trusted: bool = True
    """Whether the places that its recipe names may be opened; of a run from a folder, only if whoever loads it says so."""
    languages: frozenset[str] | None = None
    """Pairs of languages, such as ``en-de``, that it learnt to translate between; None where that is not known."""
    initial: tuple[float, ...] = ()
    """Sums of the weights as they were drawn, of a run that has parts which nobody trained; empty elsewhere."""
    is_warned: bool = False
    """Whether it was said that nothing was trained."""

    @property
    def evaluations(self) -> list[Evaluation]:
        """Scores of each split, as the run's folder holds them; empty where it was not evaluated yet.

        Raises:
            DataError: they are damaged.
        """
        place = self._place()
        return [] if place is None else Shown(stored.read_scores(place))

    def __repr__(self) -> str:
        found = self._scores()[: notebook.MOST]
        scores_of = [terminal.in_short(f"  {one.split}: {scores.in_short(one)}") for one in found]
        folder, *facts = self._facts().values()
        return "\n".join([terminal.in_short(f"Run({', '.join([repr(folder), *facts])})"), *scores_of])

    def _repr_html_(self) -> str:
        found = self._scores()
        rows, pictures = self._few_answers() if found else ([], {})
        title = self.recipe.title or "Run"
        return notebook.run(title, self._facts(), [one.to_json() for one in found], rows, pictures)

    def _facts(self) -> dict[str, str]:
        """What a reader wants to know of it first."""
        model = self.recipe.model
        count = sum(parameter.numel() for parameter in self.model.parameters())
        media = [part for one in model.media.values() for part in (one.encoder, one.connector)]
        parts = (model.encoder, model.connector, *media, model.fusion, model.language_model)
        facts = {
            "folder": str(self.folder or "in memory"),
            "parts": " > ".join(config.kind_of(part) for part in parts if part is not None),
            "size": f"{count / 1e6:.2f} M parameters",
        }
        return facts | ({"state": self.unfinished} if self.unfinished else {})

    def _place(self) -> Path | None:
        """The folder with its scores: its own, or the one above a checkpoint."""
        if self.folder is None:
            return None
        places = (self.folder, self.folder.parent) if self.folder.name == CHECKPOINT else (self.folder,)
        return next((one for one in places if (one / stored.EVALUATION).is_file()), None)

    def _scores(self) -> list[Evaluation]:
        """The evaluations; none where they cannot be read, since a representation must not fail."""
        try:
            return self.evaluations
        except (DataError, OSError) as error:
            logger.warning("%s: its scores are not shown: %s", self.folder, error)
            return []

    def _few_answers(self) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
        """Some answers of the first split with their pictures; none where the folder has too many to read at once."""
        place = self._place()
        try:
            if place is None or (place / stored.PREDICTIONS).stat().st_size > _MOST_ANSWERS_BYTES:
                return [], {}
            first, *_ = stored.read_evaluations(place)
            files_of = stored.read_gallery(place)
        except (DataError, OSError):
            return [], {}
        return scores.few(first, {key: Medium(path, key) for key, path in files_of.items()})

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
        """Answers one prompt, or several on the same picture, which is then encoded once.

        Args:
            image: A path, a data URL, base64, bytes, an array or a Pillow image; several of them for a
                prompt on several pictures; or None.
            prompt: One text, or several.
            decoding: A kind in ``answers/decoding``, or a mapping with its fields.
            writer: A kind in ``answers/writers``, or a mapping with its fields.
            max_tokens: Maximum tokens per answer.
            stop: Stop text, or several: an answer ends in front of the first one that its text contains.
            seed: Random seed for sampling.
            max_batch_tokens: Maximum tokens in a batch, padding and answers included; None derives it from free memory.

        Returns:
            A `Prediction` for one prompt, a list of them for several.

        Raises:
            DataError: an empty prompt.
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
        small = [thumbnails.kept(medium) for medium in media if medium.modality == "image"]
        shown = [
            replace(answer, asked=Asked(text, functools.partial(_html_of, text, small)))
            for text, answer in zip(prompts, answers, strict=True)
        ]
        return shown[0] if isinstance(prompt, str) else Shown(shown)

    def stream(self, image: Image | None, prompt: str, **options: Any) -> Iterator[str]:
        """One answer in pieces; options as for `generate`."""
        self.warn_untrained()
        sample = self._ask(as_media(image), prompt)
        return generation.stream(self.model, self.processor, sample, _options(**options))

    def caption(self, image: Image, **options: Any) -> Prediction:
        """Describes an image."""
        return self.generate(image, self.recipe.task("captioning").instruction, **options)  # type: ignore[no-any-return]  # one prompt gives one

    def translate(self, image: Image | None, text: str, *, to: str, **options: Any) -> Prediction:
        """Translates a text with the help of an image.

        Args:
            image: The image that the text is about.
            text: The text, in any language that the model was trained on.
            to: Code of the target language, such as ``de``.
            options: As for `generate`.

        Raises:
            DataError: the text is empty, or the run was not trained on the language.
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
        """Answers samples of any tasks, in their order, and judges how likely texts are as their answers.

        Args:
            samples: Their targets are not looked at.
            texts: For each sample those to judge; empty means none for any.
            decoding: As for `generate`.
            writer: As for `generate`.
            max_tokens: Maximum tokens per answer; 0 writes nothing.
            stop: As for `generate`.
            seed: Random seed for sampling.
            max_batch_tokens: Maximum tokens in a batch, padding and answers included; None derives it from free memory.
            progress: Told the number of answers that are new.
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
        """This run as an evaluation asks it."""
        config = run_predictor.Config()
        name = str(self.folder or "a run in memory")
        return config.build(
            model=self.model, processor=self.processor, name=name, fingerprint=self.fingerprint()
        )

    def fingerprint(self) -> str:
        """A digest of all that an answer depends on: weights, processor, version. Weights in memory are read for it."""
        digest = hashlib.sha256(_version("sightweave").encode())
        digest.update(json.dumps(self.processor.documents(), sort_keys=True).encode())
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            whole = value.detach().cpu().contiguous()
            digest.update(whole.flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def warn_untrained(self) -> None:
        """Warns, once for each run, where its weights are still those that were drawn at the start."""
        if self.initial and not self._is_untrained():
            self.initial = ()  # it need not be looked at again
        elif self.initial and not self.is_warned:
            logger.warning("%s: %s", self.folder or "this run", _UNTRAINED)
            self.is_warned = True

    def _is_untrained(self) -> bool:
        return bool(self.initial) and self.initial == sums(self.model)

    def _ask(self, media: tuple[Medium, ...], prompt: str) -> Sample:
        # A recipe may ask for captions without a word.
        if not prompt.strip() and prompt != self.recipe.task("captioning").instruction:
            raise DataError("the question is empty; ask, for example, 'What is this?'.")
        parts = (*(Part("user", medium) for medium in media), Part("user", prompt))
        # The same id wherever the prompt stands among others: what is sampled must not depend on its place.
        return Sample(id="prompt", task="", parts=parts)

    def save(self, folder: Path, model: VLM | None = None) -> None:
        """Writes ``checkpoint/`` and ``recipe.yaml`` into a folder, whole or not at all.

        Args:
            folder: The run's.
            model: What to write in the place of the run's model, such as a copy with merged adapters.
        """
        documents = {**self.processor.documents(), "recipe": self.recipe.to_plain()}
        weights = (model or self.model).state_dict()
        checkpoint.write_folder(folder / CHECKPOINT, {"model": weights}, documents)
        files.write_text(folder / RECIPE, self.recipe.to_yaml())
        if self._is_untrained():  # whoever loads it is told
            record(folder, {"steps": 0})
        self.folder = folder


def sums(model: VLM) -> tuple[float, ...]:
    """The sum of each weight: a cheap sign of whether anything was trained."""
    return tuple(float(weight.detach().sum(dtype=torch.float64)) for weight in model.parameters())


def languages_of(known: Mapping[str, Any]) -> frozenset[str] | None:
    """Pairs of languages that a run learnt to translate between, by its ``run.json``; None where that does not say."""
    pairs = known.get(LANGUAGES)
    return frozenset(map(str, pairs)) if isinstance(pairs, list) else None


def _check_language(to: str, pairs: frozenset[str] | None) -> None:
    """Raises `DataError` where a run never learnt to translate into a language, named by its code or as prompts name it."""
    if pairs is None:
        return
    codes = sorted({pair.partition("-")[2] for pair in pairs})
    if LANGUAGE_NAMES.get(to, to) in {LANGUAGE_NAMES.get(code, code) for code in codes}:
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
    """An answer as a notebook shows it, with the question and small copies of its pictures."""
    return notebook.answer(prompt, said, pictures=thumbnails.addresses(media), about=about)


def as_media(image: Any) -> tuple[Medium, ...]:
    """One or several pictures, as media with keys of their own.

    Raises:
        MediaError: an address of the network, or a text that stands for no picture.
    """
    images = [] if image is None else list(image) if isinstance(image, list | tuple) else [image]
    media = []
    for number, one in enumerate(images):
        source = picture_of(one) if isinstance(one, str | Path) else one
        if isinstance(source, Medium):
            media.append(source)
        else:
            media.append(Medium(source, key=str(source) if isinstance(source, Path) else f"image-{number}"))
    return tuple(media)


@torch.inference_mode(False)  # whoever loads it under inference mode may train it later
def load(
    folder: str | Path,
    *,
    device: str = "auto",
    trust_run: bool = False,
    modules: frozenset[str] = frozenset(),
    only_model: bool = False,
) -> Run:
    """Loads a run's checkpoint. Nothing in the folder is run, and no place that it names is opened.

    Args:
        folder: The run's folder, or its ``checkpoint`` folder.
        device: ``auto``, ``cpu``, ``cuda`` ...
        trust_run: Whether the run's recipe may import Python modules and name places, as a recipe of the user's own may.
        modules: Dotted kinds that may be imported even so.
        only_model: Leave out the recipe's data and tasks.

    Raises:
        CheckpointError: no run there, or a damaged or foreign one.
        RecipeError: its recipe names a Python module, and `trust_run` is not given.
    """
    path = Path(folder)
    inner = files.whole(path / CHECKPOINT)
    if not inner.is_dir():
        inner = files.whole(path)
    if not inner.is_dir():
        raise CheckpointError(places.no_folder(path))
    documents = {name: checkpoint.read_document(inner, name, most=most) for name, most in _MOST_BYTES.items()}
    for name, document in documents.items():  # all are as they were written, and objects
        if not isinstance(document, dict):
            raise CheckpointError(
                f"{inner / name}.json: expected a JSON object (got {type(document).__name__})."
            )

    # What the recipe and the processor say is compared with the weights' header before anything of that size is made.
    shapes = checkpoint.shapes(inner)
    _compare_vocabulary(inner, documents["processor"], shapes)
    said = documents["recipe"] | ({"data": [], "tasks": {}} if only_model else {})
    source = None if trust_run else config.Downloaded(modules)
    recipe = recipes.of_run(said, where=str(inner / "recipe.json"), source=source)
    processor = Processor.load(inner, allowed=None if trust_run else modules)
    model = _empty_model(inner, recipe, processor, shapes)
    compared: list[tuple[str, object, object]] = [("layout", model.layout, processor.layout)]
    if "image" in model.modalities and "image" in processor.loaders:
        compared.append(("image_size", model.encoder.image_size, processor.images.transform.size))
    for name, own, theirs in compared:
        if own != theirs:
            raise CheckpointError(f"{inner}: the processor's {name} is {theirs}, but the model's is {own}.")

    checkpoint.load_into(model, inner, assign=True)
    model.eval().to(choose_device(device))
    known = known_of(path)
    told = unfinished(known)
    if told or known.get("steps") == 0:
        logger.warning("%s: %s", path, told or _UNTRAINED)
    return Run(
        model,
        processor,
        recipe,
        path,
        is_interrupted=bool(told),
        unfinished=told,
        is_trusted=trust_run,
        languages=languages_of(known),
    )


def known_of(folder: Path) -> dict[str, Any]:
    """``run.json`` of a run's folder, or of the folder above a checkpoint; empty where it cannot be read."""
    for one in (folder, folder.parent) if folder.name == CHECKPOINT else (folder,):
        try:
            if known := facts_of(one):
                return known
        except CheckpointError as error:
            logger.warning("cannot tell whether training finished: %s", error)
    return {}


def _compare_vocabulary(
    folder: Path, processor: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuses a vocabulary that no table of the weights is large enough for."""
    size = processor.get("vocab_size")
    largest = max((side for shape in shapes.values() for side in shape), default=0)
    if isinstance(size, int) and size > largest:
        raise CheckpointError(
            f"{folder / 'processor.json'}: vocab_size is {size}, but no weight has more than {largest} rows; the processor "
            "belongs to another model."
        )


def _empty_model(
    folder: Path, recipe: recipes.Recipe, processor: Processor, shapes: Mapping[str, tuple[int, ...]]
) -> VLM:
    """The recipe's model without weights, which takes no memory and no more time than the weights in the file warrant.

    Raises:
        CheckpointError: the recipe describes no model that can be built, or a larger one than the weights are of.
        RecipeError: parts that do not fit.
    """
    # On the meta device no weights are drawn that the file's would replace at once.
    with checkpoint.no_larger_than(shapes, where=folder), torch.device("meta"):
        try:
            model = recipe.model.build(
                vocab_size=processor.tokenizer.vocab_size, num_answers=len(processor.answers)
            )
            if lora.are_in(frozenset(shapes)):  # not where training stopped before the stage that keeps them
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
    """Sections of a run's recipe as they were given, of those that ``recipe.yaml`` has resolved."""
    earlier = {"model": known[ASKED_MODEL]} if ASKED_MODEL in known else {}
    return old_names.update({**earlier, **known.get(ASKED, {})}, tell=False)


def shown_facts(known: Mapping[str, Any]) -> dict[str, Any]:
    """``run.json`` for a reader: what training saw and did stands together; of earlier versions, as far as they knew."""
    given = dict(known)
    for name in (ASKED, ASKED_MODEL, EPOCH_IMAGES):  # the recipe is shown
        given.pop(name, None)
    in_data = given.pop("pictures", None)  # as earlier versions called them, seen or not
    in_data = given.pop("pictures_in_data", in_data)
    steps, planned = given.pop("steps", None), given.pop("steps_planned", None)
    shown = {
        "shown": given.pop("pictures_shown", None),
        "distinct": given.pop("distinct_pictures_shown", None),
        "in the data": in_data,
    }
    together = {
        "training images": {name: count for name, count in shown.items() if count is not None},
        "training samples shown": given.pop("samples_shown", None),
        "training tokens shown": given.pop("tokens_shown", None),
        "steps": {"done": steps, "planned": planned} if steps is not None and planned is not None else steps,
    }
    return {name: value for name, value in together.items() if value not in (None, {})} | given


def facts(device: torch.device) -> dict[str, Any]:
    """What a reader needs to repeat a run: processor, versions, commit."""
    versions = {name: _version(name) for name in ("sightweave", "torch", "numpy", "pillow", "tokenizers")}
    if (
        decoder := turbo.version()
    ) is not None:  # its pixels are Pillow's; should that ever be doubted, it is named
        versions["simplejpeg"] = decoder
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
    except metadata.PackageNotFoundError:  # used straight from a checkout
        return "not installed"


def _commit() -> str:
    """The commit of the checkout that this file is in, where it is in one."""
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
