"""Predictors, which answer prompts: a run, a Transformers folder, an endpoint, a file of answers. One file per kind."""
