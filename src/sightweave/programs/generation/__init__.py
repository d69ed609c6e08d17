"""Generates answers to prompts: each image is encoded once and shared by its questions; finished rows leave the batch.

``generate`` answers many samples and computes the likelihoods of given texts as their answers; ``stream`` yields one
answer in pieces; ``write`` continues a batch of prompts. All of them decode in a ``Session``. A server uses ``Writing``
directly: its rows may join and leave at any time.
"""

from sightweave.programs.generation.answering import generate
from sightweave.programs.generation.draws import distinct
from sightweave.programs.generation.media import MediaMemory
from sightweave.programs.generation.options import Options
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
