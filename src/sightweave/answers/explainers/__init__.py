"""Explainers, which compute how much each place of a medium and each token of the prompt contributed to an answer."""
