"""Fusions determine where media enter the language model. Each kind is one module."""
