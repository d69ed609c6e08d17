"""Exports of a trained model to the formats of other programs, each loaded there and compared with the original."""
