"""Predictors, which answer prompts: a run, a Transformers folder, an endpoint, or a file of answers; one module per kind."""
