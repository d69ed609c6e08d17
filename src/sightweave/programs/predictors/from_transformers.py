"""A folder of Transformers' that holds an image-text-to-text model and its processor.

Whatever ``AutoModelForImageTextToText`` and ``AutoProcessor`` load: LLaVA, Idefics3 and SmolVLM, Qwen-VL and others. Code
that lies in a folder is never run. Prompts go through the processor's chat template where it has one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pydantic import PositiveInt
from safetensors import SafetensorError
from torch import Tensor

from sightweave.core.config import config
from sightweave.core.device import PrecisionName, choose_device, choose_precision
from sightweave.core.errors import BackendError, CheckpointError, DataError
from sightweave.core.types import Likelihood, Medium, Part, Prediction, Sample
from sightweave.data.inputs.media import load
from sightweave.programs.predictors._base import Progress

_CONFIG = "config.json"
_MAX_CONFIG_BYTES = 1 << 20
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_BLOCK = 1 << 20


def recognise(who: str) -> str:
    """What a path is, if it is a folder with a model of Transformers'; empty where it is none."""
    values = _read_config(Path(who))
    kind = values.get("model_type")
    return f"a Transformers folder ({kind})" if isinstance(kind, str) else ""


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / _CONFIG
    try:
        if not path.is_file() or path.stat().st_size > _MAX_CONFIG_BYTES:
            return {}
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


@config
class Config:
    """Which folder, and how it is asked."""

    path: str
    """A folder with config.json, weights as safetensors and the processor's files; or a name on the hub."""
    device: str = "auto"
    """auto, cpu, cuda ..."""
    precision: PrecisionName = "auto"
    """fp32, bf16, or auto: whichever is faster here."""
    batch_size: PositiveInt = 8
    """Prompts at once."""
    template: str = "{images}\n{prompt}"
    """How a prompt is put where the processor has no chat template; ``{images}`` becomes its marks of pictures."""

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
            template=self.template,
        )


