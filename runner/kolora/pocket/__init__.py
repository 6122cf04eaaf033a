"""Pocket: the little world and the checkpoint trained on it; `tools/pocket` is how that was done."""

WORLD_VERSION = 2
"""Raised when the little world would draw other pictures, or say other captions, at equal seeds."""
