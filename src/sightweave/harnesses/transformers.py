"""Transformers' Auto classes for any composition: a model and a processor that read a run's checkpoint.

``sightweave export RUN --to custom_code`` writes a folder whose one line of code imports these classes, so
that ``AutoModelForImageTextToText`` and ``AutoProcessor`` open it (with ``trust_remote_code=True``) where Sightweave is
installed. Answers are written by Sightweave's own generation.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.modeling_outputs import CausalLMOutput

from sightweave import run as runs
from sightweave.core import checkpoint, config
from sightweave.core.batch import Batch, Media, TokenSequence, Values
from sightweave.core.transformers_folder import place
from sightweave.core.types import Part, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.prompts import placed, text_tokens
from sightweave.data.inputs.tokenizer import from_plain
from sightweave.harnesses._messages import Piece, as_sample
from sightweave.models.loss import training_loss
from sightweave.models.vlm import VLM
from sightweave.programs import generation
from sightweave.programs.exports import custom_code

_IGNORED = frozenset({"use_cache", "pad_token_id", "eos_token_id", "bos_token_id", "synced_gpus"})
"""Options that callers pass to any model; they change nothing here, because this model does the same in any case."""
Conversation = Sequence[Mapping[str, Any]]
_library: Any = transformers
"""The library without its types, which change from release to release."""


class SightweaveConfig(_library.PretrainedConfig):  # type: ignore[misc]  # no type is known
    """The contents of ``config.json``: the resolved recipe, and values from the tokenizer."""

    model_type = custom_code.MODEL_TYPE
    has_no_defaults_at_init = True

    def __init__(self, **fields: Any) -> None:
        self.recipe: dict[str, Any] = fields.pop("recipe", {})
        self.begin_token_id: int = fields.pop("begin_token_id", 0)
        self.answer_ids: list[list[int]] = fields.pop("answer_ids", [])
        super().__init__(**fields)


class SightweaveForConditionalGeneration(_library.PreTrainedModel):  # type: ignore[misc]  # no type is known
    """A `VLM` with the interface of Transformers; created by `from_pretrained`.

    Args:
        config: Config of the folder.
        run: The model with its processor.
    """

    config_class = SightweaveConfig
    base_model_prefix = "vlm"
    main_input_name = "input_ids"

    def __init__(self, config: SightweaveConfig, run: runs.Run) -> None:
        super().__init__(config)
        self.vlm: VLM = run.model
        self._run = run

    @classmethod
    def from_pretrained(cls, name: str | Path, *_: Any, **options: Any) -> SightweaveForConditionalGeneration:
        """Loads a model from a folder, or from a repository on the Hub, with every check of a checkpoint.

        Args:
            name: Folder, or name of a repository.
            options: ``config``; ``dtype``; ``device_map``, if it names one device; and ``trust_run``, which allows
                importing the Python modules of the user's own parts. Other options are ignored.

        Raises:
            CheckpointError: the folder is damaged or does not contain a checkpoint.
        """
        folder = place(name)
        device = str(options.get("device_map") or "cpu")
        run = runs.load(folder, device=device, trust_run=options.get("trust_run") is True)
        model = cls(options.get("config") or SightweaveConfig.from_pretrained(folder), run)
        dtype = options.get("dtype") or options.get("torch_dtype") or "auto"
        dtype = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        return model if dtype is None else model.to(dtype)

    def save_pretrained(self, folder: str | Path, *_: Any, **__: Any) -> None:
        """Writes the checkpoint, its processor and its code; other files in the folder are kept."""
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch) / "made"
            custom_code.write(self.vlm, self._run.processor, self._run.recipe.to_plain(), made)
            shutil.copytree(made, folder, dirs_exist_ok=True)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None, **inputs: Any) -> CausalLMOutput:
        """Computes logits, and the loss if there are labels.

        Args:
            input_ids: int64 B S, from the processor.
            labels: int64 B T, aligned with the target tokens: the model does not shift them.
            inputs: The other outputs of the processor.

        Returns:
            Logits B T V for every target token (the decoder's, if there is one), or B A for a model that chooses among
            A answers.
        """
        batch = self._batch(input_ids, labels, **inputs)
        assert batch.target is not None  # batches of samples always have a target
        if self.vlm.layout.form == "classify":
            return CausalLMOutput(logits=self.vlm(batch).logits)
        ids = batch.target.ids
        made = self.vlm(batch, at=torch.arange(ids.numel(), device=ids.device))
        loss = None
        if labels is not None:
            at = batch.target.predicting()
            loss = training_loss(dataclasses.replace(made, logits=made.logits[at], at=at), batch)
        return CausalLMOutput(loss=loss, logits=made.logits.unflatten(0, ids.shape))

    def generate(
        self,
        input_ids: Tensor,
        *,
        max_new_tokens: int = 96,
        do_sample: bool = False,
        num_beams: int = 1,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        length_penalty: float = 1.0,
        **inputs: Any,
    ) -> Tensor:
        """Generates answers greedily, by sampling or by beam search.

        Args:
            input_ids: int64 B S, from the processor.
            max_new_tokens: Maximum tokens of an answer.
            do_sample: Whether to sample, with `temperature`, `top_k` and `top_p`.
            num_beams: Number of beams; 1 always chooses the most likely token.
            temperature: Divides the logits.
            top_k: Number of most likely tokens to sample from; 0 means all.
            top_p: Cumulative probability of the most likely tokens to sample from; 1 means all.
            length_penalty: Length penalty of beam search.
            inputs: The other outputs of the processor.

        Returns:
            Ids of the prompts followed by the answers, int64 B T, padded on the right. For an encoder-decoder, only the
            answers.

        Raises:
            ValueError: an argument is unknown.
        """
        inputs = {name: value for name, value in inputs.items() if name not in _IGNORED and value is not None}
        batch = self._batch(input_ids, None, **inputs)
        if self.vlm.layout.form == "classify":
            with torch.inference_mode():
                best = self.vlm(batch).logits.argmax(-1).tolist()
            return torch.cat((input_ids, self._padded([self.config.answer_ids[index] for index in best])), 1)
        decoding: dict[str, Any] = {"kind": "greedy"}
        if do_sample:
            decoding = {"kind": "sampling", "temperature": temperature, "top_k": top_k, "top_p": top_p}
        elif num_beams > 1:
            decoding = {"kind": "beam", "num_beams": num_beams, "length_penalty": length_penalty}
        # Take a new seed for each call from torch's generator.
        seed = int(torch.randint(2**31, ())) if do_sample else 0
        values = {"decoding": decoding, "max_tokens": max_new_tokens, "seed": seed}
        options = config.build(generation.Options, values, where="generate")
        said = generation.write(self.vlm, batch, options, end_id=self.config.eos_token_id)
        answers = self._padded(said)
        return answers if batch.source is not None else torch.cat((input_ids, answers), 1)

    def _padded(self, rows: Sequence[Sequence[int]]) -> Tensor:
        width = max(len(row) for row in rows)
        pad = self.config.pad_token_id
        full = [[*row, *[pad] * (width - len(row))] for row in rows]
        return torch.tensor(full, dtype=torch.int64, device=self.device)

    def _batch(  # one argument for each input that the processor makes
        self,
        input_ids: Tensor,
        labels: Tensor | None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        picture_ids: Tensor | None = None,
        ahead: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_rows: Tensor | None = None,
        pixel_items: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        **others: Any,
    ) -> Batch:
        rows = len(input_ids)
        media = {}
        if pixel_values is not None:
            media["image"] = self._media("pixel", pixel_values, pixel_rows, pixel_items, rows)
        for modality in self.vlm.modalities:
            values = others.pop(f"{modality}_values", None)
            given_rows, items = others.pop(f"{modality}_rows", None), others.pop(f"{modality}_items", None)
            if values is not None:
                media[modality] = self._media(modality, values, given_rows, items, rows)
        if others:
            raise ValueError(
                f"Sightweave's model has no argument {next(iter(others))!r}; pass the outputs of its processor; "
                "generate accepts max_new_tokens, do_sample, temperature, top_k, top_p, num_beams and length_penalty."
            )
        given = (position_ids, picture_ids, ahead)
        tokens = _tokens(input_ids, None, attention_mask, *given)
        form = self.vlm.layout.form
        if form == "encoder_decoder":
            if decoder_input_ids is None:
                decoder_input_ids = input_ids.new_full((rows, 1), self.config.begin_token_id)
            target = _tokens(decoder_input_ids, labels, decoder_attention_mask)
            return Batch(target=target, source=tokens, media=media)
        last = torch.arange(rows, device=self.device) * tokens.ids.shape[1] + tokens.valid.sum(1) - 1
        tokens = dataclasses.replace(tokens, labels=tokens.labels if labels is None else labels)
        return Batch(target=tokens, media=media, class_at=last if form == "classify" else None)

    def _media(
        self, name: str, values: Values, row: Tensor | None, item: Tensor | None, prompts: int
    ) -> Media:
        """Media of one modality, moved to the model's device and precision.

        Raises:
            ValueError: several prompts share the media, but `row` does not assign them.
        """
        if row is None and prompts > 1:
            raise ValueError(
                f"{name}_rows: {prompts} prompts share {len(values)} media; give the prompt of each one."
            )
        dtype = next(self.vlm.parameters()).dtype
        moved: Values
        if isinstance(values, Tensor):
            moved = values.to(self.device, dtype)
        else:
            moved = tuple(one.to(self.device, dtype) for one in values)
        return placed(
            moved,
            row=None if row is None else row.to(self.device),
            item=None if item is None else item.to(self.device),
        )


def _tokens(
    ids: Tensor,
    labels: Tensor | None,
    mask: Tensor | None = None,
    positions: Tensor | None = None,
    item: Tensor | None = None,
    ahead: Tensor | None = None,
) -> TokenSequence:
    """Rows of tokens; arguments that are None default to those of a text that is read from left to right."""
    valid = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    if positions is None:
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    return text_tokens(
        ids,
        positions,
        labels=labels,
        item=item,
        ar=ahead,
        segment=torch.where(valid, 0, -1),
        valid=valid,
        plain=ahead is None or bool(ahead.all()),
    )


class SightweaveProcessor(_library.ProcessorMixin):  # type: ignore[misc]  # no type is known
    """A `Processor` with Transformers' interface: turns conversations into tensors, and ids into texts."""

    attributes: list[str] = []  # noqa: RUF012  # Transformers needs a list here

    def __init__(self, processor: Processor) -> None:
        super().__init__()
        self.own = processor
        template = processor.tokenizer.template
        self.tokenizer = _library.PreTrainedTokenizerFast(
            tokenizer_object=from_plain(processor.tokenizer.to_plain()),
            eos_token=template.end,
            pad_token=template.pad,
        )

    @classmethod
    def from_pretrained(cls, name: str | Path, *_: Any, **options: Any) -> SightweaveProcessor:
        """Loads a processor from a folder, or from a repository on the Hub.

        Args:
            name: Folder, or name of a repository.
            options: ``trust_run`` allows importing the Python modules of the user's own media; other options are
                ignored.

        Raises:
            CheckpointError: there is no such folder, or it does not contain a processor.
            RecipeError: the folder names a Python module, and `trust_run` is not given.
        """
        allowed = None if options.get("trust_run") is True else frozenset[str]()
        return cls(Processor.load(place(name), allowed=allowed))

    def save_pretrained(self, folder: str | Path, *_: Any, **__: Any) -> None:
        """Writes the processor and its code; other files in the folder are kept."""
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch) / "made"
            custom_code.write_processor(self.own, made)
            # Keep the folder's own manifest: that of a model lists the same files.
            (made / checkpoint.MANIFEST).unlink()
            shutil.copytree(made, folder, dirs_exist_ok=True)

    def apply_chat_template(
        self,
        conversation: Conversation | Sequence[Conversation],
        *_: Any,
        tokenize: bool = True,
        return_dict: bool = True,
        **options: Any,
    ) -> Any:
        """Converts conversations to tensors.

        Args:
            conversation: Messages with ``role`` and ``content`` (a text, or parts of type ``text`` and ``image``), or
                several such lists. If the last message is the assistant's, it is the training target and labels are added.
            tokenize: Must be true: the markup around texts is inserted as token ids, so that no text can imitate it.
            return_dict: If false, only the ids are returned.
            options: Accepted for compatibility and ignored.

        Raises:
            DataError: a part is neither text nor an image.
            ValueError: `tokenize` is false.
        """
        if not tokenize:
            raise ValueError(
                "apply_chat_template: tokenize=False; Sightweave's processor returns tensors only."
            )
        many: Any = [conversation] if isinstance(conversation[0], Mapping) else conversation
        samples = [_sample(one, f"conversation {number}") for number, one in enumerate(many)]
        inputs = self.inputs(samples, targets=any(one.target for one in samples))
        return inputs if return_dict else inputs["input_ids"]

    def __call__(self, images: Any = None, text: Any = None, **_: Any) -> Any:
        """Converts one prompt about one or several images, or several prompts with a list of images each, to tensors."""
        texts = [text] if isinstance(text, str) else list(text)
        shown = [images] if isinstance(text, str) else (images or [None] * len(texts))
        lists = [[] if one is None else one if isinstance(one, list | tuple) else [one] for one in shown]
        messages = [
            [
                {
                    "role": "user",
                    "content": [
                        *({"type": "image", "image": one} for one in pictures),
                        {"type": "text", "text": asked},
                    ],
                }
            ]
            for pictures, asked in zip(lists, texts, strict=True)
        ]
        return self.apply_chat_template(messages)

    def inputs(self, samples: Sequence[Sample], *, targets: bool) -> Any:
        """Converts samples to tensors: with their targets and labels, or only their prompts."""
        batch = self.own.batch(samples, share=False, with_target=targets)
        reader = batch.target if batch.source is None else batch.source
        assert reader is not None  # batches of samples always have tokens
        found: dict[str, Any] = {
            "input_ids": reader.ids,
            "attention_mask": reader.valid.long(),
            "position_ids": reader.positions,
            "picture_ids": reader.item,
            "ahead": reader.ar,
        }
        if batch.source is not None and batch.target is not None:
            found |= {
                "decoder_input_ids": batch.target.ids,
                "decoder_attention_mask": batch.target.valid.long(),
            }
        if targets and batch.target is not None:
            found |= {"labels": batch.target.labels}
        for modality, media in batch.media.items():
            name = "pixel" if modality == "image" else modality
            found |= {f"{name}_values": media.values, f"{name}_rows": media.row}
            if len(batch.media) > 1:  # the number of each medium among all media of the batch
                found |= {f"{name}_items": media.item}
        return _library.BatchFeature(found)

    def decode(self, token_ids: Any, **_: Any) -> str:
        """The text of token ids, without special tokens."""
        ids = token_ids.tolist() if isinstance(token_ids, Tensor) else list(token_ids)
        return self.own.tokenizer.decode(ids)

    def batch_decode(self, sequences: Any, **_: Any) -> list[str]:
        """The texts of several rows of token ids, without special tokens."""
        return [self.decode(row) for row in sequences]


def _sample(messages: Conversation, where: str) -> Sample:
    pieces: list[Piece] = []
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            kind = str(part.get("type"))
            value = (
                part.get("text") if kind == "text" else next((part[k] for k in _PLACES if k in part), None)
            )
            pieces.append(Piece(str(message["role"]), kind, value))
    if pieces and pieces[-1].role == "assistant" and pieces[-1].kind == "text":
        said = Part("assistant", str(pieces[-1].value), learn=True)
        asked = as_sample(pieces[:-1], where=where)
        return dataclasses.replace(asked, parts=(*asked.parts, said))
    return as_sample(pieces, where=where)


_PLACES = ("image", "path", "url", "content")
"""Keys under which a message part may contain its image."""
