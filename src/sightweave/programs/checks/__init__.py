"""Checks whether the parts of a composition are wired correctly, one module per kind of mistake."""
