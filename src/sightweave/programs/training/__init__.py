"""Fits a model."""
