"""Modalities, one per file. Each reads its media and converts them to the input of an encoder."""
