"""From files to a batch."""
