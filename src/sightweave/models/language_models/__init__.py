"""Hidden -> hidden -> logits: one file per kind."""
