"""Media -> Features: one file a kind."""
