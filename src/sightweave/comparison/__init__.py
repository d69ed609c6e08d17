"""Trains and scores many recipes at an equal budget and compares the results."""
