"""Types, configs, catalogue, checkpoints, errors and files. Depends on no part of a model."""
