"""``python -m runner`` is ``kolora``, deaf to no signal from its first line on."""

import os
import signal

# Before and after a run there is nothing to save: leave with the code that says "run the same command again".
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda *_: os._exit(75))

from runner.cli import main  # noqa: E402

main()
