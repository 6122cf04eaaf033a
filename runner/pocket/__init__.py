"""Pocket: the little world, the checkpoint trained on it, and how that was done."""
