"""A run: a model with its processor and recipe, and the folder in which they are stored.

RUN/
  recipe.yaml        the resolved recipe
  run.json           seed, device, precision, processor, versions, times, and other facts about the training
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sightweave import recipe as recipes
from sightweave.core import checkpoint, config, files, old_names, places, terminal
from sightweave.core.device import choose_device, processor_name
from sightweave.core.errors import CheckpointError, DataError, RecipeError
from sightweave.core.explanation import Explanation
from sightweave.core.run_folder import CHECKPOINT as CHECKPOINT
from sightweave.core.run_folder import FACTS as FACTS
from sightweave.core.run_folder import GIVEN as GIVEN
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
from sightweave.programs import explanation, generation
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
"""Key of ``run.json`` for sections of the recipe as the user gave them. In ``recipe.yaml`` they are resolved: parts on the
Hub have sizes, epochs are converted to steps, and data has held-out splits."""
_MAX_BYTES = {"recipe": 8 << 20, "processor": 64 << 20, "tokenizer": checkpoint.MAX_JSON_BYTES}
"""Maximum size in bytes of each JSON file of a checkpoint, by its name without suffix."""
_TEXT_TOKENS = 32
"""Number of text tokens for which `Run.draw` leaves room beside an image."""
_MAX_ANSWERS_BYTES = 16 << 20
"""Maximum size in bytes of a ``predictions.jsonl`` that a notebook shows; if it is larger, only scores are shown."""
ASKED_MODEL = "asked_model"
"""Key of ``run.json`` that earlier versions wrote in place of `ASKED`, for the model section only."""

LANGUAGES = "languages"
"""Key of ``run.json`` for the language pairs, such as ``en-de``, in the training data."""
EPOCH_IMAGES = "epoch_images"
"""Key of ``run.json`` for the number of images in one epoch of each stage."""
SOURCES = "sources"
"""Key of ``run.json`` for the fingerprint and the number of images of each source of the training split."""
RESUMED = "resumed"
"""Key of ``run.json`` for the list of times that training was resumed, each with the step, time and permitted changes."""
_NOT_SHOWN = (ASKED, ASKED_MODEL, EPOCH_IMAGES, GIVEN, SOURCES)
"""Keys of ``run.json`` that are shown with the recipe, or that are only needed to resume training."""


_UNTRAINED = "the model is untrained, so its answers are meaningless; train it with sightweave train (or train in Python)"


@dataclass(repr=False)
class Run:
    """A model with its processor and recipe, ready to answer questions; ``sightweave.load(folder)`` loads a run.

    A run is thread-safe: answers do not depend on concurrent calls. It can be pickled and deep-copied, for example for
    spawned processes.
    """

    model: VLM
    processor: Processor
    recipe: recipes.Recipe
    folder: Path | None = None
    is_interrupted: bool = False
    """Whether training ended before its last step, because it was stopped, killed or failed."""
    stop_signal: int = 0
    """Number of the signal that stopped training in this process; 0 if there was none."""
    rank: int = 0
    """Index of this process among those that trained the run; process 0 writes the run's files and evaluates it."""
    unfinished: str = ""
    """Clause for messages that says when training was interrupted; empty if it was not."""
    is_trusted: bool = True
    """Whether paths and modules named in the recipe may be opened; for a loaded run, only if the caller trusts it."""
    languages: frozenset[str] | None = None
    """Language pairs, such as ``en-de``, that the run was trained to translate; None if unknown."""
    initial: tuple[float, ...] = ()
    """Sum of each initial weight tensor, by which an untrained model is recognised; empty if all parts are pretrained."""
    is_warned: bool = False
    """Whether the warning about an untrained model has already been logged."""

    @property
    def evaluations(self) -> list[Evaluation]:
        """The evaluation of each split in the run's folder; empty if the run has not been evaluated.

        Raises:
            DataError: The file with the scores is damaged.
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
        """The most important facts about the run by name, for display."""
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
        """The folder that contains the scores, which is the run's or that above its checkpoint; None if there is none."""
        if self.folder is None:
            return None
        places = (self.folder, self.folder.parent) if self.folder.name == CHECKPOINT else (self.folder,)
        return next((folder for folder in places if (folder / stored.EVALUATION).is_file()), None)

    def _scores(self) -> list[Evaluation]:
        """The evaluations for display; empty if they cannot be read, because a representation must not raise errors."""
        try:
            return self.evaluations
        except (DataError, OSError) as error:
            logger.warning("%s: its scores are not shown: %s", self.folder, error)
            return []

    def _few_answers(self) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
        """A few answers of the first split and their images; both are empty if the answers cannot be read or shown."""
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
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        seed: int = 0,
        max_batch_tokens: int | None = None,
    ) -> Any:
        """Answers one prompt, or several prompts about the same image, which is then encoded only once.

        Args:
            image: A path, a data URL, base64, bytes, an array or a Pillow image; a list of these for a prompt about several
                images; or None.
            prompt: One text, or a list of texts.
            decoding: A kind in ``answers/decoding``, or a mapping with its settings.
            writer: A kind in ``answers/writers``, or a mapping with its settings.
            max_tokens: Maximum number of tokens per answer; None allows 96, and one image if the writer makes images.
            stop: One or more stop texts; an answer is cut before the first stop text that occurs in it.
            seed: Random seed for sampling.
            max_batch_tokens: Maximum number of tokens in a batch, including padding and answers; None derives it from the
                free memory.

        Returns:
            A `Prediction` for one prompt, or a list of them for several.

        Raises:
            DataError: A prompt is empty, or an image cannot be read.
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
        """Answers one prompt and yields the answer piece by piece; options and errors are as for `generate`."""
        self.warn_untrained()
        sample = self._ask(as_media(image), prompt)
        return generation.stream(self.model, self.processor, sample, self._options(**options))

    def caption(self, image: Image, **options: Any) -> Prediction:
        """Describes an image; options and errors are as for `generate`."""
        return self.generate(image, self.recipe.task("captioning").instruction, **options)  # type: ignore[no-any-return]  # one prompt gives one

    def translate(
        self, image: Image | None, text: str | None = None, *, to: str, **options: Any
    ) -> Prediction:
        """Translates a text with the help of an image, or without a text the words in the image.

        Args:
            image: The image that the text is about, or None.
            text: Text in any language from which the model was trained to translate; None translates the words in the image,
                which the answer names with their places, and `Prediction.picture` is the image with the new words.
            to: Code of the target language, such as ``de``.
            options: As for `generate`; without a text, ``writer`` is ``rendered`` by default.

        Raises:
            DataError: The text is empty, there is neither a text nor an image, or the run was not trained to translate into
                the target language.
        """
        if text is None:
            return self._translate_words(image, to, **options)
        if not text.strip():
            raise DataError("translate: the text is empty.")
        _check_language(to, self.languages)
        task = self.recipe.task("translation").build()
        return self.generate(image, task.prompt(text, to), **options)  # type: ignore[no-any-return]  # one prompt gives one

    def draw(
        self,
        description: str | Sequence[str],
        *,
        decoding: str | dict[str, Any] = "greedy",
        picture_decoding: str | dict[str, Any] = "sampling",
        guidance: float = 1.0,
        max_tokens: int | None = None,
        seed: int = 0,
    ) -> Any:
        """Draws what a text describes; the images are in ``Prediction.images``.

        Args:
            description: One text, or a list of texts.
            decoding: Method that chooses texts and the sizes of images: a kind in ``answers/decoding``, or a mapping with
                its settings.
            picture_decoding: Method that chooses the codes of images.
            guidance: Factor of the difference that the description makes; above 1 follows it more closely. Needs a model
                that was trained with ``hide_prompts``.
            max_tokens: Maximum number of tokens per answer; None leaves room for one image and a short text.
            seed: Random seed for sampling.

        Returns:
            A `Prediction` for one description, or a list of them for several.

        Raises:
            DataError: A description is empty.
            RecipeError: The model has no image tokenizer.
        """
        texts = [description] if isinstance(description, str) else list(description)
        tokens = self.processor.layout.image_tokens
        if tokens is None:
            raise RecipeError(
                "draw: the model makes no images, since it has no image tokenizer; train one with model.image_tokenizer."
            )

        task = self.recipe.task("drawing").build()
        options = generation.Options(
            max_tokens=tokens.most + _TEXT_TOKENS if max_tokens is None else max_tokens,
            decoding=decoding,
            picture_decoding=picture_decoding,
            guidance=guidance,
            writer="image_tokens",
            seed=seed,
        )
        self.warn_untrained()
        samples = [self._ask((), task.prompt(text) if text.strip() else "") for text in texts]
        answers = generation.generate(self.model, self.processor, samples, options)
        return answers[0] if isinstance(description, str) else answers

    def _translate_words(self, image: Image | None, to: str, **options: Any) -> Prediction:
        """Translates the words in an image."""
        if image is None:
            raise DataError("translate: give a text, an image with words in it, or both.")
        _check_language(to, self.languages)
        prompt = self.recipe.task("image_translation").build().prompt(to)
        return self.generate(image, prompt, **{"writer": "rendered", **options})  # type: ignore[no-any-return]  # one prompt gives one

    def explain(
        self,
        image: Image | Sequence[Image] | None,
        prompt: str,
        *,
        method: str | dict[str, Any] = "occlusion",
        answer: str | None = None,
        word: str | None = None,
        against: str | None = None,
    ) -> Explanation:
        """Explains an answer: how much each place of the image and each token of the prompt contributed to it.

        Args:
            image: As for `generate`.
            prompt: The question.
            method: A kind in ``answers/explainers``, or a mapping with its settings.
            answer: Answer to explain; None lets the run answer, with greedy decoding.
            word: A word of the answer, or several neighbouring ones; None explains the whole answer.
            against: Text in the place of the word, or of the whole answer: what decided against it.

        Raises:
            DataError: The prompt is empty, an image cannot be read, the answer lacks the word, or `against` is the same.
            RecipeError: There is no such method, or it cannot explain this model; the message names those that can.
        """
        self.warn_untrained()
        sample = self._ask(as_media(image), prompt)
        return explanation.explain(
            self.model, self.processor, sample, method, answer=answer, word=word, against=against
        )

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        decoding: str | dict[str, Any] = "greedy",
        writer: str | dict[str, Any] = "text",
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        seed: int = 0,
        max_batch_tokens: int | None = None,
        picture_decoding: str | dict[str, Any] = "greedy",
        guidance: float = 1.0,
        progress: Any = None,
    ) -> list[Prediction]:
        """Answers samples of any tasks, and computes the likelihoods of given texts as answers.

        Args:
            samples: Samples to answer; their targets are ignored.
            texts: For each sample, the texts whose likelihoods are computed; empty means none.
            decoding: As for `generate`.
            writer: As for `generate`.
            max_tokens: As for `generate`; 0 generates nothing.
            stop: As for `generate`.
            seed: Random seed for sampling.
            max_batch_tokens: As for `generate`.
            picture_decoding: Method that chooses the codes of images, if the writer makes any.
            guidance: As for `draw`.
            progress: Called repeatedly with the number of new answers.

        Returns:
            A `Prediction` for each sample, in the same order.
        """
        self.warn_untrained()
        options = self._options(
            decoding=decoding,
            writer=writer,
            max_tokens=max_tokens,
            stop=stop,
            seed=seed,
            max_batch_tokens=max_batch_tokens,
            picture_decoding=picture_decoding,
            guidance=guidance,
            num_images=max([1, *(len(sample.pictures) for sample in samples)]),
        )
        return generation.generate(self.model, self.processor, samples, options, texts, progress=progress)

    def _options(
        self, *, max_tokens: int | None = None, num_images: int = 1, **values: Any
    ) -> generation.Options:
        """Options for generation; without `max_tokens`, there is room for this many images if the writer makes images."""
        options = _options(max_tokens=max_tokens, **values)
        tokens = self.processor.layout.image_tokens
        if max_tokens is not None or tokens is None or not options.draws_pictures:
            return options
        return replace(options, max_tokens=options.max_tokens + num_images * tokens.most)

    def predictor(self) -> run_predictor.RunPredictor:
        """The predictor with which this run is evaluated."""
        config = run_predictor.Config()
        name = str(self.folder or "a run in memory")
        return config.build(
            model=self.model, processor=self.processor, name=name, fingerprint=self.fingerprint()
        )

    def fingerprint(self) -> str:
        """SHA-256 of everything on which answers depend: the weights in memory, the processor and the library's version."""
        digest = hashlib.sha256(_version("sightweave").encode())
        digest.update(json.dumps(self.processor.documents(), sort_keys=True).encode())
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            whole = value.detach().cpu().contiguous()
            digest.update(whole.flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def warn_untrained(self) -> None:
        """Logs a warning, once per run, if the weights are still the random initial ones."""
        if self.initial and not self._is_untrained():
            self.initial = ()  # no need to check again
        elif self.initial and not self.is_warned:
            logger.warning("%s: %s", self.folder or "this run", _UNTRAINED)
            self.is_warned = True

    def _is_untrained(self) -> bool:
        return bool(self.initial) and self.initial == sums(self.model)

    def _ask(self, media: tuple[Medium, ...], prompt: str) -> Sample:
        # An empty prompt is allowed if it is the recipe's instruction for captions.
        if not prompt.strip() and prompt != self.recipe.task("captioning").instruction:
            raise DataError("the question is empty; ask, for example, 'What is this?'.")
        parts = (*[Part("user", medium) for medium in media], Part("user", prompt))
        # All prompts have the same id, because sampling depends on the id but must not depend on a prompt's position.
        return Sample(id="prompt", task="", parts=parts)

    def save(self, folder: Path, model: VLM | None = None) -> None:
        """Writes ``checkpoint/`` and ``recipe.yaml`` to a folder, each atomically.

        Args:
            folder: Folder of the run.
            model: Model to write instead of the run's own, such as a copy with merged adapters.

        Raises:
            CheckpointError: As for `checkpoint.write_folder`.
        """
        write(folder, (model or self.model).state_dict(), self.processor, self.recipe)
        if self._is_untrained():  # zero steps make `load` log a warning
            record(folder, {"steps": 0})
        self.folder = folder


def write(
    folder: Path,
    weights: Mapping[str, torch.Tensor] | Callable[[Path], None],
    processor: Processor,
    recipe: recipes.Recipe,
) -> None:
    """Writes ``checkpoint/`` and ``recipe.yaml`` into a run's folder, each atomically.

    Args:
        folder: Folder of the run.
        weights: The model's weights by name, or a function that writes them to a safetensors file.
        processor: The model's processor.
        recipe: The run's recipe.

    Raises:
        CheckpointError: The disk is full, or the folder cannot be written; existing files are unharmed.
    """
    documents = {**processor.documents(), "recipe": recipe.to_plain()}
    if callable(weights):
        write_weights = weights
        checkpoint.write_folder(
            folder / CHECKPOINT, {}, documents, more=lambda made: write_weights(made / "model.safetensors")
        )
    else:
        checkpoint.write_folder(folder / CHECKPOINT, {"model": weights}, documents)
    files.write_text(folder / RECIPE, recipe.to_yaml())


def sums(model: VLM) -> tuple[float, ...]:
    """The sum of each weight tensor, from which it is cheap to see whether a model was trained."""
    return tuple(float(weight.detach().sum(dtype=torch.float64)) for weight in model.parameters())


def languages_of(known: Mapping[str, Any]) -> frozenset[str] | None:
    """The language pairs that a run was trained to translate, from the content of ``run.json``; None if not recorded."""
    pairs = known.get(LANGUAGES)
    return frozenset(map(str, pairs)) if isinstance(pairs, list) else None


def _check_language(to: str, pairs: frozenset[str] | None) -> None:
    """Raises `DataError` if a run was not trained to translate into a language, which is given by code or by name."""
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
    max_tokens: int | None = None,
    stop: str | Sequence[str] = (),
    seed: int = 0,
    max_batch_tokens: int | None = None,
    picture_decoding: str | dict[str, Any] = "greedy",
    guidance: float = 1.0,
) -> generation.Options:
    values = {
        "decoding": decoding,
        "writer": writer,
        "stop": stop if isinstance(stop, str) else tuple(stop),
        "seed": seed,
        "max_batch_tokens": max_batch_tokens,
        "picture_decoding": picture_decoding,
        "guidance": guidance,
    }
    if max_tokens is not None:
        values["max_tokens"] = max_tokens
    return config.build(generation.Options, values, where="generate")


