"""Writes runs and comparisons as self-contained HTML pages.

Depends on no other part except `core`: reads plain dicts, numbers, texts and pixels.
"""
