"""Filtering: Data-Juicer's operators, run headless in a process of their own."""
