"""Experiment trackers: programs outside Sightweave that get the numbers of a training run."""
