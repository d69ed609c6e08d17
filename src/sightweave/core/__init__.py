"""Types, configs, catalogue, checkpoints, errors and files. Knows no part."""
