"""Encoders compute features from media, one module per kind."""
