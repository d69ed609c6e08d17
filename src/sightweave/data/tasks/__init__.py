"""Record -> Sample, and what an answer's text means: one file a task."""
