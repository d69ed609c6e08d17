"""Checks whether the parts of a composition are wired correctly: one file per kind of mistake."""
