"""The parts of vision-language models, which compute logits from a batch."""
