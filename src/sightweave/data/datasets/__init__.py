"""Dataset kinds, one per file: readers for dataset formats, and the built-in synthetic dataset."""
