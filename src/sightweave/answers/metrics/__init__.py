"""Predictions -> numbers: one file a metric."""
