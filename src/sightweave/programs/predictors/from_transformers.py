"""A folder of Transformers' that holds an image-text-to-text model and its processor.

Whatever ``AutoModelForImageTextToText`` and ``AutoProcessor`` load: LLaVA, Idefics3 and SmolVLM, Qwen-VL and others. Code
that lies in a folder is run only where its caller says so, on the command line or in Python: no file can. Prompts go through
the processor's chat template where it has one. Answers are plainly greedy: of the folder's own generation settings only the
ids of special tokens hold, and a note names the others.
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
_BLOCK = 1 << 20
_ANSWER = "answer"
"""A word that no template changes."""
_KINDS_OF_TOKENS = {"paligemma": 1}
"""``token_type_ids`` of what a model writes, by its type; 0 for all others. PaliGemma's 0 is what sees itself whole."""
_KEPT_SETTINGS = (
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
)
"""Of a folder's generation settings: how an answer begins and ends."""
_NO_SETTINGS = ("transformers_version", "max_length", "max_new_tokens", "use_cache", "cache_implementation")
"""What changes no answer, or is set for every call; not worth a note."""
_PICTURE_TOKENS = 576
"""Tokens of a picture that are reckoned with, where the prompt has one mark for it."""
_FAILS = (ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError)
"""What the code of foreign models and processors raises."""


