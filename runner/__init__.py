"""kolora: one story file in, one finished and checkable picture story out."""

__version__ = "0.1.0"
