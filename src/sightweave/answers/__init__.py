"""From logits to an answer and its score."""
