"""Answers one sample and yields the answer piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sightweave.answers.decoding._base import Decoder
from sightweave.answers.writers._base import Pieces, Writer
from sightweave.core.types import Sample
from sightweave.data.inputs.processor import Processor
from sightweave.models.vlm import VLM
from sightweave.programs.generation.answering import Reader, generate
from sightweave.programs.generation.draws import draws_of
from sightweave.programs.generation.options import Options
from sightweave.programs.generation.session import Session
from sightweave.programs.generation.stopping import StopTexts, Watch


def stream(model: VLM, processor: Processor, sample: Sample, options: Options | None = None) -> Iterator[str]:
    """Yields one answer in pieces of whole characters; joined, they are the text that `generate` returns.

    Text that may be the beginning of a stop text is held back until it is known not to be one.
    """
    options = options or Options()
    if options.draws_pictures:  # an image is whole or not there
        yield generate(model, processor, [sample], options)[0].text
        return
    end_id = processor.tokenizer.end_id
    decoder: Decoder = options.decoding.build(end_id=end_id)
    writer: Writer = options.writer.build(tokenizer=processor.tokenizer)
    is_known_late = model.language_model.form == "classify" or decoder.width > 1
    if is_known_late or not hasattr(writer, "pieces"):
        yield generate(model, processor, [sample], options)[0].text
        return

    was_training = model.training
    model.eval()
    try:
        draws = draws_of(decoder, options.seed, [sample])
        session = Session(model)
        Reader(model, processor, options).join(session, [processor.encode(sample, with_target=False)])
        pieces: Pieces = writer.pieces()
        watch, shown = Watch(processor.tokenizer, options.stop), StopTexts(options.stop)

        is_done = torch.zeros(1, dtype=torch.bool, device=session.logits.device)
        for step in range(options.max_tokens):
            ids = decoder.choose(session.logits, is_done, draws.at(step)).ids
            token = int(ids)
            if token == end_id:
                break
            if piece := shown.push(pieces.push(token)):
                yield piece
            if watch.push(token):
                break
            session.step(ids)
        if rest := shown.push(pieces.close()) + shown.close():
            yield rest
    finally:
        model.train(was_training)
