"""Hubs: where pictures and checkpoints come from, as bytes on disk with their sha256."""
