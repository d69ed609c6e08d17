"""Opens a folder with mlx-vlm and gives logits: _open_mlx.py FOLDER REQUEST ANSWER."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_vlm.utils import load_model

folder, request, answer = map(Path, sys.argv[1:])
model = load_model(folder)
found = []
for one in json.loads(request.read_text()):
    pixels = mx.array(np.array(one["pixels"], np.float32).reshape(one["shape"]))
    if one["in_rows"]:  # Idefics3 takes pictures in rows
        pixels = pixels[None]
    ids = mx.array([one["ids"]])
    logits = model(ids, pixels, mask=None)
    values = np.array((logits.logits if hasattr(logits, "logits") else logits).astype(mx.float32))
    found.append({"logits": values[0, -1].tolist()})
answer.write_text(json.dumps({"version": version("mlx-vlm"), "answers": found}))
