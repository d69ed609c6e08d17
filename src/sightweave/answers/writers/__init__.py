"""Writers convert generated token ids to the text of an answer, one module per kind."""
