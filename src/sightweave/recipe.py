"""The recipe of a run: all settings of a run as a frozen, validated object that builds the run's parts.

``read("recipes/demo.yaml", ["seed=1"])`` returns a `Recipe`. Its ``to_yaml`` converts it back to YAML, which loads as an
equal recipe.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ArgsKwargs

from sightweave.answers.decoding import sampling
from sightweave.core import catalog, gguf, old_names, places, transformers_folder
from sightweave.core import config as configs
from sightweave.core.config import config, downloaded, one_of
from sightweave.core.errors import BackendError, CheckpointError, RecipeError, did_you_mean
from sightweave.core.recipe_files import find
from sightweave.data.inputs import modalities, preprocessor, pretrained_tokenizer, transforms
from sightweave.data.inputs.cache import PixelCache
from sightweave.data.inputs.processor import Processor, settings_of
from sightweave.data.inputs.tiles import Tiles
from sightweave.data.inputs.tokenizer import FRAMED, Tokenizer
from sightweave.data.reading.dataset import Dataset
from sightweave.data.reading.detect import kind_of_path
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.subset import all_or_drawn
from sightweave.models.keymaps import _base as keymaps
from sightweave.models.pairs import declared
from sightweave.models.vlm import VLM
from sightweave.programs.evaluation.controls import ALL as CONTROLS
from sightweave.programs.training.settings import BOUNDS, DURATIONS, Settings
from sightweave.programs.training.world import Mesh

logger = logging.getLogger(__name__)
_MAX_GENERATED = 5000
"""Maximum number of generated images whose answers are counted; for datasets read from files, all images are counted."""
_ADAPTED = ("encoder", "language_model")
"""Parts that Transformers or timm can run in place of Sightweave, which does not support all architectures."""
_PRETRAINED = ("encoder", "connector", "language_model")
"""Parts that can start from pretrained weights in a folder."""


def _hub_name(given: Any) -> str:
    """The Hub name that is given in place of a part's kind; empty for anything else, such as a local folder."""
    name = _folder_of(given)
    return name if name and transformers_folder.is_on_hub(name) else ""


def _part(family: str) -> BeforeValidator:
    """A validator for a part, which returns the Config of a kind, a mapping for a Hub name, or None if it may be omitted."""

    def check(value: Any, info: ValidationInfo) -> Any:
        source = downloaded(info)
        hub_name = _hub_name(value) if source is None else ""
        if hub_name:
            return {"kind": hub_name} if isinstance(value, str) else dict(value)

        is_left_out = value is None and family in ("models.encoders", "models.connectors")
        return None if is_left_out else configs.resolve(family, value, source)

    return BeforeValidator(check)


def _image_tokenizer(value: Any, info: ValidationInfo) -> Any:
    """The Config of an image tokenizer; None if there is none."""
    if value is None:
        return None
    return configs.resolve("models.image_tokenizers", value, downloaded(info))


@config
class MediaParts:
    """Encoder and connector of a modality other than images."""

    encoder: Annotated[Any, one_of("models.encoders")]
    """Encoder, which converts media of this modality to features."""
    connector: Annotated[Any, one_of("models.connectors")] = field(
        default_factory=lambda: configs.resolve("models.connectors", "linear")
    )
    """Connector, which maps features to embeddings of the language model's width; linear by default."""


def _known_modalities(media: Mapping[str, MediaParts], info: ValidationInfo) -> Mapping[str, MediaParts]:
    """Raises `ValueError` if a modality is unknown, or is a Python module that the recipe must not import."""
    source = downloaded(info)
    for modality in media:
        if modality == "image":
            raise ValueError(
                "images do not belong in model.media; set model.encoder and model.connector instead"
            )
        catalog.config_class(modalities.FAMILY, modality, allowed=None if source is None else source.modules)
    return media


