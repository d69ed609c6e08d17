"""Folders that Transformers itself writes, with tiny random weights: the answers and likelihoods of its own code."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sightweave.core.errors import BackendError, CheckpointError, DataError
from sightweave.core.types import Medium, Part, Sample
from sightweave.programs.predictors import from_transformers
from sightweave.programs.predictors.from_transformers import Config

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
# PaliGemma's own processor makes NumPy say it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CHAT = (
    "{% for message in messages %}{{ message.role }}: {% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}{{ '\\n' }}{% endfor %}"
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


def paligemma(folder: Path) -> Path:
    """Its prompt sees itself whole, what it writes looks back; and it has no chat template."""
    words = tokenizer()
    words.bos_token = "<fake_token_around_image>"
    images = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    processor = transformers.PaliGemmaProcessor(image_processor=images, tokenizer=words)
    config = transformers.PaliGemmaConfig(
        text_config={
            "model_type": "gemma",
            "vocab_size": len(words),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 1,
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
            "vision_use_head": False,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
    )
    torch.manual_seed(0)
    return written(folder, transformers.PaliGemmaForConditionalGeneration(config), processor)


def florence2(folder: Path) -> Path:
    """An encoder reads picture and prompt, a decoder writes."""
    words = tokenizer()
    words.bos_token = "<fake_token_around_image>"
    images = transformers.CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False)
    images.image_seq_length = 65
    processor = transformers.Florence2Processor(image_processor=images, tokenizer=words)
    config = transformers.Florence2Config(
        text_config={
            "model_type": "bart",
            "vocab_size": len(words),
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "pad_token_id": 0,
            "bos_token_id": 3,
            "eos_token_id": 1,
            "decoder_start_token_id": 1,
            "forced_eos_token_id": None,
        },
        vision_config={
            "depths": (1,),
            "patch_size": (8,),
            "patch_stride": (4,),
            "patch_padding": (2,),
            "patch_prenorm": (False,),
            "embed_dim": (32,),
            "num_heads": (4,),
            "num_groups": (4,),
            "window_size": 4,
            "projection_dim": 32,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    return written(folder, transformers.Florence2ForConditionalGeneration(config), processor)


def written(folder: Path, model: Any, processor: Any) -> Path:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    model.generation_config.eos_token_id = 1
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


KINDS = [llava, idefics3, paligemma]


@pytest.fixture(scope="module", params=KINDS, ids=[kind.__name__ for kind in KINDS])
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


def fitting(predictor: Any) -> list[Sample]:
    """PaliGemma's processor takes no prompt without a picture."""
    return SAMPLES[:3] if predictor.model.config.model_type == "paligemma" else SAMPLES


