"""Executing a plan: the loop over steps, signals, memory that runs out, and what is written down of it all."""
