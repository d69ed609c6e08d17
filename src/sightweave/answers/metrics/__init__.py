"""Metrics that score predictions, one module per metric."""
