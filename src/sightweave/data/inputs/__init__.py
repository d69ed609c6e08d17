"""Converts samples to batches: tokenizing, loading media, collating and packing."""
