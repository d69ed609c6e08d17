"""Shared code of the dataset formats: finds files, reads rows, and converts them to checked records."""
