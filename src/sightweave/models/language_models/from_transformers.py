"""Any causal, sequence-to-sequence or bidirectional language model of Transformers, such as GPT-2, Gemma, mBART or BERT.

Transformers: State-of-the-Art Natural Language Processing (Wolf et al. 2020, arXiv:1910.03771). The library's own forward
pass runs with our masks, positions and cache; hooks before its layers let a fusion act there.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import ValidationInfo, model_validator
from torch import Tensor, nn

from sightweave.core import part_settings
from sightweave.core.batch import BeforeBlock, Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.config import config
from sightweave.core.errors import CheckpointError
from sightweave.core.from_transformers import imported
from sightweave.models.language_models._base import LanguageModel
from sightweave.models.nn import adapter_proof, foreign, from_transformers
from sightweave.models.nn.hooked_stack import Bridge, HookedStack, added
from sightweave.models.nn.init import initialise
from sightweave.models.nn.mask import memory_mask


@config
class Config:
    """Options of a language model from Transformers: its folder."""

    folder: str
    """Folder written by ``save_pretrained``, or the model's name on the Hub. A saved run no longer needs it."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Contents of the folder's config.json, filled in automatically."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any, info: ValidationInfo) -> Any:
        return part_settings.filled(given, info, from_transformers.settings)

    def resolved(self) -> Config:
        """A copy with the config.json filled in; for a name on the Hub, the file is downloaded unless it is cached.

        Raises:
            CheckpointError: as raised by `from_transformers.settings`.
        """
        return self if self.config else replace(self, config=from_transformers.settings(self.folder))

    @property
    def form(self) -> str:
        """Form of the model: ``causal``, ``encoder_decoder`` or ``classify``."""
        return _kind(from_transformers.parsed(self.resolved().config)).form

    @staticmethod
    def part() -> type[FromTransformers]:
        """The class that `build` instantiates, so that its declarations can be read without an instance."""
        return FromTransformers

    def build(self, *, vocab_size: int, num_answers: int = 0) -> FromTransformers:
        """Builds the language model with random weights; `FromTransformers.load_folder` loads those of the folder."""
        config = self.resolved().config
        kind = _kind(from_transformers.parsed(config))
        return kind(config=config, vocab_size=vocab_size, num_answers=num_answers)


def _kind(theirs: Any) -> type[FromTransformers]:
    """The class for a model family, according to the tasks for which Transformers lists it.

    Raises:
        CheckpointError: Transformers lists it for none of the supported tasks.
    """
    library = imported()
    if theirs.is_encoder_decoder:
        return EncoderDecoder

    architecture = (theirs.architectures or [""])[0]
    if type(theirs) in library.MODEL_FOR_MASKED_LM_MAPPING and not architecture.endswith(
        ("CausalLM", "LMHeadModel")
    ):
        return Bidirectional
    if type(theirs) in library.MODEL_FOR_CAUSAL_LM_MAPPING:
        return Causal
    raise CheckpointError(
        f"model_type {theirs.model_type!r} is not a language model that Transformers can build; causal, "
        "sequence-to-sequence and "
        "bidirectional models are supported."
    )


