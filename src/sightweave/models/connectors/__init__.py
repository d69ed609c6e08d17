"""Features -> MediaEmbeddings: how many, how wide; one file a kind."""
