"""Predictor for a Transformers folder with an image-text-to-text model and its processor.

Works with every model that ``AutoModelForImageTextToText`` and ``AutoProcessor`` load: LLaVA, Idefics3 and SmolVLM,
Qwen-VL and others. Code in the folder runs only if the caller allows it, on the command line or in Python; no file can
allow it. Prompts use the processor's chat template if it has one. Decoding is greedy: of the folder's own generation
settings only the ids of special tokens are used, and a note names the ignored ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from pydantic import PositiveInt
from safetensors import SafetensorError
from torch import Tensor

from sightweave.core import bounded, checkpoint
from sightweave.core.config import config
from sightweave.core.device import PrecisionName, choose_device, choose_precision
from sightweave.core.errors import BackendError, CheckpointError, DataError
from sightweave.core.from_transformers import imported
from sightweave.core.memory import is_out_of_memory
from sightweave.core.types import Likelihood, Medium, Part, Prediction, Sample
from sightweave.data.inputs import sandbox
from sightweave.data.inputs.image_files import load
from sightweave.programs.budget import Budget, Shape, halves, or_none
from sightweave.programs.predictors import _thinking
from sightweave.programs.predictors._base import Progress

Resizer = Literal["auto", "pil", "torchvision"]
_CONFIG = "config.json"
_MAX_CONFIG_BYTES = 1 << 20
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_FINGERPRINTED = (".safetensors", ".json", ".jinja", ".txt", ".model", ".py")
_BLOCK = 1 << 20
_ANSWER = "answer"
"""Word that every chat template leaves unchanged."""
_TOKEN_TYPES = {"paligemma": 1}
"""Token type id of generated tokens by model type; 0 for all others. For PaliGemma, 0 marks the bidirectional
prefix."""
_KEPT_SETTINGS = (
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
)
"""Names of generation settings of a folder that are kept: how an answer begins and ends."""
_HARMLESS_SETTINGS = (
    "transformers_version",
    "max_length",
    "max_new_tokens",
    "use_cache",
    "cache_implementation",
)
"""Names of generation settings that do not affect answers, or that every call sets, so that they need no note."""
_TOKENS_PER_IMAGE = 576
"""Estimated number of tokens of an image whose prompt has a single placeholder for it."""
_MODEL_ERRORS = (ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError)
"""Errors that third-party models and processors raise."""


def recognise(who: str) -> str:
    """Describes a path that is a Transformers model folder; empty for anything else."""
    values = _read_config(Path(who))
    kind = values.get("model_type")
    return f"a Transformers folder ({kind})" if isinstance(kind, str) else ""


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / _CONFIG
    try:
        values = bounded.parsed(path, most=_MAX_CONFIG_BYTES)
    except (OSError, bounded.UnreadableError):
        return {}
    return values if isinstance(values, dict) else {}


@config
class Config:
    """Options of the predictor for a Transformers folder."""

    path: str
    """Folder with config.json, safetensors weights and the processor's files, or a name on the Hub."""
    device: str = "auto"
    """Device: auto, cpu, cuda, ..."""
    precision: PrecisionName = "auto"
    """Numeric precision: fp32, bf16, or auto for the faster one on this machine."""
    batch_size: PositiveInt = 8
    """Maximum number of prompts in a batch."""
    max_batch_tokens: PositiveInt | None = None
    """Maximum number of tokens in a batch, including padding and answers; None derives it from free memory."""
    template: str = "{images}\n{prompt}"
    """Prompt format if the processor has no chat template; ``{images}`` is replaced by its image tokens."""
    trust_remote_code: bool = False
    """Whether to run code from the folder. Such code can do anything that you can, so read it first."""
    resizer: Resizer = "auto"
    """Library that resizes images: pil, torchvision (which rounds differently), or auto for torchvision if it is
    installed."""

    @classmethod
    def at(cls, where: str) -> Config:
        """The options for a folder, with defaults for everything but the path."""
        return cls(path=where)

    def build(self) -> FromTransformers:
        """Loads the model.

        Raises:
            BackendError: Transformers is not installed.
            CheckpointError: the folder cannot be loaded completely.
        """
        return FromTransformers(
            path=self.path,
            device=self.device,
            precision=self.precision,
            batch_size=self.batch_size,
            max_batch_tokens=self.max_batch_tokens,
            template=self.template,
            trust_remote_code=self.trust_remote_code,
            resizer=self.resizer,
        )


