"""Readers of dataset formats and of the embedded world; one file per kind."""
