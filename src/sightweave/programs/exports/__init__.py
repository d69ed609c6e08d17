"""Exports a trained model to the formats of other programs; each export is loaded there and compared with the original."""