def _html_of(prompt: str, media: Sequence[Medium], said: str, about: Sequence[str]) -> str:
    """Renders an answer for a notebook as HTML, with the question and thumbnails of the images."""
    return notebook.answer(prompt, said, pictures=thumbnails.addresses(media), about=about)


def as_media(image: Any) -> tuple[Medium, ...]:
    """Converts an image, a list of images or None to media with distinct keys.

    Raises:
        MediaError: A text is a network URL, or is not an image's path, data URL or base64.
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
    """Loads a run from its folder. No code in the folder is executed, and no path that it names is opened.

    Args:
        folder: The run's folder, or its ``checkpoint`` folder.
        device: Device of the model, such as ``auto``, ``cpu`` or ``cuda``.
        trust_run: Whether the run's recipe may name Python modules and paths, like the user's own recipes.
        modules: Dotted names of modules that may be imported even without `trust_run`.
        only_model: Whether to ignore the recipe's data and tasks.

    Raises:
        CheckpointError: The folder does not contain a run, or the run is damaged.
        RecipeError: The recipe names a Python module, and `trust_run` is False.
    """
    path = Path(folder)
    inner = files.whole(path / CHECKPOINT)
    if not inner.is_dir():
        inner = files.whole(path)
    if not inner.is_dir():
        raise CheckpointError(places.no_folder(path))

    # Read the JSON files, and compare the sizes in them with the header of the weights before allocating anything.
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
    """Reads the JSON objects in a checkpoint's files, by file name without suffix, after checking sizes and hashes."""
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
    """Raises `CheckpointError` if the processor's layout or image size differs from the model's."""
    compared: list[tuple[str, object, object]] = [("layout", model.layout, processor.layout)]
    if "image" in model.modalities and "image" in processor.loaders:
        compared.append(("image_size", model.encoder.image_size, processor.images.transform.size))
    for name, own, theirs in compared:
        if own != theirs:
            raise CheckpointError(f"{folder}: the processor's {name} is {theirs}, but the model's is {own}.")


