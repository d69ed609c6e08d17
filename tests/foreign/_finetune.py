"""Run by an environment with TRL and PEFT: ten steps of SFT with LoRA on an exported folder, as it is.

``python _finetune.py FOLDER PICTURE TUNED ANSWER``: TUNED gets the merged model, ANSWER the losses, which weights moved, and
what the model says then.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import datasets
import torch
import transformers
import trl
from peft import LoraConfig
from PIL import Image


def main(folder: str, picture: str, tuned: str, answer: str) -> None:
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    turns = {
        "images": [Image.open(picture)],
        "prompt": [{"role": "user", "content": "What is left of the red dog?"}],
        "completion": [{"role": "assistant", "content": "a small blue car"}],
    }
    trainer = trl.SFTTrainer(
        model=model,
        processing_class=processor,
        train_dataset=datasets.Dataset.from_list([turns] * 20),
        peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj"], lora_alpha=16),
        args=trl.SFTConfig(
            output_dir=tempfile.mkdtemp(),
            max_steps=10,
            per_device_train_batch_size=2,
            learning_rate=1e-2,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            bf16=False,
            max_length=None,
            seed=0,
        ),
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    merged = trainer.model.merge_and_unload().eval()
    moved = sorted(name for name, value in merged.state_dict().items() if not value.equal(before[name]))
    merged.save_pretrained(tuned)
    processor.save_pretrained(tuned)
    image, text = {"type": "image", "image": Image.open(picture)}, turns["prompt"][0]["content"]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": [image, {"type": "text", "text": text}]}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        logits = merged(**inputs).logits[0, -1].tolist()
    found = {"losses": losses, "moved": moved, "prompt": inputs["input_ids"][0].tolist(), "logits": logits}
    Path(answer).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
