"""Layers that take the place of linear ones: low-rank adapters beside them, and weights in few bits."""
