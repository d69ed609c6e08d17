"""The data doctor: what is wrong with a dataset, found before anything is trained on it."""
