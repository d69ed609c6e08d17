"""Foundations of all other packages: data types, configs, kinds, checkpoints, files and errors."""
