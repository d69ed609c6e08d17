"""Decoding methods, which choose the next token ids from logits; one module per method."""
