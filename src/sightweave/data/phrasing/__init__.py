"""Writes options into prompts, and finds the final answer in a text."""
