"""Hidden -> hidden -> logits: one file a kind."""
