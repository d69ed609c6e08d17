"""Programs such as training, generation and evaluation, which work on a model, its processor and plain data."""
