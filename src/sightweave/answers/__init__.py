"""Turns logits into answers and scores: decoding methods, writers and metrics."""
