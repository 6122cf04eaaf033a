"""Checkpoints in Kolors' published layout, as the parts that training and rendering stand on."""