@config
class Model:
    """The parts of a model: encoders and connectors, fusion, and language model.

    A local folder in place of a kind is read immediately. A Hub name remains a mapping, ``{kind: OWNER/NAME, ...}``, until
    `Recipe.resolved` reads its files, so that creating a `Model` needs no network access.
    """

    encoder: Annotated[Any, _part("models.encoders")]
    """Encoder, which converts images to features; None for a model that reads only other media."""
    connector: Annotated[Any, _part("models.connectors")]
    """Connector, which maps features to embeddings of the language model's width. With an encoder on the Hub, this may be
    None until the encoder is read, which then determines it."""
    fusion: Annotated[Any, one_of("models.fusions")]
    """Fusion, which feeds image embeddings into the language model."""
    language_model: Annotated[Any, _part("models.language_models")]
    """Language model, which converts text to logits."""
    pretrained: Mapping[Literal["encoder", "connector", "language_model"], str] = field(default_factory=dict)
    """Transformers folders with the initial weights of parts; filled in, along with the sizes, by ``encoder: FOLDER``."""
    media: Annotated[Mapping[str, MediaParts], AfterValidator(_known_modalities)] = field(
        default_factory=dict
    )
    """Encoder and connector of each modality other than images. A modality is named by its file in ``data/inputs/media``, or
    by the dotted path of your own module."""

    image_tokenizer: Annotated[Any, BeforeValidator(_image_tokenizer)] = None
    """Image tokenizer, which turns images into codes and back; None for a model that makes no images."""

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, given: Any, info: ValidationInfo) -> Any:
        """Replaces local folders, which are given for a part or for the whole model, by kinds and sizes."""
        if downloaded(info):  # in a run's folder, the recipe already has kinds and sizes
            return given
        values = given.kwargs if isinstance(given, ArgsKwargs) else given
        if isinstance(values, str):
            values = dict.fromkeys(_PRETRAINED, values)
        if not isinstance(values, Mapping):
            return given
        if values.get("media") and "encoder" not in values:
            values = given = {"encoder": None, "connector": None, **values}

        return _read_folders(values, with_hub=False) or given

    def __post_init__(self) -> None:
        if self.encoder is None and not self.media:
            raise ValueError("encoder: needs a kind, such as {kind: vit} (got None)")
        if self.connector is None and self.encoder is not None and not _hub_name(self.encoder):
            raise ValueError(
                "connector: needs a kind, such as {kind: linear} (got None); only a pretrained encoder has a default"
            )

        faults: list[str] = []
        for name in ("encoder", "connector", "fusion", "language_model", "image_tokenizer"):
            faults += _bad_sizes(name, getattr(self, name))
        for modality, parts in self.media.items():
            faults += _bad_sizes(f"media.{modality}.encoder", parts.encoder)
            faults += _bad_sizes(f"media.{modality}.connector", parts.connector)
        if faults:
            raise ValueError("; ".join(faults))

    @property
    def hub_names(self) -> tuple[str, ...]:
        """Hub names in the model that have not been read yet."""
        parts = [getattr(self, name) for name in _PRETRAINED]
        named = [_hub_name(part) for part in parts if isinstance(part, Mapping)]

        adapted: list[str] = []
        for part in parts:
            if hasattr(part, "resolved") and not getattr(part, "config", True):
                adapted.append(part.folder)
        return tuple(dict.fromkeys([*named, *adapted]))

    def build(self, *, vocab_size: int, num_answers: int = 0) -> VLM:
        """Builds the parts and the model.

        Args:
            vocab_size: Vocabulary size of the language model.
            num_answers: Number of answers, for a language model that classifies answers.

        Raises:
            RecipeError: Parts are incompatible, sizes do not match, or Hub names have not been read yet.
        """
        if self.hub_names:
            raise RecipeError(
                f"model: {', '.join(self.hub_names)}: not read from the Hub yet; build recipe.resolved() instead."
            )

        # The order of the parts must not change, since it determines the random initial weights of each part.
        encoder = None if self.encoder is None else _built("model.encoder", self.encoder.build)
        language_model = _built(
            "model.language_model", self.language_model.build, vocab_size=vocab_size, num_answers=num_answers
        )
        connector = None
        if encoder is not None:
            connector = _connected("model.connector", self.connector, encoder, language_model.dim)
        fusion = _built(
            "model.fusion",
            self.fusion.build,
            dim=language_model.dim,
            num_heads=language_model.num_heads,
            depth=language_model.depth,
        )

        # Build the encoders and connectors of other modalities.
        media = {}
        for modality, parts in self.media.items():
            where = f"model.media.{modality}"
            reader = _built(f"{where}.encoder", parts.encoder.build)
            joint = _connected(f"{where}.connector", parts.connector, reader, language_model.dim)
            media[modality] = (reader, joint)

        image_tokenizer = None
        if self.image_tokenizer is not None:
            image_tokenizer = _built("model.image_tokenizer", self.image_tokenizer.build)

        return _built(  # type: ignore[no-any-return]  # any part
            "model", VLM, encoder, connector, fusion, language_model, media, image_tokenizer
        )

    def load_pretrained(self, model: VLM) -> None:
        """Loads the weights of all parts that have a folder with pretrained weights.

        Raises:
            CheckpointError: A folder is missing, or its weights are damaged or have different shapes.
        """
        for part, folder in self.pretrained.items():
            module = getattr(model, part)
            if hasattr(module, "load_folder"):  # a model that another library runs
                module.load_folder(folder)
            else:
                keymaps.load_into(module, folder, part)


