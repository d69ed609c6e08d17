"""Token ids -> text for people."""
