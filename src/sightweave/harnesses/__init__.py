"""Adapters that let other evaluation harnesses use runs as models, one module each.

Nothing here is imported before a harness requests it.
"""
