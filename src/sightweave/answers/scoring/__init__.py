"""Code that several metrics share: tokens, n-grams, text comparison, named options, and reference programs."""
