"""Judges of pictures: how well they look, how well they show their text."""
