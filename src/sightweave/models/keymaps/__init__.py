"""Conversion of weight names between other libraries and Sightweave, with one small table per model family."""