def known_of(folder: Path) -> dict[str, Any]:
    """The content of ``run.json`` in a run's folder, or in the folder above a checkpoint; empty if it cannot be read."""
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
    """Raises `CheckpointError` if the processor's vocabulary is larger than every dimension of every weight."""
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
    """Builds the recipe's model on the meta device, which takes no memory; fails if it is much larger than the weights.

    Args:
        folder: The checkpoint folder, for messages.
        recipe: The run's recipe.
        processor: The run's processor.
        shapes: Shapes of the weights in the checkpoint, by name.

    Raises:
        CheckpointError: The recipe's model cannot be built, or is much larger than the weights.
        RecipeError: The parts do not fit together.
    """
    # On the meta device, initial weights are not computed; they would be replaced by those of the file anyway.
    with checkpoint.no_larger_than(shapes, where=folder), torch.device("meta"):
        try:
            model = recipe.model.build(
                vocab_size=processor.tokenizer.vocab_size, num_answers=len(processor.answers)
            )
            if lora.are_in(frozenset(shapes)):  # missing if training stopped before the stage with adapters
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
    """Merges values into the ``run.json`` of a run's folder."""
    known = facts_of(folder) or {"format_version": FORMAT_VERSION}
    text = json.dumps(known | values, indent=1, ensure_ascii=False)
    files.write_text(folder / FACTS, text)


def asked_of(known: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of a run's recipe as the user gave them, from ``run.json``; ``recipe.yaml`` has them in resolved form."""
    earlier = {"model": known[ASKED_MODEL]} if ASKED_MODEL in known else {}
    return old_names.update({**earlier, **known.get(ASKED, {})}, tell=False)


def shown_facts(known: Mapping[str, Any]) -> dict[str, Any]:
    """Rearranges the content of ``run.json`` for display, with facts about training grouped.

    Files of earlier versions contain only some of these facts, or have other names for them.
    """
    given = dict(known)
    for name in _NOT_SHOWN:
        given.pop(name, None)
    in_data = given.pop("pictures", None)  # the key in earlier versions, which counted all images
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
    """The facts about this machine and installation that are needed to reproduce a run: processor, versions and commit."""
    versions = {name: _version(name) for name in ("sightweave", "torch", "numpy", "pillow", "tokenizers")}
    simplejpeg = turbo.version()
    if simplejpeg is not None:  # it gives the same pixels as Pillow, but is recorded in case of doubt
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
    """The short hash of the commit of the git checkout that contains this file; empty if there is none."""
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
