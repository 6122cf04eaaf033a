"""``python -m runner`` is ``kolora``."""

from runner.cli import main

main()
