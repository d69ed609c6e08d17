"""The functions of `sightweave.api`, one file per topic."""
