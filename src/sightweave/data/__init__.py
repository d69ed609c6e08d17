"""Datasets, tasks, and the processing of records into batches."""
