"""The embedded world: images drawn by code, with all texts about them."""
