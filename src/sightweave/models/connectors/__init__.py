"""Connectors map an encoder's features to embeddings of the language model's width, one module per kind."""
