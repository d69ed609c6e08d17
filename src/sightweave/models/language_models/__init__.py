"""Language models compute logits from embeddings, one module per kind."""
