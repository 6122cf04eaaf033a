"""The sections of a story, one module each: every key with its default, its bounds and, below it, its doc."""
