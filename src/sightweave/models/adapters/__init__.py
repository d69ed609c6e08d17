"""Replacements of linear layers: low-rank adapters and quantized weights."""
