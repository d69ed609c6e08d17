"""Replacements for linear layers: low-rank adapters and quantized weights."""
