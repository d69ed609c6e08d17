"""Evaluates models: scores with intervals, chance levels and controls."""
