"""kolora: one story file in, one finished and checkable picture story out."""

from kolora.version import __version__

__all__ = ["__version__"]