def _folder_of(given: Any) -> str:
    """The folder or Hub name that is given in place of a part's kind; empty if there is none."""
    kind = given.get("kind") if isinstance(given, Mapping) else given
    return kind if isinstance(kind, str) and transformers_folder.is_named(kind) else ""


def _read_folders(values: Mapping[str, Any], *, with_hub: bool) -> dict[str, Any]:
    """The fields of a model with folders replaced by kinds and sizes; empty if there are no folders.

    Args:
        values: The fields as given.
        with_hub: Whether Hub names are read too; if not, they are kept.

    Raises:
        ValueError: A folder cannot be read, or does not contain the part.
    """
    found = dict(values)
    given = values.get("pretrained")
    folders = dict(given) if isinstance(given, Mapping) else {}  # validation will report any other type
    waiting = set()  # parts on the Hub that have not been read yet
    for part in _PRETRAINED:
        folder = _folder_of(values.get(part))
        if folder and (with_hub or not transformers_folder.is_on_hub(folder)):
            found[part] = _expanded(part, folder, values[part])
            folders[part] = folder
        elif folder:
            waiting.add(part)

    # Omitted parts get defaults that match the pretrained ones.
    if "encoder" in waiting:
        found.setdefault("connector", None)
    elif "encoder" in folders and found.get("connector") is None:
        found["connector"] = _connector_for(found["encoder"])
    if "language_model" in waiting | folders.keys():  # it was pretrained with causal attention
        found.setdefault("fusion", {"kind": "concat", "bidirectional": "none"})

    return found | {"pretrained": folders} if folders or waiting else {}


def _expanded(part: str, folder: str, given: Any) -> dict[str, Any]:
    """The kind and the fields of a part in a folder; fields in `given` override those from the folder.

    Raises:
        ValueError: The folder cannot be read, or does not contain the part.
    """
    asked = dict(given) if isinstance(given, Mapping) else {}
    asked.pop("kind", None)
    if part != "language_model" and gguf.is_named(folder):
        raise ValueError(f"{part}: a GGUF file can only be used as a language model (got {folder!r})")

    try:
        return keymaps.read(folder, part) | asked
    except keymaps.NoFamily as error:
        if part not in _ADAPTED:
            raise ValueError(f"{part}: {error} (got {folder!r})") from None
        is_timm = part == "encoder" and "architecture" in transformers_folder.read_config(folder)
        kind = "from_timm" if is_timm else "from_transformers"
        logger.info("%s: %s; %s adapts the library's own model", part, error, kind)
        return {"kind": kind, "folder": folder} | asked
    except (CheckpointError, BackendError) as error:
        raise ValueError(f"{part}: {error} (got {folder!r})") from None


