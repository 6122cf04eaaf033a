"""Trains and measures pocket, the checkpoint in `runner/kolora/pocket/checkpoint`; no run of kolora imports this."""
