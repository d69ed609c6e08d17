"""Shared by the metrics: tokens, n-grams, text comparison, named options, and reference programs."""