class FromTransformers:
    """Answers greedily, and judges texts, by a model of Transformers'.

    Args:
        path: Folder or name on the hub.
        device: ``auto``, ``cpu``, ``cuda`` ...
        precision: ``fp32``, ``bf16`` or ``auto``.
        batch_size: Prompts at once.
        template: With ``{images}`` and ``{prompt}``, where there is no chat template.

    Raises:
        BackendError: Transformers is not installed.
        CheckpointError: no such folder, pickled weights, a model that takes no pictures, weights that are missing.
    """

    can_score = True
    can_control = True

    def __init__(
        self,
        *,
        path: str,
        device: str = "auto",
        precision: PrecisionName = "auto",
        batch_size: int = 8,
        template: str = "{images}\n{prompt}",
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.batch_size, self.template = batch_size, template
        self.model, self.processor = _load(path, self.device, self.precision.name)
        self.name = path
        self.fingerprint = _fingerprint(path, f"{self.precision.name} {template}")
        tokenizer = self.processor.tokenizer
        tokenizer.padding_side = "left"  # so that what is written follows the prompt
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        max_tokens: int = 96,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """One prediction per sample, in order.

        A text is judged as the model would write it: its tokens, then the token that ends an answer.

        Raises:
            DataError: not one list of texts per sample, or a picture that cannot be read.
            BackendError: the model's own code failed.
        """
        if texts and len(texts) != len(samples):
            raise DataError(
                f"{self.name}: {len(texts)} list(s) of texts for {len(samples)} sample(s); give one for each, in order."
            )
        prompts = [self._prompt(sample) for sample in samples]
        found = [Prediction("", finish="none")] * len(samples)
        # Prompts of about the same length, and of as many pictures, go together: little is padded.
        order = sorted(range(len(samples)), key=lambda n: (len(samples[n].media), len(prompts[n])))
        for chunk in _chunks(order, samples, self.batch_size):
            judged = [self._judge(prompts[n], samples[n].media, texts[n]) if texts else () for n in chunk]
            written = [found[n] for n in chunk]
            if max_tokens:
                written = self._write(
                    [prompts[n] for n in chunk], [samples[n].media for n in chunk], max_tokens
                )
            for n, said, likelihoods in zip(chunk, written, judged, strict=True):
                found[n] = Prediction(said.text, said.logprob, said.tokens, said.finish, likelihoods)
            if progress is not None:
                progress(len(chunk))
        return found

    def _prompt(self, sample: Sample) -> str:
        parts = list(sample.parts)
        while parts and parts[-1].role == "assistant":  # what is to be said
            parts.pop()
        if getattr(self.processor, "chat_template", None) or self.processor.tokenizer.chat_template:
            text: str = self.processor.apply_chat_template(
                _messages(parts), add_generation_prompt=True, tokenize=False
            )
            return text
        mark = getattr(self.processor, "image_token", "<image>")
        images = "".join(str(mark) for part in parts if isinstance(part.content, Medium))
        prompt = "\n".join(part.content for part in parts if isinstance(part.content, str))
        filled = self.template.replace("{images}", images).replace("{prompt}", prompt)
        return filled if images else filled.lstrip("\n")

    def _inputs(self, prompts: Sequence[str], media: Sequence[Sequence[Medium]]) -> dict[str, Tensor]:
        images = [[Image.fromarray(load(medium)) for medium in each] for each in media]
        try:
            made = self.processor(
                text=list(prompts),
                images=images if any(images) else None,
                padding=True,
                return_tensors="pt",
            )
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            raise BackendError(f"{self.name}: its processor refused a prompt: {_line(error)}") from error
        dtype = next(self.model.parameters()).dtype
        return {
            name: value.to(self.device, dtype if value.is_floating_point() else value.dtype)
            for name, value in made.items()
        }

    @torch.inference_mode()
    def _write(
        self, prompts: Sequence[str], media: Sequence[Sequence[Medium]], max_tokens: int
    ) -> list[Prediction]:
        inputs = self._inputs(prompts, media)
        made = self.model.generate(
            **inputs,
            max_new_tokens=max_tokens,
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        ids = made.sequences[:, inputs["input_ids"].shape[1] :]
        logprobs = torch.stack(
            [
                logits.float().log_softmax(-1).gather(1, ids[:, step, None])[:, 0]
                for step, logits in enumerate(made.logits)
            ],
            dim=1,
        )
        ends = self._ends()
        said = []
        for row, each in zip(ids.tolist(), logprobs.tolist(), strict=True):
            count = next((place + 1 for place, one in enumerate(row) if one in ends), len(row))
            is_whole = bool(count) and row[count - 1] in ends
            text = self.processor.tokenizer.decode(row[:count], skip_special_tokens=True)
            mean = sum(each[:count]) / max(1, count)
            said.append(Prediction(text.strip(), mean, count, "stop" if is_whole else "length"))
        return said

    @torch.inference_mode()
    def _judge(self, prompt: str, media: Sequence[Medium], texts: Sequence[str]) -> tuple[Likelihood, ...]:
        """Texts behind one prompt, fed whole."""
        found = []
        for start in range(0, len(texts), self.batch_size):
            found += self._totals(prompt, media, texts[start : start + self.batch_size])
        return tuple(found)

    def _totals(self, prompt: str, media: Sequence[Medium], texts: Sequence[str]) -> list[Likelihood]:
        tokenizer = self.processor.tokenizer
        (end, *_) = self._ends()
        targets = [[*tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in texts]
        inputs = self._inputs([prompt] * len(texts), [media] * len(texts))
        length = inputs["input_ids"].shape[1]
        width = max(map(len, targets))
        padded = torch.tensor([ids + [tokenizer.pad_token_id] * (width - len(ids)) for ids in targets])
        valid = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in targets])
        shape = inputs["input_ids"].shape
        for name, value in list(inputs.items()):
            if value.shape != shape:
                continue
            # Marks of kinds of tokens, where a model has them, say "text" for what is written.
            more = {"input_ids": padded, "attention_mask": valid}.get(name, torch.zeros_like(padded))
            inputs[name] = torch.cat([value, more.to(value)], dim=1)
        logits = self.model(**inputs).logits[:, length - 1 : -1].float()
        if logits.shape[1] != width:
            raise BackendError(
                f"{self.name}: {logits.shape[1]} logits for {width} tokens; the model changes the length of its input."
            )
        each = logits.log_softmax(-1).gather(2, padded.to(logits.device)[..., None])[..., 0].double()
        sums = (each * valid.to(logits.device)).sum(1).tolist()
        return [Likelihood(total, len(ids)) for total, ids in zip(sums, targets, strict=True)]

    def _ends(self) -> tuple[int, ...]:
        """Ids that end an answer."""
        given = self.model.generation_config.eos_token_id
        if given is None:
            given = self.processor.tokenizer.eos_token_id
        return tuple(given) if isinstance(given, list | tuple) else (int(given),)


def _chunks(order: Sequence[int], samples: Sequence[Sample], size: int) -> list[list[int]]:
    """Runs of samples with as many pictures each: processors refuse mixtures."""
    chunks: list[list[int]] = []
    for n in order:
        fits = chunks and len(chunks[-1]) < size
        if fits and len(samples[chunks[-1][0]].media) == len(samples[n].media):
            chunks[-1].append(n)
        else:
            chunks.append([n])
    return chunks


def _messages(parts: Sequence[Part]) -> list[dict[str, Any]]:
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


def _load(path: str, device: torch.device, precision: str) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError:
        raise BackendError(
            f"{path}: Transformers is not installed; `pip install transformers` gets it."
        ) from None
    folder = Path(path)
    if folder.is_dir():
        _check_weights(folder)
    library: Any = transformers  # its types say less than it does
    try:
        processor = library.AutoProcessor.from_pretrained(path, trust_remote_code=False)
        model, told = library.AutoModelForImageTextToText.from_pretrained(
            path,
            dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: Transformers cannot load it: {_line(error)}") from error
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise CheckpointError(
            f"{path}: it has no processor for texts and pictures (got {type(processor).__name__}); "
            "save the model's processor beside it."
        )
    missing = sorted(told["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{path}: {len(missing)} weight(s) are not in the files and would be random, such as "
            f"{', '.join(missing[:10])}; another version of Transformers may have written them under other names."
        )
    return model.to(device).eval(), processor


def _check_weights(folder: Path) -> None:
    names = [file.name for file in folder.iterdir()]
    if any(name.endswith(".safetensors") for name in names):
        return
    pickled = [name for name in names if name.endswith(_PICKLED)]
    if pickled:
        raise CheckpointError(
            f"{folder / pickled[0]}: pickled weights can run code and are not read; load them where you trust them, "
            "and save with safe_serialization=True."
        )
    raise CheckpointError(f"{folder}: no weights (*.safetensors) there; was the download cut?")


def _fingerprint(path: str, settings: str) -> str:
    """A digest of all files of a folder; of a name on the hub, the name alone."""
    digest = hashlib.sha256(f"{path if not Path(path).is_dir() else ''} {settings}".encode())
    files = sorted(Path(path).iterdir()) if Path(path).is_dir() else []
    for file in files:
        if not file.is_file() or file.suffix not in (".safetensors", ".json", ".jinja", ".txt", ".model"):
            continue
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _line(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
