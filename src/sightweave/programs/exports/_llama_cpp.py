"""Asks a pair of GGUF files through llama-cpp-python: its own tokenizer, image encoder, projector and decoder.

llama.cpp's own front end shows an Idefics3 every picture as tiles and a whole, even where there is one tile. A model of one
tile is asked here as it was trained: the ids of the prompt as they are, and of each picture the whole alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.core.errors import ExportError

_STDERR = 2
"""The number of the stream that C code writes its log to."""
_FP32 = 0
"""GGML's number of the type: keys and values are kept in it, so that nothing is rounded."""


@contextmanager
def quiet() -> Iterator[Path]:
    """Keeps what C code writes to standard error out of the terminal; gives the file that holds it until the end.

    llama.cpp writes some two hundred lines while it opens two files, and its parts each have a log of their own.
    """
    sys.stderr.flush()
    terminal = os.dup(_STDERR)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "log"
        with path.open("wb") as log:
            os.dup2(log.fileno(), _STDERR)
        try:
            yield path
        finally:
            sys.stderr.flush()
            os.dup2(terminal, _STDERR)
            os.close(terminal)


def last_line(log: Path) -> str:
    """The last line of a log that is not empty."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "no output"


class LlamaCpp:
    """A text file and a projector file, opened on the CPU.

    Args:
        text: The language model.
        projector: The image encoder and the connector.
        context: Tokens that it keeps at most.

    Raises:
        ExportError: llama.cpp cannot open one of them.
    """

    def __init__(self, text: Path, projector: Path, *, context: int = 2048) -> None:
        import llama_cpp
        from llama_cpp import mtmd_cpp

        self._mtmd: Any = mtmd_cpp
        self.version: str = llama_cpp.__version__
        with quiet() as log:
            try:
                self._model: Any = llama_cpp.Llama(
                    str(text), n_ctx=context, n_gpu_layers=0, type_k=_FP32, type_v=_FP32, verbose=False
                )
            except (ValueError, RuntimeError) as error:
                raise ExportError(
                    f"{text}: llama.cpp cannot load it: {error} Its log ends: {last_line(log)}"
                ) from error
            settings = self._mtmd.mtmd_context_params_default()
            settings.use_gpu, settings.print_timings, settings.warmup = False, False, False
            self._eyes = self._mtmd.mtmd_init_from_file(str(projector).encode(), self._model.model, settings)
            if self._eyes is None:
                raise ExportError(f"{projector}: llama.cpp cannot load it. Its log ends: {last_line(log)}")

    def close(self) -> None:
        """Frees everything."""
        with quiet():
            self._mtmd.mtmd_free(self._eyes)
            self._model.close()

    def ids(self, text: str) -> list[int]:
        """Ids of a text in which nothing is special."""
        found: list[int] = self._model.tokenize(text.encode(), add_bos=False, special=False)
        return found

    def answer(
        self, stretches: Sequence[Sequence[int] | np.ndarray], ends: int, most: int
    ) -> tuple[np.ndarray, list[int]]:
        """Logits after a prompt, and the greedy answer.

        Args:
            stretches: Ids, or a picture (uint8 S S 3, as large as the encoder wants it), in order.
            ends: The id that ends an answer.
            most: Ids of an answer at most.

        Returns:
            float32 V after the prompt; the ids of the answer, with the end where it came to one.
        """
        with quiet():
            return self._answer(stretches, ends, most)

    def _answer(
        self, stretches: Sequence[Sequence[int] | np.ndarray], ends: int, most: int
    ) -> tuple[np.ndarray, list[int]]:
        self._model.reset()
        for stretch in stretches:
            if isinstance(stretch, np.ndarray):
                self._look(stretch)
            else:
                self._model.eval(list(stretch))
        first = self._logits()
        said: list[int] = []
        logits = first
        while len(said) < most and ends not in said:
            said.append(int(logits.argmax()))
            self._model.eval(said[-1:])
            logits = self._logits()
        return first, said

    def _logits(self) -> np.ndarray:
        found = np.ctypeslib.as_array(self._model._ctx.get_logits_ith(-1), shape=(self._model.n_vocab(),))
        return found.copy()

    def _look(self, pixels: np.ndarray) -> None:
        mtmd = self._mtmd
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels)
        bitmap = mtmd.mtmd_bitmap_init(width, height, data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            marker: bytes = mtmd.mtmd_default_marker()
            prompt = mtmd.mtmd_input_text()
            prompt.text, prompt.text_len = marker, len(marker)
            prompt.add_special, prompt.parse_special = False, True
            images = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
            if mtmd.mtmd_tokenize(self._eyes, chunks, ctypes.byref(prompt), images, 1):
                raise ExportError("llama.cpp cannot preprocess an image.")
            all_chunks = [
                mtmd.mtmd_input_chunks_get(chunks, n) for n in range(mtmd.mtmd_input_chunks_size(chunks))
            ]
            kind = mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE
            whole = [one for one in all_chunks if mtmd.mtmd_input_chunk_get_type(one) == kind][-1]
            after = ctypes.c_int32(0)
            if mtmd.mtmd_helper_eval_chunk_single(
                self._eyes,
                self._model._ctx.ctx,
                whole,
                self._model.n_tokens,
                0,
                self._model.n_batch,
                False,
                ctypes.byref(after),
            ):
                raise ExportError("llama.cpp cannot encode an image.")
            self._model.n_tokens = after.value
        finally:
            mtmd.mtmd_input_chunks_free(chunks)
            mtmd.mtmd_bitmap_free(bitmap)
