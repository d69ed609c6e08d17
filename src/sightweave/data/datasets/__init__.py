"""Files (or the embedded world) -> records: one file a kind."""
