"""Layers and blocks that two or more parts of the model share."""
