"""Hubs: downloads, uploads, the cache, and the catalogue of published checkpoints."""
