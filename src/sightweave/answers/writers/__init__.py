"""Ids -> what a person reads."""
