"""Image tokenizers: pixels to a grid of codes, and codes back to pixels."""
