"""What is done with a model, its processor and plain data."""
