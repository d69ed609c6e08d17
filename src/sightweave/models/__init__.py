"""From a batch to logits."""
