"""Runs as models of other evaluation harnesses: one file each. Nothing here is imported before a harness asks for it."""