def recognise(who: str) -> str:
    """What a path is, if it is a folder with a model of Transformers'; empty where it is none."""
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
    """Model folder and prompting options."""

    path: str
    """Folder with config.json, safetensors weights and the processor's files, or a name on the Hub."""
    device: str = "auto"
    """Device: auto, cpu, cuda, ..."""
    precision: PrecisionName = "auto"
    """Numeric precision: fp32, bf16, or auto for the faster one on this machine."""
    batch_size: PositiveInt = 8
    """Maximum prompts in a batch."""
    max_batch_tokens: PositiveInt | None = None
    """Maximum tokens in a batch, padding and answers included. None derives it from free memory."""
    template: str = "{images}\n{prompt}"
    """Prompt format if the processor has no chat template; ``{images}`` becomes its image tokens."""
    trust_remote_code: bool = False
    """Whether to run code from the folder, which can do anything that you can. Read it first."""
    resizer: Resizer = "auto"
    """Library that resizes images: pil, torchvision (which rounds differently), or auto for torchvision if it is
    installed."""

    @classmethod
    def at(cls, where: str) -> Config:
        """The settings for a folder, all others at their defaults."""
        return cls(path=where)

    def build(self) -> FromTransformers:
        """Loads the model.

        Raises:
            BackendError: Transformers is not installed.
            CheckpointError: the folder cannot be loaded whole.
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
    """Answers greedily, and judges texts, by a model of Transformers'.

    Args:
        path: Folder or name on the hub.
        device: ``auto``, ``cpu``, ``cuda`` ...
        precision: ``fp32``, ``bf16`` or ``auto``.
        batch_size: Maximum prompts in a batch.
        max_batch_tokens: Maximum tokens in a batch; None derives it from free memory.
        template: With ``{images}`` and ``{prompt}``, where there is no chat template.
        trust_remote_code: Whether code that lies in the folder is run.
        resizer: ``pil``, ``torchvision`` or ``auto``.

    Raises:
        BackendError: Transformers is not installed.
        CheckpointError: no such folder, pickled weights, a model that takes no pictures, weights that are missing.
    """

    can_score: bool
    """Not where an encoder reads the prompt and a decoder writes: these are fed otherwise."""
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
        self._looks_back = False  # not known yet
        ignored = _make_greedy(self.model)
        self.notes = (f"{path}: decoding is greedy; its own {ignored} are ignored.",) if ignored else ()
        """What a reader of the scores must know; plain sentences."""
        resized_by = type(getattr(self.processor, "image_processor", None)).__name__
        told = f"{self.precision.name} {template} {resized_by} {_versions(self.model)} greedy"
        self.fingerprint = _fingerprint(path, told)
        if not self._ends():
            raise CheckpointError(
                f"{path}: no end-of-answer token; set eos_token_id in its generation_config.json."
            )
        tokenizer = self.processor.tokenizer
        # Left, so that what is written follows the prompt; an encoder counts positions from the first token.
        tokenizer.padding_side = "left" if self.can_score else "right"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(self._ends()[0])

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        max_tokens: int = 96,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """One prediction per sample, in order.

        A text is judged as the model would write it: its tokens behind the prompt, then any token that ends an answer.

        Raises:
            DataError: not one list of texts per sample, a picture that cannot be read, or a prompt that the processor
                refuses, such as one without a picture.
            BackendError: the model's own code failed, or texts are given and it cannot judge any.
        """
        if texts and len(texts) != len(samples):
            raise DataError(
                f"{self.name}: {len(texts)} list(s) of texts for {len(samples)} sample(s); give one for each, in order."
            )
        if any(texts) and not self.can_score:
            raise BackendError(
                f"{self.name}: {self.model.config.model_type} is an encoder-decoder; its answers can be scored, "
                "but not the likelihood of given texts: remove the metrics that need it."
            )
        prompts = [self.prompt(sample) for sample in samples]
        found = [Prediction("", finish="none")] * len(samples)
        # Prompts of about the same length, and of as many pictures, go together: little is padded.
        order = sorted(range(len(samples)), key=lambda n: (len(samples[n].media), len(prompts[n])))
        budget = self._budget()

        def answered(chunk: Sequence[int]) -> list[Prediction]:
            judged = [self._judge(prompts[n], samples[n], texts[n], budget) if texts else () for n in chunk]
            written = [found[n] for n in chunk]
            if max_tokens:
                written = self._write(
                    [prompts[n] for n in chunk], [samples[n].media for n in chunk], max_tokens
                )
            return [replace(said, likelihoods=each) for said, each in zip(written, judged, strict=True)]

        # The last of what waits is next: halves of a batch that found no room take its place.
        waiting = list(reversed(self._batches(order, prompts, samples, budget, max_tokens)))
        while waiting:
            chunk = waiting.pop()
            made = or_none(partial(answered, chunk))
            if made is None:
                if not budget.halve() and len(chunk) == 1:
                    raise BackendError(
                        f"{self.name}: out of memory on sample {samples[chunk[0]].id!r} alone; free some memory, shorten "
                        "the prompt, or lower max_tokens."
                    )
                waiting += reversed(halves(chunk))
                continue
            for n, prediction in zip(chunk, made, strict=True):
                found[n] = prediction
            if progress is not None:
                progress(len(chunk))
        return _thinking.without_thoughts(found)

    def _budget(self) -> Budget:
        shape = Shape.of_transformers(self.model)
        return Budget(shape, self.device, rows=self.batch_size, tokens=self.max_batch_tokens)

    def _batches(
        self,
        order: Sequence[int],
        prompts: Sequence[str],
        samples: Sequence[Sample],
        budget: Budget,
        max_tokens: int,
    ) -> list[list[int]]:
        """Runs of samples with as many pictures each, since processors refuse mixtures, that fit into memory."""
        lengths = {n: self._length(prompts[n], samples[n].media) for n in order}
        runs = groupby(order, key=lambda n: len(samples[n].media))
        found: list[list[int]] = []
        for _, run in runs:
            found += budget.batches(list(run), lambda n: (lengths[n] + max_tokens, lengths[n]))
        return found

    def _length(self, prompt: str, media: Sequence[Medium]) -> int:
        """About how many tokens a prompt has; a picture counts as many as most models make of one."""
        words = self.processor.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return len(words) + _PICTURE_TOKENS * len(media)

    def prompt(self, sample: Sample) -> str:
        """What the processor reads for a sample: its chat template's text, or the template's."""
        parts = asked(sample)
        if self._chats():
            return self._rendered(parts, asks=True)
        mark = getattr(self.processor, "image_token", "<image>")
        images = "".join(str(mark) for part in parts if isinstance(part.content, Medium))
        prompt = "\n".join(part.content for part in parts if isinstance(part.content, str))
        filled = self.template.replace("{images}", images).replace("{prompt}", prompt)
        return filled if images else filled.lstrip("\n")

    def _chats(self) -> bool:
        return bool(getattr(self.processor, "chat_template", None) or self.processor.tokenizer.chat_template)

    def _rendered(self, parts: Sequence[Part], *, asks: bool) -> str:
        from jinja2 import TemplateError

        try:
            text: str = self.processor.apply_chat_template(
                messages(parts), add_generation_prompt=asks, tokenize=False
            )
        except (TemplateError, *_FAILS) as error:
            raise DataError(f"{self.name}: its chat template rejected a prompt: {_line(error)}") from error
        return text

    def _lead(self, sample: Sample, prompt: str) -> str:
        """Blanks that the chat template puts between a prompt and its answer: an answer's first token often holds one."""
        if not self._chats():
            return ""
        whole = self._rendered([*asked(sample), Part("assistant", _ANSWER)], asks=False)
        lead, found, _ = whole.removeprefix(prompt).partition(_ANSWER)
        return lead if found and lead.isspace() else ""

    def _ids(self, prompt: str, lead: str, text: str) -> list[int]:
        """Tokens of a text behind its prompt, or alone where the two would share one."""
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
        """Prompts with their pictures as the model takes them.

        Raises:
            DataError: a picture that cannot be read, or a prompt that the processor refuses.
        """
        for medium in (medium for each in media for medium in each):
            if medium.modality != "image":
                raise DataError(
                    f"{medium.modality} {medium.key!r}: only images can be shown to {self.name}; remove such samples."
                )
        images = [[Image.fromarray(load(medium)) for medium in each] for each in media]
        begins = self.processor.tokenizer.bos_token
        # A chat template may have written the first token already; put there twice, it would be read twice.
        bare = {"add_special_tokens": False} if begins and prompts[0].startswith(begins) else {}
        try:
            made = self.processor(
                text=list(prompts),
                images=images if any(images) else None,
                padding=True,
                return_tensors="pt",
                **bare,
            )
        except _FAILS as error:
            if is_out_of_memory(error):
                raise
            raise DataError(f"{self.name}: its processor rejected a prompt: {_line(error)}") from error
        dtype = next(self.model.parameters()).dtype
        return {
            name: value.to(self.device, dtype if value.is_floating_point() else value.dtype)
            for name, value in made.items()
            if name != "labels"  # of training; PaliGemma's gives them always
        }

    @torch.inference_mode()
    def _write(
        self, prompts: Sequence[str], media: Sequence[Sequence[Medium]], max_tokens: int
    ) -> list[Prediction]:
        inputs = self.inputs(prompts, media)
        made = self._called(
            self.model.generate,
            **inputs,
            max_new_tokens=max_tokens,
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        ids = made.sequences[:, -len(made.logits) :]  # the prompt stands before, unless an encoder read it
        logprobs = torch.stack(
            [
                logits.float().log_softmax(-1).gather(1, ids[:, step, None])[:, 0]
                for step, logits in enumerate(made.logits)
            ],
            dim=1,
        )
        ends = self._ends()
        said = []
        for prompt, row, each in zip(prompts, ids.tolist(), logprobs.tolist(), strict=True):
            count = next((place + 1 for place, one in enumerate(row) if one in ends), len(row))
            is_whole = bool(count) and row[count - 1] in ends
            # The end is left out here, since not every tokenizer takes it for a special token.
            text = self._decoded(row[: count - is_whole]).strip()
            if _thinking.ends_open(prompt):
                text = f"{_thinking.OPENING}{text}"
            mean = sum(each[:count]) / max(1, count)
            said.append(Prediction(text, mean, count, "stop" if is_whole else "length"))
        return said

    def _decoded(self, ids: Sequence[int]) -> str:
        """Text without special tokens, except those around thoughts."""
        tokenizer = self.processor.tokenizer
        added = tokenizer.added_tokens_decoder
        special = {number for number, token in added.items() if token.special}.union(
            tokenizer.all_special_ids
        )
        tags = {number for number in special & set(added) if _thinking.is_tag(str(added[number]))}
        if tags.isdisjoint(ids):
            return str(tokenizer.decode(ids, skip_special_tokens=True))
        shown = [one for one in ids if one not in special or one in tags]
        return str(tokenizer.decode(shown, skip_special_tokens=False))

    @torch.inference_mode()
    def _judge(
        self, prompt: str, sample: Sample, texts: Sequence[str], budget: Budget
    ) -> tuple[Likelihood, ...]:
        """Texts behind one prompt, fed whole."""
        if not texts:
            return ()
        self._check_looks_back(prompt, sample.media)
        lead = self._lead(sample, prompt)
        ids = [self._ids(prompt, lead, text) for text in texts]
        before = self._length(prompt, sample.media)
        found: list[Likelihood] = []
        batches = budget.batches(
            range(len(ids)), lambda n: (before + len(ids[n]) + 1, before + len(ids[n]) + 1)
        )
        for batch in batches:
            found += self._totals(prompt, sample.media, [ids[n] for n in batch])
        return tuple(found)

    def _totals(
        self, prompt: str, media: Sequence[Medium], texts: Sequence[Sequence[int]]
    ) -> list[Likelihood]:
        ends = self._ends()
        targets = [[*ids, ends[0]] for ids in texts]
        logprobs = self._fed(prompt, media, targets).log_softmax(-1)
        found = []
        for row, ids in zip(logprobs, texts, strict=True):
            count = len(ids)
            written = row[:count].gather(1, torch.tensor(ids, device=row.device).long()[:, None]).double()
            ended = row[count, list(ends)].double().logsumexp(0)
            found.append(Likelihood(float(written.sum() + ended), count + 1))
        return found

    def _fed(self, prompt: str, media: Sequence[Medium], targets: Sequence[Sequence[int]]) -> Tensor:
        """Logits (fp32, R T V) of each token of some targets, each behind the same prompt, so that none is padded left."""
        inputs = self.inputs([prompt] * len(targets), [media] * len(targets))
        shape = inputs["input_ids"].shape
        width = max(map(len, targets))
        pad = self.processor.tokenizer.pad_token_id
        padded = torch.tensor([[*ids, *[pad] * (width - len(ids))] for ids in targets])
        valid = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in targets])
        kind = _KINDS_OF_TOKENS.get(self.model.config.model_type, 0)
        known = {
            "input_ids": padded,
            "attention_mask": valid,
            "token_type_ids": torch.full_like(padded, kind),
        }
        for name, value in list(inputs.items()):
            if value.shape == shape:  # one number a token: 0 is "text" wherever kinds of tokens are marked
                more = known.get(name, torch.zeros_like(padded))
                inputs[name] = torch.cat([value, more.to(value)], dim=1)
        logits: Tensor = self._called(self.model, **inputs).logits
        if logits.shape[1] != shape[1] + width:
            raise BackendError(
                f"{self.name}: {logits.shape[1]} logits for {shape[1] + width} tokens; likelihoods are not "
                "available for a model "
                "that changes the length of its input."
            )
        return logits[:, shape[1] - 1 : -1].float()

    def _check_looks_back(self, prompt: str, media: Sequence[Medium]) -> None:
        """Likelihoods mean nothing where a token sees those after it; checked once, on two texts that end otherwise."""
        if self._looks_back:
            return
        end = self._ends()[0]
        word = self.processor.tokenizer(_ANSWER, add_special_tokens=False)["input_ids"][0]
        logits = self._fed(prompt, media, [[word, end, end], [word, word, word]])[:, :2]
        change, size = float((logits[0] - logits[1]).abs().max()), float(logits.abs().max())
        if change > 0.01 * size:
            raise BackendError(
                f"{self.name}: the logits of a token change by {change:.3g} (they reach {size:.3g}) with the tokens after "
                f"it, so likelihoods are not available; {self.model.config.model_type} uses an attention mask that is not "
                "supported here."
            )
        self._looks_back = True

    def _called(self, function: Any, **inputs: Any) -> Any:
        try:
            return function(**inputs)
        except _FAILS as error:
            if is_out_of_memory(error):  # fewer prompts may fit
                raise
            raise BackendError(f"{self.name}: the model failed: {_line(error)}") from error

    def _ends(self) -> tuple[int, ...]:
        """Ids that end an answer."""
        given = self.model.generation_config.eos_token_id
        if given is None:
            given = self.processor.tokenizer.eos_token_id
        if given is None:
            return ()
        return tuple(given) if isinstance(given, list | tuple) else (int(given),)


