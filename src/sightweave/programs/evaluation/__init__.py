"""Scores with intervals, chance levels and controls."""