def _connector_for(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """The default connector: pixel shuffle by 2 (as in Idefics3) if the grid has an even side, else an MLP (as in LLaVA)."""
    size, patch = encoder.get("image_size"), encoder.get("patch_size")
    is_even = isinstance(size, int) and isinstance(patch, int) and size // patch % 2 == 0
    return {"kind": "pixel_shuffle", "factor": 2} if is_even else {"kind": "mlp"}


def _bad_sizes(part: str, values: Any) -> list[str]:
    """Error messages about the integers of a part, which must not be negative, and may be 0 only if 0 is the default."""
    faults: list[str] = []
    if values is None or isinstance(values, Mapping):  # the part is missing, or has not been read yet
        return faults

    for field_ in dataclasses.fields(values):
        value = getattr(values, field_.name)
        items = value if isinstance(value, tuple) else (value,)
        numbers = [item for item in items if type(item) is int]
        if any(number < 0 for number in numbers):
            faults.append(f"{part}.{field_.name} must not be negative (got {value})")
        elif value == 0 and numbers and field_.default != 0:
            faults.append(f"{part}.{field_.name} must be at least 1 (got 0)")
    return faults


def _built(path: str, make: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls `make` and returns its result; errors become `RecipeError` with the path of the setting."""
    try:
        return make(*args, **kwargs)
    except RecipeError:
        raise
    except (ValueError, RuntimeError) as error:  # torch raises RuntimeError for impossible sizes
        raise RecipeError(f"{path}: {error}") from error


def _connected(path: str, connector: Any, encoder: Any, out_dim: int) -> Any:
    """Builds the connector of an encoder."""
    return _built(path, connector.build, in_dim=encoder.dim, out_dim=out_dim, grid=encoder.grid())


def _read_settings(
    media: Mapping[str, Mapping[str, Any]], info: ValidationInfo
) -> Mapping[str, Mapping[str, Any]]:
    """Validates the settings of modalities other than images, and returns them with all defaults filled in."""
    source = downloaded(info)
    allowed = None if source is None else source.modules
    found = {}
    for modality, values in media.items():
        settings = configs.to_plain(settings_of(modality, values, allowed))
        found[modality] = {name: value for name, value in settings.items() if name != "kind"}
    return found


@config
class Inputs:
    """Settings for converting text and images to tensors."""

    vocab_size: PositiveInt = 4096
    """Maximum vocabulary size of the tokenizer; with little text, the vocabulary is smaller."""
    min_frequency: PositiveInt = 2
    """Minimum frequency of a pair of symbols to be merged into one token."""
    frame_images: bool = False
    """Whether to put Idefics3's tokens around each image, as export to its layout requires. Not needed with a pretrained
    tokenizer, which already has them."""
    fit: transforms.Fit = "pad"
    """Fitting of images that are not square: pad, crop or squash."""
    exact: bool = False
    """Whether to resize exactly as Pillow does, so that exported models see the same pixels; this is slower."""
    augment: transforms.Augment = "none"
    """Data augmentation: none, shift or photo. It is applied in stages with augment: true."""
    flip: bool = False
    """Whether augmentation mirrors half of the images, except those whose texts mention left or right."""
    gray: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of images that augmentation converts to grey, 0 to 1."""
    max_tiles: NonNegativeInt = 0
    """Maximum number of tiles per large image, in addition to a thumbnail of the whole image; 0 disables tiling."""
    cache: str = ""
    """Folder written by ``sightweave data cache``, from which stages without augmentation read resized images."""
    media: Annotated[Mapping[str, Mapping[str, Any]], AfterValidator(_read_settings)] = field(
        default_factory=dict
    )
    """Settings of modalities other than images, by their names in ``model.media``."""
    max_length: PositiveInt = 2048
    """Maximum number of tokens per sample."""
    num_answers: PositiveInt = 1000
    """Maximum number of answer classes, for a language model that classifies answers."""


def _known_controls(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in CONTROLS:
            raise ValueError(f"no control {name!r} (got {list(names)}). {did_you_mean(name, CONTROLS)}")
    return names


@config
class Evaluation:
    """The settings of an evaluation."""

    splits: tuple[str, ...] = ()
    """Held-out splits to evaluate. Empty means all test splits; for choosing among recipes, use ``[validation]``."""
    max_images: PositiveInt = 500
    """Maximum number of images per split, sampled at random from the whole split."""
    draw_seed: int = 0
    """Random seed for sampling the images. It does not depend on the run's seed, so that runs with different seeds are
    compared on the same images."""
    controls: Annotated[tuple[str, ...], AfterValidator(_known_controls)] = (
        "no_image",
        "shuffled_image",
        "blank_image",
        "copied_source",
    )
    """Controls: modified inputs with which the questions are asked again, and ``copied_source``, a translation of images
    that changes nothing. ``sightweave list controls`` lists all of them."""
    guidance: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Factor of the difference that a description makes to a drawing; above 1, drawings follow it more closely."""
    picture_decoding: Annotated[Any, one_of("answers.decoding")] = sampling.Config()
    """Decoding method for the codes of drawings: a kind in ``answers/decoding``, or its Config."""
    circular: bool = False
    """Whether to ask each multiple-choice question once per rotation of its options, scored by ``circular_choice``."""
    max_tokens: PositiveInt = 96
    """Maximum number of tokens per answer."""
    max_batch_tokens: PositiveInt | None = None
    """Maximum number of tokens in a batch, including padding and answers, for models that run in this process. None derives
    it from the free memory. It does not affect the answers."""


def _as_sources(value: Any, info: ValidationInfo) -> Any:
    """Converts ``data`` to a list of sources, and detects the formats of paths; a single source need not be in a list."""
    values = value if isinstance(value, list | tuple) else [value]
    if downloaded(info):  # detecting the format of a path would read files that the recipe names
        return values
    return [_as_source(one) for one in values]


def _as_source(value: Any) -> Any:
    """Fills in the dataset format of a source that is a path, or a mapping without a kind or with a path as its kind."""
    fields = {"kind": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping):
        return value
    kind, path = fields.get("kind"), fields.get("path")
    if kind is None and path is not None:
        return {**fields, "kind": kind_of_path(str(path))}
    is_short = isinstance(value, str) or kind not in catalog.kinds("data.datasets")
    if isinstance(kind, str) and path is None and (is_short or Path(kind).exists()) and _is_path(kind):
        return {**fields, "kind": kind_of_path(kind), "path": kind}
    return value


def _is_path(name: str) -> bool:
    """Whether a name means a path, rather than a kind that needs no path or a user's module."""
    # The name of a kind that needs a path, such as coco, means a folder if it is given without one.
    if name in catalog.kinds("data.datasets"):
        return issubclass(catalog.config_class("data.datasets", name), FilesConfig)
    return not places.is_module(name) or Path(name).expanduser().exists()


Sources = Annotated[tuple[Annotated[Any, one_of("data.datasets")], ...], BeforeValidator(_as_sources)]


def _known_to_user(
    tasks: Mapping[str, Mapping[str, Any]], info: ValidationInfo
) -> Mapping[str, Mapping[str, Any]]:
    """Validates the tasks of a downloaded recipe, which must not name modules; a user's tasks are validated on use."""
    source = downloaded(info)
    if source is not None:
        for name, values in tasks.items():
            _task(name, values, source)
    return tasks


def _task(name: str, values: Mapping[str, Any], source: configs.Downloaded | None = None) -> Any:
    """Builds the Config of one task from its settings."""
    allowed = None if source is None else source.modules
    fields = {key: value for key, value in values.items() if key != "kind"}
    kind = catalog.config_class("data.tasks", name, allowed=allowed)
    return configs.build(kind, fields, where=f"tasks.{name}", source=source)


class _Tasks(dict[str, Any]):
    """Tasks by name; looking up a missing one raises a `RecipeError` that explains how to add it."""

    def __missing__(self, name: str) -> Any:
        raise RecipeError(
            f"tasks: the data has records of {name!r}, which is not a task in the recipe; add your own task by its "
            f"dotted path: tasks: {{{name}: {{}}}}."
        )


@config
class Measured:
    """All settings on which an evaluation depends, except for the model."""

    data: Sources = ()
    """Datasets, each as a kind with settings, or as a path whose format is detected."""
    evaluate: Evaluation = field(default_factory=Evaluation)
    """Settings of the evaluation."""
    tasks: Annotated[Mapping[str, Mapping[str, Any]], AfterValidator(_known_to_user)] = field(
        default_factory=dict
    )
    """Settings by task, such as {vqa: {instruction: ...}}; a dotted path as a name adds a task of your own."""
    seed: int = 0
    """Random seed for initial weights, data order and sampling."""

    def task(self, name: str) -> Any:
        """The Config of one task, with the settings in `tasks`."""
        return _task(name, self.tasks.get(name, {}))

    def build_tasks(self) -> dict[str, Any]:
        """Builds all tasks, by name."""
        return _Tasks({name: self.task(name).build() for name in self.task_names()})

    def task_names(self) -> list[str]:
        """Names of all built-in tasks, followed by the dotted paths of the user's own tasks in `tasks`.

        Raises:
            RecipeError: `tasks` contains an unknown task.
        """
        known = catalog.kinds("data.tasks")
        for name in sorted(set(self.tasks) - set(known)):
            if "." not in name:
                raise RecipeError(f"tasks: no task {name!r}. {did_you_mean(name, known)}")

        own = [name for name in self.tasks if name not in known]
        return [*known, *own]

    def to_plain(self) -> dict[str, Any]:
        """Converts the settings to plain data, from which an equal object can be built."""
        return configs.to_plain(self)  # type: ignore[no-any-return]  # a dataclass becomes a dict


@config
class Recipe(Measured):
    """All settings on which a run depends."""

    data: Sources = field()  # required, unlike in Measured
    """Datasets, each as a kind with settings, or as a path whose format is detected."""
    model: Model
    """Parts of the model."""
    train: Settings
    """Training stages, device and logging."""
    mesh: Mesh = field(default_factory=Mesh)
    """Settings for training in several processes."""
    inputs: Inputs = field(default_factory=Inputs)
    """Settings for converting text and images to tensors."""
    init_from: str = ""
    """Folder of a run whose weights and tokenizer training starts from."""
    title: str = ""
    """Title of the report."""

    def __post_init__(self) -> None:
        unused = [modality for modality in self.inputs.media if modality not in self.model.media]
        if unused:
            raise ValueError(
                f"inputs.media has settings of {unused[0]}, which is not in model.media (it has "
                f"{', '.join(self.model.media) or 'none'}); add an encoder there, or remove the settings"
            )
        self._check_image_tokenizer()

    def _check_image_tokenizer(self) -> None:
        """Raises `ValueError` if an image tokenizer would make codes before it is trained."""
        if self.model.image_tokenizer is None or self.init_from:
            return
        for stage in self.train.stages:
            if stage.learn == "image_tokens":
                return
            if stage.reads_text:
                raise ValueError(
                    f"model.image_tokenizer is not trained before stage {stage.name!r}, so its codes would be random; put a "
                    "stage with learn: image_tokens and parts: [image_tokenizer] before it, or set init_from to a run that "
                    "has one"
                )

    def resolved(self) -> Recipe:
        """A copy in which Hub names are replaced by kinds and sizes; files are downloaded if necessary.

        Raises:
            RecipeError: A model on the Hub cannot be read, does not contain the part, or has invalid fields.
            CheckpointError: The ``folder`` of a part that another library runs cannot be read.
        """
        if not self.model.hub_names:
            return self

        values = self.to_plain()
        try:
            values["model"] = _read_folders(values["model"], with_hub=True) or values["model"]
        except ValueError as error:
            raise RecipeError(f"recipe: 1 mistake(s)\n  model: {error}") from None
        read = configs.build(Recipe, values)

        # Read the settings of parts that another library runs.
        model = read.model
        parts = {name: getattr(model, name) for name in _ADAPTED}
        adapted = {name: part.resolved() for name, part in parts.items() if hasattr(part, "resolved")}
        return dataclasses.replace(read, model=dataclasses.replace(model, **adapted))

    def check(self) -> None:
        """Builds the model on the meta device, so that incompatible parts are reported before any data is read.

        Raises:
            RecipeError: As for `Model.build` and `resolved`.
        """
        model = self.resolved().model
        with torch.device("meta"):
            model.build(vocab_size=self.inputs.vocab_size, num_answers=1)

    def build_tokenizer(self, datasets: Sequence[Dataset]) -> Tokenizer:
        """Reads the tokenizer of a pretrained language model, or trains one on all texts of the datasets and tasks.

        Raises:
            CheckpointError: The tokenizer of a pretrained language model is missing or damaged.
        """
        folder = self.model.pretrained.get("language_model")
        if folder:
            return pretrained_tokenizer.read(folder, keymaps.vocab_size(folder))

        template = FRAMED if self.inputs.frame_images else None
        texts = self._texts(datasets)
        return Tokenizer.train(texts, self.inputs.vocab_size, self.inputs.min_frequency, template)

    def _texts(self, datasets: Sequence[Dataset]) -> Iterable[str]:
        for name in self.task_names():
            task = self.task(name)
            yield from [task.instruction, getattr(task, "marker", "")] * self.inputs.min_frequency
        for dataset in datasets:
            yield from dataset.texts()

    def build_answers(self, datasets: Sequence[Dataset]) -> tuple[str, ...]:
        """The most common answers in the training data, if the language model classifies answers; otherwise empty.

        Raises:
            RecipeError: The language model classifies answers, but the data has none.
        """
        chosen = self.model.language_model
        form = getattr(chosen, "form", None)
        if not form:
            form = declared("models.language_models", configs.kind_of(chosen)).form
        if form != "classify":
            return ()

        counts: Counter[str] = Counter()
        for dataset in datasets:
            for index in all_or_drawn(dataset, _MAX_GENERATED):
                for record in dataset[index]:
                    counts.update(getattr(record, "answers", ()))
        if not counts:
            raise RecipeError(
                "the language model is a classifier, but the data has no question with an answer."
            )

        ordered = sorted(counts, key=lambda answer: (-counts[answer], answer))
        return tuple(ordered[: self.inputs.num_answers])

    def build_processor(self, tokenizer: Tokenizer, model: VLM, answers: tuple[str, ...]) -> Processor:
        """Builds the processor of a model.

        The preprocessing with which an encoder was pretrained overrides the recipe. It is read from the image processor in
        the encoder's folder, or from the encoder's ``preprocessing``, a mapping of fields of `transforms.Config`.

        Raises:
            RecipeError: The encoder's preprocessing has an unknown field or an invalid value.
            CheckpointError: The folder of a pretrained encoder does not define how images are prepared.
        """
        settings = {modality: self.inputs.media.get(modality, {}) for modality in self.model.media}
        return Processor(
            tokenizer=tokenizer,
            transform=self._transform(model) if "image" in model.modalities else None,
            media={modality: settings_of(modality, values) for modality, values in settings.items()},
            layout=model.layout,
            answers=answers,
            max_length=self.inputs.max_length,
            tiles=Tiles(max_tiles=self.inputs.max_tiles),
            pictures=self._pictures(model),
            cache=PixelCache.open(Path(self.inputs.cache)) if self.inputs.cache else None,
        )

    def _transform(self, model: VLM) -> transforms.Config:
        """The settings of the image transform for the model's encoder."""
        seen = preprocessor.seen(model.encoder, self.model.pretrained.get("encoder"))
        fields = {
            "size": model.encoder.image_size,
            "fit": self.inputs.fit,
            "exact": self.inputs.exact,
            "augment": self.inputs.augment,
            "flip": self.inputs.flip,
            "gray": self.inputs.gray,
        } | seen
        return configs.build(transforms.Config, fields, where="model.encoder.preprocessing")

    def _pictures(self, model: VLM) -> transforms.Config | None:
        """The settings of the image transform for the model's image tokenizer; None if there is none."""
        if model.image_tokenizer is None:
            return None
        return transforms.Config(
            size=model.image_tokenizer.image_size,
            fit=self.inputs.fit,
            exact=self.inputs.exact,
            augment=self.inputs.augment,
            flip=self.inputs.flip,
            gray=self.inputs.gray,
        )

    def build_picture_processor(self) -> Processor:
        """Builds a processor for images only, with a placeholder tokenizer.

        Since only the encoder matters for images, a pretrained language model is neither read nor downloaded.

        Raises:
            RecipeError, CheckpointError: As for `resolved` and `build_processor`, for the encoder only.
        """
        # Replace the language model by a minimal one.
        values = self.to_plain()
        pretrained = dict(self.model.pretrained)
        pretrained.pop("language_model", None)
        values["model"] |= {
            "fusion": {"kind": "concat"},
            "language_model": {"kind": "decoder_only"},
            "pretrained": pretrained,
        }
        alone = configs.build(Recipe, values).resolved()

        tokenizer = Tokenizer.train([], 300)
        with torch.device("meta"):
            model = alone.model.build(vocab_size=tokenizer.vocab_size)
        return alone.build_processor(tokenizer, model, ())

    def to_yaml(self) -> str:
        """Converts the recipe to YAML, which `read` loads as an equal recipe."""
        return yaml.safe_dump(self.to_plain(), sort_keys=False, allow_unicode=True)


def measured(
    values: Mapping[str, Any], settings: Sequence[str] = (), *, source: configs.Downloaded | None = None
) -> Measured:
    """Builds the settings of an evaluation that has no recipe.

    Args:
        values: The fields of a `Measured`.
        settings: ``path=value`` settings that override the values.
        source: The context of downloaded values; None if they come from the user.

    Raises:
        RecipeError: Values are invalid; the message lists all mistakes.
    """
    current = old_names.update(values, tell=source is None)
    return configs.build(Measured, configs.override(current, settings), where="evaluation", source=source)


def read(source: str | Path | Mapping[str, Any], settings: Sequence[str] = ()) -> Recipe:
    """Reads a recipe and applies ``path=value`` settings; Hub names are kept and not looked up.

    Args:
        source: A YAML file, the name of a built-in recipe such as ``own``, or a mapping.
        settings: ``path=value`` settings that override the recipe's.

    Raises:
        RecipeError: The file does not exist, or the recipe is invalid; the message lists all mistakes.
    """
    if isinstance(source, Mapping):
        values, where = dict(source), "recipe"
    else:
        values, where = configs.read_yaml(find(source)), str(source)

    values = _with_one_duration(configs.override(values, settings, where=where), settings)
    return configs.build(Recipe, values, where=where)


def _with_one_duration(values: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Removes a stage's duration if a setting gives another one, so that ``steps=50`` replaces ``epochs``."""
    asked = {setting.partition("=")[0] for setting in settings}
    train = values.get("train")
    stages = train.get("stages") if isinstance(train, dict) else None

    for number, stage in enumerate(stages if isinstance(stages, list) else []):
        if not isinstance(stage, dict):
            continue
        given = {name for name in (*DURATIONS, *BOUNDS) if f"train.stages.{number}.{name}" in asked}
        if any(stage.get(name) is not None for name in given & set(DURATIONS)):
            for name in {*DURATIONS, *BOUNDS} - given:
                stage.pop(name, None)

    return values


def of_run(values: Mapping[str, Any], *, where: str, source: configs.Downloaded | None) -> Recipe:
    """Builds the recipe that was stored in a run's folder, without its output and cache paths.

    Args:
        values: The recipe as plain data.
        where: Prefix of error messages.
        source: The context of a downloaded recipe; None if the user trusts it like their own.

    Raises:
        RecipeError: The recipe is invalid, or names Python modules that are not allowed; the message lists all mistakes.
    """
    current = old_names.update(values, where=where, tell=False)
    return configs.build(Recipe, without_outputs(current), where=where, source=source)


def without_outputs(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a recipe's fields without output and cache paths, which do not affect results."""
    plain = dict(values)
    if isinstance(plain.get("data"), list):
        plain["data"] = [_without_quarantine(source) for source in plain["data"]]
    if isinstance(plain.get("inputs"), Mapping):
        plain["inputs"] = {**plain["inputs"], "cache": ""}
    return plain


def _without_quarantine(source: Any) -> Any:
    if not isinstance(source, Mapping):
        return source
    return {key: None if key == "quarantine_path" else value for key, value in source.items()}


def modules_of(recipe: Measured) -> frozenset[str]:
    """The dotted paths of all user modules that a recipe names."""
    plain = recipe.to_plain()
    named = [*_kinds_in(plain), *recipe.tasks]
    if isinstance(recipe, Recipe):
        named += recipe.model.media
    return frozenset(name for name in named if "." in name)


def _kinds_in(value: Any) -> Iterator[str]:
    """Yields all kinds in plain data; words in a ``metrics`` list are kinds too."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "kind" and isinstance(inner, str):
                yield inner
            elif key == "metrics" and isinstance(inner, list):
                yield from [name for name in inner if isinstance(name, str)]
                yield from _kinds_in(inner)
            else:
                yield from _kinds_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _kinds_in(inner)
