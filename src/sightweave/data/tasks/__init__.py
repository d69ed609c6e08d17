"""Tasks, one per file. A task converts records to samples, and extracts the answer from a model's reply."""
