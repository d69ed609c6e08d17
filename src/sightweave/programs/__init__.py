"""Programs that use a model, its processor and plain data."""
