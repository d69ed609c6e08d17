"""Runs a pair of GGUF files through llama-cpp-python: its own tokenizer, image encoder, projector and decoder.

llama.cpp's own front end shows every image to an Idefics3 as tiles and as a whole, even if there is only one tile. Here
the model is used as it was trained: with unchanged prompt ids, and only the whole image.
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
"""File descriptor to which C code writes its log."""
_FP32 = 0
"""GGML's number for fp32, the type in which keys and values are cached so that nothing is rounded."""


@contextmanager
def quiet() -> Iterator[Path]:
    """Redirects the standard error of C code to a file inside the block; yields that file.

    llama.cpp writes about two hundred lines while it loads two files, and its parts each have their own log.
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
    """The last non-empty line of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "no output"


class LlamaCpp:
    """A text model and a projector, loaded by llama.cpp on the CPU.

    Args:
        text: File of the language model.
        projector: File of the image encoder and the connector.
        context: Maximum number of tokens.

    Raises:
        ExportError: llama.cpp cannot load one of the files.
    """

    def __init__(self, text: Path, projector: Path, *, context: int = 2048) -> None:
        import llama_cpp
        from llama_cpp import mtmd_cpp

        self._mtmd: Any = mtmd_cpp
        self.version: str = llama_cpp.__version__
        with quiet() as log:
            # Load the language model.
            try:
                self._model: Any = llama_cpp.Llama(
                    str(text), n_ctx=context, n_gpu_layers=0, type_k=_FP32, type_v=_FP32, verbose=False
                )
            except (ValueError, RuntimeError) as error:
                raise ExportError(
                    f"{text}: llama.cpp cannot load it: {error} Its log ends: {last_line(log)}"
                ) from error

            # Load the image encoder and the projector.
            settings = self._mtmd.mtmd_context_params_default()
            settings.use_gpu, settings.print_timings, settings.warmup = False, False, False
            self._vision = self._mtmd.mtmd_init_from_file(
                str(projector).encode(), self._model.model, settings
            )
            if self._vision is None:
                raise ExportError(f"{projector}: llama.cpp cannot load it. Its log ends: {last_line(log)}")

    def close(self) -> None:
        """Frees both models."""
        with quiet():
            self._mtmd.mtmd_free(self._vision)
            self._model.close()

    def ids(self, text: str) -> list[int]:
        """Ids of a text in which no token is special."""
        found: list[int] = self._model.tokenize(text.encode(), add_bos=False, special=False)
        return found

    def answer(
        self, segments: Sequence[Sequence[int] | np.ndarray], ends: int, most: int
    ) -> tuple[np.ndarray, list[int]]:
        """Logits after a prompt, and the greedy answer.

        Args:
            segments: Ids, or an image (uint8 S S 3, in the encoder's size), in order.
            ends: Id that ends an answer.
            most: Maximum number of ids in an answer.

        Returns:
            The logits after the prompt (float32 V), and the ids of the answer with the end token if it was reached.
        """
        with quiet():
            return self._answer(segments, ends, most)

    def _answer(
        self, segments: Sequence[Sequence[int] | np.ndarray], ends: int, most: int
    ) -> tuple[np.ndarray, list[int]]:
        self._model.reset()
        for segment in segments:
            if isinstance(segment, np.ndarray):
                self._add_image(segment)
            else:
                self._model.eval(list(segment))

        first = logits = self._logits()
        said: list[int] = []
        while len(said) < most and ends not in said:
            said.append(int(logits.argmax()))
            self._model.eval(said[-1:])
            logits = self._logits()

        return first, said

    def _logits(self) -> np.ndarray:
        found = np.ctypeslib.as_array(self._model._ctx.get_logits_ith(-1), shape=(self._model.n_vocab(),))
        return found.copy()

    def _add_image(self, pixels: np.ndarray) -> None:
        """Encodes an image (uint8 S S 3) and appends its embeddings to the context."""
        mtmd = self._mtmd
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels)
        bitmap = mtmd.mtmd_bitmap_init(width, height, data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            # Preprocess a prompt of a single image.
            marker: bytes = mtmd.mtmd_default_marker()
            prompt = mtmd.mtmd_input_text()
            prompt.text, prompt.text_len = marker, len(marker)
            prompt.add_special, prompt.parse_special = False, True
            images = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
            if mtmd.mtmd_tokenize(self._vision, chunks, ctypes.byref(prompt), images, 1):
                raise ExportError("llama.cpp cannot preprocess an image.")

            # The last chunk of the image is the whole image.
            found = []
            for number in range(mtmd.mtmd_input_chunks_size(chunks)):
                chunk = mtmd.mtmd_input_chunks_get(chunks, number)
                if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE:
                    found.append(chunk)

            # Run the encoder and the decoder on it.
            after = ctypes.c_int32(0)
            if mtmd.mtmd_helper_eval_chunk_single(
                self._vision,
                self._model._ctx.ctx,
                found[-1],
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
