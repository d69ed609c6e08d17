"""Sample -> Batch."""