def _make_greedy(model: Any) -> str:
    """Takes penalties, beams, sampling and forced tokens out of a model's generation settings; returns what they were.

    Settings in a call do not suffice: those that it leaves open are filled in from the model's own.
    """
    own = model.generation_config
    plain = type(own)()
    ignored = []
    for name, value in vars(own).items():
        default = getattr(plain, name, None)
        says_nothing = not value or value == default or name in _NO_SETTINGS
        if says_nothing or name.startswith(("_", "output_", "return_")):
            continue
        # A model's own code may need what is not known here.
        if name in _KEPT_SETTINGS or not hasattr(plain, name):
            setattr(plain, name, value)
        elif value != _neutral(plain).get(name):
            ignored.append(f"{name}={value}")
    model.generation_config = plain
    return ", ".join(ignored)


def _neutral(settings: Any) -> dict[str, Any]:
    """What the library takes where a setting is left open."""
    defaults = getattr(settings, "_get_default_generation_params", dict)
    return dict(defaults())


def asked(sample: Sample) -> list[Part]:
    """All but what is to be said."""
    parts = list(sample.parts)
    while parts and parts[-1].role == "assistant":
        parts.pop()
    return parts


def messages(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Turns with typed content; parts of one side in a row are one turn."""
    messages: list[dict[str, Any]] = []
    for part in parts:
        if not messages or messages[-1]["role"] != part.role:
            messages.append({"role": part.role, "content": []})
        content = part.content
        messages[-1]["content"].append(
            {"type": "image"} if isinstance(content, Medium) else {"type": "text", "text": content}
        )
    return messages


def opened(
    path: str,
    device: torch.device,
    precision: str = "fp32",
    *,
    trust_remote_code: bool = False,
    resizer: Resizer = "auto",
) -> tuple[Any, Any]:
    """The model and the processor as Transformers itself opens them, with their own settings of generation and padding.

    Args:
        path: Folder or name on the hub.
        device: Where the model goes.
        precision: ``fp32`` or ``bf16``.
        trust_remote_code: Whether code that lies in the folder is run.
        resizer: ``pil``, ``torchvision`` or ``auto``.

    Raises:
        BackendError: Transformers is not installed.
        CheckpointError: as `FromTransformers`.
    """
    library = imported()
    folder = Path(path)
    if folder.is_dir():
        _check_config(folder)
        _check_weights(folder)
    backend: dict[str, Any] = {} if resizer == "auto" else {"backend": resizer}
    if backend and library.__version__.startswith("4."):
        backend = {"use_fast": resizer == "torchvision"}
    try:
        processor = library.AutoProcessor.from_pretrained(
            path, trust_remote_code=trust_remote_code, **backend
        )
        model, told = library.AutoModelForImageTextToText.from_pretrained(
            path,
            dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: Transformers cannot load it: {_line(error)}") from error
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise CheckpointError(
            f"{path}: it has no processor for texts and pictures (got {type(processor).__name__}); "
            "save the model's processor in the same folder."
        )
    _check_template(path, processor)
    missing = sorted(told["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{path}: {len(missing)} weight(s) are not in the files and would be random, such as "
            f"{', '.join(missing[:10])}; another version of Transformers may use other names."
        )
    return model.to(device).eval(), processor


def _check_config(folder: Path) -> None:
    """Raises `CheckpointError` where the settings name a kernel on the hub, which Transformers would fetch and run."""
    waiting: list[Any] = [_read_config(folder)]
    while waiting:
        one = waiting.pop()
        for name, value in one.items():
            if isinstance(value, dict):
                waiting.append(value)
            elif str(name).endswith("_implementation") and "/" in str(value):
                raise CheckpointError(
                    f"{folder / _CONFIG}: {name} refers to code on the Hub ({value!r}), which would be downloaded "
                    "and run; remove it "
                    "from the file, or use an implementation built into Transformers such as sdpa."
                )


def _check_template(path: str, processor: Any) -> None:
    """Raises `CheckpointError` where a chat template would be rendered for ever, or into a text without end."""
    given = [getattr(one, "chat_template", None) for one in (processor, processor.tokenizer)]
    sources = [each for one in given for each in (one.values() if isinstance(one, dict) else [one])]
    for source in dict.fromkeys(one for one in sources if isinstance(one, str)):
        try:
            sandbox.check(source, **processor.tokenizer.special_tokens_map)
        except sandbox.TooMuchError as error:
            raise CheckpointError(f"{path}: its chat template cannot be rendered: {error}.") from None


def _check_index(folder: Path) -> None:
    """Raises `CheckpointError` where an index of weights leads out of the folder or to a pickle."""
    for index in folder.glob("*.safetensors.index.json"):
        listed = checkpoint.parse_json(index)
        names = listed.get("weight_map") if isinstance(listed, dict) else None
        for name in set(map(str, names.values())) if isinstance(names, dict) else ():
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
    """A digest of all files of a folder; of a name on the hub, the name alone."""
    digest = hashlib.sha256(f"{path if not Path(path).is_dir() else ''} {settings}".encode())
    files = sorted(Path(path).iterdir()) if Path(path).is_dir() else []
    for file in files:
        if not file.is_file() or file.suffix not in (
            ".safetensors",
            ".json",
            ".jinja",
            ".txt",
            ".model",
            ".py",
        ):
            continue
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _versions(model: Any) -> str:
    """The library's own version, and the commit of what came from the hub."""
    return f"{imported().__version__} {getattr(model.config, '_commit_hash', None) or ''}"


def _line(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
