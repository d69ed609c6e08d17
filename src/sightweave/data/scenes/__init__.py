"""The synthetic scenes: images drawn by code, and all texts about them."""
