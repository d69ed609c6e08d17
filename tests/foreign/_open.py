"""Run by another environment's Python: opens an exported folder with the Transformers there, and writes what it says.

``python _open.py FOLDER REQUEST ANSWER``: REQUEST lists messages, ANSWER gets the ids, the logits and the answers. With
``--code`` before them the folder's own code is run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import transformers
from PIL import Image


def main(folder: str, request: str, answer: str, *, code: bool) -> None:
    processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=code)
    opens = transformers.AutoModelForImageTextToText
    told = {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": []}
    if code:  # which checks names and shapes itself
        model = opens.from_pretrained(folder, dtype=torch.float32, trust_remote_code=True)
    else:
        model, told = opens.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    model.eval()
    found = {"version": transformers.__version__, "answers": []}
    found |= {
        name: sorted(map(str, told[name])) for name in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }
    for one in json.loads(Path(request).read_text()):
        images = [Image.open(path) for path in one["images"]]
        content = [
            *({"type": "image", "image": image} for image in images),
            {"type": "text", "text": one["text"]},
        ]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            logits = model(**inputs).logits.flatten(0, -2)[-1]
            made = model.generate(**inputs, max_new_tokens=16, do_sample=False)
        count = 0 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        found["answers"].append(
            {
                "prompt": inputs["input_ids"][0].tolist(),
                "logits": logits.tolist(),
                "said": made[0, count:].tolist(),
            }
        )
    Path(answer).write_text(json.dumps(found))


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*(one for one in given if one != "--code"), code="--code" in given)
