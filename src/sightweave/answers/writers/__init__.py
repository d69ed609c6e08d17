"""Convert generated token ids to the text of an answer."""
