"""Prompts to answers: each picture is encoded once, its questions share it, and rows that are done leave the batch.

``generate`` answers many samples, and says how likely given texts are as their answers; ``stream`` gives one answer piece by
piece; ``write`` continues a batch of prompts. All of them let a ``Session`` read and go on.
"""

from sightweave.programs.generation.answering import generate
from sightweave.programs.generation.draws import distinct
from sightweave.programs.generation.options import Options
from sightweave.programs.generation.pictures import MediaMemory
from sightweave.programs.generation.session import Session
from sightweave.programs.generation.stopping import Limits
from sightweave.programs.generation.streaming import stream
from sightweave.programs.generation.writing import Writing, write

__all__ = [
    "Limits",
    "MediaMemory",
    "Options",
    "Session",
    "Writing",
    "distinct",
    "generate",
    "stream",
    "write",
]
