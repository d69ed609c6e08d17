"""A modality of its own for the tests, as a user would write one: series of numbers, of any length."""