def test_it_answers_as_transformers_own_generate(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32", batch_size=2).build()
    assert "Transformers folder" in from_transformers.recognise(str(folder))
    asked = fitting(predictor)
    found = predictor.predict(asked, max_tokens=8)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    for one, said in zip(asked, found, strict=True):
        content = [
            {"type": "image"} if isinstance(p.content, Medium) else {"type": "text", "text": p.content}
            for p in one.parts
            if p.role == "user"
        ]
        prompt = "<image>\n" * len(one.media) + one.prompt
        if processor.chat_template:
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


def likely(predictor: Any, one: Sample, ids: list[int], ends: tuple[int, ...] = (1,)) -> float:
    """Log-probability of ids and an end, by letting Transformers' own generate write them and nothing else."""
    processor, model = predictor.processor, predictor.model
    images = [Image.fromarray(medium.source) for medium in one.media]
    inputs = processor(text=[predictor.prompt(one)], images=[images] if images else None, return_tensors="pt")
    inputs.pop("labels", None)
    count = inputs["input_ids"].shape[1]
    made = model.generate(
        **inputs,
        max_new_tokens=len(ids) + 1,
        do_sample=False,
        prefix_allowed_tokens_fn=lambda _, written: [[*ids, ends[0]][len(written) - count]],
        output_logits=True,
        return_dict_in_generate=True,
    )
    assert made.sequences[0, count:].tolist() == [*ids, ends[0]]
    steps = [logits[0].double().log_softmax(-1) for logits in made.logits]
    said = sum(float(step[index]) for step, index in zip(steps, ids, strict=False))
    return said + float(torch.stack([steps[-1][end] for end in ends]).logsumexp(0))


def test_texts_are_as_likely_as_when_generate_is_made_to_write_them(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32", batch_size=2).build()
    texts = [("a red cat", "two", ""), (), ("a ball",), ("a cat", "one blue ball and two dogs")]
    asked = fitting(predictor)
    found = predictor.predict(asked, texts[: len(asked)], max_tokens=0)
    assert [len(one.likelihoods) for one in found] == [3, 0, 1, 2][: len(asked)]
    assert {(one.text, one.finish, one.logprob) for one in found} == {("", "none", None)}
    for one, given, said in zip(asked, texts, found, strict=False):
        for text, likelihood in zip(given, said.likelihoods, strict=True):
            ids = predictor.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
            assert likelihood.logprob == pytest.approx(likely(predictor, one, ids), abs=1e-4)
            assert likelihood.tokens == len(ids) + 1


def test_texts_are_as_likely_as_by_a_forward_pass(tmp_path: Path) -> None:
    predictor = Config(path=str(llava(tmp_path / "llava")), precision="fp32").build()
    processor, model = predictor.processor, predictor.model
    (said,) = predictor.predict(SAMPLES[:1], [("a red cat", "two dogs")], max_tokens=0)
    images = [Image.fromarray(medium.source) for medium in SAMPLES[0].media]
    for text, likelihood in zip(("a red cat", "two dogs"), said.likelihoods, strict=True):
        target = torch.tensor([*processor.tokenizer(text, add_special_tokens=False)["input_ids"], 1])
        prompt = predictor.prompt(SAMPLES[0])
        inputs = processor(text=[prompt], images=[images], return_tensors="pt")
        ids = torch.cat([inputs["input_ids"], target[None]], 1)
        with torch.inference_mode():
            logits = model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits[0, : ids.shape[1] - 1]
        each = logits[-len(target) :].log_softmax(-1).gather(1, target[:, None])
        assert likelihood.logprob == pytest.approx(float(each.sum()), abs=1e-4)


def test_any_token_that_ends_an_answer_may_end_it(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32").build()
    predictor.model.generation_config.eos_token_id = [1, 5]
    (said,) = predictor.predict(SAMPLES[:1], [("two",)], max_tokens=0)
    ids = predictor.processor.tokenizer("two", add_special_tokens=False)["input_ids"]
    assert said.likelihoods[0].logprob == pytest.approx(likely(predictor, SAMPLES[0], ids, (1, 5)), abs=1e-4)


def test_what_was_written_is_as_likely_as_when_it_was_written(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32").build()
    for one in fitting(predictor):
        ids = written_ids(predictor, one, 3)
        for end in (ids[2], ids[0]):  # what it writes anyhow is made the end: then it ends by itself
            predictor.model.generation_config.eos_token_id = end
            (said,) = predictor.predict([one], [("",)], max_tokens=8)
            count = ids.index(end)
            assert (said.finish, said.tokens) == ("stop", count + 1)
            expected = likely(predictor, one, ids[:count], (end,))
            assert said.logprob * said.tokens == pytest.approx(expected, abs=1e-4)
        # It ended at once, so it wrote the empty text.
        assert said.text == ""
        assert said.likelihoods[0].tokens == 1
        assert said.likelihoods[0].logprob == pytest.approx(said.logprob, abs=1e-4)
        predictor.model.generation_config.eos_token_id = 1


def written_ids(predictor: Any, one: Sample, count: int) -> list[int]:
    """What Transformers' own generate writes."""
    inputs = predictor.inputs([predictor.prompt(one)], [one.media])
    ids = predictor.model.generate(**inputs, max_new_tokens=count, do_sample=False)
    return ids[0, inputs["input_ids"].shape[1] :].tolist()


def test_blanks_between_prompt_and_answer_are_those_of_the_chat_template(tmp_path: Path) -> None:
    place = llava(tmp_path / "a")
    template = CHAT.replace("assistant: {% endif %}", "assistant:{% endif %}")
    assert template != CHAT
    (place / "chat_template.jinja").write_text(template)
    predictor = Config(path=str(place), precision="fp32").build()
    assert predictor.prompt(SAMPLES[0]).endswith("\nassistant:")
    (said,) = predictor.predict(SAMPLES[:1], [("a red cat",)], max_tokens=0)
    ids = predictor.processor.tokenizer(" a red cat", add_special_tokens=False)["input_ids"]
    assert ids != predictor.processor.tokenizer("a red cat", add_special_tokens=False)["input_ids"]
    assert said.likelihoods[0].logprob == pytest.approx(likely(predictor, SAMPLES[0], ids), abs=1e-4)


def test_turns_keep_their_order_and_their_sides(tmp_path: Path) -> None:
    predictor = Config(path=str(llava(tmp_path / "a")), precision="fp32").build()
    parts = (
        Part("system", "be brief"),
        Part("user", "look at"),
        Part("user", picture(1)),
        Part("assistant", "a cat"),
        Part("user", picture(2)),
        Part("user", "and this ?"),
        Part("assistant", "a ball", learn=True),
    )
    asked = Sample(id="talk", task="conversation", parts=parts)
    assert predictor.prompt(asked) == (
        "system: be brief\nuser: look at<image>\nassistant: a cat\nuser: <image>and this ?\nassistant: "
    )
    (said,) = predictor.predict([asked], [("two",)], max_tokens=2)
    assert said.tokens >= 1
    assert said.likelihoods[0].tokens == 2


def test_a_model_whose_answers_see_ahead_judges_none(tmp_path: Path) -> None:
    predictor = Config(path=str(paligemma(tmp_path / "a")), precision="fp32").build()
    predictor.model.config.model_type = "another"  # what it writes is then marked as prompt
    with pytest.raises(
        BackendError, match="with the tokens after it, so texts cannot be judged; another marks"
    ):
        predictor.predict(SAMPLES[:1], [("a cat",)], max_tokens=0)


def test_a_decoder_behind_an_encoder_answers_and_judges_nothing(tmp_path: Path) -> None:
    config = Config(path=str(florence2(tmp_path / "a")), precision="fp32", template="{prompt}")
    predictor = config.build()
    assert not predictor.can_score
    found = predictor.predict(SAMPLES[:3], max_tokens=4)
    for one, said in zip(SAMPLES[:3], found, strict=True):
        inputs = predictor.inputs([one.prompt], [one.media])
        made = predictor.model.generate(
            **inputs,
            max_new_tokens=4,
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        ids = made.sequences[0, 1:]  # the first one starts the decoder
        assert len(ids) == len(made.logits) == said.tokens
        assert said.text == predictor.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        each = [float(step[0].log_softmax(-1)[index]) for step, index in zip(made.logits, ids, strict=True)]
        assert said.logprob == pytest.approx(sum(each) / len(each), abs=1e-5)
    with pytest.raises(BackendError, match="florence2 has an encoder and a decoder"):
        predictor.predict(SAMPLES[:1], [("a cat",)], max_tokens=4)


def test_what_fails_in_foreign_code_is_said_in_one_line(tmp_path: Path) -> None:
    place = llava(tmp_path / "a")
    predictor = Config(path=str(place), precision="fp32").build()
    marks = sample("marks", picture(1), "an <image> more than pictures")
    with pytest.raises((DataError, BackendError), match=r"its processor refused a prompt|the model failed"):
        predictor.predict([marks], max_tokens=1)
    (place / "chat_template.jinja").write_text("{{ raise_exception('only pictures please') }}")
    strict = Config(path=str(place), precision="fp32").build()
    with pytest.raises(DataError, match="its chat template refused a prompt: only pictures please"):
        strict.predict(SAMPLES[:1], max_tokens=1)


def test_another_picture_and_none_change_the_answer(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32").build()
    asked = [sample(str(n), picture(n), "what is this ?") for n in range(3)]
    blind = sample("blind", "what is this ?")
    takes_none = fitting(predictor) is not SAMPLES
    if takes_none:
        with pytest.raises(DataError, match="its processor refused a prompt: `images` are expected"):
            predictor.predict([blind], max_tokens=1)
    asked += [] if takes_none else [blind]
    found = predictor.predict(asked, [("a cat",)] * len(asked), max_tokens=0)
    assert len({round(one.likelihoods[0].logprob, 6) for one in found}) == len(asked)


def test_without_a_chat_template_there_is_a_plain_one(tmp_path: Path) -> None:
    predictor = Config(path=str(llava(tmp_path / "plain", chat=False)), precision="fp32").build()
    assert predictor.prompt(SAMPLES[0]) == "<image>\nwhat is this ?"
    assert predictor.prompt(SAMPLES[3]) == "what is a cat ?"
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
    with pytest.raises(CheckpointError, match=r"text-only: Transformers cannot load it: .*LlamaConfig"):
        Config(path=str(text), precision="fp32").build()
    refused("Transformers cannot load it: Can't load image processor", without="*processor*")
    endless = {"generation_config__json": b'{"pad_token_id": 0}'}
    words = json.loads((place / "tokenizer_config.json").read_text())
    del words["eos_token"]
    refused(
        ": no end-of-answer token; set eos_token_id in its",
        tokenizer_config__json=json.dumps(words).encode(),
        **endless,
    )


def test_pictures_are_resized_by_whom_the_caller_names(tmp_path: Path) -> None:
    place = llava(tmp_path / "plain")
    by_pillow = Config(path=str(place), precision="fp32", resizer="pil").build()
    assert type(by_pillow.processor.image_processor).__name__.endswith("Pil")
    by_default = Config(path=str(place), precision="fp32").build()
    expected = type(transformers.AutoProcessor.from_pretrained(place).image_processor)
    assert type(by_default.processor.image_processor) is expected


def test_code_in_a_folder_is_run_only_where_the_caller_says_so(tmp_path: Path) -> None:
    place = llava(tmp_path / "plain")
    plain = Config(path=str(place), precision="fp32").build().predict(SAMPLES, max_tokens=8)
    ran = tmp_path / "it ran"
    code = f"""from pathlib import Path
from transformers import LlavaConfig, LlavaForConditionalGeneration
Path({str(ran)!r}).touch()
class TheirConfig(LlavaConfig):
    model_type = "their_llava"
class TheirModel(LlavaForConditionalGeneration):
    config_class = TheirConfig
"""
    theirs: dict[str, Any] = {}
    exec(code, theirs)
    model = transformers.LlavaForConditionalGeneration.from_pretrained(place)
    weights = model.state_dict()
    model = theirs["TheirModel"](
        theirs["TheirConfig"](**model.config.to_dict() | {"model_type": "their_llava"})
    )
    model.load_state_dict(weights)
    model.save_pretrained(place)  # under the names that its own class writes
    (place / "their_code.py").write_text(code)
    ran.unlink()
    values = json.loads((place / "config.json").read_text())
    names = {"AutoConfig": "TheirConfig", "AutoModelForImageTextToText": "TheirModel"}
    values |= {
        "model_type": "their_llava",
        "auto_map": {auto: f"their_code.{name}" for auto, name in names.items()},
    }
    (place / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="Transformers cannot load it"):
        Config(path=str(place), precision="fp32").build()
    assert not ran.exists()
    trusted = Config(path=str(place), precision="fp32", trust_remote_code=True).build()
    assert ran.exists()
    assert [one.text for one in trusted.predict(SAMPLES, max_tokens=8)] == [one.text for one in plain]
    (place / "their_code.py").write_text(code + "# changed\n")
    changed = Config(path=str(place), precision="fp32", trust_remote_code=True).build()
    assert (
        changed.fingerprint != trusted.fingerprint
    )  # other code may answer otherwise: nothing kept is used again


def test_each_sample_needs_its_texts(folder: Path) -> None:
    predictor = Config(path=str(folder), precision="fp32").build()
    with pytest.raises(DataError, match=r"1 list\(s\) of texts for 4 sample\(s\)"):
        predictor.predict(SAMPLES, [("a",)])


PENALTIES = {
    "repetition_penalty": 1.9,
    "no_repeat_ngram_size": 1,
    "min_length": 11,
    "suppress_tokens": list(range(2, 90)),
    "begin_suppress_tokens": list(range(90, 150)),
    "bad_words_ids": [[number] for number in range(150, 250)],
    "num_beams": 3,
    "length_penalty": 0.3,
    "do_sample": True,
    "temperature": 3.0,
    "top_p": 0.9,
    "renormalize_logits": True,
}


@pytest.mark.parametrize("kind", [llava, florence2], ids=["llava", "florence2"])
def test_a_folders_own_penalties_change_no_greedy_answer_and_are_named(tmp_path: Path, kind: Any) -> None:
    folder = kind(tmp_path / "plain")
    template = (
        "{prompt}" if kind is florence2 else "{images}\n{prompt}"
    )  # Florence's processor adds its own marks
    plain = Config(path=str(folder), precision="fp32", template=template).build()
    assert plain.notes == ()
    asked = [sample("one", picture(1), "what is this ?"), sample("two", picture(2), "two dogs ?")]
    wanted = plain.predict(asked, max_tokens=12)
    changed = Path(shutil.copytree(folder, tmp_path / "changed"))
    settings = json.loads((changed / "generation_config.json").read_text(encoding="utf-8"))
    (changed / "generation_config.json").write_text(json.dumps(settings | PENALTIES), encoding="utf-8")

    # The library itself would say something else.
    loaded = transformers.AutoModelForImageTextToText.from_pretrained(changed).eval()
    inputs = plain.inputs([plain.prompt(asked[0])], [asked[0].media])
    own = loaded.generate(**inputs, max_new_tokens=12, do_sample=False, num_beams=1)
    text = plain.processor.tokenizer.decode(own[0, -12:], skip_special_tokens=True).strip()
    assert text != wanted[0].text

    predictor = Config(path=str(changed), precision="fp32", template=template).build()
    assert predictor.predict(asked, max_tokens=12) == wanted
    (note,) = predictor.notes
    for name, value in PENALTIES.items():
        assert f"{name}={value}" in note
    assert "eos_token_id" not in note


def thinker(folder: Path, words: list[str], *, are_special: bool) -> Path:
    """A model that says these words in this order, each a token of its own, whatever it is asked."""
    llava(folder)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    processor.tokenizer.add_tokens(
        [transformers.AddedToken(word, normalized=False, special=are_special) for word in words[:3:2]],
        special_tokens=are_special,
    )
    processor.tokenizer.add_tokens([transformers.AddedToken(word, normalized=False) for word in words[1::2]])
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    model.resize_token_embeddings(len(processor.tokenizer))
    said = processor.tokenizer.convert_tokens_to_ids(words)
    (last,) = processor.tokenizer(" ", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "language_model.layers" in name or "embed_tokens" in name or "lm_head" in name:
                weights.zero_()
            elif name.endswith("language_model.norm.weight"):
                weights.fill_(1)
        chain = [last, *said, 1]
        for place, (before, after) in enumerate(itertools.pairwise(chain)):
            model.get_input_embeddings().weight[before, place] = 1
            model.get_output_embeddings().weight[after, place] = 1
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("are_special", [False, True])
def test_what_a_folder_thinks_is_no_answer(tmp_path: Path, are_special: bool) -> None:
    folder = thinker(tmp_path / "thinks", ["<think>", "DOG", "</think>", "CAT"], are_special=are_special)
    predictor = Config(path=str(folder), precision="fp32").build()
    (said,) = predictor.predict(SAMPLES[:1], max_tokens=9)
    assert (said.text, said.finish, said.extra) == ("CAT", "stop", {"thought": "DOG"})
    assert said.logprob is None
    (cut,) = predictor.predict(SAMPLES[:1], max_tokens=2)
    assert (cut.text, cut.finish, cut.extra) == ("", "length", {"thought": "DOG"})


def test_a_template_may_open_the_thinking_block(tmp_path: Path) -> None:
    folder = thinker(tmp_path / "thinks", ["<none>", "DOG", "</think>", "CAT"], are_special=False)
    template = folder / "chat_template.jinja"
    opened = template.read_text(encoding="utf-8").replace("assistant: {%", "assistant: <think> {%")
    template.write_text(opened, encoding="utf-8")
    predictor = Config(path=str(folder), precision="fp32").build()
    assert predictor.prompt(SAMPLES[0]).endswith("<think> ")
    (said,) = predictor.predict(SAMPLES[:1], max_tokens=9)
    assert (said.text, said.extra) == ("CAT", {"thought": "<none>DOG"})
    (cut,) = predictor.predict(SAMPLES[:1], max_tokens=2)
    assert (cut.text, cut.finish, cut.extra) == ("", "length", {"thought": "<none>DOG"})


def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path: Path) -> None:
    llava(tmp_path)
    predictor = Config(path=str(tmp_path), device="cpu", precision="fp32").build()
    asked = [sample(f"{n}", picture(n), "what is this ?") for n in range(5)]
    texts = [("red", "blue box", "red")] * len(asked)
    expected = predictor.predict(asked, texts, max_tokens=4)
    told: list[int] = []

    def no_room(_: Any, inputs: Any) -> None:
        if len(inputs[0]) > most:
            torch.empty(1 << 60)

    handle = predictor.model.get_input_embeddings().register_forward_pre_hook(no_room)
    try:
        most = 2
        found = predictor.predict(asked, texts, max_tokens=4, progress=told.append)
        most = 0
        with pytest.raises(BackendError, match="out of memory on sample '0' alone"):
            predictor.predict(asked[:1], max_tokens=4)
    finally:
        handle.remove()
    assert [one.text for one in found] == [one.text for one in expected]
    for one, before in zip(found, expected, strict=True):
        likely = [each.logprob for each in before.likelihoods]
        assert [each.logprob for each in one.likelihoods] == pytest.approx(likely, abs=1e-4)
    assert sum(told) == len(asked)


def test_tokens_of_a_batch_can_be_bounded(tmp_path: Path) -> None:
    llava(tmp_path)
    asked = [sample(f"{n}", picture(n), "what is this ?") for n in range(3)]
    whole = Config(path=str(tmp_path), device="cpu", precision="fp32").build().predict(asked, max_tokens=4)
    bounded = Config(path=str(tmp_path), device="cpu", precision="fp32", max_batch_tokens=1).build()
    told: list[int] = []
    found = bounded.predict(asked, max_tokens=4, progress=told.append)
    assert [one.text for one in found] == [one.text for one in whole]
    assert told == [1, 1, 1]
