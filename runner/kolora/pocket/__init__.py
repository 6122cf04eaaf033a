"""Pocket: the little world, the checkpoint trained on it, and how that was done."""

WORLD_VERSION = 2
"""Raised when the little world would draw other pictures, or say other captions, at equal seeds."""
