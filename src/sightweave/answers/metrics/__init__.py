"""Predictions -> scores: one file per metric."""