class FromTransformers:
    """Answers greedily, and scores given texts, with a Transformers model.

    Args:
        path: Folder, or name on the Hub.
        device: ``auto``, ``cpu``, ``cuda`` ...
        precision: ``fp32``, ``bf16`` or ``auto``.
        batch_size: Maximum number of prompts in a batch.
        max_batch_tokens: Maximum number of tokens in a batch; None derives it from free memory.
        template: Prompt with ``{images}`` and ``{prompt}``, used if there is no chat template.
        trust_remote_code: Whether to run code from the folder.
        resizer: ``pil``, ``torchvision`` or ``auto``.

    Raises:
        BackendError: Transformers is not installed.
        CheckpointError: the folder does not exist, its weights are pickled or incomplete, or the model reads no images.
    """

    can_score: bool
    """Whether given texts can be scored; not for an encoder-decoder, which would read them in another way."""
    can_control = True

    def __init__(
        self,
        *,
        path: str,
        device: str = "auto",
        precision: PrecisionName = "auto",
        batch_size: int = 8,
        max_batch_tokens: int | None = None,
        template: str = "{images}\n{prompt}",
        trust_remote_code: bool = False,
        resizer: Resizer = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.batch_size, self.max_batch_tokens, self.template = batch_size, max_batch_tokens, template
        self.model, self.processor = opened(
            path, self.device, self.precision.name, trust_remote_code=trust_remote_code, resizer=resizer
        )

        self.name = path
        self.can_score = not self.model.config.is_encoder_decoder
        self._is_causal = False  # not checked yet

        ignored = _make_greedy(self.model)
        self.notes = (f"{path}: decoding is greedy; its own {ignored} are ignored.",) if ignored else ()
        """Sentences that a reader of the scores must know."""

        resized_by = type(getattr(self.processor, "image_processor", None)).__name__
        settings = f"{self.precision.name} {template} {resized_by} {_versions(self.model)} greedy"
        self.fingerprint = _fingerprint(path, settings)

        if not self._end_ids():
            raise CheckpointError(
                f"{path}: no end-of-answer token; set eos_token_id in its generation_config.json."
            )

        tokenizer = self.processor.tokenizer
        # Pad on the left, so that generated tokens follow the prompt. An encoder counts positions from the first token.
        tokenizer.padding_side = "left" if self.can_score else "right"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(self._end_ids()[0])

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        max_tokens: int = 96,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """One prediction per sample, in order.

        A text is scored as if the model had generated it: its tokens after the prompt, then any token that ends an
        answer.

        Raises:
            DataError: there is not one list of texts per sample, an image cannot be read, or the processor rejects a
                prompt, such as one without an image.
            BackendError: the model's own code failed, or texts are given and the model cannot score any.
        """
        self._check_texts(samples, texts)
        prompts = [self.prompt(sample) for sample in samples]
        found = [Prediction("", finish="none")] * len(samples)
        budget = self._budget()

        def answered(batch: Sequence[int]) -> list[Prediction]:
            if texts:
                likelihoods = [self._likelihoods(prompts[n], samples[n], texts[n], budget) for n in batch]
            else:
                likelihoods = [()] * len(batch)

            written = [found[n] for n in batch]
            if max_tokens:
                media = [samples[n].media for n in batch]
                written = self._generate([prompts[n] for n in batch], media, max_tokens)
            return [replace(said, likelihoods=each) for said, each in zip(written, likelihoods, strict=True)]

        # Use a stack: the halves of a batch that ran out of memory are tried next.
        waiting = list(reversed(self._batches(prompts, samples, budget, max_tokens)))
        while waiting:
            batch = waiting.pop()
            made = or_none(partial(answered, batch))
            if made is None:
                if not budget.halve() and len(batch) == 1:
                    raise BackendError(
                        f"{self.name}: out of memory on sample {samples[batch[0]].id!r} alone; free some memory, shorten "
                        "the prompt, or lower max_tokens."
                    )
                waiting += reversed(halves(batch))
                continue

            for n, prediction in zip(batch, made, strict=True):
                found[n] = prediction
            if progress is not None:
                progress(len(batch))

        return _thinking.without_thoughts(found)

    def _check_texts(self, samples: Sequence[Sample], texts: Sequence[Sequence[str]]) -> None:
        if texts and len(texts) != len(samples):
            raise DataError(
                f"{self.name}: {len(texts)} list(s) of texts for {len(samples)} sample(s); give one for each, in order."
            )
        if any(texts) and not self.can_score:
            raise BackendError(
                f"{self.name}: {self.model.config.model_type} is an encoder-decoder; its answers can be scored, "
                "but not the likelihood of given texts: remove the metrics that need it."
            )

    def _budget(self) -> Budget:
        shape = Shape.of_transformers(self.model)
        return Budget(shape, self.device, rows=self.batch_size, tokens=self.max_batch_tokens)

    def _batches(
        self, prompts: Sequence[str], samples: Sequence[Sample], budget: Budget, max_tokens: int
    ) -> list[list[int]]:
        """Indices of the samples, in batches that fit into memory.

        All samples of a batch have the same number of images, because processors reject mixtures, and prompts of
        similar length, so that there is little padding.
        """
        order = sorted(range(len(samples)), key=lambda n: (len(samples[n].media), len(prompts[n])))
        lengths = {n: self._length(prompts[n], samples[n].media) for n in order}

        batches: list[list[int]] = []
        for _, run in groupby(order, key=lambda n: len(samples[n].media)):
            batches += budget.batches(list(run), lambda n: (lengths[n] + max_tokens, lengths[n]))
        return batches

    def _length(self, prompt: str, media: Sequence[Medium]) -> int:
        """Approximate number of tokens of a prompt; each image counts as `_TOKENS_PER_IMAGE` tokens."""
        words = self.processor.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return len(words) + _TOKENS_PER_IMAGE * len(media)

    def prompt(self, sample: Sample) -> str:
        """The text that the processor reads for a sample, from its chat template or else from ``template``."""
        parts = asked(sample)
        if self._has_chat_template():
            return self._render(parts, add_generation_prompt=True)

        mark = getattr(self.processor, "image_token", "<image>")
        images = str(mark) * sum(isinstance(part.content, Medium) for part in parts)
        prompt = "\n".join(part.content for part in parts if isinstance(part.content, str))
        filled = self.template.replace("{images}", images).replace("{prompt}", prompt)
        return filled if images else filled.lstrip("\n")

    def _has_chat_template(self) -> bool:
        return bool(getattr(self.processor, "chat_template", None) or self.processor.tokenizer.chat_template)

    def _render(self, parts: Sequence[Part], *, add_generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        try:
            text: str = self.processor.apply_chat_template(
                messages(parts), add_generation_prompt=add_generation_prompt, tokenize=False
            )
        except (TemplateError, *_MODEL_ERRORS) as error:
            raise DataError(
                f"{self.name}: its chat template rejected a prompt: {_first_line(error)}"
            ) from error
        return text

    def _leading_space(self, sample: Sample, prompt: str) -> str:
        """White space that the chat template puts before an answer; it is often part of the answer's first token."""
        if not self._has_chat_template():
            return ""

        whole = self._render([*asked(sample), Part("assistant", _ANSWER)], add_generation_prompt=False)
        lead, found, _ = whole.removeprefix(prompt).partition(_ANSWER)
        return lead if found and lead.isspace() else ""

    def _text_ids(self, prompt: str, lead: str, text: str) -> list[int]:
        """Token ids of a text after its prompt, or of the text alone if the two would share a token."""
        tokenizer = self.processor.tokenizer
        if not text:
            return []

        before: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        whole: list[int] = tokenizer(prompt + lead + text, add_special_tokens=False)["input_ids"]
        if whole[: len(before)] == before:
            return whole[len(before) :]

        alone: list[int] = tokenizer(lead + text, add_special_tokens=False)["input_ids"]
        return alone

    def inputs(self, prompts: Sequence[str], media: Sequence[Sequence[Medium]]) -> dict[str, Tensor]:
        """Prompts and their images in the form that the model takes.

        Raises:
            DataError: an image cannot be read, or the processor rejects a prompt.
        """
        images = []
        for each in media:
            for medium in each:
                if medium.modality != "image":
                    raise DataError(
                        f"{medium.modality} {medium.key!r}: only images can be shown to {self.name}; remove such samples."
                    )
            images.append([Image.fromarray(load(medium)) for medium in each])

        # A chat template may have written the first token already; the tokenizer would add it a second time.
        begins = self.processor.tokenizer.bos_token
        bare = {"add_special_tokens": False} if begins and prompts[0].startswith(begins) else {}

        try:
            made = self.processor(
                text=list(prompts),
                images=images if any(images) else None,
                padding=True,
                return_tensors="pt",
                **bare,
            )
        except _MODEL_ERRORS as error:
            if is_out_of_memory(error):
                raise
            raise DataError(f"{self.name}: its processor rejected a prompt: {_first_line(error)}") from error

        dtype = next(self.model.parameters()).dtype
        inputs = {}
        for name, value in made.items():
            if name != "labels":  # PaliGemma's processor always adds labels, which are for training
                inputs[name] = value.to(self.device, dtype if value.is_floating_point() else value.dtype)
        return inputs

    @torch.inference_mode()
    def _generate(
        self, prompts: Sequence[str], media: Sequence[Sequence[Medium]], max_tokens: int
    ) -> list[Prediction]:
        inputs = self.inputs(prompts, media)
        made = self._call(
            self.model.generate,
            **inputs,
            max_new_tokens=max_tokens,
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )

        # One row of ids and of their log-probabilities per prompt, as long as the longest answer.
        ids = made.sequences[:, -len(made.logits) :]  # a decoder's sequences begin with the prompt
        steps = []
        for step, logits in enumerate(made.logits):
            steps.append(logits.float().log_softmax(-1).gather(1, ids[:, step, None])[:, 0])
        logprobs = torch.stack(steps, dim=1)

        # Cut each row after the first token that ends an answer.
        ends = self._end_ids()
        predictions = []
        for prompt, row, each in zip(prompts, ids.tolist(), logprobs.tolist(), strict=True):
            count = next((place + 1 for place, one in enumerate(row) if one in ends), len(row))
            is_whole = bool(count) and row[count - 1] in ends
            # Drop the end token here, because not every tokenizer treats it as a special token.
            text = self._decode(row[: count - is_whole]).strip()
            if _thinking.ends_open(prompt):
                text = f"{_thinking.OPENING}{text}"
            mean = sum(each[:count]) / max(1, count)
            predictions.append(Prediction(text, mean, count, "stop" if is_whole else "length"))

        return predictions

    def _decode(self, ids: Sequence[int]) -> str:
        """Decodes ids to text, without special tokens except those around thoughts."""
        tokenizer = self.processor.tokenizer
        added = tokenizer.added_tokens_decoder
        special = {number for number, token in added.items() if token.special}
        special.update(tokenizer.all_special_ids)
        tags = {number for number in special & set(added) if _thinking.is_tag(str(added[number]))}
        if tags.isdisjoint(ids):
            return str(tokenizer.decode(ids, skip_special_tokens=True))

        shown = [one for one in ids if one not in special or one in tags]
        return str(tokenizer.decode(shown, skip_special_tokens=False))

    @torch.inference_mode()
    def _likelihoods(
        self, prompt: str, sample: Sample, texts: Sequence[str], budget: Budget
    ) -> tuple[Likelihood, ...]:
        """The likelihood of each text after the same prompt."""
        if not texts:
            return ()

        self._check_causal(prompt, sample.media)
        lead = self._leading_space(sample, prompt)
        ids = [self._text_ids(prompt, lead, text) for text in texts]
        before = self._length(prompt, sample.media)
        lengths = [before + len(each) + 1 for each in ids]

        found: list[Likelihood] = []
        for batch in budget.batches(range(len(ids)), lambda n: (lengths[n], lengths[n])):
            found += self._batch_likelihoods(prompt, sample.media, [ids[n] for n in batch])
        return tuple(found)

    def _batch_likelihoods(
        self, prompt: str, media: Sequence[Medium], texts: Sequence[Sequence[int]]
    ) -> list[Likelihood]:
        """The total log-likelihood of each text followed by any token that ends an answer."""
        ends = self._end_ids()
        targets = [[*ids, ends[0]] for ids in texts]
        logprobs = self._target_logits(prompt, media, targets).log_softmax(-1)

        found = []
        for row, ids in zip(logprobs, texts, strict=True):
            count = len(ids)
            written = row[:count].gather(1, torch.tensor(ids, device=row.device).long()[:, None]).double()
            ended = row[count, list(ends)].double().logsumexp(0)
            found.append(Likelihood(float(written.sum() + ended), count + 1))
        return found

    def _target_logits(
        self, prompt: str, media: Sequence[Medium], targets: Sequence[Sequence[int]]
    ) -> Tensor:
        """Logits of each target token, fp32 R T V; all targets follow the same prompt, so none is padded on the left."""
        inputs = self.inputs([prompt] * len(targets), [media] * len(targets))
        shape = inputs["input_ids"].shape

        # Pad the targets on the right to the same width.
        width = max(map(len, targets))
        pad = self.processor.tokenizer.pad_token_id
        padded = torch.tensor([[*ids, *[pad] * (width - len(ids))] for ids in targets])
        lengths = torch.tensor([len(ids) for ids in targets])
        valid = (torch.arange(width) < lengths[:, None]).long()

        # Append them to every input that has one number per token; 0 means "text" wherever token types are marked.
        kind = _TOKEN_TYPES.get(self.model.config.model_type, 0)
        known = {
            "input_ids": padded,
            "attention_mask": valid,
            "token_type_ids": torch.full_like(padded, kind),
        }
        for name, value in list(inputs.items()):
            if value.shape == shape:
                more = known.get(name, torch.zeros_like(padded))
                inputs[name] = torch.cat([value, more.to(value)], dim=1)

        logits: Tensor = self._call(self.model, **inputs).logits
        if logits.shape[1] != shape[1] + width:
            raise BackendError(
                f"{self.name}: {logits.shape[1]} logits for {shape[1] + width} tokens; likelihoods are not "
                "available for a model that changes the length of its input."
            )
        return logits[:, shape[1] - 1 : -1].float()

    def _check_causal(self, prompt: str, media: Sequence[Medium]) -> None:
        """Checks once, on two texts that end differently, that no token sees later ones, as likelihoods require.

        Raises:
            BackendError: tokens see later ones.
        """
        if self._is_causal:
            return

        end = self._end_ids()[0]
        word = self.processor.tokenizer(_ANSWER, add_special_tokens=False)["input_ids"][0]
        logits = self._target_logits(prompt, media, [[word, end, end], [word, word, word]])[:, :2]
        change, size = float((logits[0] - logits[1]).abs().max()), float(logits.abs().max())
        if change > 0.01 * size:
            raise BackendError(
                f"{self.name}: the logits of a token change by {change:.3g} (they reach {size:.3g}) with the tokens after "
                f"it, so likelihoods are not available; {self.model.config.model_type} uses an attention mask that is not "
                "supported here."
            )
        self._is_causal = True

    def _call(self, function: Any, **inputs: Any) -> Any:
        try:
            return function(**inputs)
        except _MODEL_ERRORS as error:
            if is_out_of_memory(error):  # fewer prompts may fit
                raise
            raise BackendError(f"{self.name}: the model failed: {_first_line(error)}") from error

    def _end_ids(self) -> tuple[int, ...]:
        """Ids of the tokens that end an answer."""
        given = self.model.generation_config.eos_token_id
        if given is None:
            given = self.processor.tokenizer.eos_token_id
        if given is None:
            return ()
        return tuple(given) if isinstance(given, list | tuple) else (int(given),)


def _make_greedy(model: Any) -> str:
    """Removes penalties, beams, sampling and forced tokens from a model's generation settings; returns the removed ones.

    Setting them in each call would not suffice: settings that a call leaves open are filled in from the model's own.
    """
    own, plain = model.generation_config, type(model.generation_config)()
    ignored = []
    for name, value in vars(own).items():
        default = getattr(plain, name, None)
        says_nothing = not value or value == default or name in _HARMLESS_SETTINGS
        if says_nothing or name.startswith(("_", "output_", "return_")):
            continue

        # The model's own code may need settings that the library does not know.
        if name in _KEPT_SETTINGS or not hasattr(plain, name):
            setattr(plain, name, value)
        elif value != _defaults(plain).get(name):
            ignored.append(f"{name}={value}")

    model.generation_config = plain
    return ", ".join(ignored)


def _defaults(settings: Any) -> dict[str, Any]:
    """The library's defaults for settings that are left open."""
    defaults = getattr(settings, "_get_default_generation_params", dict)
    return dict(defaults())


def asked(sample: Sample) -> list[Part]:
    """The parts of a sample without the answer at its end."""
    parts = list(sample.parts)
    while parts and parts[-1].role == "assistant":
        parts.pop()
    return parts


def messages(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Chat messages with typed content; consecutive parts of the same role become one message."""
    messages: list[dict[str, Any]] = []
    for part in parts:
        if not messages or messages[-1]["role"] != part.role:
            messages.append({"role": part.role, "content": []})

        if isinstance(part.content, Medium):
            messages[-1]["content"].append({"type": "image"})
        else:
            messages[-1]["content"].append({"type": "text", "text": part.content})
    return messages


def opened(
    path: str,
    device: torch.device,
    precision: str = "fp32",
    *,
    trust_remote_code: bool = False,
    resizer: Resizer = "auto",
) -> tuple[Any, Any]:
    """Opens the model and the processor with Transformers, with their own generation and padding settings.

    Args:
        path: Folder, or name on the Hub.
        device: Device to which the model is moved.
        precision: ``fp32`` or ``bf16``.
        trust_remote_code: Whether to run code from the folder.
        resizer: ``pil``, ``torchvision`` or ``auto``.

    Raises:
        BackendError: Transformers is not installed.
        CheckpointError: as raised by `FromTransformers`.
    """
    library = imported()
    folder = Path(path)
    if folder.is_dir():
        _check_config(folder)
        _check_weights(folder)

    # Transformers 4 has only fast and slow processors.
    backend: dict[str, Any] = {} if resizer == "auto" else {"backend": resizer}
    if backend and library.__version__.startswith("4."):
        backend = {"use_fast": resizer == "torchvision"}

    try:
        processor = library.AutoProcessor.from_pretrained(
            path, trust_remote_code=trust_remote_code, **backend
        )
        model, loading = library.AutoModelForImageTextToText.from_pretrained(
            path,
            dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: Transformers cannot load it: {_first_line(error)}") from error

    # Check that both are complete.
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise CheckpointError(
            f"{path}: it has no processor for text and images (got {type(processor).__name__}); "
            "save the model's processor in the same folder."
        )

    _check_template(path, processor)
    missing = sorted(loading["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{path}: {len(missing)} weight(s) are not in the files and would be random, such as "
            f"{', '.join(missing[:10])}; another version of Transformers may use other names."
        )

    return model.to(device).eval(), processor


def _check_config(folder: Path) -> None:
    """Checks that the config names no kernel on the Hub, which Transformers would download and run.

    Raises:
        CheckpointError: the config names such a kernel.
    """
    waiting: list[Any] = [_read_config(folder)]
    while waiting:
        for name, value in waiting.pop().items():
            if isinstance(value, dict):
                waiting.append(value)
            elif str(name).endswith("_implementation") and "/" in str(value):
                raise CheckpointError(
                    f"{folder / _CONFIG}: {name} refers to code on the Hub ({value!r}), which would be downloaded "
                    "and run; remove it from the file, or use an implementation built into Transformers such as sdpa."
                )


def _check_template(path: str, processor: Any) -> None:
    """Checks that rendering a chat template ends, and does not produce an endless text.

    Raises:
        CheckpointError: it does not end, or its text is too long.
    """
    sources: list[Any] = []
    for owner in (processor, processor.tokenizer):
        template = getattr(owner, "chat_template", None)
        sources += template.values() if isinstance(template, dict) else [template]

    texts = [source for source in sources if isinstance(source, str)]
    for source in dict.fromkeys(texts):
        try:
            sandbox.check(source, **processor.tokenizer.special_tokens_map)
        except sandbox.TooMuchError as error:
            raise CheckpointError(f"{path}: its chat template cannot be rendered: {error}.") from None


def _check_index(folder: Path) -> None:
    """Checks that an index of weights lists only safetensors files in the folder.

    Raises:
        CheckpointError: the index lists anything else.
    """
    for index in folder.glob("*.safetensors.index.json"):
        listed = checkpoint.parse_json(index)
        names = listed.get("weight_map") if isinstance(listed, dict) else None
        if not isinstance(names, dict):
            continue

        for name in set(map(str, names.values())):
            if not checkpoint.is_plain_name(name) or not name.endswith(".safetensors"):
                raise CheckpointError(
                    f"{index}: lists {name!r}; only safetensors files in the same folder are read. Download the "
                    "folder again."
                )


def _check_weights(folder: Path) -> None:
    _check_index(folder)
    names = [file.name for file in folder.iterdir()]
    if any(name.endswith(".safetensors") for name in names):
        return

    pickled = [name for name in names if name.endswith(_PICKLED)]
    if pickled:
        raise CheckpointError(
            f"{folder / pickled[0]}: pickled weights can run code and are not read; convert them in a sandbox "
            "with safe_serialization=True."
        )
    raise CheckpointError(f"{folder}: no weights (*.safetensors) found; was the download interrupted?")


def _fingerprint(path: str, settings: str) -> str:
    """A digest of all files of a folder; for a name on the Hub, a digest of the name alone."""
    is_folder = Path(path).is_dir()
    digest = hashlib.sha256(f"{'' if is_folder else path} {settings}".encode())
    if not is_folder:
        return digest.hexdigest()

    for file in sorted(Path(path).iterdir()):
        if not file.is_file() or file.suffix not in _FINGERPRINTED:
            continue

        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)

    return digest.hexdigest()


def _versions(model: Any) -> str:
    """The library's version, and the commit of a model from the Hub."""
    return f"{imported().__version__} {getattr(model.config, '_commit_hash', None) or ''}"


def _first_line(error: Exception) -> str:
    """The first line of an error message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
