"""A GGUF file in the place of a language model: its own numbers, its own ids, and a tokenizer that cuts as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch

import sightweave
from sightweave.core.errors import RecipeError
from sightweave.models.nn import adapter_proof

gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")

HEADS, KEY_VALUE_HEADS = 4, 2
SMOLLM = tokenizers.pre_tokenizers.Sequence(
    [tokenizers.pre_tokenizers.Digits(True), tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
TEXTS = ("it is 1987", "\n\n 42 x", "7 red balls, 12 blue", "what colour is the ball ?", "\u4eba 3")
VISION = {"kind": "vit", "image_size": 32, "patch_size": 8, "dim": 32, "depth": 1}


def words() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = SMOLLM
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["what colour is the ball ? it is red 12 12 1987 42"] * 9, trainer)
    return made


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp keeps both halves of a rotation side by side."""
    return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def written(folder: Path, pre: str = "smollm") -> tuple[Path, Any, tokenizers.Tokenizer]:
    """A tiny Llama, written with llama.cpp's own package."""
    made = words()
    config = transformers.LlamaConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    file = folder / "tiny.gguf"
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    vocabulary = sorted(made.get_vocab(), key=made.get_vocab().__getitem__)
    writer.add_token_list(vocabulary)
    writer.add_token_types([3, *[1] * (len(vocabulary) - 1)])
    merges = json.loads(made.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":  # tied
            continue
        if "q_proj" in name or "k_proj" in name:
            value = permuted(value, HEADS if "q_proj" in name else KEY_VALUE_HEADS)
        writer.add_tensor(names.get_name(name, (".weight",)), value.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file, model, made


@torch.no_grad()
@pytest.mark.parametrize("as_folder", [False, True])
def test_it_says_what_the_file_says(as_folder: bool, tmp_path: Path) -> None:
    file, theirs, own_words = written(tmp_path)
    run = sightweave.compose(VISION, str(tmp_path if as_folder else file), connector="mlp", device="cpu")
    model = run.model.language_model.eval()
    for text in TEXTS:
        ids = own_words.encode(text).ids
        assert run.processor.tokenizer.encode(text) == ids
        # Ids that the file lacks are ours; of the others, every logit is theirs.
        tokens = torch.tensor(ids)
        hidden = model.run(model.embed(tokens[None]), adapter_proof._text(tokens))
        expected = theirs(tokens[None]).logits[0]
        torch.testing.assert_close(
            model.head(hidden[0])[:, : expected.shape[1]], expected, atol=1e-4, rtol=1e-4
        )


def test_a_saved_run_no_longer_needs_the_file(tmp_path: Path) -> None:
    file, _, _ = written(tmp_path)
    run = sightweave.compose(VISION, str(file), connector="mlp", device="cpu")
    run.save(tmp_path / "run")
    file.unlink()
    again = sightweave.load(tmp_path / "run", device="cpu")
    assert again.processor.tokenizer.encode(TEXTS[0]) == run.processor.tokenizer.encode(TEXTS[0])


def test_a_tokenizer_beside_the_file_goes_first(tmp_path: Path) -> None:
    file, _, own_words = written(tmp_path, pre="a-way-of-tomorrow")
    with pytest.raises(
        RecipeError,
        match=r"cuts texts by 'a-way-of-tomorrow', and smollm, .* Put the model's tokenizer\.json",
    ):
        sightweave.compose(VISION, str(file), connector="mlp", device="cpu")
    own_words.save(str(tmp_path / "tokenizer.json"))
    run = sightweave.compose(VISION, str(file), connector="mlp", device="cpu")
    assert run.processor.tokenizer.encode("1987 12") == own_words.encode("1987 12").ids


def test_it_is_no_encoder(tmp_path: Path) -> None:
    file, _, _ = written(tmp_path)
    with pytest.raises(RecipeError, match=r"a GGUF file can only be used as a language model \(got"):
        sightweave.compose(str(file), str(file), device="cpu")
