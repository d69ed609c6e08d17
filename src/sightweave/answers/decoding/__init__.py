"""Logits -> next ids: one file per method."""
