"""Folders that Transformers itself writes, with tiny random weights: the answers and likelihoods of its own code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sightweave.core.errors import CheckpointError, DataError
from sightweave.core.types import Medium, Part, Sample
from sightweave.programs.predictors import from_transformers
from sightweave.programs.predictors.from_transformers import Config

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
CHAT = (
    "{% for message in messages %}{{ message.role }}: {% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
SENTENCES = [
    "user: what is this ? assistant: a red cat on a mat",
    "two dogs and one blue ball",
    "<image>",
] * 3
SPECIAL = ["<pad>", "<end>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]


def tokenizer() -> Any:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=SPECIAL,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(SENTENCES, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="<end>",
        extra_special_tokens={"image_token": "<image>"},
    )


def text_config(size: int) -> Any:
    return transformers.LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
    )


def llava(folder: Path, *, chat: bool = True) -> Path:
    words = tokenizer()
    config = transformers.LlavaConfig(
        text_config=text_config(len(words)),
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
        ),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config)
    images = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    processor = transformers.LlavaProcessor(
        image_processor=images,
        tokenizer=words,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT if chat else None,
    )
    return written(folder, model, processor)


def idefics3(folder: Path) -> Path:
    words = tokenizer()
    config = transformers.Idefics3Config(
        text_config=text_config(len(words)),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    model = transformers.Idefics3ForConditionalGeneration(config)
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    images = Idefics3ImageProcessorPil(
        do_image_splitting=False, size={"longest_edge": 32}, max_image_size={"longest_edge": 32}
    )
    processor = transformers.Idefics3Processor(
        image_processor=images, tokenizer=words, image_seq_len=4, chat_template=CHAT
    )
    return written(folder, model, processor)


def written(folder: Path, model: Any, processor: Any) -> Path:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    model.generation_config.eos_token_id = 1
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[llava, idefics3], ids=["llava", "idefics3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return request.param(tmp_path_factory.mktemp("models") / request.param.__name__)


def picture(number: int) -> Medium:
    rng = np.random.default_rng(number)
    return Medium(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8), f"p{number}")


def sample(name: str, *content: str | Medium) -> Sample:
    parts = tuple(Part("user", one) for one in content)
    return Sample(id=name, task="vqa", parts=(*parts, Part("assistant", "a cat", learn=True)))


SAMPLES = [
    sample("one", picture(1), "what is this ?"),
    sample("long", picture(2), "what is this on a red mat and one blue ball ?"),
    sample("again", picture(1), "two dogs ?"),
    sample("text", "what is a cat ?"),
]


def test_it_answers_as_transformers_own_generate(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32", batch_size=2).build()
    assert "Transformers folder" in from_transformers.recognise(str(folder))
    found = predictor.predict(SAMPLES, max_tokens=8)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    for one, said in zip(SAMPLES, found, strict=True):
        content = [
            {"type": "image"} if isinstance(p.content, Medium) else {"type": "text", "text": p.content}
            for p in one.parts
            if p.role == "user"
        ]
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        images = [Image.fromarray(medium.source) for medium in one.media]
        inputs = processor(text=[prompt], images=[images] if images else None, return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        text = processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert (said.text, said.tokens) == (text, len(ids))
        assert said.finish == ("stop" if int(ids[-1]) == 1 else "length")
        assert said.logprob is not None
        assert said.logprob < 0


def test_texts_are_as_likely_as_by_a_forward_pass(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32", batch_size=2).build()
    texts = [("a red cat", "two", ""), (), ("a ball",), ("a cat", "one blue ball and two dogs")]
    found = predictor.predict(SAMPLES, texts, max_tokens=0)
    assert [len(one.likelihoods) for one in found] == [3, 0, 1, 2]
    assert {(one.text, one.finish, one.logprob) for one in found} == {("", "none", None)}
    processor, model = predictor.processor, predictor.model
    for one, given, said in zip(SAMPLES, texts, found, strict=True):
        for text, likelihood in zip(given, said.likelihoods, strict=True):
            images = [Image.fromarray(medium.source) for medium in one.media]
            prompt = predictor._prompt(one)
            inputs = processor(text=[prompt], images=[images] if images else None, return_tensors="pt")
            target = [*processor.tokenizer(text, add_special_tokens=False)["input_ids"], 1]
            count = inputs["input_ids"].shape[1]
            ids = torch.cat([inputs["input_ids"], torch.tensor([target])], 1)
            inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            with torch.inference_mode():
                logits = model(**{k: v for k, v in inputs.items() if k != "token_type_ids"}).logits[0]
            wanted = logits[count - 1 : -1].log_softmax(-1).gather(1, torch.tensor(target)[:, None]).sum()
            assert likelihood.logprob == pytest.approx(float(wanted), abs=1e-4)
            assert likelihood.tokens == len(target)


def test_what_was_written_is_as_likely_as_when_it_was_written(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32").build()
    said = predictor.predict(SAMPLES[:1], [("two",)], max_tokens=5)
    assert len(said[0].likelihoods) == 1
    assert said[0].text == predictor.predict(SAMPLES[:1], max_tokens=5)[0].text


def test_another_picture_and_none_change_the_answer(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32").build()
    asked = [sample(str(n), picture(n), "what is this ?") for n in range(3)]
    blind = sample("blind", "what is this ?")
    found = predictor.predict([*asked, blind], [("a cat",)] * 4, max_tokens=0)
    assert len({round(one.likelihoods[0].logprob, 6) for one in found}) == 4


def test_without_a_chat_template_there_is_a_plain_one(tmp_path: Path) -> None:
    predictor = Config(path=str(llava(tmp_path / "plain", chat=False)), precision="fp32").build()
    assert predictor._prompt(SAMPLES[0]) == "<image>\nwhat is this ?"
    assert predictor._prompt(SAMPLES[3]) == "what is a cat ?"
    assert predictor.predict(SAMPLES, max_tokens=2)[0].tokens <= 2


def test_changed_weights_are_another_fingerprint(tmp_path: Path) -> None:
    place = llava(tmp_path / "a")
    first = Config(path=str(place), precision="fp32").build().fingerprint
    assert first == Config(path=str(place), precision="fp32").build().fingerprint
    weights = next(place.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert first != Config(path=str(place), precision="fp32").build().fingerprint


def test_what_cannot_be_loaded_whole_is_refused(tmp_path: Path) -> None:
    place = llava(tmp_path / "a")
    assert from_transformers.recognise(str(tmp_path)) == ""

    def refused(words: str, *, without: str = "", **files: bytes) -> None:
        copy = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(place, copy)
        for path in copy.glob(without) if without else ():
            path.unlink()
        for name, data in files.items():
            (copy / name.replace("__", ".")).write_bytes(data)
        with pytest.raises(CheckpointError, match=words):
            Config(path=str(copy), precision="fp32").build()

    refused(
        r"pytorch_model.bin: pickled weights can run code", without="*.safetensors", pytorch_model__bin=b"x"
    )
    refused(r"no weights \(\*.safetensors\) there", without="*.safetensors")
    refused("Transformers cannot load it", model__safetensors=b"\x00" * 20)
    values = json.loads((place / "config.json").read_text())
    values["text_config"]["num_hidden_layers"] = 3
    refused(r"weight\(s\) are not in the files and would be random", config__json=json.dumps(values).encode())
    text = tmp_path / "text-only"
    transformers.LlamaForCausalLM(text_config(50)).save_pretrained(text)
    tokenizer().save_pretrained(text)
    with pytest.raises(CheckpointError, match="text-only: "):
        Config(path=str(text), precision="fp32").build()


def test_each_sample_needs_its_texts(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32").build()
    with pytest.raises(DataError, match=r"1 list\(s\) of texts for 4 sample\(s\)"):
        predictor.predict(SAMPLES, [("a",)])
