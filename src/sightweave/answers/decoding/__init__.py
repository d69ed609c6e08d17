"""Logits -> next ids: one file a method."""
