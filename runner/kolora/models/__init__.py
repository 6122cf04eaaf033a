"""Checkpoints in Kolors' published layout, as the models that training and rendering stand on."""
