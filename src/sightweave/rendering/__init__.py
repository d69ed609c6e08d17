"""Replaces words in images: finds colours and fonts, takes the old words out and sets the new ones in."""