class FromTransformers(LanguageModel):
    """The common part of the three forms: embeddings, stacks with hooks, the head, and loading of a folder's weights.

    Args:
        config: Contents of a config.json of Transformers.
        vocab_size: Vocabulary size V; the embedding tables get this length.
        num_answers: Length A of the list of answers, for a bidirectional model.

    Raises:
        CheckpointError: Transformers does not know the family, or its positions or masks cannot be set, so that packing
            and padding would not be exact.
        ValueError: there are no answers for a bidirectional model.
        BackendError: Transformers is not installed.
    """

    form = "causal"
    offers: ClassVar[frozenset[str]] = frozenset({"input", "layer", "memory", "pool"})
    """Places that the three forms offer together; each form offers some of them."""

    def __init__(self, *, config: Mapping[str, Any], vocab_size: int, num_answers: int = 0) -> None:
        super().__init__()
        # Use the library's config, with our vocabulary size and without special tokens outside it.
        self._config = from_transformers.parsed(config)
        sized = from_transformers.parsed({**config, "vocab_size": vocab_size})
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            token = getattr(sized, name, None)
            if isinstance(token, int) and token >= vocab_size:
                setattr(sized, name, None)

        # The fused attention kernels do not support capped scores.
        is_capped = getattr(sized, "attn_logit_softcapping", None) is not None
        self._settings: dict[str, Any] = {"attn_implementation": "eager"} if is_capped else {}
        self.model = from_transformers.made(partial(self._make, sized))
        self.vocab_size, self.dim = vocab_size, sized.hidden_size

        modules = self._stack_modules()
        hands_on = from_transformers.version() > 4
        self._stacks = [
            HookedStack(module, module is not modules[-1] or self.form == "classify", hands_on)
            for module in modules
        ]
        self.depth = len(self._stacks[-1].blocks)
        # A fusion's heads must divide D evenly; the model's own heads may have another width.
        self.num_heads = math.gcd(sized.num_attention_heads, self.dim)

        self._is_output_scaled = getattr(
            sized,
            "scale_decoder_outputs",
            not hands_on and hasattr(self.model, "model_dim") and sized.tie_word_embeddings,
        )
        self._scale = _scale(self.model, self._stacks[-1].module)
        self.register_load_state_dict_post_hook(_tie)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def _make(self, theirs: Any) -> Any:
        raise NotImplementedError(type(self).__name__)

    def _stack_modules(self) -> list[nn.Module]:
        """The stacks of the model; `run` runs the last one."""
        base = self.model.base_model
        return [self.model.get_decoder() if base is self.model else base]

    @property
    def token_embedding(self) -> nn.Module:  # type: ignore[override]  # another library's
        """The table of token embeddings."""
        return self.model.get_input_embeddings()  # type: ignore[no-any-return]  # the library's own type

    def embed(self, ids: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Token embeddings as the blocks expect them, that is, scaled if the model scales them."""
        return self.token_embedding(ids) * self._scale  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def run(
        self,
        hidden: Float[Tensor, "B S D"],
        tokens: TokenSequence,
        *,
        cache: Cache | None = None,
        memory: Memory | None = None,
        before_block: BeforeBlock | None = None,
    ) -> Float[Tensor, "B S D"]:
        """Runs all blocks and the final norm."""
        past = None if cache is None else Bridge(cache)
        return self._run(hidden, tokens, cache, past, before_block)

    def _run(
        self,
        hidden: Tensor,
        tokens: TokenSequence,
        cache: Cache | None,
        past: Any,
        before_block: BeforeBlock | None,
        **more: Any,
    ) -> Tensor:
        if self._scale != 1:  # the stack scales its input itself, so undo the scaling of `embed`
            hidden = hidden / self._scale
        hidden = self._stacks[-1].run(
            hidden, tokens, cache=cache, past=past, before_block=before_block, **more
        )
        if cache is not None:
            cache.advance(tokens.valid)
        return hidden

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R V"]:
        """Logits over the vocabulary, or over the answers."""
        theirs = self.model.config
        if self._is_output_scaled:
            hidden = hidden * self.dim**-0.5

        logits = self.model.get_output_embeddings()(hidden)
        if (bias := getattr(self.model, "final_logits_bias", None)) is not None:
            logits = logits + bias
        if (cap := getattr(theirs, "final_logit_softcapping", None)) is not None:
            logits = (logits / cap).tanh() * cap
        logits = logits * (getattr(theirs, "logit_scale", None) or 1)
        return logits / (getattr(theirs, "logits_scaling", None) or 1)  # type: ignore[no-any-return]  # the library's own type

    def words(self, embeddings: Float[Tensor, "E D"]) -> Float[Tensor, "E V"]:
        """Scores of each embedding for each token of the vocabulary: its products with the token embeddings."""
        table = self.token_embedding.weight
        assert isinstance(table, Tensor)
        return nn.functional.linear(embeddings, table)

    def load_folder(self, folder: str | Path) -> None:
        """Loads the weights of a folder; embeddings of new tokens are initialised near the existing ones.

        Raises:
            CheckpointError: the folder has no safetensors file, or the file is damaged or belongs to another model or
                other shapes; or, in a trial with a few tokens, the model gives other results here than in Transformers.
        """
        found = from_transformers.weights(folder, type(self.model), self._config, **self._settings)
        foreign.fill(self.model, found, where=folder)
        self._prove(folder)

    def _prove(self, folder: str | Path) -> None:
        """Checks with a few tokens that the model gives the same results here as in Transformers.

        Raises:
            CheckpointError: it does not, or the vocabulary is too small for the check.
        """
        # Use a few ordinary tokens.
        theirs = self.model.config
        named = [value for name, value in theirs.to_dict().items() if name.endswith("token_id")]
        special = {token for one in named for token in (one if isinstance(one, list) else [one])}
        ordinary = [token for token in range(self.vocab_size) if token not in special][: adapter_proof.NEEDED]
        if len(ordinary) < adapter_proof.NEEDED:
            raise CheckpointError(
                f"{folder}: a vocabulary of {self.vocab_size} is too small to verify the model."
            )

        ids = torch.tensor(ordinary, device=next(self.parameters()).device)
        was_training = self.training
        self.eval()
        try:
            adapter_proof.prove(self, self._theirs, ids)
        except (ValueError, RuntimeError, TypeError, IndexError) as error:
            raise CheckpointError(
                f"{folder}: {theirs.model_type} does not give the same results here as in Transformers: {error}. "
                "Use a model of another family."
            ) from error
        finally:
            self.train(was_training)

    def _theirs(self, ids: Tensor) -> Tensor:
        """Logits of the library's own forward pass for these ids."""
        return self.model(input_ids=ids, use_cache=False).logits  # type: ignore[no-any-return]  # the library's own type


class Causal(FromTransformers):
    """A causal decoder, such as GPT-2 or Gemma."""

    form = "causal"
    offers: ClassVar[frozenset[str]] = frozenset({"input", "layer"})

    def _make(self, theirs: Any) -> Any:
        return imported().AutoModelForCausalLM.from_config(theirs, **self._settings)


class EncoderDecoder(FromTransformers):
    """An encoder-decoder, such as mBART, NLLB or T5."""

    form = "encoder_decoder"
    offers: ClassVar[frozenset[str]] = frozenset({"input", "layer", "memory"})

    def _make(self, theirs: Any) -> Any:
        return imported().AutoModelForSeq2SeqLM.from_config(theirs, **self._settings)

    def _stack_modules(self) -> list[nn.Module]:
        return [self.model.get_encoder(), self.model.get_decoder()]

    def _theirs(self, ids: Tensor) -> Tensor:
        return self.model(input_ids=ids, decoder_input_ids=ids, use_cache=False).logits  # type: ignore[no-any-return]  # the library's own type

    def encode(self, hidden: Float[Tensor, "B M D"], tokens: TokenSequence) -> Memory:
        """Encodes the source into a memory; the attention mask follows from the tokens."""
        return Memory(self._stacks[0].run(hidden, tokens), tokens.segment, tokens.branch, tokens.valid)

    def run(
        self,
        hidden: Float[Tensor, "B S D"],
        tokens: TokenSequence,
        *,
        cache: Cache | None = None,
        memory: Memory | None = None,
        before_block: BeforeBlock | None = None,
    ) -> Float[Tensor, "B S D"]:
        """Runs the decoder; the memory is given on the first call, and a cache keeps it for the following ones.

        Raises:
            ValueError: there is no memory, or a token may not attend to any part of it.
        """
        memory = _cached_memory(cache) if memory is None else memory
        mask = memory_mask(tokens, memory)
        assert mask.dense is not None
        assert mask.blind_rows is not None
        if bool((mask.blind_rows[:, 0, :, 0] & tokens.valid).any()):
            raise ValueError("a target token has no source to attend to; give each sample a prompt.")

        past, crossed = self._past(cache)
        hidden = self._run(
            hidden,
            tokens,
            cache,
            past,
            before_block,
            encoder_hidden_states=memory.hidden,
            encoder_attention_mask=added(mask.dense, hidden.dtype),
        )
        if cache is not None and "memory" not in cache.slots:
            cache.slots["memory"] = (memory.hidden, memory.segment, memory.branch, memory.valid)
            for layer in range(self.depth):
                cache.slots[f"memory.{layer}"] = (crossed.layers[layer].keys, crossed.layers[layer].values)
        return hidden

    def _past(self, cache: Cache | None) -> tuple[Any, Any]:
        """The library's own cache for both attentions, and the part of it that holds the memory."""
        if cache is None:
            return None, None

        library = imported()
        crossed = library.DynamicCache()
        for layer in range(self.depth if "memory" in cache.slots else 0):
            crossed.update(*cache.slots[f"memory.{layer}"], layer)

        past = library.EncoderDecoderCache(library.DynamicCache(), crossed)
        past.self_attention_cache = Bridge(cache)
        return past, crossed


class Bidirectional(FromTransformers):
    """A bidirectional encoder, such as BERT, with a new classifier over the answers."""

    form = "classify"
    offers: ClassVar[frozenset[str]] = frozenset({"input", "layer", "pool"})

    def __init__(self, *, config: Mapping[str, Any], vocab_size: int, num_answers: int = 0) -> None:
        if num_answers < 1:
            raise ValueError(
                "a bidirectional model chooses from a list of answers, but the list is empty (num_answers 0)."
            )
        super().__init__(config=config, vocab_size=vocab_size, num_answers=num_answers)
        self.classifier = nn.Linear(self.dim, num_answers)
        initialise(self.classifier)

    def _make(self, theirs: Any) -> Any:
        library = imported()
        kind = library.MODEL_MAPPING[type(theirs)]
        if "add_pooling_layer" in inspect.signature(kind).parameters:
            self._settings["add_pooling_layer"] = False
        return library.AutoModel.from_config(theirs, **self._settings)

    def _theirs(self, ids: Tensor) -> Tensor:
        return self.model(input_ids=ids).last_hidden_state  # type: ignore[no-any-return]  # the library's own type

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R A"]:
        """Logits over the answers."""
        return self.classifier(hidden)  # type: ignore[no-any-return]  # nn.Module calls are untyped


def _cached_memory(cache: Cache | None) -> Memory:
    """The memory stored in a cache.

    Raises:
        ValueError: the cache has none.
    """
    if cache is None or "memory" not in cache.slots:
        raise ValueError(
            "an encoder-decoder needs a memory: give the batch a source, or pass a cache that contains one."
        )
    return Memory(*cache.slots["memory"])


def _scale(model: Any, stack: nn.Module) -> float:
    """Factor by which the stack scales all embeddings, including those of images.

    It is 1 if the embedding table scales its own output instead.
    """
    if hasattr(model.get_input_embeddings(), "embed_scale"):
        return 1.0
    if model.config.model_type in ("gemma", "gemma2"):  # applies to Transformers 4
        return float(model.config.hidden_size**0.5)
    return float(getattr(stack, "embed_scale", 1.0))


def _tie(module: FromTransformers, faults: Any) -> None:
    """Restores the tying of weights that were loaded one by one."""
    module.model.tie_weights()
