"""Synthetic scenes: generates images, with captions, questions and translations about them."""
