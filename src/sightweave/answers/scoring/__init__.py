"""What the metrics share: tokens, n-grams, folded texts, named options, and reference programs."""
